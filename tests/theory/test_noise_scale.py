import numpy as np
import pytest

from heatbath.errors import Refused
from heatbath.theory import noise_scale as ns

A = np.array([[1.0, 0.3], [0.3, 0.5]])


def test_covariance_of_linear_data_by_sampling():
    """1e6 examples; each entry within 4.9 standard errors (false alarms 1e-6 each)."""
    rng = np.random.default_rng(0)
    x = rng.multivariate_normal(np.zeros(2), A, size=1_000_000)
    delta = np.array([0.7, -1.1])
    g = x * (x @ delta - 0.5 * rng.normal(size=len(x)))[:, None]
    gradient, covariance = ns.linear_gradient(A, delta, 0.25)
    assert np.all(np.abs(g.mean(axis=0) - gradient) < 4.9 * g.std(axis=0) / 1e3)
    products = np.einsum("ni,nj->nij", g - gradient, g - gradient)
    assert np.all(np.abs(products.mean(axis=0) - covariance) < 4.9 * products.std(axis=0) / 1e3)


def test_best_step_minimises_the_expected_loss():
    gradient, covariance = ns.linear_gradient(A, [0.7, -1.1], 0.25)
    scales, batch = ns.noise_scales(gradient, covariance, A), 12

    def expected(step):
        curved = gradient @ A @ gradient + np.trace(A @ covariance) / batch
        return -step * gradient @ gradient + step**2 / 2 * curved

    best = ns.best_step(scales, batch)
    assert expected(best) < min(expected(0.999 * best), expected(1.001 * best))
    assert ns.best_step(scales, 1e12) == pytest.approx(scales.longest_step)


def test_one_direction_has_equal_scales():
    scales = ns.noise_scales([2.0], [[3.0]], [[5.0]])
    assert scales == pytest.approx((0.75, 0.75, 0.2))
    assert ns.effective_dimension(np.eye(7)) == pytest.approx(7)


def test_estimator_errors_by_sampling():
    """4e5 batches of 6 in 3 parts: relative standard error of a variance 0.4 % to 1 %, tolerance 4 %."""
    gradient, covariance = np.array([0.5, -0.3]), A
    rng = np.random.default_rng(1)
    parts = rng.multivariate_normal(gradient, covariance / 2, size=(400_000, 3))
    total = parts.sum(axis=1)
    squared = (np.sum(total**2, axis=1) - np.sum(parts**2, axis=(1, 2))) / 6
    trace = np.sum((parts - parts.mean(axis=1, keepdims=True)) ** 2, axis=(1, 2))
    errors = ns.estimator_errors(gradient, covariance, 6, 3)
    assert squared.std() == pytest.approx(errors.squared_gradient, rel=0.02)
    assert trace.std() / np.trace(covariance) == pytest.approx(errors.relative_trace, rel=0.02)


def test_refusals():
    with pytest.raises(Refused, match="not zero"):
        ns.noise_scales([0.0, 0.0], A, A)
    with pytest.raises(Refused, match="do not divide"):
        ns.estimator_errors([1.0, 0.0], A, 7, 2)
