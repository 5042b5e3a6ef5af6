"""learn, predict, report, run and resume on a tiny table, sampled once; and what must not import JAX."""

import csv
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from heatbath.cli import group
from heatbath.cli.answer import run_verb
from heatbath.errors import Interrupted, Refused
from heatbath.learning.draws import read_draws
from heatbath.store import RunFolder, sha256_of

from .conftest import documented, synthetic_run, write_table

LEARN = ("--target", "y", "--hidden", "4", "--replicas", "2", "--steps", "40")


@pytest.fixture(scope="session")
def sampled(tmp_path_factory) -> Path:
    """A folder with tiny.csv and the run of `learn` on it; copy it before you change it."""
    folder = tmp_path_factory.mktemp("sampled")
    write_table(folder / "tiny.csv")
    data, out = str(folder / "tiny.csv"), str(folder / "run")
    assert run_verb(group, ["learn", data, *LEARN, "--out", out, "--quiet"]) == 0
    return folder


def tree(path: Path) -> dict[str, str]:
    files = (file for file in path.rglob("*") if file.is_file() and file.name != "log.txt")
    return {str(file.relative_to(path)): sha256_of(file) for file in files}


def test_resume_of_a_finished_run_tells_the_same(sampled, tmp_path, heatbath, root):
    run = Path(shutil.copytree(sampled / "run", tmp_path / "run"))
    answer = heatbath("resume", run, "--json", "--quiet")
    assert (answer.code, answer.err) == (0, "")
    assert answer.out.count("\n") == 1
    found = json.loads(answer.out)
    keys = (
        "run task replicas steps gradient_evaluations seconds compile_seconds acceptance divergences "
        "rhat_max rhat_share ess_min ess_median verdict replicas_alive"
    )
    assert set(found) == set(keys.split()) == set(documented(root, "heatbath learn robot-arm --json"))
    assert (found["run"], found["task"]) == (str(run), "regression")
    assert (found["replicas"], found["replicas_alive"], found["steps"]) == (2, 2, 40)
    assert found["gradient_evaluations"] > 300
    assert 0 < found["acceptance"] <= 1
    assert found["seconds"] > 0
    assert found["verdict"].startswith("not at equilibrium: ")
    assert tree(run) == tree(sampled / "run")


def test_run_repeats_bit_for_bit(sampled, tmp_path, heatbath):
    answer = heatbath("run", sampled / "run" / "config.toml", "--out", tmp_path / "again", "--quiet")
    assert (answer.code, answer.out, answer.err) == (0, "", "")
    assert tree(tmp_path / "again") == tree(sampled / "run")
    shutil.copy(sampled / "run" / "config.toml", tmp_path / "config.toml")  # the data from their source
    answer = heatbath("run", tmp_path / "config.toml", "--out", tmp_path / "third", "--quiet")
    assert tree(tmp_path / "third") == tree(sampled / "run")


@pytest.mark.slow
def test_more_steps_are_a_longer_run(sampled, tmp_path, heatbath):
    run = Path(shutil.copytree(sampled / "run", tmp_path / "run"))
    assert heatbath("resume", run, "--more", "60", "--quiet").code == 0
    asked = (sampled / "run" / "config.toml").read_text().replace("steps = 40", "steps = 100")
    (tmp_path / "config.toml").write_text(asked)
    assert heatbath("run", tmp_path / "config.toml", "--out", tmp_path / "longer", "--quiet").code == 0
    assert tree(run) == tree(tmp_path / "longer")


def test_report_is_made_again(sampled, tmp_path, heatbath):
    run = Path(shutil.copytree(sampled / "run", tmp_path / "run"))
    (run / "report.html").unlink()
    answer = heatbath("report", run)
    assert answer.code == 0
    assert tree(run) == tree(sampled / "run")


def test_not_at_equilibrium_is_exit_3_unless_steps_came_by_hand(sampled, tmp_path, heatbath):
    run = Path(shutil.copytree(sampled / "run", tmp_path / "run"))
    config = run / "config.toml"
    config.write_text(config.read_text().replace("steps_by_hand = true", "steps_by_hand = false"))
    assert heatbath("resume", run, "--quiet").code == 3


def test_full_disk_at_the_report_is_exit_4(sampled, tmp_path, refused, monkeypatch):
    def write_report(*_):
        raise Refused("cannot write report.html: No space left on device")

    run = Path(shutil.copytree(sampled / "run", tmp_path / "run"))
    monkeypatch.setattr("heatbath.report.write_report", write_report)
    assert "the samples are kept: heatbath report" in refused("resume", run, "--quiet", code=4)


def test_state_of_another_model_is_refused(sampled, tmp_path, refused):
    run = Path(shutil.copytree(sampled / "run", tmp_path / "run"))
    config = run / "config.toml"
    config.write_text(config.read_text().replace("hidden = [4]", "hidden = [5]"))
    before = tree(run)
    assert "another model" in refused("resume", run, "--quiet")
    assert tree(run) == before


@pytest.mark.parametrize(
    "stop", [KeyboardInterrupt(), Interrupted("interrupted at step 7"), BrokenPipeError()]
)
def test_interrupts_name_the_command_that_resumes(tiny, heatbath, monkeypatch, stop):
    def fit(folder, progress):
        raise stop

    monkeypatch.setattr("heatbath.learning.fit.fit", fit)
    answer = heatbath("learn", "tiny.csv", *LEARN, "--out", "my run", "--json")
    assert answer.code == 130
    assert answer.err.endswith("continue: heatbath resume 'my run'\n")
    assert json.loads(answer.out)["exit"] == 130
    assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN  # a second Ctrl-C changes nothing
    assert Path("my run/config.toml").exists()


def test_an_interrupt_as_soon_as_the_folder_is_there_names_the_command(tiny, heatbath, monkeypatch):
    from heatbath.learning.fit import create

    def interrupted(*arguments):
        create(*arguments).close()
        raise KeyboardInterrupt

    monkeypatch.setattr("heatbath.learning.fit.create", interrupted)
    answer = heatbath("learn", "tiny.csv", *LEARN, "--out", "run")
    assert (answer.code, answer.err) == (
        130,
        "error: interrupted; nothing is lost; continue: heatbath resume run\n",
    )
    assert "interrupted" in Path("run/log.txt").read_text()


def test_refused_at_the_start_leaves_nothing(tiny, refused, monkeypatch):
    def fit(folder, progress):
        raise Refused("the energy or its gradient is not finite at the start of replica 0")

    monkeypatch.setattr("heatbath.learning.fit.fit", fit)
    assert "not finite" in refused("learn", "tiny.csv", *LEARN, "--out", "run")
    assert not Path("run").exists()


# ---- predict


def rows(path: Path) -> dict[str, list[float]]:
    with open(path, newline="") as file:
        table = list(csv.DictReader(file))
    return {name: [float(row[name]) for row in table] for name in table[0]}


def test_predict_scores_one_target(made, heatbath):
    answer = heatbath("predict", "made", "tiny.csv", "--json")
    found = json.loads(answer.out)
    keys = {"run", "predictions", "n", "rmse", "squared_error", "log_likelihood", "coverage90"}
    assert (answer.code, answer.err, set(found)) == (0, "", keys)
    assert found["n"] == 40
    assert found["squared_error"] == pytest.approx(found["rmse"] ** 2)
    assert 0 <= found["coverage90"] <= 1
    written = rows(Path("tiny-predictions.csv"))
    assert list(written) == [f"y_{part}" for part in ("mean", "std", "noise_std", "model_std", "q05", "q95")]
    assert all(
        q < m < p for q, m, p in zip(written["y_q05"], written["y_mean"], written["y_q95"], strict=True)
    )


def test_predict_scores_several_targets(tiny, heatbath, root):
    synthetic_run(tiny / "made", write_table(tiny / "two.csv", 2), ["y", "z"])
    found = json.loads(heatbath("predict", "made", "two.csv", "--json").out)
    assert set(found) == set(documented(root, "heatbath predict RUN NEW.csv --json"))
    assert set(found["rmse"]) == {"y", "z"}
    assert found["squared_error"] == pytest.approx(sum(x**2 for x in found["rmse"].values()))


def test_predict_without_targets_and_in_any_order(made, heatbath):
    Path("plain.csv").write_text("a,b\n0.5,-1\n2,1\n")
    Path("turned.csv").write_text("b,a\n-1,0.5\n1,2\n")
    Path("one.csv").write_text("b,y,a\n-1,3,0.5\n")
    found = json.loads(heatbath("predict", "made", "plain.csv", "--out", "1.csv", "--json").out)
    assert set(found) == {"run", "predictions", "n"}
    assert heatbath("predict", "made", "turned.csv", "--out", "2.csv").code == 0
    assert Path("1.csv").read_bytes() == Path("2.csv").read_bytes()
    found = json.loads(heatbath("predict", "made", "one.csv", "--out", "3.csv", "--json").out)
    assert found["n"] == 1
    for name, values in rows(Path("3.csv")).items():
        assert values == pytest.approx(rows(Path("1.csv"))[name][:1], rel=1e-5)


def test_rows_out_of_reach(made, refused):
    config = made / "config.toml"
    config.write_text(re.sub(r"input_scale = .*", "input_scale = [1e-3, 1e-3]", config.read_text()))
    Path("far.csv").write_text("a,b\n1,1\n3e38,3e38\n")
    assert "row 2 under the header" in refused("predict", "made", "far.csv")
    assert not Path("far-predictions.csv").exists()


@contextmanager
def changed_samples(run: Path) -> Iterator[dict[str, np.ndarray]]:
    """The records of the sample phase, (saves, replicas, ...), written back as they are left."""
    with RunFolder.open(run, write=True) as folder:
        records = next(folder.blocks("sample"))
        yield records
        folder.reopen("sample")
        folder.phase("sample").block(120, records, {"x": np.zeros(3)})


def still(run: Path, replicas: list[int]) -> None:
    """Give these replicas a sample phase whose last two saves are the same."""
    with changed_samples(run) as records:
        for values in records.values():
            values[-1, replicas] = values[-2, replicas]


def test_replicas_that_broke_are_left_out(made, refused):
    still(made, [1])
    draws = read_draws(RunFolder.open(made))
    assert draws.shape == (2, 6)
    assert draws.weights[0]["w"].shape == (2, 6, 2, 4)
    still(made, [0, 1, 2])
    assert "all replicas" in refused("predict", "made", "tiny.csv", code=4)


def test_a_replica_whose_prior_is_too_wide_for_single_precision_is_left_out(made):
    whole = read_draws(RunFolder.open(made)).scale
    with changed_samples(made) as records:
        records["sample/log_precision"][3, 1, 0] = -200  # exp(100)
    np.testing.assert_array_equal(read_draws(RunFolder.open(made)).scale, whole[[0, 2]])


def test_reopened_runs_keep_full_blocks(tiny):
    path = synthetic_run(tiny / "made", tiny / "tiny.csv", ["y"])  # one block: it may be short
    with RunFolder.open(path, write=True) as folder:
        folder.reopen("sample")
        assert (folder.steps("sample"), folder.phase("sample").restore()) == (0, None)
        sink = folder.phase("sample")
        for steps in (100, 200, 250):
            sink.block(steps, {"t": np.arange(steps % 100 or 100)}, {"at": np.array(steps)})
        folder.reopen("sample")
        assert folder.steps("sample") == 200
        folder.reopen("sample")
        assert folder.steps("sample") == 200
        steps, state = sink.restore()
        assert (steps, state["at"]) == (200, 200)
    assert sorted(os.listdir(path / "blocks")) == ["000000.npz", "000001.npz", "000002.npz"]


def test_target_names_with_commas(tiny, refused):
    Path("odd.csv").write_text('"=a, b",x\n1,2\n2,3\n3,5\n')
    assert "'=a'" in refused("learn", "odd.csv", "--target", "=a, b")
    assert "steps is 0" in refused("learn", "odd.csv", "--target", '"=a, b"', "--steps", "0")


# ---- what must be light


def test_help(heatbath):
    answer = heatbath()
    assert answer.code == 0
    assert answer.out == heatbath("--help").out
    assert heatbath("--version").code == 0
    assert "--target" in heatbath("learn", "--help").out


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--help"],
        ["learn", "--help"],
        ["evidence", "--help"],
        ["resume", "--help"],
        ["predict", "made", "tiny.csv"],
        ["report", "nothing"],
        ["learn", "tiny.csv", "--target", "q"],
    ],
)
def test_no_jax(made, tiny, arguments):
    code = (
        "import sys, heatbath.cli as c; from heatbath.cli.answer import run_verb\n"
        "code = run_verb(c.group, sys.argv[1:])\n"
        "heavy = [m for m in ('jax', 'equinox', 'matplotlib', 'pandas') if m in sys.modules]\n"
        "assert not heavy, heavy\n"
        "assert code in (0, 2), code"
    )
    subprocess.run([sys.executable, "-c", code, *arguments], cwd=tiny, check=True, capture_output=True)


def test_report_needs_no_jax(sampled, tmp_path):
    shutil.copytree(sampled / "run", tmp_path / "run")
    code = (
        "import sys, heatbath.cli as c; from heatbath.cli.answer import run_verb\n"
        "assert run_verb(c.group, ['report', 'run']) == 0\n"
        "assert 'jax' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True, capture_output=True)


def test_help_brings_only_click():
    code = "import atexit, sys; before = set(sys.modules); atexit.register(lambda: print('\\n', *{"
    code += "m.split('.')[0] for m in set(sys.modules) - before} - sys.stdlib_module_names)); "
    code += "from heatbath.cli import main; main()"
    answer = subprocess.run(
        [sys.executable, "-c", code, "--help"], check=True, capture_output=True, text=True
    )
    assert set(answer.stdout.splitlines()[-1].split()) == {"click", "heatbath"}
