"""The command line called in this process, a tiny table, and a run folder that was made without sampling."""

import json
import re
import signal
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from heatbath.cli import group
from heatbath.cli.answer import run_verb
from heatbath.data import read_table
from heatbath.learning.problem import Problem, configuration, regression_problem
from heatbath.learning.settings import Settings
from heatbath.store import RunFolder

HEADERS = {1: "a,b,y", 2: "a,b,y,z"}


@dataclass
class Answer:
    code: int
    out: str
    err: str


@pytest.fixture
def heatbath(capsys):
    """Call a verb: `heatbath("learn", ...)`. Signal handlers are put back."""
    old = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def call(*arguments) -> Answer:
        code = run_verb(group, [str(argument) for argument in arguments])
        return Answer(code, *capsys.readouterr())

    yield call
    for number, handler in old.items():
        signal.signal(number, handler)


@pytest.fixture
def refused(heatbath):
    """Call a verb that must refuse: the message, after its form was checked."""

    def call(*arguments, code: int = 2) -> str:
        answer = heatbath(*arguments)
        assert answer.code == code, answer
        assert answer.out == ""
        assert answer.err.startswith("error: ")
        assert answer.err.count("\n") == 1
        assert len(answer.err) <= 301
        assert answer.err[:-1].isprintable()
        return answer.err

    return call


def documented(root: Path, command: str) -> dict:
    """The example of ``command``'s answer in docs/command_line.md."""
    text = (root / "docs" / "command_line.md").read_text(encoding="utf-8")
    found = re.search(re.escape(command) + r"`[^`]*```json\n(.*?)```", text, re.DOTALL)
    assert found is not None
    return json.loads(found[1])


def write_table(path: Path, targets: int = 1, rows: int = 40) -> Path:
    rng = np.random.default_rng(0)
    a, b = rng.uniform(-2, 2, (2, rows))
    y = np.sin(a) + 0.3 * b + 0.1 * rng.normal(size=rows)
    columns = np.stack([a, b, y, y**2][: 2 + targets], axis=1)
    np.savetxt(path, columns, delimiter=",", header=HEADERS[targets], comments="")
    return path


@pytest.fixture
def tiny(tmp_path, monkeypatch) -> Path:
    """The current folder, with tiny.csv (inputs a, b; target y) in it."""
    monkeypatch.chdir(tmp_path)
    write_table(tmp_path / "tiny.csv")
    return tmp_path


def synthetic_run(path: Path, table: Path, targets: list[str], saves: int = 6, **changes) -> Path:
    """A run folder as `learn` makes it, with random numbers for samples."""
    return synthetic(path, regression_problem(read_table(table), targets, table.stem), saves, **changes)


def synthetic(path: Path, problem: Problem, saves: int = 6, **changes) -> Path:
    settings = Settings(hidden=(4,), replicas=3, steps=20 * max(saves, 1))
    config = {**configuration(problem, settings), **changes}
    rng = np.random.default_rng(1)
    inputs, outputs = problem.inputs.shape[1], problem.outputs
    shapes = {
        "weights/0/w": (inputs, 4),
        "weights/0/b": (4,),
        "weights/1/w": (4, outputs),
        "weights/1/b": (outputs,),
        "log_noise": (outputs,),
        "log_precision": (3 + inputs,),
    }
    if problem.classes:
        del shapes["log_noise"]
    records = {
        f"sample/{name}": rng.normal(size=(saves, 3, *shape)).astype(np.float32)
        for name, shape in shapes.items()
    }
    with RunFolder.create(path, config, {"seed": 0}, problem.arrays()) as folder:
        folder.phase("anneal").block(300, {"potential": np.zeros((300, 3))}, {"x": np.zeros(3)})
        folder.save_tuned({"x": np.ones(3)})
        if saves:
            folder.phase("sample").block(20 * saves, records, {"x": np.zeros(3)})
    return path


@pytest.fixture
def made(tiny) -> Path:
    """A run on tiny.csv that was made without sampling: its draws are random numbers."""
    return synthetic_run(tiny / "made", tiny / "tiny.csv", ["y"])
