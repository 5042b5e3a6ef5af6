"""The way from a reference to the posterior: population annealing at constant thermodynamic speed."""

from collections.abc import Mapping
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import Array

from heatbath.core import Control, Items, System
from heatbath.core.loop import once
from heatbath.dynamics import HMC, Dense
from heatbath.dynamics.resampling import systematic
from heatbath.learning.evidence_density import Model
from heatbath.learning.evidence_mixture import Mixture
from heatbath.learning.evidence_prior import JITTER, adapted, at_rest, noises

STAGES = 500  # at most
MOVES, LEAPFROGS = 3, 4  # after each change of the coupling


class Path(eqx.Module):
    """Where a run along the path ended.

    ``log_z``: (groups,), estimates from independent resampling. ``xs``: (groups, m, d), the population at the
    end. ``coupling``: 1, unless `STAGES` did not suffice.
    """

    log_z: Array
    xs: Array
    coupling: Array
    stages: Array

    @property
    def gradients(self) -> int:
        groups, m, _ = self.xs.shape
        return int(self.stages) * groups * m * (MOVES * LEAPFROGS + 1)


class GeometricPath(System):
    """exp(-U) is reference^(1-b) posterior^b at the coupling "posterior" = b; a ``reference`` that is None is
    the prior. Of a vector (d,)."""

    model: Model
    reference: Mixture | None

    def log_densities(self, x: Array) -> tuple[Array, Array]:
        """ln reference, and ln of the posterior (not normalised) over it."""
        prior, likelihood = self.model.log_prior(x), self.model.log_likelihood(x)
        if self.reference is None:
            return prior, likelihood
        start = self.reference.log_density(x[None], prior[None])[0]
        return start, prior + likelihood - start

    def energy(self, position: Array, couplings: Mapping[str, Any], items: Items | None = None) -> Array:
        start, gain = self.log_densities(position)
        return -(start + couplings["posterior"] * gain)


@once  # and as fast as optimised to the end
def population_annealed(model: Model, reference: Mixture | None, xs: Array, key: Array) -> Path:
    """From draws ``xs`` (groups, m, d) of a reference (None: the prior) to the posterior.

    Each stage raises the coupling until half of the population's effective size is left (equal steps of
    thermodynamic length), resamples within the groups (systematic) and moves by `HMC`. A group moves in units
    of the spread of the other groups: in units of its own, directions in which it is too narrow by chance
    would stay so (in 50 dimensions that biased ln Z by -1.4 nats). Sequential Monte Carlo (Del Moral, Doucet
    and Jasra 2006); population annealing (Hukushima and Iba 2003). A loop of its own, for couplings and
    metric follow the population, which those of `simulate` do not, and a call of it for each stage costs more
    than the stage.
    """
    groups, m, d = xs.shape
    path = GeometricPath(model, reference)

    def stage(state):
        xs, b, log_z, step_size, n, key = state
        key, resampling, moving = jax.random.split(key, 3)
        gain = jax.vmap(jax.vmap(path.log_densities))(xs)[1]
        up = _next_coupling(gain.ravel(), b)
        log_w = (up - b) * gain
        log_z = log_z + jax.nn.logsumexp(log_w, axis=1) - jnp.log(m)
        factors = _spread(xs, jax.nn.softmax(log_w.ravel()).reshape(groups, m))
        uniforms = jax.random.uniform(resampling, (groups,))
        parents = jax.vmap(systematic)(uniforms, jax.nn.softmax(log_w, axis=1), jnp.ones_like(log_w, bool))
        xs = jnp.take_along_axis(xs, parents[:, :, None], axis=1)
        control = Control(1.0, {"posterior": up})

        def move(carry, key):
            states, step_size = carry

            def in_group(factor, states, noise):
                hmc = HMC(step_size, LEAPFROGS, JITTER, metric=Dense(factor))
                return jax.vmap(lambda s, n: hmc.step_given(path, s, control, n))(states, noise)

            states, flow = jax.vmap(in_group)(factors, states, noises(key, (groups, m), d))
            return (states, adapted(step_size, flow)), None

        states = jax.vmap(jax.vmap(lambda x: at_rest(path, x, control)))(xs)
        (states, step_size), _ = jax.lax.scan(move, (states, step_size), jax.random.split(moving, MOVES))
        return states.point.position, up, log_z, step_size, n + 1, key

    start = (xs, jnp.zeros(()), jnp.zeros(groups), jnp.asarray(0.5 * d**-0.25), jnp.asarray(0), key)
    xs, coupling, log_z, _, stages, _ = jax.lax.while_loop(
        lambda s: (s[1] < 1) & (s[4] < STAGES), stage, start
    )
    return Path(log_z, xs, coupling, stages)


def _next_coupling(gain: Array, b: Array) -> Array:
    """Where the effective size of the reweighted population falls to a half; 1 at most."""

    def short(up):
        log_w = (up - b) * gain
        ess = jnp.exp(2 * jax.nn.logsumexp(log_w) - jax.nn.logsumexp(2 * log_w))
        return ess < 0.5 * jnp.sum(jnp.isfinite(gain))

    def halve(_, ends):
        low, high = ends
        middle = jnp.where(low > b + (1 - b) * 1e-12, (low + high) / 2, b + (high - b) / 8)
        return jax.lax.cond(short(middle), lambda: (low, middle), lambda: (middle, high))

    low, _ = jax.lax.fori_loop(0, 40, halve, (b, jnp.ones_like(b)))
    return jnp.where(short(jnp.ones_like(b)), jnp.maximum(low, b + 1e-300), 1.0)


def _spread(xs: Array, weights: Array) -> Array:
    """For each group a factor C with C C^T = the weighted covariance of the other groups: dense where they
    can tell it."""
    groups, m, d = xs.shape
    off = xs - jnp.einsum("gm,gmd->d", weights, xs)[None, None]
    total = jnp.sum(weights)

    def others(of_group):
        rest = total - jnp.sum(weights, axis=1)
        return (jnp.sum(of_group, axis=0, keepdims=True) - of_group) / rest.reshape(
            -1, *[1] * (of_group.ndim - 1)
        )

    variances = jnp.maximum(others(jnp.einsum("gm,gmd->gd", weights, off**2)), 1e-300)
    diagonal = jax.vmap(jnp.diag)
    if groups * m < 4 * d:
        return diagonal(jnp.sqrt(variances))
    keep = d / (d + total**2 / jnp.sum(weights**2))
    covariance = others(jnp.einsum("gm,gmi,gmj->gij", weights, off, off))
    factor = jnp.linalg.cholesky((1 - keep) * covariance + keep * diagonal(variances))
    return jnp.where(jnp.all(jnp.isfinite(factor)), factor, diagonal(jnp.sqrt(variances)))
