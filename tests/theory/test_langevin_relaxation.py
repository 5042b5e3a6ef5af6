import numpy as np
import pytest
from scipy.integrate import solve_ivp

from heatbath.errors import Refused
from heatbath.theory import langevin_relaxation as lr

H = np.array([[1.0, 0.3], [0.3, 0.5]])
START = [1.0, -2.0], np.array([[0.6, 0.2], [0.2, 0.3]])


def test_relaxation_by_integrating_the_moments():
    def flow(_, state):
        mean, covariance = state[:2], state[2:].reshape(2, 2)
        return np.append(-H @ mean, -H @ covariance - covariance @ H + 2 * 0.7 * np.eye(2))

    moved = solve_ivp(flow, (0, 1.3), np.append(*START), rtol=1e-11, atol=1e-12).y[:, -1]
    result = lr.relaxation(H, 0.7, 1.3, *START)
    np.testing.assert_allclose(np.append(result.mean, result.covariance), moved, rtol=1e-8)


def test_entropy_produced_is_the_fall_of_the_divergence():
    result = lr.relaxation(H, 0.7, 1.3, *START)
    assert result.entropy_production == pytest.approx(result.divergence_start - result.divergence, rel=1e-12)
    still = lr.relaxation(H, 0.7, 0.0, *START)
    assert still.heat == pytest.approx(0, abs=1e-13)
    assert lr.relaxation(H, 0.7, 100.0, *START).divergence == pytest.approx(0, abs=1e-12)


def test_quench_obeys_jarzynski_in_second_order_and_by_sampling():
    """Shifting alone gives Gaussian work: free energy = mean - variance / 2T exactly."""
    result = lr.quench(H, H, [0.4, -1.0], 0.6)
    assert result.free_energy == 0
    assert result.mean == pytest.approx(result.variance / 1.2, rel=1e-12)
    new, b = np.array([[0.8, 0.0], [0.0, 1.5]]), np.array([0.4, -1.0])
    result = lr.quench(H, new, b, 0.6)
    x = np.random.default_rng(0).multivariate_normal(np.zeros(2), 0.6 * np.linalg.inv(H), size=1_000_000)
    work = (np.sum((x - b) @ new * (x - b), axis=1) - np.sum(x @ H * x, axis=1)) / 2
    # 4.4 standard errors: false alarms 1e-5 each.
    assert abs(work.mean() - result.mean) < 4.4 * work.std() / 1e3
    squares = (work - result.mean) ** 2
    assert abs(squares.mean() - result.variance) < 4.4 * squares.std() / 1e3
    weights = np.exp(-(work - result.free_energy) / 0.6)
    assert abs(weights.mean() - 1) < 4.4 * weights.std() / 1e3


def test_moving_trap_limits():
    assert lr.moving_trap(2.0, 0.5, 1.0, 1e-3).mean == pytest.approx(2.0 * 0.25 * 1e-6 / 2, rel=1e-3)
    assert lr.moving_trap(2.0, 0.5, 1.0, 1e6).mean == pytest.approx(0.25 * 1e6, rel=1e-5)


def test_sgld_shadow_work_by_the_path_ratio():
    """1e6 stationary steps, 4.4 standard errors (false alarms 1e-5)."""
    h, k, temperature, noise = 0.4, 1.5, 0.8, 0.6
    rng = np.random.default_rng(4)
    spread = (2 * temperature + h * noise) / (k * (2 - h * k))
    x = np.sqrt(spread) * rng.normal(size=1_000_000)
    kick = np.sqrt(noise) * rng.normal(size=x.size)
    y = x - h * (k * x + kick) + np.sqrt(2 * h * temperature) * rng.normal(size=x.size)
    ratio = (x - y + h * (k * y + kick)) ** 2 - (y - x + h * (k * x + kick)) ** 2
    shadow = k * (y**2 - x**2) / (2 * temperature) + ratio / (4 * h * temperature)
    exact = lr.sgld_shadow_work(k, h, temperature, noise)
    assert abs(shadow.mean() - exact) < 4.4 * shadow.std() / 1e3
    with pytest.raises(Refused, match="critical step"):
        lr.sgld_shadow_work(k, 2 / k, temperature, noise)
