"""Draws from the prior, exact or by Markov chains, and whether there is such a thing as a prior."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from heatbath.errors import Refused
from heatbath.learning.evidence_density import Model

WARMUP = 400  # moves of each chain at coupling 0
LEAPFROGS = 8


def prior_draws(model: Model, groups: int, m: int, key: Array) -> Array:
    """(groups, m, d): exact where the posterior has ``sample_prior``, else the ends of as many chains of HMC
    at coupling 0, which start at ``initial``. Raises `Refused` for an improper prior."""
    exact = model.posterior.sample_prior is not None
    start, moving = jax.random.split(key)
    xs = _drawn(model, jax.random.split(start, groups * m), exact)
    check_proper(model, xs)
    if not exact:
        xs = _equilibrated(model, xs, moving)
        check_proper(model, xs)
    return xs.reshape(groups, m, -1)


def prior_gradients(model: Model, n: int) -> int:
    """Evaluated for n draws."""
    return 0 if model.posterior.sample_prior is not None else n * WARMUP * LEAPFROGS


@eqx.filter_jit
def _drawn(model: Model, keys: Array, exact: bool) -> Array:
    return jax.vmap(model.sample_prior if exact else model.initial)(keys)


@eqx.filter_jit
def _equilibrated(model: Model, xs: Array, key: Array) -> Array:
    """`WARMUP` moves of HMC, in units of the population's own spread, which is renewed as it grows."""
    n, d = xs.shape
    value_and_grad = jax.vmap(jax.value_and_grad(model.log_prior))

    def move(carry, key):
        x, value, gradient, step, scale = carry
        normal, jitter, accept = jax.random.split(key, 3)
        p0 = jax.random.normal(normal, (n, d))
        h = step * jax.random.uniform(jitter, (n, 1), minval=0.5, maxval=1.0)

        def leapfrog(_, now):
            x, _, _, p = now
            x = x + h * scale[None] * p
            value, gradient = value_and_grad(x)
            return x, value, gradient, p + h * scale[None] * gradient

        half = p0 + h / 2 * scale[None] * gradient
        new, new_value, new_gradient, p = jax.lax.fori_loop(
            0, LEAPFROGS, leapfrog, (x, value, gradient, half)
        )
        p = p - h / 2 * scale[None] * new_gradient
        log_ratio = new_value - value - (jnp.sum(p**2, axis=1) - jnp.sum(p0**2, axis=1)) / 2
        log_ratio = jnp.where(jnp.isnan(log_ratio), -jnp.inf, log_ratio)
        accepted = jnp.log(jax.random.uniform(accept, (n,))) < log_ratio
        x = jnp.where(accepted[:, None], new, x)
        gradient = jnp.where(accepted[:, None], new_gradient, gradient)
        value = jnp.where(accepted, new_value, value)
        step = jnp.clip(step * jnp.exp(jnp.mean(jnp.exp(jnp.minimum(log_ratio, 0.0))) - 0.8), 1e-8, 1.0)
        return (x, value, gradient, step, jnp.std(x, axis=0) + 1e-12), None

    value, gradient = value_and_grad(xs)
    start = (xs, value, gradient, jnp.asarray(0.1), jnp.std(xs, axis=0) + 1e-3)
    return jax.lax.scan(move, start, jax.random.split(key, WARMUP))[0][0]


@eqx.filter_jit
def _far_slopes(model: Model, centre: Array, scale: Array, directions: Array) -> Array:
    """d ln prior / d ln r along +- directions (2 k,): the steeper one of those from the centre and from 10^3
    spreads to 10^6 spreads away (a funnel has a wall before it falls off)."""

    def slope(u):
        here, near, far = (model.log_prior(centre + scale * r * u) for r in (0.0, 1e3, 1e6))
        steepest = jnp.minimum((far - near) / jnp.log(1e3), (far - here) / jnp.log(1e6))
        return jnp.where(jnp.isfinite(here) & jnp.isfinite(near), steepest, -jnp.inf)

    return jax.vmap(slope)(jnp.concatenate([directions, -directions]))


@eqx.filter_jit
def _gradients(model: Model, xs: Array) -> Array:
    return jax.vmap(jax.grad(model.log_prior))(xs)


def check_proper(model: Model, xs: Array) -> None:
    """Raises `Refused` where the prior does not fall off faster than 1/r along a coordinate, or along a
    combination of coordinates in which it does not change at the points ``xs`` (n, d)."""
    points = np.asarray(xs)
    scale = np.maximum(points.std(axis=0), 1e-3 * np.maximum(np.abs(points).max(axis=0), 1e-3))
    gradients = np.nan_to_num(np.asarray(_gradients(model, xs))) * scale
    flat = np.linalg.eigh(gradients.T @ gradients)[1].T
    directions = np.concatenate([np.eye(model.d), flat])
    slopes = np.asarray(
        _far_slopes(model, jnp.asarray(points.mean(axis=0)), jnp.asarray(scale), jnp.asarray(directions))
    )
    worst = int(np.argmax(slopes))
    if slopes[worst] > -1.05:
        raise Refused(
            f"the prior is improper: its density falls as r^{slopes[worst]:.2g} along "
            f"{_named(directions, worst)}, so that the evidence does not exist; give it a proper prior"
        )


def _named(directions: np.ndarray, worst: int) -> str:
    direction = directions[worst % len(directions)]
    largest = int(np.argmax(np.abs(direction)))
    return f"parameter {largest}" if worst % len(directions) < len(direction) else "a mix of the parameters"
