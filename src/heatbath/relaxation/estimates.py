"""Divergence from equilibrium in nats, estimated from independent replicas, each with its error.

Up to 3 dimensions nearest neighbours against the known energy, up to 10 nearest neighbours against draws from
equilibrium; above that a parametric fit, which names its family, or bounds (`dissipation_bound`).
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.linalg import cho_factor, cho_solve
from scipy.spatial import KDTree
from scipy.special import digamma, gammaln

from heatbath.errors import Refused
from heatbath.estimate import Estimate
from heatbath.free_energy.jarzynski import jarzynski
from heatbath.theory import _checks

FEWEST = 100
MOST_DIMENSIONS, FEW_DIMENSIONS = 10, 3
FAR = 2.0  # nats
GROUPS = 20
MEANING = "Distance to equilibrium in nats."


class Bounds(NamedTuple):
    """Lower and upper bound on D(p_t || p_eq)."""

    lower: Estimate
    upper: Estimate


def neighbour_divergence(
    samples: ArrayLike, reduced_energies: ArrayLike, log_partition: float, *, neighbours: int = 5
) -> Estimate:
    """<U>/T + ln Z - S of replicas in a known energy, S by nearest neighbours (Kozachenko and Leonenko 1987).

    Relied on up to 3 dimensions; refused above 10. The standard error contains the bias of the entropy, as it
    shows when ``neighbours`` is doubled.

    Args:
        samples: (n, d), one from each replica, all different, at least 100.
        reduced_energies: U/T there, (n,).
        log_partition: ln of the integral of exp(-U/T) dx.
        neighbours: which neighbour's distance counts.
    """
    x = _few_dimensions("samples", samples, neighbours)
    energies = _checks.vector("reduced_energies", reduced_energies, len(x))
    if not np.isfinite(log_partition):
        raise Refused(f"log_partition = {log_partition:g}: give the ln of the integral of exp(-U/T)")
    d = x.shape[1]

    def divergence(kept: np.ndarray, k: int = neighbours) -> float:
        log_ball = d * np.log(_distances(x[kept], x[kept], k, own=True)).mean() + _log_ball(d)
        entropy = log_ball + digamma(len(kept)) - digamma(k)
        return float(energies[kept].mean() + log_partition - entropy)

    value, error = _jackknife(divergence, len(x))
    change = divergence(np.arange(len(x)), 2 * neighbours) - value
    bias = change / (2 ** (2 / d) - 1)  # it goes as the squared distance of the neighbours
    error = float(np.hypot(error, bias))
    reason = ""
    if d > FEW_DIMENSIONS:
        reason = f"biased in {d} dimensions; give draws from equilibrium to neighbour_divergence_between"
    return Estimate(value, error, len(x), not reason, reason, MEANING)


def neighbour_divergence_between(
    samples: ArrayLike, equilibrium: ArrayLike, *, neighbours: int = 5
) -> Estimate:
    """D of the law of ``samples`` (n, d) from that of ``equilibrium`` (m, d), by nearest neighbours in each.

    Wang, Kulkarni and Verdu 2009. Refused above 10 dimensions; above 6, relied on up to 2 nats. The standard
    error contains the change when ``neighbours`` is doubled, which stands for the bias.
    """
    x = _few_dimensions("samples", samples, neighbours)
    y = _few_dimensions("equilibrium", equilibrium, neighbours, x.shape[1])

    def divergence(kept: np.ndarray, also: np.ndarray, k: int) -> float:
        here, there = x[kept], y[also]
        apart = _distances(here, there, k, own=False)
        ratio = np.log(apart / _distances(here, here, k, own=True))
        return float(x.shape[1] * ratio.mean() + np.log(len(there) / (len(here) - 1)))

    all_x, all_y = np.arange(len(x)), np.arange(len(y))
    value, error = _jackknife(lambda kept: divergence(kept, all_y, neighbours), len(x))
    _, other = _jackknife(lambda also: divergence(all_x, also, neighbours), len(y))
    bias = divergence(all_x, all_y, 2 * neighbours) - value
    error = float(np.sqrt(error**2 + other**2 + bias**2))
    reason = ""
    if x.shape[1] > 2 * FEW_DIMENSIONS and value > FAR:
        reason = (
            f"too far from equilibrium for {x.shape[1]} dimensions: few draws are near, some 5 % are missed"
        )
    return Estimate(value, error, len(x), not reason, reason, MEANING)


def gaussian_fit(
    samples: ArrayLike,
    *,
    law: tuple[ArrayLike, ArrayLike] | None = None,
    equilibrium: ArrayLike | None = None,
) -> Estimate:
    """D of the Gaussian with the samples' moments from a Gaussian equilibrium; unbiased for Gaussian samples.

    Where the equilibrium is Gaussian and the samples are not, a lower bound. The plug-in value is too large
    by about d(d + 3)/4 (1/n + 1/m); the exact bias, from the moments of Wishart matrices, is taken off.

    Args:
        samples: (n, d), one from each replica.
        law: mean (d,) and covariance (d, d) of the equilibrium; or else
        equilibrium: draws from it, (m, d). n and m at least 2 d + 6.
    """
    x = samples_of("samples", samples)
    if (law is None) == (equilibrium is None):
        raise Refused("give the equilibrium either as a law (mean, covariance) or as draws")
    n, d = x.shape
    everyone = np.arange(n)
    if equilibrium is None:
        assert law is not None
        known = _checks.vector("mean", law[0], d), _checks.definite("covariance", law[1], d)
        value, error = _jackknife(lambda kept: _fitted(x[kept], *known, None), n)
        return Estimate(value, error, n, meaning=f"{MEANING} Of a Gaussian fit.")
    y = samples_of("equilibrium", equilibrium, d)

    def divergence(kept: np.ndarray, also: np.ndarray) -> float:
        return _fitted(x[kept], *_moments(y[also]), len(also))

    value, error = _jackknife(lambda kept: divergence(kept, np.arange(len(y))), n)
    _, other = _jackknife(lambda also: divergence(everyone, also), len(y))
    return Estimate(value, float(np.hypot(error, other)), n, meaning=f"{MEANING} Of Gaussian fits.")


def _fitted(x: np.ndarray, centre: np.ndarray, spread: np.ndarray, m: int | None) -> float:
    """Unbiased; ``m``: how many draws ``centre`` and ``spread`` come from, None if they are exact."""
    n, d = x.shape
    mean, covariance = _moments(x)
    factor = cho_factor(spread)
    ratio = cho_solve(factor, covariance)
    log_ratio = np.linalg.slogdet(ratio)[1] - _log_wishart(n, d)
    shift = (mean - centre) @ cho_solve(factor, mean - centre)
    trace = np.trace(ratio)
    if m is not None:
        log_ratio += _log_wishart(m, d)
        inverse = (m - d - 2) / (m - 1)  # of the mean of the inverse of a Wishart matrix
        trace, shift = inverse * trace, inverse * shift - d / m
    return float((trace - d - log_ratio + shift - trace / n) / 2)


def reversibility_sandwich(log_ratio: ArrayLike) -> Bounds:
    """E ln f0(X_2t) <= D(p_t || p_eq) <= ln E f0(X_2t), from ``log_ratio``: ln f0 = ln(p_0/p_eq) where each
    replica is at **twice** the time t, (n,), in nats.

    Needs detailed balance and a known start, and no estimate of a density. The upper bound is an exponential
    average: reliable close to equilibrium only.
    """
    values = _checks.vector("log_ratio", log_ratio)
    if len(values) < 2:
        raise Refused("log_ratio of one replica has no error: give two or more")
    error = float(values.std(ddof=1) / np.sqrt(len(values)))
    lower = Estimate(float(values.mean()), error, len(values), meaning="At least so far from equilibrium.")
    found = jarzynski(-values)
    meaning = "At most so far from equilibrium."
    upper = Estimate(-found.value, found.std_error, found.ess, found.reliable, found.reason, meaning)
    return Bounds(lower, upper)


def _moments(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    d = x.shape[1]
    return x.mean(axis=0), _checks.definite("the covariance of the samples", np.cov(x.T).reshape(d, d))


def _log_wishart(n: int, d: int) -> float:
    """Mean of ln det of the covariance of n samples of N(0, 1) in d dimensions."""
    return float(digamma((n - 1 - np.arange(d)) / 2).sum() + d * np.log(2 / (n - 1)))


def _log_ball(d: int) -> float:
    """ln of the volume of the unit ball."""
    return float(d / 2 * np.log(np.pi) - gammaln(d / 2 + 1))


def _distances(points: np.ndarray, among: np.ndarray, k: int, *, own: bool) -> np.ndarray:
    """Distance (n,) of each of ``points`` to its k-th neighbour ``among`` others; ``own``: it is one too."""
    found = np.asarray(KDTree(among).query(points, k=[k + own])[0])[:, 0]  # pyright: ignore[reportArgumentType]
    if not found.min() > 0:
        raise Refused("samples coincide: nearest neighbours need independent, different ones")
    return found


def _jackknife(estimate: Callable[[np.ndarray], float], n: int) -> tuple[float, float]:
    """The estimate from all n, and its standard error from leaving out one of 20 groups at a time."""
    everyone = np.arange(n)
    left_out = np.array([estimate(everyone[everyone % GROUPS != g]) for g in range(GROUPS)])
    error = np.sqrt((GROUPS - 1) * left_out.var())
    return estimate(everyone), float(error)


def samples_of(name: str, value: ArrayLike, dimension: int | None = None) -> np.ndarray:
    """Finite samples (n, d), enough of them. Raises `Refused` where they are not."""
    x = np.asarray(value, float)
    if x.ndim != 2 or dimension not in (None, x.shape[-1]) or not np.isfinite(x).all():
        raise Refused(
            f"{name} of shape {x.shape}: give finite numbers (n, {dimension or 'd'}), a row a replica"
        )
    least = max(GROUPS, 2 * x.shape[1] + 6)
    if len(x) < least:
        raise Refused(f"{name}: {len(x)} replicas in {x.shape[1]} dimensions; give at least {least}")
    return x


def _few_dimensions(name: str, value: ArrayLike, neighbours: int, dimension: int | None = None) -> np.ndarray:
    x = samples_of(name, value, dimension)
    if x.shape[1] > MOST_DIMENSIONS:
        raise Refused(
            f"{x.shape[1]} dimensions: nearest neighbours are nats off above {MOST_DIMENSIONS}; use "
            "gaussian_fit or dissipation_bound, or fewer observables"
        )
    if _checks.count("neighbours", neighbours) > len(x) // 10 or len(x) < FEWEST:
        raise Refused(f"{name}: {len(x)} replicas; give at least {max(FEWEST, 10 * neighbours)}")
    return x
