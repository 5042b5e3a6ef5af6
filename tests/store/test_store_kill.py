"""kill -9 at random moments: the journal and the blocks agree, and the resumed run ends in the same bytes."""

import os
import random
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from heatbath.errors import Refused
from heatbath.store import RunFolder, sha256_of

BLOCKS = {"adapt": 8, "sample": 24}


def write(path: Path) -> None:
    """A whole run, from wherever it stands: two phases, tuned in between, each block half saved first."""
    run = RunFolder.open(path, write=True) if path.exists() else RunFolder.create(path, {"seed": 1}, {})
    with run:
        for phase, blocks in BLOCKS.items():
            sink = run.phase(phase)
            found = sink.restore()
            steps, x = (0, np.zeros(1000)) if found is None else (found[0], found[1].get("x"))
            rows = [] if sink.partial_records() is None else list(sink.partial_records()["x"])
            while steps < 4 * blocks:
                x = np.cos(x + steps)
                steps += 1
                rows.append(x)
                if steps % 4 == 2:
                    sink.partial(steps, {"x": np.array(rows)}, {"x": x})
                if steps % 4 == 0:
                    sink.block(steps, {"x": np.array(rows)}, {"x": x})
                    rows = []
            if phase == "adapt" and run.tuned() is None:
                run.save_tuned({"x": x})


def tree(path: Path) -> dict[str, str]:
    files = (file for file in path.rglob("*") if file.is_file() and file.name != "log.txt")
    return {str(file.relative_to(path)): sha256_of(file) for file in files}


def test_killed_runs_end_in_the_same_bytes(tmp_path):
    reference, path = tmp_path / "reference", tmp_path / "run"
    start = time.monotonic()
    write(reference)
    whole = time.monotonic() - start
    expected = tree(reference)
    rng = random.Random(1)
    kills = 0
    for trial in range(10):
        path = tmp_path / f"run-{trial}"
        for _ in range(3):
            writer = subprocess.Popen([sys.executable, __file__, path], stdout=subprocess.PIPE)
            writer.stdout.readline()  # imports are done
            time.sleep(rng.uniform(0, 0.5 * whole))
            kills += writer.poll() is None
            writer.kill()
            writer.communicate()
            try:
                run = RunFolder.open(path)
            except Refused:
                assert not os.path.lexists(path)
                continue
            for phase in BLOCKS:
                for entry, block in zip(run.entries(phase), run.blocks(phase), strict=True):
                    assert block["x"].shape == (4, 1000)
                    assert entry.steps % 4 == 0
        write(path)
        assert tree(path) == expected
    assert kills > 0
    assert sorted(os.listdir(tmp_path)) == sorted(["reference", *(f"run-{trial}" for trial in range(10))])


if __name__ == "__main__":
    print(flush=True)
    write(Path(sys.argv[1]))
