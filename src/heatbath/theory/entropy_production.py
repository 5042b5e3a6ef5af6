"""Entropy production in nats (k_B = 1) of linear diffusions and of Gaussian chains.

Real minibatch noise is discrete and often of rank below d, for which the entropy production of the path is
infinite. What is computed here is that of the Gaussian chain with the same covariance; use a subspace where
the noise has full rank.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from heatbath.errors import Refused
from heatbath.theory import _checks
from heatbath.theory.gaussian import chain_covariance, diffusion_covariance, divergence, entropy


class Current(NamedTuple):
    """Mean and variance of a current in one step."""

    mean: float
    variance: float


class Transient(NamedTuple):
    """Of n steps: total = medium + change of the system's entropy = excess + housekeeping."""

    total: float
    excess: float
    housekeeping: float
    medium: float
    divergence_start: float
    divergence_end: float


def diffusion_rate(drift: ArrayLike, diffusion: ArrayLike) -> float:
    """Stationary rate tr(A^T D^-1 A S) - tr A of dx = -A x dt + sqrt(2 D) dW (Ornstein-Uhlenbeck).

    SGD: A = H and D = eta C / 2; zero exactly where H and C commute. Both (d, d), D positive definite.
    """
    drift, diffusion = _diffusion(drift, diffusion)
    covariance = diffusion_covariance(drift, diffusion)
    return float(np.trace(drift.T @ np.linalg.solve(diffusion, drift @ covariance)) - np.trace(drift))


def area_rate(drift: ArrayLike, diffusion: ArrayLike) -> np.ndarray:
    """Rates D - S A^T, antisymmetric (d, d), at which the area (x_i dx_j - x_j dx_i) / 2 is swept."""
    drift, diffusion = _diffusion(drift, diffusion)
    return diffusion - diffusion_covariance(drift, diffusion) @ drift.T


def current_weights(drift: ArrayLike, diffusion: ArrayLike) -> np.ndarray:
    """Weights K = D^-1 (D S^-1 - A), (d, d), of the current (K x) o dx that saturates `short_time_bound`."""
    drift, diffusion = _diffusion(drift, diffusion)
    return np.linalg.inv(diffusion_covariance(drift, diffusion)) - np.linalg.solve(diffusion, drift)


def short_time_bound(drift: ArrayLike, diffusion: ArrayLike, weights: ArrayLike) -> float:
    """Lower bound <j>^2 / tr(K^T D K S) on the rate, from the current j = (K x) o dx / dt.

    The thermodynamic uncertainty relation of short times (Manikandan, Gupta and Krishnamurthy 2020).
    ``weights``: K, (d, d).
    """
    drift, diffusion = _diffusion(drift, diffusion)
    weights = _checks.square("weights", weights, len(drift))
    covariance = diffusion_covariance(drift, diffusion)
    velocity = diffusion @ np.linalg.inv(covariance) - drift
    spread = np.trace(weights.T @ diffusion @ weights @ covariance)
    if not spread > 0:
        raise Refused("weights must not all be zero: the current has no spread")
    return float(np.trace(weights.T @ velocity @ covariance) ** 2 / spread)


def chain_rate(transition: ArrayLike, noise: ArrayLike) -> float:
    """Stationary entropy production per step of x' = K x + N(0, Q): exact, at any step size.

    [tr(Q^-1 R) - d] / 2 with R = <(x - K x')(x - K x')^T>. SGD: K = 1 - eta H, Q = eta^2 C. Both (d, d), Q
    positive definite.
    """
    noise = _checks.definite("noise", noise)
    covariance = chain_covariance(transition, noise)
    return _medium(np.asarray(transition, float), noise, np.zeros(len(noise)), covariance)


def transient(
    transition: ArrayLike, noise: ArrayLike, mean: ArrayLike, covariance: ArrayLike, steps: int
) -> Transient:
    """Entropy production of ``steps`` steps of x' = K x + N(0, Q) started from N(mean, covariance).

    The excess is what the divergence from the stationary law falls by, the housekeeping the rest: both >= 0.

    Args:
        transition, noise: K and Q, (d, d).
        mean, covariance: of the start, (d,) and (d, d), positive definite.
        steps: how many.
    """
    noise = _checks.definite("noise", noise)
    stationary = chain_covariance(transition, noise)
    transition = np.asarray(transition, float)
    start_mean, start = (
        _checks.vector("mean", mean, len(noise)),
        _checks.definite("covariance", covariance, len(noise)),
    )
    here, spread, medium = start_mean, start, 0.0
    for _ in range(_checks.count("steps", steps, 0)):
        medium += _medium(transition, noise, here, spread)
        here, spread = transition @ here, transition @ spread @ transition.T + noise
    zero = np.zeros(len(noise))
    first, last = (divergence(m, s, zero, stationary) for m, s in ((start_mean, start), (here, spread)))
    total = medium + entropy(spread) - entropy(start)
    return Transient(total, first - last, total - first + last, medium, first, last)


def step_current(transition: ArrayLike, noise: ArrayLike, weights: ArrayLike) -> Current:
    """Stationary mean and variance of J = (W (x + x')/2) . (x' - x) in a step of x' = K x + N(0, Q).

    All three matrices (d, d). Exact: J is a quadratic form of the Gaussian pair (x, x').
    """
    covariance = chain_covariance(transition, noise)
    transition = np.asarray(transition, float)
    weights = _checks.square("weights", weights, len(covariance))
    lagged = transition @ covariance
    joint = np.block([[covariance, lagged.T], [lagged, covariance]])
    form = np.block([[-weights.T, weights.T], [-weights.T, weights.T]]) / 2
    product = (form + form.T) / 2 @ joint
    return Current(float(np.trace(product)), float(2 * np.trace(product @ product)))


def step_uncertainty_bound(mean: ArrayLike, variance: ArrayLike) -> np.ndarray:
    """Lower bound ln(1 + 2 <J>^2 / Var J) on the entropy production of one step, from any current.

    In discrete time 2 <J>^2 / Var J itself is **not** a bound; this is (from Hasegawa and Van Vu, PRL 123,
    110602 (2019)). Arguments broadcast. ``mean`` and ``variance`` of one step, odd under time reversal.
    """
    return np.log1p(2 * _checks.finite("mean", mean) ** 2 / _checks.positive("variance", variance))


def bead_spring_chain(
    beads: int, cold: float, hot: float, stiffness: float = 1.0, friction: float = 1.0
) -> tuple[np.ndarray, np.ndarray]:
    """Drift A and diffusion D, (n, n), of beads on springs between two walls; temperatures rise linearly.

    Two beads produce (T_hot - T_cold)^2 / (4 T_hot T_cold) times stiffness / friction.
    """
    beads = _checks.count("beads", beads, 2)
    rate = float(_checks.positive("stiffness", stiffness) / _checks.positive("friction", friction))
    drift = rate * (2 * np.eye(beads) - np.eye(beads, k=1) - np.eye(beads, k=-1))
    temperatures = np.linspace(_checks.positive("cold", cold), _checks.positive("hot", hot), beads)
    return drift, np.diag(temperatures) / friction


def _diffusion(drift: ArrayLike, diffusion: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    diffusion = _checks.definite("diffusion", diffusion)
    return _checks.square("drift", drift, len(diffusion)), diffusion


def _medium(transition: np.ndarray, noise: np.ndarray, mean: np.ndarray, covariance: np.ndarray) -> float:
    """Mean of ln p(x -> x') / p(x' -> x) for x ~ N(mean, covariance)."""
    one = np.eye(len(noise))
    back, forth = one - transition @ transition, transition @ noise @ transition.T
    missed = back @ mean
    spread = back @ covariance @ back.T + forth + np.outer(missed, missed)
    return float((np.trace(np.linalg.solve(noise, spread)) - len(noise)) / 2)
