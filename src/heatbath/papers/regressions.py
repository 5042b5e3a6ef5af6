"""Linear and logistic regression with flat priors, as systems: what several papers take for their example."""

from collections.abc import Callable

import jax.numpy as jnp
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


def _flat(_: Array) -> Array:
    return jnp.zeros(())
