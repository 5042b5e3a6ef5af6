"""A reference fitted to a posterior: a mixture of multivariate t densities and the prior, and importance
sampling from it."""

import math
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from scipy.special import logsumexp

from heatbath.free_energy.log_domain import log_mean_exp, log_sum_exp
from heatbath.learning.evidence_density import Model

SLOTS = 16  # components at most; the first is the prior, or what was fitted to it
CHUNK = 256  # draws of one component at a time
BLOCK = 16  # chunks in one call of a compiled program


class Mixture(eqx.Module):
    """Components with means (K, d), factors C with scale matrix C C^T (K, d, d), their inverses and log
    determinants; ``shares``: (K,), of the draws. Slots with share 0 cost nothing."""

    shares: Array
    means: Array
    factors: Array
    inverses: Array
    log_determinants: Array
    prior: Array  # whether the first component is the prior itself

    @staticmethod
    def of(shares: np.ndarray, means: np.ndarray, scales: np.ndarray, prior: bool) -> "Mixture":
        """From scale matrices (K, d, d); padded to `SLOTS`."""
        factors = np.linalg.cholesky(scales)
        inverses = np.linalg.inv(factors)
        empty = SLOTS - len(shares)

        def padded(x):
            return jnp.asarray(np.concatenate([x, np.zeros((empty, *x.shape[1:]))]))

        logs = np.sum(np.log(np.diagonal(factors, axis1=1, axis2=2)), axis=1)
        fields = [padded(x) for x in (shares, means, factors, inverses, logs)]
        return Mixture(fields[0], fields[1], fields[2], fields[3], fields[4], jnp.asarray(prior))

    @property
    def d(self) -> int:
        return self.means.shape[1]

    @property
    def freedom(self) -> int:
        """Degrees of freedom, even: tails heavy enough to bound the weights, and not much heavier than a
        Gaussian's shell of relative thickness d^-1/2."""
        return 6 + 2 * (self.d // 8)

    def log_densities(self, xs: Array, log_prior: Array) -> Array:
        """Of each component at points (n, d), shape (K, n); -inf in empty slots."""
        nu, d = self.freedom, self.d
        constant = math.lgamma((nu + d) / 2) - math.lgamma(nu / 2) - d / 2 * math.log(nu * math.pi)

        def t(k):
            u = (xs - self.means[k][None]) @ self.inverses[k].T
            return constant - self.log_determinants[k] - (nu + d) / 2 * jnp.log1p(jnp.sum(u * u, axis=1) / nu)

        def component(_, k):
            kind = jnp.where(self.shares[k] > 0, 1 + (self.prior & (k == 0)), 0)
            ways = [lambda k: jnp.full(len(xs), -jnp.inf), t, lambda k: log_prior]
            return None, jax.lax.switch(kind, ways, k)

        return jax.lax.scan(component, None, jnp.arange(SLOTS))[1]

    def log_density(self, xs: Array, log_prior: Array) -> Array:
        return jax.nn.logsumexp(self.log_densities(xs, log_prior) + jnp.log(self.shares)[:, None], axis=0)

    def draw(self, model: Model, k: Array, key: Array) -> Array:
        """`CHUNK` independent draws of component k. (Antithetic pairs would not do: where the posterior is
        nearly Gaussian both have the same weight.)"""

        def t(key):
            normals, gammas = jax.random.split(key)
            z = jax.random.normal(normals, (CHUNK, self.d)) @ self.factors[k].T
            chi2 = -2 * jnp.sum(jnp.log(jax.random.uniform(gammas, (self.freedom // 2, CHUNK))), axis=0)
            return self.means[k][None] + z * jnp.sqrt(self.freedom / chi2)[:, None]

        if model.posterior.sample_prior is None:
            return t(key)
        first = lambda key: jax.vmap(model.sample_prior)(jax.random.split(key, CHUNK))  # noqa: E731
        return jax.lax.cond(self.prior & (k == 0), first, t, key)


class Block(NamedTuple):
    """Points (chunks, n, d), their log weights and log priors (chunks, n), components (chunks, K, n)."""

    xs: Any
    log_weights: Any
    log_prior: Any
    logs: Any


@eqx.filter_jit
def drawn(model: Model, mixture: Mixture, components: Array, key: Array) -> Block:
    """A chunk of weighted draws of each of `BLOCK` components."""

    def chunk(_, at):
        k, key = at
        xs = mixture.draw(model, k, key)
        log_prior = jax.vmap(model.log_prior)(xs)
        log_p = log_prior + jax.vmap(model.log_likelihood)(xs)
        logs = mixture.log_densities(xs, log_prior)
        log_w = log_p - jax.nn.logsumexp(logs + jnp.log(mixture.shares)[:, None], axis=0)
        return None, Block(xs, jnp.where(jnp.isnan(log_w), -jnp.inf, log_w), log_prior, logs)

    return jax.lax.scan(chunk, None, (components, jax.random.split(key, BLOCK)))[1]


def rounded(shares: np.ndarray, chunks: int) -> np.ndarray:
    """Chunks of each component: in proportion to ``shares``, at least one for each that is not 0."""
    wanted = np.where(shares > 0, np.maximum(shares * chunks, 1), 0)
    wanted *= chunks / wanted.sum()
    counts = np.where(shares > 0, np.maximum(np.floor(wanted), 1), 0).astype(int)
    while counts.sum() != chunks:
        behind = np.where(counts > 0, wanted - counts, -np.inf)
        if counts.sum() < chunks:
            counts[np.argmax(behind)] += 1
        else:
            counts[np.argmin(np.where(counts > 1, behind, np.inf))] -= 1
    return counts


class Weights:
    """Importance weights of ``blocks`` x `BLOCK` x `CHUNK` draws, in strata of the mixture's components."""

    def __init__(self, model: Model, mixture: Mixture, blocks: int, key: Array, keep: bool = False):
        chunks = blocks * BLOCK
        counts = rounded(np.asarray(mixture.shares), chunks)
        self.mixture = eqx.tree_at(lambda m: m.shares, mixture, jnp.asarray(counts / chunks))
        self.components = np.repeat(np.arange(SLOTS), counts)
        keys = jax.random.split(key, blocks)
        found = []
        for components, k in zip(self.components.reshape(blocks, BLOCK), keys, strict=True):
            block = drawn(model, self.mixture, jnp.asarray(components), k)
            found.append(block if keep else block.log_weights)
        self.log_weights = np.concatenate([x.log_weights if keep else x for x in found])
        self.block = Block(*(np.concatenate(x) for x in zip(*found, strict=True))) if keep else None

    @property
    def log_mean(self) -> float:
        return log_mean_exp(self.log_weights)

    @property
    def ess(self) -> float:
        """(sum of w)^2 / sum of w^2."""
        return math.exp(2 * log_sum_exp(self.log_weights) - log_sum_exp(2 * self.log_weights))

    @property
    def std_error(self) -> float:
        """Of `log_mean`; the number of draws of each component is fixed."""
        w = np.exp(self.log_weights - self.log_mean)
        variance = 0.0
        for k in np.unique(self.components):
            mine = w[self.components == k].ravel()
            variance += (len(mine) / w.size) ** 2 * np.var(mine, ddof=1) / len(mine)
        return math.sqrt(variance)

    def refitted(self, shares_only: bool = False) -> Mixture:
        """One step of expectation maximisation on the weighted draws (population Monte Carlo, Cappe et al.
        2008): it lowers KL(posterior || mixture)."""
        assert self.block is not None
        xs = self.block.xs.reshape(-1, self.mixture.d)
        logs = np.moveaxis(self.block.logs, 1, 0).reshape(SLOTS, -1)
        return maximised(self.mixture, xs, self.log_weights.ravel(), logs, shares_only)


def maximised(
    mixture: Mixture, xs: np.ndarray, log_weights: np.ndarray, logs: np.ndarray, shares_only: bool = False
) -> Mixture:
    """Shares, means and scales that explain weighted points better (expectation maximisation for t
    densities); a component's scale keeps d + 1 points' worth of what it was."""
    nu, d = mixture.freedom, mixture.d
    shares, means = np.array(mixture.shares), np.array(mixture.means)
    scales = np.array(mixture.factors @ jnp.swapaxes(mixture.factors, 1, 2))
    active = shares > 0
    with np.errstate(divide="ignore"):
        logs = logs + np.log(shares)[:, None]
    responsible = np.exp(logs - logsumexp(logs, axis=0) + (log_weights - logsumexp(log_weights)))
    shares = np.where(active, responsible.sum(axis=1), 0.0)
    if shares_only:
        return eqx.tree_at(lambda m: m.shares, mixture, jnp.asarray(shares))
    inverses = np.asarray(mixture.inverses)
    for k in np.flatnonzero(active)[int(mixture.prior) :]:
        r = responsible[k]
        if not r.sum() > 0:
            continue
        count = r.sum() ** 2 / np.sum(r**2)
        distance = np.sum(((xs - means[k]) @ inverses[k].T) ** 2, axis=1)
        pulled = r * (nu + d) / (nu + distance)
        mean = pulled @ xs / pulled.sum()
        off = xs - mean
        seen = (off * (pulled / r.sum())[:, None]).T @ off
        keep = (d + 1) / (d + 1 + count)
        means[k] += (1 - keep) * (mean - means[k])
        scales[k] = keep * scales[k] + (1 - keep) * seen
    return Mixture.of(shares[active], means[active], scales[active], bool(mixture.prior))
