"""A second look for modes: ascents of the log posterior, some of them from the program's constants."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.extend import core as jaxpr_types

from heatbath.learning.evidence_density import Model

ASCENTS = 16
ITERATIONS = 60  # at most
LARGEST = 256  # dimensions in which the Hessian is still worth its price
CONSTANTS = 512  # points looked at, at most


class Modes(eqx.Module):
    """Ends of the ascents: points (s, d), log posterior (s,), minus its Hessian (s, d, d)."""

    xs: Array
    log_p: Array
    precisions: Array
    iterations: Array

    @property
    def gradients(self) -> int:
        s, d = self.xs.shape
        return int(self.iterations) * s * (d + 1)


@eqx.filter_jit
def climbed(model: Model, starts: Array) -> Modes:
    """Damped Newton ascents of the log posterior (Levenberg-Marquardt on |Hessian|) from starts (s, d)."""

    def log_p(x):
        return model.log_prior(x) + model.log_likelihood(x)

    def step(at):
        x, value, damping = at
        gradient, hessian = jax.grad(log_p)(x), jax.hessian(log_p)(x)
        eigenvalues, vectors = jnp.linalg.eigh(jnp.nan_to_num(-hessian))
        along = vectors.T @ jnp.nan_to_num(gradient)
        floor = 1e-12 * jnp.max(jnp.abs(eigenvalues)) + 1e-300

        def tried(damping):
            new = x + vectors @ (along / (jnp.abs(eigenvalues) + damping + floor))
            return new, log_p(new)

        dampings = damping * jnp.array([0.0, 1.0, 10.0, 100.0, 1000.0]) + jnp.array([0.0, 1, 1, 1, 1]) * 1e-12
        xs, values = jax.vmap(tried)(dampings)
        best = jnp.argmax(jnp.where(jnp.isnan(values), -jnp.inf, values))
        better = values[best] > value
        damping = jnp.where(better, jnp.maximum(dampings[best], damping / 10), damping * 1000)
        gained = jnp.where(better, values[best] - value, 0.0)
        return (jnp.where(better, xs[best], x), jnp.maximum(values[best], value), damping), gained

    def go(state):
        at, _, n = state
        at, gained = jax.vmap(step)(at)
        return at, gained, n + 1

    values = jax.vmap(log_p)(starts)
    state = ((starts, values, jnp.ones(len(starts))), jnp.ones(len(starts)), jnp.asarray(0))
    (xs, values, _), _, n = jax.lax.while_loop(
        lambda s: (jnp.max(s[1]) > 1e-9) & (s[2] < ITERATIONS), go, state
    )
    return Modes(xs, values, -jax.vmap(jax.hessian(log_p))(xs), n)


def constants(model: Model) -> np.ndarray:
    """Points (s, d) made of the numbers in the program of the log likelihood and of its data.

    A narrow mode far from everything cannot be found by following gradients, but its place has to stand
    somewhere in the program: what fuzzers of programs call a dictionary. A number c gives (c, c, ...), an
    array of d numbers gives itself, its rows where it has d columns.
    """
    closed = jax.make_jaxpr(lambda model, x: model.log_likelihood(x))(model, jnp.zeros(model.d))
    found = [np.asarray(x) for x in jax.tree.leaves(model.posterior.data)]
    found += [np.asarray(x) for x in closed.consts] + _literals(closed.jaxpr)
    points = []
    for x in found:
        if not np.issubdtype(x.dtype, np.number):
            continue
        x = x.astype(float)
        if x.size <= 1:
            points += [np.full(model.d, v) for v in x.ravel()]
        elif x.size == model.d:
            points.append(x.ravel())
        elif x.ndim == 2 and x.shape[1] == model.d:
            points += list(x[:CONSTANTS])
    points = np.array(points).reshape(-1, model.d)
    points = np.unique(points[np.isfinite(points).all(axis=1) & (np.abs(points) < 1e6).all(axis=1)], axis=0)
    return points[:CONSTANTS]


def _literals(jaxpr: Any) -> list[np.ndarray]:
    found = []
    for equation in jaxpr.eqns:
        found += [np.asarray(v.val) for v in equation.invars if isinstance(v, jaxpr_types.Literal)]
        for parameter in equation.params.values():
            for inner in parameter if isinstance(parameter, tuple | list) else (parameter,):
                if isinstance(inner, jaxpr_types.ClosedJaxpr):
                    found += [np.asarray(x) for x in inner.consts] + _literals(inner.jaxpr)
                elif isinstance(inner, jaxpr_types.Jaxpr):
                    found += _literals(inner)
    return found


@eqx.filter_jit
def log_posterior(model: Model, xs: Array) -> Array:
    """At points (n, d), shape (n,)."""
    return jax.vmap(lambda x: model.log_prior(x) + model.log_likelihood(x))(xs)


def distinct(modes: Modes, most: int) -> tuple[np.ndarray, np.ndarray]:
    """Means (k, d) and covariances (k, d, d) of Laplace's approximation at the modes of largest mass; ends
    that are no maximum, or the same as another one, are left out."""
    xs, log_p, precisions = (np.asarray(x) for x in (modes.xs, modes.log_p, modes.precisions))
    masses = np.full(len(xs), -np.inf)
    covariances = np.zeros_like(precisions)
    for i in np.flatnonzero(np.isfinite(log_p) & np.isfinite(precisions).all(axis=(1, 2))):
        values, vectors = np.linalg.eigh(precisions[i])
        if values[0] > 1e-10 * values[-1]:
            masses[i] = log_p[i] - np.log(values).sum() / 2
            covariances[i] = (vectors / values) @ vectors.T
    kept: list[int] = []
    for i in np.argsort(-masses):
        if not masses[i] > masses.max() - 20 or len(kept) == most:
            break
        offs = [xs[i] - xs[j] for j in kept]
        if all(off @ precisions[j] @ off > 0.01 for off, j in zip(offs, kept, strict=True)):
            kept.append(int(i))
    return xs[kept], covariances[kept]
