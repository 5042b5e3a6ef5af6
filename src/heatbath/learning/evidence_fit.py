"""The reference: a mixture fitted to the end of the path and to the modes that ascents find."""

from dataclasses import replace

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from heatbath.estimate import Estimate
from heatbath.free_energy import bar
from heatbath.learning.evidence_density import Model
from heatbath.learning.evidence_mixture import BLOCK, SLOTS, Mixture, Weights, drawn, maximised
from heatbath.learning.evidence_modes import ASCENTS, LARGEST, climbed, constants, distinct, log_posterior

CLUSTERS = (3, 7)  # of the population, where one does not do
ROUNDS = 4  # of draws from which the mixture is refitted, at most


def log_mass(model: Model, prior: np.ndarray, key: Array) -> Estimate:
    """ln of the integral of exp(log_prior), 0 for a normalised one: Bennett's acceptance ratio between draws
    from the prior (n, d) and from a t fitted to them."""
    fitted = Mixture.of(np.ones(1), prior.mean(axis=0)[None], covariance(prior)[None], False)
    block = drawn(model, fitted, jnp.zeros(BLOCK, int), key)
    log_prior, logs = component_logs(model, fitted, jnp.asarray(prior))
    forward = np.asarray(block.logs[:, 0] - block.log_prior).ravel()
    found = bar(np.where(np.isnan(forward), np.inf, forward), np.asarray(log_prior - logs[0]))
    return replace(found, value=-found.value)


@eqx.filter_jit
def component_logs(model: Model, mixture: Mixture, xs: Array) -> tuple[Array, Array]:
    """ln density of the prior (n,) and of each component (K, n) at points (n, d)."""
    log_prior = jax.vmap(model.log_prior)(xs)
    return log_prior, mixture.log_densities(xs, log_prior)


def reference(
    model: Model, prior: np.ndarray, population: np.ndarray, exact: bool, key: Array
) -> tuple[Mixture, int]:
    """A mixture like the posterior, and the gradients it took.

    ``prior``, ``population``: points (n, d) at the two ends of the path. ``exact``: the first component is
    the prior itself, which bounds the weights by the largest likelihood ratio; else a t fitted to ``prior``.
    """
    means, scales = [prior.mean(axis=0)], [covariance(prior)]
    gradients = 0
    if model.d <= LARGEST:
        modes = climbed(model, _starts(model, prior, population))
        gradients = modes.gradients
        found = distinct(modes, SLOTS - 1 - CLUSTERS[-1])
        means += list(found[0])
        scales += list(found[1])
    fitted = _clustered(model, population)
    means += list(fitted[0])
    scales += list(fitted[1])
    shares = np.full(len(means), 1 / len(means))
    return _refitted(model, Mixture.of(shares, np.array(means), np.array(scales), exact), key), gradients


def _refitted(model: Model, mixture: Mixture, key: Array) -> Mixture:
    """Shares fitted to weighted draws; then means and scales too, for as long as that raises the effective
    size of fresh draws."""
    first, *keys = jax.random.split(key, ROUNDS)
    shared = Weights(model, mixture, 1, first, keep=True).refitted(shares_only=True)
    mixture, best, most = shared, shared, 0.0
    for k in keys:
        weights = Weights(model, mixture, 1, k, keep=True)
        if not weights.ess > most:
            break
        best, most = mixture, weights.ess
        mixture = weights.refitted()
    return best


def _starts(model: Model, prior: np.ndarray, population: np.ndarray) -> Array:
    """Half of the ascents start in the population, a quarter at draws from the prior and a quarter at the
    highest `constants`."""
    named = np.concatenate([constants(model)[: len(prior) - ASCENTS], prior])[: len(prior)]
    heights = np.asarray(log_posterior(model, jnp.asarray(named)))
    best = named[np.argsort(-np.nan_to_num(heights, nan=-np.inf))[: ASCENTS // 4]]
    some = population[:: len(population) // (ASCENTS // 2)][: ASCENTS // 2]
    return jnp.asarray(np.concatenate([some, prior[: ASCENTS // 4], best]))


def covariance(points: np.ndarray) -> np.ndarray:
    """Shrunk towards its diagonal as if by d + 1 more points."""
    n, d = points.shape
    covariance = np.atleast_2d(np.cov(points.T))
    keep = (d + 1) / (n + d + 1)
    covariance = (1 - keep) * covariance + keep * np.diag(np.diag(covariance))
    return covariance + 1e-12 * (np.trace(covariance) / d + 1e-12) * np.eye(d)


def _clustered(model: Model, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Means and scales of one t, or of more for as long as that explains the points better by the Bayesian
    information criterion (Schwarz 1978)."""
    n, d = points.shape
    whole = covariance(points)
    best = _maximum(model, points, points.mean(axis=0)[None], whole[None])
    precision = np.linalg.inv(whole)
    for k in CLUSTERS:
        if n < 10 * d * k:
            break
        centres = points[:1]
        while len(centres) < k:  # farthest first
            offs = points[:, None] - centres
            squares = np.einsum("nki,ij,nkj->nk", offs, precision, offs)
            centres = np.concatenate([centres, points[[np.argmax(squares.min(axis=1))]]])
        found = _maximum(model, points, centres, np.repeat(whole[None] / 4, k, axis=0))
        price = (k - len(best[1])) * (1 + d + d * (d + 1) / 2) * np.log(n) / 2
        if found[0] - price <= best[0]:
            break
        best = found
    return best[1:]


def _maximum(
    model: Model, points: np.ndarray, means: np.ndarray, scales: np.ndarray
) -> tuple[float, np.ndarray, np.ndarray]:
    """ln likelihood, means and scales after 20 steps of expectation maximisation."""
    k = len(means)
    mixture = Mixture.of(np.full(k, 1 / k), means, scales, False)
    for _ in range(20):
        logs = np.asarray(component_logs(model, mixture, jnp.asarray(points))[1])
        mixture = maximised(mixture, points, np.zeros(len(points)), logs)
    with np.errstate(divide="ignore"):
        total = float(np.logaddexp.reduce(logs + np.log(np.asarray(mixture.shares))[:, None], axis=0).sum())
    factors = np.asarray(mixture.factors)[:k]
    return total, np.asarray(mixture.means)[:k], factors @ np.swapaxes(factors, 1, 2)
