"""Correlation against response of an overdamped mode that relaxes after a quench: exact at finite step."""

import math

import numpy as np
import pytest

from heatbath.errors import Refused
from heatbath.thermometry import effective_temperature, two_time_correlation
from thermometry.quadratic import assert_close

K, ETA, T = 1.0, 0.05, 0.5
FACTOR = 1 - ETA * K
STATIONARY = 2 * ETA * T / (1 - FACTOR**2)


def quench(start_variance, pulse, replicas=20_000, steps=40, d=2, seed=0, bath=T):
    """Runs with and without the pulse, with the same random numbers; and the force."""
    rng = np.random.default_rng(seed)
    x = math.sqrt(start_variance) * rng.standard_normal((replicas, d))
    y, xs, ys = x, [], []
    force = 0.1 * rng.choice([-1.0, 1.0], size=(replicas, d))
    for s in range(steps):
        xs.append(x)
        ys.append(y)
        noise = math.sqrt(2 * ETA * bath) * rng.standard_normal(x.shape)
        x = FACTOR * x + noise
        y = FACTOR * y + noise + (ETA * force if pulse[0] <= s < pulse[1] else 0.0)
    return np.stack(xs, axis=1), np.stack(ys, axis=1), force


def variance_at(s, start):
    return STATIONARY + FACTOR ** (2 * s) * (start - STATIONARY)


def exact(start, pulse):
    """[C(t, e) - C(t, s)]/R(t), the same at all t: a^m and geometric sums."""
    (s, e), m = pulse, pulse[1] - pulse[0]
    gain = variance_at(e, start) - FACTOR**m * variance_at(s, start)
    return gain / (ETA * (1 - FACTOR**m) / (1 - FACTOR))


@pytest.mark.parametrize("pulse", [(4, 5), (4, 12), (20, 30)])
@pytest.mark.parametrize("start", [2.0, 0.1])
def test_after_a_quench(start, pulse):
    found = effective_temperature(*quench(start, pulse), pulse)
    assert len(found.temperature) == 40 - pulse[1]
    for t in (0, 5):
        assert_close(found.temperature[t], exact(start, pulse))
        gap = pulse[1] - pulse[0]
        response = ETA * FACTOR**t * (1 - FACTOR**gap) / (1 - FACTOR)
        assert found.response[t].value == pytest.approx(response, rel=1e-9)


def test_limits():
    """A short pulse at a small step reads 2 T - k S(s); in the stationary state the configurational one."""
    assert exact(STATIONARY, (4, 9)) == pytest.approx(K * STATIONARY)
    s = variance_at(4, 2.0)
    assert exact(2.0, (4, 5)) == pytest.approx(2 * T - K * s, abs=2 * ETA * K * s)
    found = effective_temperature(*quench(STATIONARY, (4, 9)), (4, 9))
    assert_close(found.temperature[0], K * STATIONARY)


@pytest.mark.teeth
def test_a_bath_a_tenth_too_hot_is_seen():
    found = effective_temperature(*quench(1.1 * STATIONARY, (4, 24), bath=1.1 * T), (4, 24))
    assert found.temperature[0].value - K * STATIONARY > 5 * found.temperature[0].std_error


def test_two_time_correlation():
    x, _, _ = quench(2.0, (4, 5))
    found = two_time_correlation(x)
    assert found.shape == (40, 40)
    for t, s in ((0, 0), (10, 10), (20, 10)):
        assert found[t, s] == pytest.approx(FACTOR ** (t - s) * variance_at(s, 2.0), rel=0.04)


def test_unresolved_response_and_bad_input():
    x, y, force = quench(1.0, (4, 5), replicas=60)
    other = np.random.default_rng(1).standard_normal(y.shape)
    assert "not resolved" in effective_temperature(x, other, force, (4, 5)).temperature[0].reason
    with pytest.raises(Refused, match="start < end"):
        effective_temperature(x, y, force, (5, 5))
    with pytest.raises(Refused, match="one replica"):
        two_time_correlation(x[:1])
    with pytest.raises(Refused, match="pulse = 5"):
        effective_temperature(x, y, force, 5)
