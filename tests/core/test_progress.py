"""What a run shows while it runs, and that showing it in many chunks compiles nothing anew."""

import sys

import pytest

from heatbath.core import Constant, Control, simulate
from heatbath.core import progress as module
from heatbath.core.progress import Progress
from heatbath.dynamics import OverdampedLangevin
from heatbath.systems import HarmonicTrap


@pytest.fixture
def clock(monkeypatch):
    """A clock that is set by hand: clock(seconds)."""
    now = [0.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    return lambda seconds: now.__setitem__(0, seconds)


def test_a_plain_line_every_ten_seconds(clock, capsys):
    bar = Progress("sampling")
    for second in range(31):
        clock(float(second))
        bar.update(100 * second + 100, 10_000, -12.5, 1.0, 3, 4)
    bar.close()
    lines = capsys.readouterr().err.splitlines()
    assert lines == [
        f"sampling: step {step:,}/10,000 | energy -12.5 | temperature 1 | replicas 3/4 | {left} s left"
        for step, left in ((300, 97), (1_300, 87), (2_300, 77))
    ]


def test_a_short_run_shows_nothing(clock, capsys):
    bar = Progress()
    clock(1.9)
    bar.update(1, 2, 0.0, 1.0, 1, 1)
    assert capsys.readouterr().err == ""


def test_a_live_line_on_a_terminal(clock, capsys, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    bar = Progress("sampling")
    for second in (0.0, 3.0, 6.0):
        clock(second)
        bar.update(int(second) + 1, 13, -1.0, 2.0, 4, 4)
    bar.close()
    assert "step 7/13 | energy -1 | temperature 2 | replicas 4/4 | 6 s left" in " ".join(
        capsys.readouterr().err.split()
    )


def test_one_compilation_whatever_the_chunks(monkeypatch):
    """The energy is traced as often in one chunk as in twelve."""

    def traces(seconds: float) -> int:
        count = []

        class Counted(HarmonicTrap):
            def energy(self, position, couplings, items=None):
                count.append(1)
                return super().energy(position, couplings, items)

        monkeypatch.setattr(sys.modules["heatbath.core.driver"], "CHUNK_SECONDS", seconds)
        rest = Constant(Control(1.0, {"stiffness": 1.0, "centre": 0.0}))
        simulate(Counted(2), OverdampedLangevin(0.1), rest, key=0, replicas=2, steps=12, progress=False)
        return len(count)

    assert traces(1e-9) == traces(1e9) > 0
