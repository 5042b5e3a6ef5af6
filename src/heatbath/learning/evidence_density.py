"""The two densities between which the evidence is computed, as functions of one vector of parameters."""

import math
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from heatbath.core.loop import once
from heatbath.core.numeric import ravel, widen
from heatbath.errors import Refused
from heatbath.systems import Posterior


class Model(eqx.Module):
    """A posterior over vectors x of shape (d,), in float64."""

    posterior: Posterior
    shapes: tuple[tuple[int, ...], ...] = eqx.field(static=True)
    structure: Any = eqx.field(static=True)

    @staticmethod
    def of(posterior: Posterior) -> "Model":
        leaves, structure = jax.tree.flatten(jax.eval_shape(posterior.initial, jax.random.key(0)))
        return Model(posterior, tuple(x.shape for x in leaves), structure)

    @property
    def d(self) -> int:
        return sum(math.prod(shape) for shape in self.shapes)

    def position(self, x: Array) -> Any:
        ends = np.cumsum([math.prod(shape) for shape in self.shapes])[:-1]
        leaves = [jnp.reshape(part, s) for part, s in zip(jnp.split(x, ends), self.shapes, strict=True)]
        return jax.tree.unflatten(self.structure, leaves)

    def log_prior(self, x: Array) -> Array:
        return self._of(self.posterior.log_prior(self.position(x)))

    def log_likelihood(self, x: Array) -> Array:
        """Summed over the items; NaN counts as density 0 here (`check_draws` refuses it where it matters)."""
        inputs, targets = self.posterior.data
        return self._of(jnp.sum(self.posterior.log_likelihood(self.position(x), inputs, targets)))

    def initial(self, key: Array) -> Array:
        return widen(ravel(self.posterior.initial(key)))

    def sample_prior(self, key: Array) -> Array:
        assert self.posterior.sample_prior is not None
        return widen(ravel(self.posterior.sample_prior(key)))

    @staticmethod
    def _of(log_density: Array) -> Array:
        log_density = jnp.reshape(widen(log_density), ())
        return jnp.where(jnp.isnan(log_density), -jnp.inf, log_density)


@once
def _raw(model: Model, xs: Array) -> tuple[Array, Array]:
    def one(x):
        position = model.position(x)
        inputs, targets = model.posterior.data
        items = model.posterior.log_likelihood(position, inputs, targets)
        return jnp.reshape(widen(model.posterior.log_prior(position)), ()), jnp.sum(widen(items))

    return jax.vmap(one)(xs)


def check_draws(model: Model, xs: Array) -> None:
    """Raises `Refused` where the log prior or the log likelihood of draws from the prior is NaN or +inf, or
    the likelihood 0 at all of them."""
    for name, values in zip(("log prior", "log likelihood"), _raw(model, xs), strict=True):
        values = np.asarray(values)
        bad = np.isnan(values) | (values == np.inf)
        if bad.any():
            raise Refused(
                f"the {name} is {values[bad][0]} at {bad.sum()} of {bad.size} draws from the prior: "
                "it must be a number (or -inf) everywhere; look for logs and roots of negative numbers"
            )
    if not np.isfinite(values).any():
        raise Refused(
            f"the likelihood is 0 at all of {values.size} draws from the prior: check the scale of the data, "
            "the signs of the log likelihood, and `sample_prior`"
        )
