"""Bounds from work: the dragged trap in closed form, and simulated runs of every kind of step.

False alarms: simulated bounds are compared with exact ones at 4.5 standard errors (7e-6 each); fixed seeds.
"""

import json

import numpy as np
import pytest

from heatbath.core import Control, Linear, simulate
from heatbath.dynamics import OverdampedLangevin
from heatbath.errors import Refused
from heatbath.estimate import Estimate
from heatbath.relaxation import LinearChain, dissipation_bound, speed_limit, wasserstein_distance
from heatbath.systems import HarmonicTrap
from heatbath.theory.gaussian import divergence


@pytest.mark.parametrize(("time", "bound"), [("0.2", 0.01873), ("1", 0.3679), ("5", 4.0067)])
def test_lag_of_the_dragged_trap(shared, time, bound):
    """k = friction = T = v = 1: the mean lags by 1 - e^-t, and work t - (1 - e^-t) bounds it (section 4)."""
    cases = json.loads((shared / "physics" / "fluctuation_cases.json").read_text())
    t = float(time)
    lag = divergence([1 - np.exp(-t)], [[1.0]], [0.0], [[1.0]])
    assert lag == pytest.approx(cases[f"dragged trap t={time}: T D(lag)"], rel=1e-10)
    work = t - (1 - np.exp(-t))
    assert work == pytest.approx(bound, rel=3e-4)
    found = dissipation_bound(np.full(20, work), 0.0)
    assert lag <= found.value


@pytest.mark.parametrize(
    ("duration", "transport", "lag", "work"),
    [(1.0, 0.444444, 0.888889, 1.333333), (5.0, 0.408163, 0.163265, 0.571429)],
)
def test_speed_limit_is_an_equality_for_the_optimal_drag(duration, transport, lag, work):
    """The printed digits of section 4; then the linear drag, which dissipates more."""
    end, least = 2 * duration / (duration + 2), 4 / (duration + 2)  # Schmiedl and Seifert 2007
    distance = wasserstein_distance([0.0], [[1.0]], [end], [[1.0]])
    assert speed_limit(distance, duration) == pytest.approx(transport, abs=6e-7)
    away = divergence([end], [[1.0]], [2.0], [[1.0]])
    assert away == pytest.approx(lag, abs=6e-7)
    assert speed_limit(distance, duration, lag=away) == pytest.approx(least, rel=1e-12)
    assert least == pytest.approx(work, abs=6e-7)
    v = 2.0 / duration
    linear = v**2 * (duration - 1 + np.exp(-duration))
    mean = 2.0 - v * (1 - np.exp(-duration))
    after = wasserstein_distance([0.0], [[1.0]], [mean], [[1.0]])
    assert speed_limit(after, duration, lag=(2.0 - mean) ** 2 / 2) < linear


def breathing(step: float, moves: int, start: tuple[float, float]) -> tuple[float, float, float, float]:
    """Euler-Maruyama in a trap whose stiffness rises from 1 to 2 in ``moves``, at T = 1, from N(start), steps
    and jumps as `simulate` has them: exact mean of work + shadow work, and the law at the end."""
    mean, variance = start
    total, stiffness = 0.0, np.linspace(1.0, 2.0, moves + 1)
    for i, k in enumerate(stiffness):
        if i:
            total += (k - stiffness[i - 1]) * (variance + mean**2) / 2
        before = variance + mean**2
        mean, variance = (1 - k * step) * mean, (1 - k * step) ** 2 * variance + 2 * step
        total += step * k**2 / 4 * (variance + mean**2 - before)
    d = divergence([mean], [[variance]], [0.0], [[0.5]])
    return total, mean, variance, d


@pytest.mark.parametrize("start", [(0.0, 1.0), (1.5, 0.3)])
def test_the_bound_holds_with_shadow_work_from_any_start(start):
    """Exactly, at 10 to 80 % of the stability limit: the step's own error is counted, and so is a start away
    from equilibrium by its divergence; without it the bound of such a start would fail."""
    free_energy = np.log(2) / 2
    begin = divergence([start[0]], [[start[1]]], [0.0], [[1.0]])
    for step in (0.1, 0.4, 0.8):
        for moves in (1, 5, 40):
            work, _, _, d = breathing(step, moves, start)
            assert d <= dissipation_bound(np.full(20, work), free_energy, start=begin).value
    if begin > 0:
        work, _, _, d = breathing(0.1, 1, start)
        assert d > dissipation_bound(np.full(20, work), free_energy).value


def test_the_simulated_ledger_gives_the_bound():
    """Smallest fault it must catch: shadow work left out, 0.077 nats here, at 5 standard errors."""
    step, moves, replicas = 0.4, 5, 4_000
    rng = np.random.default_rng(0)
    run = simulate(
        HarmonicTrap(1),
        OverdampedLangevin(step),
        Linear(
            Control(1.0, {"stiffness": 1.0, "centre": 0.0}),
            Control(1.0, {"stiffness": 2.0, "centre": 0.0}),
            moves,
        ),
        key=1,
        replicas=replicas,
        steps=moves + 1,
        observers={},
        positions=rng.normal(size=(replicas, 1)),
    )
    assert run.ledger is not None
    bound = dissipation_bound(np.asarray(run.ledger.reduced_work), np.log(2) / 2)
    work, _, _, d = breathing(step, moves, (0.0, 1.0))
    assert bound.reliable
    assert abs(bound.value - (work - np.log(2) / 2)) < 4.5 * bound.std_error
    assert d < bound.value
    protocol = dissipation_bound(np.asarray(run.ledger.work), np.log(2) / 2)
    assert abs(protocol.value - bound.value) > 5 * protocol.std_error


def test_what_the_bound_says_of_itself():
    rng = np.random.default_rng(0)
    work = rng.normal(1.0, 0.5, 200)
    unsure = dissipation_bound(work, Estimate(0.2, 0.3, reliable=False, reason="tail not sampled"))
    assert unsure.std_error == pytest.approx(np.hypot(0.3, work.std(ddof=1) / np.sqrt(200)))
    assert not unsure.reliable
    assert "tail not sampled" in unsure.reason
    assert "wrong" in dissipation_bound(-work, 0.0).reason
    assert "replicas" in dissipation_bound(work[:5], 0.0).reason
    with pytest.raises(Refused, match="not finite"):
        dissipation_bound([1.0, np.nan], 0.0)
    with pytest.raises(Refused, match="two or more"):
        dissipation_bound([1.0], 0.0)
    with pytest.raises(Refused, match="free_energy"):
        dissipation_bound(work, Estimate(np.nan, 0.0, reliable=False, reason="none"))


def test_a_linear_chain_says_the_same_of_the_end():
    """The recursion of this file against `LinearChain` at the last stiffness."""
    _, mean, variance, _ = breathing(0.3, 1, (0.5, 0.8))
    first = LinearChain(np.array([[0.7]]), np.array([[0.6]]), np.zeros(1)).after(1, [0.5], [[0.8]])
    second = LinearChain(np.array([[0.4]]), np.array([[0.6]]), np.zeros(1)).after(1, *first)
    np.testing.assert_allclose([second[0][0], second[1][0, 0]], [mean, variance], rtol=1e-12)
