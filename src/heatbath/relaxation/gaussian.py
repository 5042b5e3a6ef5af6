"""Gaussian laws on the way to equilibrium: linear dynamics at any step size, in closed form."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.linalg import expm

from heatbath.theory import _checks
from heatbath.theory.gaussian import chain_covariance, diffusion_covariance, divergence


def wasserstein_distance(
    mean: ArrayLike, covariance: ArrayLike, mean_of: ArrayLike, covariance_of: ArrayLike
) -> float:
    """Transport distance W2 between two Gaussians, a length (Dowson and Landau 1982).

    W2^2 = |m1 - m2|^2 + tr(S1 + S2 - 2 (S2^1/2 S1 S2^1/2)^1/2). Means (d,), covariances (d, d).
    """
    covariance = _checks.semidefinite("covariance", covariance)
    size = len(covariance)
    covariance_of = _checks.semidefinite("covariance_of", covariance_of, size)
    shift = _checks.vector("mean", mean, size) - _checks.vector("mean_of", mean_of, size)
    squares, axes = np.linalg.eigh(covariance_of)
    root = axes * np.sqrt(np.maximum(squares, 0))
    overlap = np.sqrt(np.maximum(np.linalg.eigvalsh(root.T @ covariance @ root), 0)).sum()
    squared = shift @ shift + np.trace(covariance) + np.trace(covariance_of) - 2 * overlap
    return float(np.sqrt(max(squared, 0.0)))


@dataclass(frozen=True)
class LinearChain:
    """The chain x' = K x + shift + N(0, Q): ``transition`` K (d, d), ``noise`` Q (d, d), ``shift`` (d,).

    What it comes to rest at is its own stationary law, at any step size. ``Refused`` where there is none.
    """

    transition: np.ndarray
    noise: np.ndarray
    shift: np.ndarray

    def __post_init__(self):
        chain_covariance(self.transition, self.noise)  # refuses an unstable chain and bad shapes
        _checks.vector("shift", self.shift, len(self.noise))

    @property
    def stationary(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean (d,) and covariance (d, d) of the stationary law."""
        one = np.eye(len(self.noise))
        mean = np.linalg.solve(one - self.transition, self.shift)
        return mean, chain_covariance(self.transition, self.noise)

    def after(self, steps: int, mean: ArrayLike, covariance: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
        """Mean and covariance after ``steps`` steps from N(mean, covariance)."""
        return self._laws(steps, mean, covariance)[-1]

    def divergences(self, steps: int, mean: ArrayLike, covariance: ArrayLike) -> np.ndarray:
        """D(p_n || stationary) in nats after n = 0 ... ``steps`` steps, (steps + 1,); it never rises."""
        rest_mean, rest = self.stationary
        return np.array([divergence(m, s, rest_mean, rest) for m, s in self._laws(steps, mean, covariance)])

    def _laws(
        self, steps: int, mean: ArrayLike, covariance: ArrayLike
    ) -> list[tuple[np.ndarray, np.ndarray]]:
        size = len(self.noise)
        laws = [(_checks.vector("mean", mean, size), _checks.semidefinite("covariance", covariance, size))]
        for _ in range(_checks.count("steps", steps, 0)):
            m, s = laws[-1]
            laws.append(
                (self.transition @ m + self.shift, self.transition @ s @ self.transition.T + self.noise)
            )
        return laws


def ornstein_uhlenbeck(drift: ArrayLike, diffusion: ArrayLike, interval: float) -> LinearChain:
    """dx = -A x dt + sqrt(2 D) dW, seen every ``interval``: exact, with the same stationary law at any.

    A trap of stiffness k, friction g and temperature T has A = k/g and D = T/g. Both (d, d).
    """
    rest = diffusion_covariance(drift, diffusion)
    decay = expm(-np.asarray(drift, float) * float(_checks.positive("interval", interval)))
    noise = rest - decay @ rest @ decay.T
    return LinearChain(decay, (noise + noise.T) / 2, np.zeros(len(rest)))
