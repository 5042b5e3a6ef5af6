"""The thermometer's core against exact stationary states, and its bookkeeping.

Simulated: COPIES independent copies of the two-dimensional case of H and C below, stationary from the start,
as one layer. A test of a value fails a right program with probability 1e-5 (Student's t with the blocks it
has).
"""

import json

import numpy as np
import pytest
from scipy.linalg import solve_discrete_lyapunov
from scipy.stats import binom
from scipy.stats import t as student

from heatbath.errors import Refused
from heatbath.thermometry.statistics import (
    MOST_BLOCKS,
    QUANTITIES,
    Statistics,
    micro_batch_estimates,
    observation,
)
from heatbath.thermometry.summary import INVARIANT, RATE_MOVES, RELAXING, STATIONARY, STILL, TOO_FEW

H = np.array([[1.0, 0.3], [0.3, 0.5]])
C = np.array([[0.4, -0.2], [-0.2, 0.9]])
COPIES = 64
CASES = {"plain": (1.2, 0.0, False), "momentum": (0.1, 0.9, False), "nesterov": (0.2, 0.9, True)}
SLOW = {"slow": (0.01, 0.0, False)}  # takes 300 steps to relax


def chain(eta: float, mu: float, nesterov: bool) -> tuple[np.ndarray, np.ndarray]:
    """(theta, v) -> M (theta, v) + N xi of one step of torch.optim.SGD, xi of covariance C."""
    one, kick = np.eye(2), (1 + mu) if nesterov else 1.0
    pull = mu**2 if nesterov else mu
    moved = np.hstack([one - eta * kick * H, -eta * pull * one])
    return np.vstack([moved, np.hstack([H, mu * one])]), np.vstack([-eta * kick * one, one])


def exact_update_squared(eta: float, mu: float, nesterov: bool) -> float:
    """<|u|^2> of two dimensions in the stationary state, from the covariance of (theta, v)."""
    m, n = chain(eta, mu, nesterov)
    s = solve_discrete_lyapunov(m, n @ C @ n.T)
    change = (np.hstack([np.eye(2), np.zeros((2, 2))]) - m[:2]) / eta
    return float(np.trace(change @ s @ change.T) + np.trace(n[:2] @ C @ n[:2].T) / eta**2)


def simulate(
    case: str, steps: int, seed: int = 0, start: float = 1.0, copies: int = COPIES
) -> dict[str, np.ndarray]:
    """theta, u, g and v' of every step, each (steps, copies x 2); ``start`` multiplies the stationary
    state."""
    eta, mu, nesterov = (CASES | SLOW)[case]
    rng = np.random.default_rng(seed)
    m, n = chain(eta, mu, nesterov)
    root = np.linalg.cholesky(solve_discrete_lyapunov(m, n @ C @ n.T) + 1e-12 * np.eye(4))
    theta, v = np.split(start * rng.normal(size=(copies, 4)) @ root.T, 2, axis=1)
    noise = rng.normal(size=(steps, copies, 2)) @ np.linalg.cholesky(C).T
    seen = {name: np.empty((steps, copies * 2)) for name in ("theta", "u", "g", "v")}
    for t in range(steps):
        g = theta @ H + noise[t]
        v = mu * v + g
        u = g + mu * v if nesterov else v
        for name, value in (("theta", theta), ("u", u), ("g", g), ("v", v)):
            seen[name][t] = value.ravel()
        theta = theta - eta * u
    return seen


def rows(seen: dict[str, np.ndarray], eta: float, update: str = "u") -> np.ndarray:
    """Observations (steps, 1 layer, quantities)."""
    change, none = eta * seen[update], np.full((len(seen["u"]), 1), np.nan)

    def dots(a, b):
        return (a * b).sum(axis=1, keepdims=True)

    theta, g = seen["theta"], seen["g"]
    pulls = dots(theta, g), dots(g, g), dots(theta, theta)
    return observation(dots(theta, change), dots(change, change), *pulls, none, none, eta, 0.0)


def filled(observations: np.ndarray, size: int = 2 * COPIES) -> Statistics:
    layers = tuple(f"layer {i}" for i in range(observations.shape[1]))
    statistics = Statistics(layers, (size,) * len(layers))
    statistics.add(observations)
    return statistics


def agrees(estimate, exact: float) -> None:
    limit = student.isf(0.5e-5, estimate.ess - 1)
    assert abs(estimate.value - exact) < limit * estimate.std_error
    assert estimate.std_error < 0.02 * abs(exact), "the test sees nothing"


@pytest.mark.parametrize("case", CASES)
def test_exact_stationary_states(case):
    eta = CASES[case][0]
    row = filled(rows(simulate(case, 4_000), eta)).summary(discard=0).rows[0]
    agrees(row.ratio, 1.0)
    agrees(row.temperature, eta * exact_update_squared(*CASES[case]) / 4)
    assert row.verdict == STATIONARY


def test_virial_temperature_with_momentum():
    """<theta.g> = (1 + mu) <theta.u> (Yaida 2018, his first relation, no dampening)."""
    eta, mu, _ = CASES["momentum"]
    row = filled(rows(simulate("momentum", 4_000), eta)).summary(discard=0).rows[0]
    agrees(row.virial_temperature, (1 + mu) * eta * exact_update_squared(*CASES["momentum"]) / 4)


@pytest.mark.parametrize("case", ["A.cov.momentum.mu0.9", "D.fdr.d2-big"])
def test_reference_numbers(shared, case):
    known = json.loads((shared / "physics" / "sgd_cases.json").read_text())
    known = known if isinstance(known, list) else known["cases"]
    expected = next(c for c in known if c["id"] == case)["expected"]["OR"]
    name = "momentum" if "momentum" in case else "plain"
    eta, mu, _ = CASES[name]
    assert (1 + mu) * eta / 2 * exact_update_squared(*CASES[name]) == pytest.approx(expected, rel=1e-9)


@pytest.mark.teeth
def test_nesterov_with_the_velocity_for_the_update_is_caught():
    """Yaida's own form with v' in the place of u is off by 13 % for Nesterov."""
    seen = simulate("nesterov", 4_000)
    assert filled(rows(seen, CASES["nesterov"][0], update="v")).summary(discard=0).rows[0].verdict == RELAXING


@pytest.mark.teeth
@pytest.mark.parametrize(("case", "fault"), [("plain", 1.03), ("momentum", 1.12), ("nesterov", 1.04)])
def test_a_ratio_that_is_off_is_caught(case, fault):
    """Momentum makes neighbouring blocks anticorrelated; batch means are then too careful."""
    seen = rows(simulate(case, 4_000), CASES[case][0])
    seen[..., QUANTITIES.index("right")] *= fault
    assert filled(seen).summary(discard=0, level=1e-5).rows[0].verdict == RELAXING


def test_false_alarms():
    """Of 300 stationary runs, every fifth step observed, at most a share of 0.05 is called relaxing; the test
    fails a right program with probability 1e-5."""
    alarms = 0
    for seed in range(300):
        seen = rows(simulate("plain", 1_280, seed, copies=4), CASES["plain"][0])[::5]
        row = filled(seen, 8).summary(discard=0, level=0.05).rows[0]
        alarms += row.verdict == RELAXING
    assert alarms <= binom.isf(1e-5, 300, 0.05)


def test_a_relaxing_start_is_told():
    seen = simulate("slow", 300, start=5.0)
    assert filled(rows(seen, SLOW["slow"][0])).summary(discard=0).rows[0].verdict == RELAXING


def random_rows(steps: int, seed: int = 0) -> np.ndarray:
    shape = (steps, 2, len(QUANTITIES))
    rows = np.random.default_rng(seed).uniform(0.5, 1.5, shape).round(8)
    rows[..., QUANTITIES.index("broken")] = 0
    return rows


def test_memory_is_bounded_and_nothing_is_lost():
    seen = random_rows(3_333)
    statistics = filled(seen)
    series = statistics.series[0]
    assert len(series.blocks) < MOST_BLOCKS
    assert series.length == 32
    np.testing.assert_allclose(series.blocks.sum(axis=0) + series.open, seen.sum(axis=0))
    assert statistics.observations == 3_333


def test_merge_is_associative():
    a, b, c = (filled(random_rows(n, n)) for n in (40, 300, 777))
    left, right = a.merge(b).merge(c), a.merge(b.merge(c))
    assert left.state_dict() == right.state_dict()
    assert str(left.summary()) == str(right.summary())
    assert a.observations == 40
    both = a.merge(a).summary(discard=0).rows[0].temperature
    alone = a.summary(discard=0).rows[0].temperature
    assert both.value == pytest.approx(alone.value)
    assert both.std_error == pytest.approx(alone.std_error / np.sqrt(2), rel=0.1)


def test_a_resumed_run_is_the_same():
    seen = random_rows(1_000)
    first = filled(seen[:617])
    second = Statistics(first.layers, first.sizes).load_state_dict(json.loads(json.dumps(first.state_dict())))
    for row in seen[617:]:
        second.add(row)
    assert second.state_dict() == filled(seen).state_dict()


def test_merging_another_model_is_refused():
    with pytest.raises(Refused, match="another model"):
        filled(random_rows(4)).merge(Statistics(("layer 0",), (3,)))
    with pytest.raises(Refused, match="another model"):
        filled(random_rows(4)).load_state_dict(Statistics(("other",), (3,)).state_dict())
    with pytest.raises(Refused, match="another version"):
        filled(random_rows(4)).load_state_dict({"format": 0})
    with pytest.raises(Refused, match="no parameters"):
        Statistics((), ())


def one(change: float, squared: float, eta: float = 0.1, pull: float = 0.3) -> np.ndarray:
    values = (np.array([x]) for x in (change, squared, pull, 1.0, 1.0, np.nan, np.nan))
    return observation(*values, np.array([eta]), 0.0)


def test_verdicts():
    rng = np.random.default_rng(0)
    few = filled(np.stack([one(0.1 * rng.normal(), 0.01) for _ in range(10)]), 1)
    assert few.summary().rows[0].verdict == TOO_FEW
    assert Statistics(("a",), (1,)).summary().rows[0].verdict == TOO_FEW
    down = [one(0.05 + 0.001 * rng.normal(), 0.01) for _ in range(32)]
    early = filled(np.stack(down[:30]), 1).summary()
    assert early.rows[0].verdict == TOO_FEW
    assert "?: too few samples: at least 16 observed steps in use" in str(early)
    late = filled(np.stack(down), 1).summary()
    assert late.rows[0].verdict == RELAXING
    assert "?: still relaxing: not the average of a stationary state" in str(late)
    still = filled(np.stack([one(0.0, 0.0)] * 40), 1)
    assert still.summary().rows[0].verdict == STILL
    moves = filled(np.stack([one(0.005, 0.01, 0.1 if i < 80 else 0.05) for i in range(100)]), 1)
    assert moves.summary().rows[0].verdict == RATE_MOVES
    invariant = filled(np.stack([one(0.005, 0.01, pull=1e-9)] * 100), 1).summary().rows[0]
    assert invariant.verdict == INVARIANT
    assert np.isnan(invariant.temperature.value)
    assert not invariant.temperature.reliable


def test_weight_decay_is_a_force():
    row = observation(
        *(np.array([x]) for x in (0.1, 0.1, 2.0, 1.0, 3.0, np.nan, np.nan)), np.array([0.1]), 0.5
    )
    assert row[0, QUANTITIES.index("virial")] == pytest.approx(2.0 + 0.5 * 3.0)


def test_a_step_that_moved_nothing_and_one_that_is_not_finite_do_not_count():
    assert one(0.0, 0.0)[0, 0] == 0
    row = one(np.inf, 1.0, pull=np.nan)
    assert row[0, 0] == 0
    assert row[0, QUANTITIES.index("gradients")] == 0
    assert np.isfinite(row).all()


def test_clipped_gradients_are_noticed():
    rng = np.random.default_rng(0)
    free, clipped = (Statistics(("a",), (1,)) for _ in range(2))
    for norm in rng.lognormal(size=400):
        free.add(one(0.005, 0.01), [norm])
        clipped.add(one(0.005, 0.01), [min(norm, 2.0)])
    assert free.summary().rows[0].virial_temperature.reason == ""
    refused = clipped.summary().rows[0]
    assert "pile up at 2" in refused.virial_temperature.reason
    assert np.isnan(refused.virial_temperature.value)
    assert refused.ratio.reliable
    assert "pile up" in free.merge(clipped).merge(clipped).summary().rows[0].virial_temperature.reason


def test_micro_batch_estimates_are_unbiased():
    """k = 4 micro-batches of b = 8 Gaussian gradients: mean (1, -2), covariance C; level 1e-5."""
    rng = np.random.default_rng(3)
    mean, k, b = np.array([1.0, -2.0]), 4, 8
    m = mean + rng.normal(size=(40_000, k, 2)) @ np.linalg.cholesky(C).T / np.sqrt(b)
    signal, noise = micro_batch_estimates((m.sum(axis=1) ** 2).sum(axis=1), (m**2).sum(axis=(1, 2)), k, b)
    for found, exact in ((signal, 5.0), (noise, np.trace(C))):
        z = (found.mean() - exact) / (found.std() / np.sqrt(len(found)))
        assert abs(z) < 4.5
        assert found.std() / np.sqrt(len(found)) < 0.01 * exact
