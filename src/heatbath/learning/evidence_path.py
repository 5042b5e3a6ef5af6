"""The way from a reference to the posterior: population annealing at constant thermodynamic speed."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import Array

from heatbath.dynamics.resampling import systematic
from heatbath.learning.evidence_density import Model
from heatbath.learning.evidence_mixture import Mixture

STAGES = 500  # at most
ACCEPTANCE = 0.8  # aimed at
MOVES, LEAPFROGS = 3, 4  # after each change of the coupling


class Path(eqx.Module):
    """Where a run along the path ended.

    ``log_z``: (groups,), estimates from independent resampling. ``xs``: (groups, m, d), the population at the
    end. ``coupling``: 1, unless `STAGES` did not suffice. ``acceptance``: of the last moves.
    """

    log_z: Array
    xs: Array
    coupling: Array
    stages: Array
    acceptance: Array

    @property
    def gradients(self) -> int:
        groups, m, _ = self.xs.shape
        return int(self.stages) * groups * m * (MOVES * LEAPFROGS + 1)


class _At(eqx.Module):
    """Position, ln of the reference density, ln of the ratio to the end of the path, gradient."""

    x: Array
    start: Array
    gain: Array
    gradient: Array


@eqx.filter_jit
def population_annealed(model: Model, reference: Mixture | None, xs: Array, key: Array) -> Path:
    """From draws ``xs`` (groups, m, d) of a reference (None: the prior) to the posterior.

    ln density at coupling b: ln reference + b (ln posterior - ln reference). Each stage raises b until
    half of the population's effective size is left (equal steps of thermodynamic length), resamples within
    the groups (systematic) and moves by HMC. A group moves in units of the spread of the other groups: in
    units of its own, directions in which it is too narrow by chance would stay so (in 50 dimensions that
    biased ln Z by -1.4 nats). Sequential Monte Carlo (Del Moral, Doucet and Jasra 2006); population annealing
    (Hukushima and Iba 2003).
    """
    groups, m, d = xs.shape

    def densities(x):
        prior, likelihood = model.log_prior(x), model.log_likelihood(x)
        if reference is None:
            return prior, likelihood
        start = reference.log_density(x[None], prior[None])[0]
        return start, prior + likelihood - start

    def at(x, b):
        def tempered(x):
            start, gain = densities(x)
            return start + b * gain, (start, gain)

        (_, (start, gain)), gradient = jax.value_and_grad(tempered, has_aux=True)(x)
        return _At(x, start, gain, gradient)

    everywhere = jax.vmap(at, (0, None))

    def in_groups(u, matrices):
        return (u.reshape(groups, m, d) @ matrices).reshape(groups * m, d)

    def move(at, factor, b, step, key):
        normal, jitter, accept = jax.random.split(key, 3)
        p0 = jax.random.normal(normal, (groups * m, d))
        h = step * jax.random.uniform(jitter, (groups * m, 1), minval=0.5, maxval=1.0)

        def leapfrog(_, now):
            at, p = now
            new = everywhere(at.x + in_groups(h * p, jnp.swapaxes(factor, 1, 2)), b)
            return new, p + h * in_groups(new.gradient, factor)

        half = p0 + h / 2 * in_groups(at.gradient, factor)
        new, p = jax.lax.fori_loop(0, LEAPFROGS, leapfrog, (at, half))
        p = p - h / 2 * in_groups(new.gradient, factor)
        log_ratio = new.start - at.start + b * (new.gain - at.gain)
        log_ratio = log_ratio - (jnp.sum(p**2, axis=1) - jnp.sum(p0**2, axis=1)) / 2
        log_ratio = jnp.where(jnp.isnan(log_ratio), -jnp.inf, log_ratio)
        accepted = jnp.log(jax.random.uniform(accept, (groups * m,))) < log_ratio
        kept = jax.tree.map(lambda a, o: jnp.where(accepted.reshape(-1, *[1] * (a.ndim - 1)), a, o), new, at)
        return kept, jnp.mean(jnp.exp(jnp.minimum(log_ratio, 0.0)))

    def stage(state):
        at, b, log_z, step, n, key, _ = state
        key, resampling, moving = jax.random.split(key, 3)
        up = _next_coupling(at.gain, b)
        log_w = ((up - b) * at.gain).reshape(groups, m)
        log_z = log_z + jax.nn.logsumexp(log_w, axis=1) - jnp.log(m)
        factor = _spread(at.x.reshape(xs.shape), jax.nn.softmax(log_w.ravel()).reshape(groups, m))
        chosen = jax.vmap(systematic)(
            jax.random.uniform(resampling, (groups,)),
            jax.nn.softmax(log_w, axis=1),
            jnp.ones_like(log_w, bool),
        )
        chosen = (chosen + m * jnp.arange(groups)[:, None]).ravel()
        at = everywhere(at.x[chosen], up)

        def one(carry, key):
            at, step = carry
            at, acceptance = move(at, factor, up, step, key)
            step = jnp.clip(step * jnp.exp(2 * (acceptance - ACCEPTANCE)), 1e-6, 1.0)
            return (at, step), acceptance

        (at, step), acceptance = jax.lax.scan(one, (at, step), jax.random.split(moving, MOVES))
        return at, up, log_z, step, n + 1, key, acceptance[-1]

    first = everywhere(xs.reshape(-1, d), 0.0)
    zero = jnp.zeros((), jnp.float64)
    state = (first, zero, jnp.zeros(groups), jnp.asarray(0.7 * d**-0.25), jnp.asarray(0), key, zero)
    end = jax.lax.while_loop(lambda s: (s[1] < 1) & (s[4] < STAGES), stage, state)
    return Path(end[2], end[0].x.reshape(xs.shape), end[1], end[4], end[6])


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
