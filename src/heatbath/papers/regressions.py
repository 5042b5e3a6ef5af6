"""Linear and logistic regression as systems: what several papers take for their example."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import ArrayLike

from heatbath.systems import Posterior


def gaussian(theta: Array, inputs: Array, targets: Array) -> Array:
    """Noise of unit size; up to a constant."""
    return -((inputs @ theta - targets) ** 2) / 2


def logistic(theta: Array, inputs: Array, targets: Array) -> Array:
    """Targets +1 and -1."""
    return -jnp.logaddexp(0.0, -targets * (inputs @ theta))


def regression(log_likelihood: Callable, inputs: ArrayLike, targets: ArrayLike) -> Posterior:
    """``log_likelihood``: one of the above. Starting positions must be given to `simulate`."""
    return Posterior(_flat, log_likelihood, _flat, (jnp.asarray(inputs), jnp.asarray(targets)))


def bayesian(inputs: np.ndarray, targets: np.ndarray, noise: float) -> Posterior:
    """Linear regression, weights ~ N(0, 1), noise of a known size, all densities normalised."""
    d = inputs.shape[1]

    def log_likelihood(theta: Array, x: Array, y: Array) -> Array:
        return -((y - x @ theta) ** 2) / (2 * noise**2) - jnp.log(2 * jnp.pi * noise**2) / 2

    def drawn(key: Array) -> Array:
        return jax.random.normal(key, (d,))

    return Posterior(
        lambda theta: -jnp.sum(theta**2) / 2 - d / 2 * jnp.log(2 * jnp.pi),
        log_likelihood,
        drawn,
        (jnp.asarray(inputs), jnp.asarray(targets)),
        precise=True,
        sample_prior=drawn,
    )


def precision(inputs: np.ndarray, noise: float) -> np.ndarray:
    """Of the posterior of `bayesian`, (d, d)."""
    return inputs.T @ inputs / noise**2 + np.eye(inputs.shape[1])


def mode(inputs: np.ndarray, targets: np.ndarray, noise: float) -> np.ndarray:
    """And mean of it, (d,)."""
    return np.linalg.solve(precision(inputs, noise), inputs.T @ targets / noise**2)


def log_evidence(inputs: np.ndarray, targets: np.ndarray, noise: float) -> float:
    """Of `bayesian`, in nats: targets ~ N(0, noise^2 + inputs inputs^T)."""
    covariance = noise**2 * np.eye(len(targets)) + inputs @ inputs.T
    fit = targets @ np.linalg.solve(covariance, targets)
    return float(-(fit + np.linalg.slogdet(covariance)[1] + len(targets) * np.log(2 * np.pi)) / 2)


def _flat(_: Array) -> Array:
    return jnp.zeros(())
