"""Both sides of the relation for every optimizer, the test of stationarity and the schedule."""

import math

import numpy as np
import pytest

from heatbath.errors import Refused
from heatbath.thermometry import (
    Schedule,
    fluctuation_dissipation_of_positions,
    fluctuation_dissipation_relation,
    quadratic_fluctuation_dissipation,
)
from thermometry.quadratic import C, H, assert_close, sgd, stationary


def trained(momentum, nesterov, eta=0.1, replicas=50, steps=3_000, seed=0):
    """Iterates of torch's SGD on the quadratic, after a burn-in; (replicas, steps + 1, d)."""
    rng = np.random.default_rng(seed)
    kick = np.linalg.cholesky(C).T
    x, v, out = np.zeros((replicas, 2)), np.zeros((replicas, 2)), []
    for t in range(400 + steps + 1):
        if t >= 400:
            out.append(x)
        g = x @ H + rng.standard_normal(x.shape) @ kick
        v = momentum * v + g
        x = x - eta * (g + momentum * v if nesterov else v)
    return np.stack(out, axis=1)


@pytest.mark.parametrize(("momentum", "nesterov"), [(0.0, False), (0.9, False), (0.9, True)])
def test_relation_holds_for_every_optimizer(momentum, nesterov):
    x = trained(momentum, nesterov)
    found = fluctuation_dissipation_of_positions(x, 0.1)
    assert_close(found.ratio, 1.0)
    assert found.p_value > 1e-5
    thinned = fluctuation_dissipation_relation(*sides(x, 0.1, every=5), 0.1, every=5)
    assert_close(thinned.ratio, 1.0)
    assert thinned.ratio.std_error > 3 * found.ratio.std_error


@pytest.mark.teeth
def test_yaidas_own_form_fails_for_nesterov():
    """<theta.g> against the velocity form is 12 % off there; the test must see it."""
    rng = np.random.default_rng(1)
    eta, mu, kick = 0.2, 0.9, np.linalg.cholesky(C).T
    x, v, left, right = np.zeros((400, 2)), np.zeros((400, 2)), [], []
    for t in range(1_000):
        g = x @ H + rng.standard_normal(x.shape) @ kick
        v = mu * v + g
        if t >= 300:
            left.append(np.sum(x * g, axis=1))
            right.append((1 + mu) * np.sum(v**2, axis=1))
        x = x - eta * (g + mu * v)
    a, b = (np.stack(s, axis=1)[:, ::10] for s in (left, right))
    ratio = fluctuation_dissipation_relation(a, b, eta, every=10).ratio
    assert abs(ratio.value - 1) > 6 * ratio.std_error


def sides(x, eta, every=1):
    u = (x[:, :-1] - x[:, 1:]) / eta
    return np.sum(x[:, :-1] * u, axis=2)[:, ::every], np.sum(u**2, axis=2)[:, ::every]


@pytest.mark.parametrize(
    ("replicas", "steps", "every"),
    [
        (1, 2_000, 1),
        pytest.param(8, 300, 1, marks=pytest.mark.slow),
        pytest.param(4, 2_000, 10, marks=pytest.mark.slow),
    ],
)
def test_false_alarms_are_at_the_stated_level(replicas, steps, every):
    """1,000 stationary quadratics at level 0.05: between 3 and 7 % rejected (a right test is outside of that
    once in 270; the seed is fixed)."""
    eta, h = 0.5, np.diag([0.2, 0.5, 1.0])
    rejected, ratios = 0, []
    for batch in range(10):
        x = sgd(h, np.eye(3), eta, 100 * replicas, steps + 1, seed=batch)
        for i in range(100):
            one = x[i * replicas : (i + 1) * replicas]
            found = fluctuation_dissipation_relation(*sides(one, eta, every), eta, every=every)
            rejected += not found.stationary
            ratios.append((found.ratio.value - 1) / found.ratio.std_error)
    assert 30 <= rejected <= 70
    assert np.std(ratios) == pytest.approx(1, abs=0.12)  # 5 errors of a standard deviation of 1,000


@pytest.mark.teeth
def test_power_on_a_run_that_starts_a_tenth_too_hot():
    """A layer of 1,000 parameters, 16 replicas, a window of about two relaxation times: above 95 % rejected.
    The information about a slow layer is its number of parameters times replicas, not the number of steps."""
    eta, h = 0.1, np.linspace(0.5, 1.0, 1_000)
    variance = eta / (h * (2 - eta * h))
    rejected = 0
    for seed in range(100):
        rng = np.random.default_rng(seed)
        x = [np.sqrt(1.1 * variance) * rng.standard_normal((16, 1_000))]
        for _ in range(16):
            x.append(x[-1] - eta * (h * x[-1] + rng.standard_normal(x[-1].shape)))
        rejected += not fluctuation_dissipation_of_positions(np.stack(x, axis=1), eta).stationary
    assert rejected >= 95


def test_second_relation_on_a_quadratic():
    eta = 1.2
    x = sgd(H, C, eta, 64, 2_000, seed=3)
    g = x[:, :-1] @ H
    used = (x[:, :-1] - x[:, 1:]) / eta
    found = quadratic_fluctuation_dissipation(
        np.sum(g**2, axis=2), np.einsum("rti,ij,rtj->rt", used, H, used), eta
    )
    assert_close(found, 1.0)
    exact = np.trace(H @ stationary(np.eye(2) - eta * H, eta**2 * C) @ H)
    assert np.mean(np.sum(g**2, axis=2)) == pytest.approx(exact, rel=0.02)


def test_schedule_lowers_the_rate_once_the_loss_has_stopped_falling():
    rng = np.random.default_rng(0)
    h = np.linspace(0.1, 1, 20)
    schedule = Schedule(0.2, factor=0.5, window=200)
    x, rates = np.full(20, 30.0), []
    for _ in range(20_000):
        u = h * x + rng.standard_normal(20)
        rate = schedule.step_size
        before, x = x, x - rate * u
        schedule.update(before @ u, u @ u)
        rates.append(rate)
    rates = np.array(rates)
    first_drop = int(np.argmax(rates < 0.2))
    assert first_drop > math.log(30) / (0.2 * 0.1)  # not before the slowest mode has come down
    assert rates[-1] <= 0.05
    assert set(np.log2(rates / 0.2)) <= set(range(-20, 1))


def test_a_schedule_outlives_steps_that_break_or_do_not_move():
    for sides in ((math.nan, 1.0), (0.0, 0.0)):
        schedule = Schedule(0.1, window=8)
        assert [schedule.update(*sides) for _ in range(40)] == [0.1] * 40


def test_bad_input_is_refused():
    with pytest.raises(Refused, match="do not move"):
        fluctuation_dissipation_relation(np.zeros((1, 10)), np.zeros((1, 10)), 0.1)
    with pytest.raises(Refused, match="one shape"):
        fluctuation_dissipation_relation(np.ones((1, 10)), np.ones((1, 9)), 0.1)
    with pytest.raises(Refused, match="step_size"):
        fluctuation_dissipation_of_positions(np.ones((1, 10, 2)), -0.1)
    with pytest.raises(Refused, match="every = 0"):
        fluctuation_dissipation_relation(np.ones((1, 10)), np.ones((1, 10)), 0.1, every=0)
    with pytest.raises(Refused, match="level = 7"):
        fluctuation_dissipation_relation(np.ones((1, 10)), np.ones((1, 10)), 0.1, level=7)
    with pytest.raises(Refused, match="factor"):
        Schedule(0.1, factor=2.0)
    for window in (7, math.nan, math.inf, "abc", None):
        with pytest.raises(Refused, match="window = "):
            Schedule(0.1, window=window)
    for sides in (("a", 3.0), (np.ones(2), 3.0), (1.0, -3.0)):
        with pytest.raises(Refused, match="u2"):
            Schedule(0.1).update(*sides)
    with pytest.raises(Refused, match="not the state of a Schedule"):
        Schedule(0.1).load_state_dict({})
