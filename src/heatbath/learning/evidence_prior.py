"""Draws from the prior, exact or by Markov chains, and whether there is such a thing as a prior."""

from collections.abc import Mapping
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from heatbath.core import Control, Flow, Items, System
from heatbath.core.loop import once
from heatbath.dynamics import HMC, Diagonal
from heatbath.dynamics.point import Point
from heatbath.dynamics.underdamped import Phase
from heatbath.errors import Refused
from heatbath.learning.evidence_density import Model
from heatbath.systems import Posterior

WARMUP = 400  # steps of each chain at coupling 0
LEAPFROGS = 8
STARTS = 64  # from which an improper prior is looked for
ACCEPTANCE, JITTER = 0.8, 1 / 3  # of HMC


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


def refuse_improper(posterior: System, key: Array) -> None:
    """Raises `Refused` for a `Posterior` whose prior is improper, as seen from draws of it or starting
    points."""
    if isinstance(posterior, Posterior):
        model = Model.of(posterior)
        keys = jax.random.split(key, STARTS)
        check_proper(model, _drawn(model, keys, posterior.sample_prior is not None))


def prior_gradients(model: Model, n: int) -> int:
    """Evaluated for n draws."""
    return 0 if model.posterior.sample_prior is not None else n * WARMUP * LEAPFROGS


@once
def _drawn(model: Model, keys: Array, exact: bool) -> Array:
    return jax.vmap(model.sample_prior if exact else model.initial)(keys)


class Prior(System):
    """exp(-U) is the prior of a vector (d,)."""

    model: Model

    def energy(self, position: Array, couplings: Mapping[str, Any], items: Items | None = None) -> Array:
        return -self.model.log_prior(position)


@eqx.filter_jit
def _equilibrated(model: Model, xs: Array, key: Array) -> Array:
    """`WARMUP` steps of HMC, in units of the population's own spread, which is renewed as it grows."""
    prior, control = Prior(model), Control()

    def move(carry, key):
        states, step_size, scale = carry
        hmc = HMC(step_size, LEAPFROGS, JITTER, metric=Diagonal(scale))
        noise = noises(key, xs.shape[:1], model.d)
        states, flow = jax.vmap(lambda s, n: hmc.step_given(prior, s, control, n))(states, noise)
        return (states, adapted(step_size, flow), jnp.std(states.point.position, axis=0) + 1e-12), None

    states = jax.vmap(lambda x: at_rest(prior, x, control))(xs)
    start = (states, jnp.asarray(0.1), jnp.std(xs, axis=0) + 1e-3)
    (states, *_), _ = jax.lax.scan(move, start, jax.random.split(key, WARMUP))
    return states.point.position


def at_rest(system: System, x: Array, control: Control) -> Phase:
    """A step of `HMC` without persistence draws the momenta anew."""
    return Phase(Point.at(system, x, control), jnp.zeros_like(x), control.temperature)


def noises(key: Array, shape: tuple[int, ...], d: int) -> tuple[Array, Array]:
    """`HMC.noise` of a population of that ``shape``, with d coordinates."""
    momenta, uniforms = jax.random.split(key)
    return jax.random.normal(momenta, (*shape, 1, d)), jax.random.uniform(uniforms, (*shape, 2))


def adapted(step_size: Array, flow: Flow) -> Array:
    """Nearer to the `ACCEPTANCE` aimed at, after a step of the whole population."""
    return jnp.clip(step_size * jnp.exp(2 * (jnp.mean(flow.info["acceptance"]) - ACCEPTANCE)), 1e-8, 1.0)


@once
def _far_slopes(model: Model, centre: Array, scale: Array, directions: Array) -> Array:
    """d ln prior / d ln r along +- directions (2 k,): the steeper one of those from the centre and from 10^3
    spreads to 10^6 spreads away (a funnel has a wall before it falls off)."""

    def slope(u):
        here, near, far = (model.log_prior(centre + scale * r * u) for r in (0.0, 1e3, 1e6))
        steepest = jnp.minimum((far - near) / jnp.log(1e3), (far - here) / jnp.log(1e6))
        return jnp.where(jnp.isfinite(here) & jnp.isfinite(near), steepest, -jnp.inf)

    return jax.vmap(slope)(jnp.concatenate([directions, -directions]))


@once
def _gradients(model: Model, xs: Array) -> Array:
    return jax.vmap(jax.grad(model.log_prior))(xs)


def check_proper(model: Model, xs: Array) -> None:
    """Raises `Refused` where the prior does not fall off faster than 1/r along a coordinate, or along a
    combination of coordinates in which it does not change at the points ``xs`` (n, d)."""
    points = np.asarray(xs)
    spread, size = points.std(axis=0), np.abs(points).max(axis=0)
    one_point = spread <= 1e-9 * size  # a spread of rounding errors is none
    scale = np.where(one_point, np.maximum(size, 1.0), np.maximum(spread, 1e-3 * size))
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
