"""Gaussian laws: divergence between two of them, and the law at which a linear chain comes to rest."""

import numpy as np
from numpy.typing import ArrayLike
from scipy.linalg import cho_factor, cho_solve, solve_continuous_lyapunov, solve_discrete_lyapunov

from heatbath.errors import Refused
from heatbath.theory import _checks


def divergence(mean: ArrayLike, covariance: ArrayLike, mean_of: ArrayLike, covariance_of: ArrayLike) -> float:
    """Kullback-Leibler divergence KL(N(mean, covariance) || N(mean_of, covariance_of)) in nats.

    Means have shape (d,), covariances (d, d), both positive definite (else ``Refused``).
    """
    covariance = _checks.definite("covariance", covariance)
    size = len(covariance)
    covariance_of = _checks.definite("covariance_of", covariance_of, size)
    shift = _checks.vector("mean_of", mean_of, size) - _checks.vector("mean", mean, size)
    factor = cho_factor(covariance_of)
    ratio = cho_solve(factor, covariance)
    return float(
        (np.trace(ratio) - size - np.linalg.slogdet(ratio)[1] + shift @ cho_solve(factor, shift)) / 2
    )


def entropy(covariance: ArrayLike) -> float:
    """Differential entropy of N(., covariance) in nats."""
    covariance = _checks.definite("covariance", covariance)
    return float((len(covariance) * np.log(2 * np.pi * np.e) + np.linalg.slogdet(covariance)[1]) / 2)


def chain_covariance(transition: ArrayLike, noise: ArrayLike) -> np.ndarray:
    """Stationary covariance S = K S K^T + Q of the chain x' = K x + N(0, Q); all (d, d).

    ``Refused`` where the spectral radius of K is 1 or more, so that nothing is stationary.
    """
    transition = _checks.square("transition", transition)
    noise = _checks.semidefinite("noise", noise, len(transition))
    radius = np.abs(np.linalg.eigvals(transition)).max()
    if not radius < 1:
        raise Refused(
            f"no stationary law: the spectral radius of the transition is {radius:.6g}, must be below 1"
        )
    covariance = solve_discrete_lyapunov(transition, noise)
    return (covariance + covariance.T) / 2


def diffusion_covariance(drift: ArrayLike, diffusion: ArrayLike) -> np.ndarray:
    """Stationary covariance A S + S A^T = 2 D of dx = -A x dt + sqrt(2 D) dW; all (d, d).

    ``Refused`` where an eigenvalue of A has no positive real part.
    """
    drift = _checks.square("drift", drift)
    diffusion = _checks.semidefinite("diffusion", diffusion, len(drift))
    slowest = np.linalg.eigvals(drift).real.min()
    if not slowest > 0:
        raise Refused(
            f"no stationary law: the drift has an eigenvalue of real part {slowest:.6g}, must be above 0"
        )
    covariance = solve_continuous_lyapunov(drift, 2 * diffusion)
    return (covariance + covariance.T) / 2
