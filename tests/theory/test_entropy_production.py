import numpy as np
import pytest
from scipy.stats import multivariate_normal

from heatbath.errors import Refused
from heatbath.theory import entropy_production as ep
from heatbath.theory.gaussian import chain_covariance

DRIFT = np.array([[1.0, 0.7], [-0.4, 0.8]])
DIFFUSION = np.array([[0.5, 0.1], [0.1, 0.3]])


def test_small_steps_of_the_chain_give_the_diffusion():
    for step, tolerance in ((1e-3, 3e-3), (1e-4, 3e-4)):
        chain = ep.chain_rate(np.eye(2) - step * DRIFT, 2 * step * DIFFUSION)
        assert chain / step == pytest.approx(ep.diffusion_rate(DRIFT, DIFFUSION), rel=tolerance)


def test_zero_exactly_where_the_noise_commutes():
    h = np.diag([1.0, 0.4])
    assert ep.diffusion_rate(h, np.diag([0.2, 0.9])) == pytest.approx(0, abs=1e-13)
    assert ep.chain_rate(np.eye(2) - h, np.diag([0.2, 0.9])) == pytest.approx(0, abs=1e-13)


def test_invariant_under_a_change_of_variables():
    change = np.array([[2.0, 1.0], [0.3, 0.7]])
    back = np.linalg.inv(change)
    moved = ep.diffusion_rate(change @ DRIFT @ back, change @ DIFFUSION @ change.T)
    assert moved == pytest.approx(ep.diffusion_rate(DRIFT, DIFFUSION), rel=1e-11)
    chain, noise = np.eye(2) - 0.2 * DRIFT, 0.4 * DIFFUSION
    moved = ep.chain_rate(change @ chain @ back, change @ noise @ change.T)
    assert moved == pytest.approx(ep.chain_rate(chain, noise), rel=1e-11)


def test_transient_from_rest_is_housekeeping_alone():
    chain, noise = np.eye(2) - 0.2 * DRIFT, 0.4 * DIFFUSION
    rest = ep.transient(chain, noise, np.zeros(2), chain_covariance(chain, noise), 7)
    assert rest.excess == pytest.approx(0, abs=1e-12)
    assert rest.total == pytest.approx(7 * ep.chain_rate(chain, noise), rel=1e-11)


def test_transient_is_the_divergence_of_forward_and_reversed_paths():
    """Two steps of one variable: divergence of the path's law from that of the reverse chain."""
    k, q, mean, variance = 0.6, 0.5, 1.3, 0.2
    result = ep.transient([[k]], [[q]], [mean], [[variance]], 2)
    rng = np.random.default_rng(0)
    x0 = mean + np.sqrt(variance) * rng.normal(size=1_000_000)
    x1 = k * x0 + np.sqrt(q) * rng.normal(size=x0.size)
    x2 = k * x1 + np.sqrt(q) * rng.normal(size=x0.size)
    last_mean, last = k**2 * mean, k**4 * variance + (1 + k**2) * q

    def log_normal(x, m, s):
        return -((x - m) ** 2) / (2 * s) - np.log(2 * np.pi * s) / 2

    forward = log_normal(x0, mean, variance) + log_normal(x1, k * x0, q) + log_normal(x2, k * x1, q)
    reverse = log_normal(x2, last_mean, last) + log_normal(x1, k * x2, q) + log_normal(x0, k * x1, q)
    ratio = forward - reverse
    # False alarms 1e-5; a fault of 4.4 standard errors (0.5 %) is seen.
    assert abs(ratio.mean() - result.total) < 4.4 * ratio.std() / 1e3
    assert result.housekeeping >= -1e-12


def test_bounds_are_below_and_the_best_current_saturates():
    rate = ep.diffusion_rate(DRIFT, DIFFUSION)
    best = ep.current_weights(DRIFT, DIFFUSION)
    assert ep.short_time_bound(DRIFT, DIFFUSION, best) == pytest.approx(rate, rel=1e-12)
    rng = np.random.default_rng(2)
    chain, noise = np.eye(2) - 0.3 * DRIFT, 0.6 * DIFFUSION
    for _ in range(50):
        weights = rng.normal(size=(2, 2))
        assert ep.short_time_bound(DRIFT, DIFFUSION, weights) <= rate * (1 + 1e-12)
        assert ep.step_uncertainty_bound(*ep.step_current(chain, noise, weights)) <= ep.chain_rate(
            chain, noise
        )


def test_step_current_against_sampling():
    """1e6 pairs; mean and variance within 4.4 standard errors (false alarms 1e-5 each)."""
    chain, noise = np.eye(2) - 0.3 * DRIFT, 0.6 * DIFFUSION
    weights = np.array([[0.2, 1.0], [-0.5, 0.4]])
    mean, variance = ep.step_current(chain, noise, weights)
    rng = np.random.default_rng(1)
    x = multivariate_normal(np.zeros(2), chain_covariance(chain, noise)).rvs(1_000_000, random_state=rng)
    y = x @ chain.T + multivariate_normal(np.zeros(2), noise).rvs(1_000_000, random_state=rng)
    current = np.sum((x + y) / 2 @ weights.T * (y - x), axis=1)
    assert abs(current.mean() - mean) < 4.4 * np.sqrt(variance) / 1e3
    squares = (current - mean) ** 2
    assert abs(squares.mean() - variance) < 4.4 * squares.std() / 1e3


def test_three_state_ring_breaks_the_plug_in_bound_and_keeps_this_one():
    p = 0.9
    production = (2 * p - 1) * np.log(p / (1 - p))
    mean, variance = 2 * p - 1, 1 - (2 * p - 1) ** 2
    assert 2 * mean**2 / variance > production
    assert ep.step_uncertainty_bound(mean, variance) < production


@pytest.mark.parametrize(("cold", "hot"), [(1.0, 4.0), (2.0, 2.0)])
def test_two_beads_have_a_closed_form(cold, hot):
    drift, diffusion = ep.bead_spring_chain(2, cold, hot, stiffness=3.0, friction=2.0)
    closed = (hot - cold) ** 2 / (4 * hot * cold) * 1.5
    assert ep.diffusion_rate(drift, diffusion) == pytest.approx(closed, rel=1e-11, abs=1e-12)


def test_refusals():
    with pytest.raises(Refused, match="noise must be positive definite"):
        ep.chain_rate(np.eye(2) / 2, np.diag([1.0, 0.0]))
    with pytest.raises(Refused, match="must not all be zero"):
        ep.short_time_bound(DRIFT, DIFFUSION, np.zeros((2, 2)))
    with pytest.raises(Refused, match="beads must be a whole number of at least 2"):
        ep.bead_spring_chain(1, 1.0, 2.0)
