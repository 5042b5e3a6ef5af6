import numpy as np
import pytest
from scipy.stats import multivariate_normal

from heatbath.errors import Refused
from heatbath.theory import gaussian

S = np.array([[1.0, 0.4], [0.4, 0.6]])
R = np.array([[0.5, -0.1], [-0.1, 2.0]])


def test_divergence_and_entropy_on_a_grid():
    axis = np.linspace(-9, 9, 721)
    points = np.stack(np.meshgrid(axis, axis), axis=-1)
    cell = (axis[1] - axis[0]) ** 2
    p, q = multivariate_normal([0.3, -0.2], S), multivariate_normal([0.0, 0.5], R)
    density, log_p = p.pdf(points), p.logpdf(points)
    exact = np.sum(density * (log_p - q.logpdf(points))) * cell
    assert gaussian.divergence([0.3, -0.2], S, [0.0, 0.5], R) == pytest.approx(exact, rel=1e-10)
    assert gaussian.entropy(S) == pytest.approx(-np.sum(density * log_p) * cell, rel=1e-10)
    assert gaussian.divergence([1, 2], S, [1, 2], S) == pytest.approx(0, abs=1e-14)


def test_stationary_covariances_solve_their_equations():
    drift = np.array([[1.0, 2.0], [-1.5, 0.3]])
    covariance = gaussian.diffusion_covariance(drift, R)
    np.testing.assert_allclose(drift @ covariance + covariance @ drift.T, 2 * R, rtol=1e-12, atol=1e-13)
    chain = np.eye(2) - 0.1 * drift
    covariance = gaussian.chain_covariance(chain, R)
    np.testing.assert_allclose(chain @ covariance @ chain.T + R, covariance, rtol=1e-12)


def test_refusals():
    with pytest.raises(Refused, match=r"spectral radius of the transition is 1\.5"):
        gaussian.chain_covariance(1.5 * np.eye(2), S)
    with pytest.raises(Refused, match="real part -1"):
        gaussian.diffusion_covariance(-np.eye(2), S)
