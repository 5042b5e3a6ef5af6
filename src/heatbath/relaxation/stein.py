"""Kernel Stein discrepancy: a test of equilibrium that needs forces only. It is not a divergence in nats."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.spatial.distance import pdist, squareform

from heatbath.errors import Refused
from heatbath.theory import _checks

MOST = 4_000


@dataclass(frozen=True)
class SteinTest:
    """``statistic``: n times the U-statistic of the squared discrepancy, about 0 at equilibrium, without a
    unit of its own; ``p_value``: the share of its null that is as large."""

    statistic: float
    p_value: float


def stein_test(
    samples: ArrayLike, forces: ArrayLike, temperature: float, *, resamples: int = 1_000, seed: int = 0
) -> SteinTest:
    """Are independent replicas distributed as exp(-U/T)? Needs no normalisation and no equilibrium draws.

    Squared kernel Stein discrepancy with the inverse multiquadric kernel (c^2 + |x - y|^2)^-1/2, c the median
    distance (Gorham and Mackey 2017), against its own null by random signs (Liu, Lee and Jordan 2016). It
    looks at the landscape where the samples are: replicas that all sit in one of several basins pass.

    Args:
        samples: (n, d), one from each replica, 20 to 4,000.
        forces: -dU/dx there, (n, d).
        temperature: T.
        resamples: of the signs; the smallest p-value is 1/(resamples + 1).
    """
    x, force = np.asarray(samples, float), np.asarray(forces, float)
    if x.ndim != 2 or x.shape != force.shape or not (np.isfinite(x).all() and np.isfinite(force).all()):
        raise Refused(f"samples {x.shape} and forces {force.shape} must be finite and both (n, d)")
    if not 20 <= len(x) <= MOST:
        raise Refused(f"{len(x)} samples: give 20 to {MOST:,} independent ones (thin them)")
    if not temperature > 0:
        raise Refused(f"temperature = {temperature:g}: give a number above 0")
    _checks.count("resamples", resamples)
    kernel = _stein_kernel(x, force / temperature)
    np.fill_diagonal(kernel, 0.0)
    scale = 1 / (len(x) - 1)
    statistic = float(kernel.sum() * scale)
    signs = np.random.default_rng(seed).choice([-1.0, 1.0], (resamples, len(x)))
    null = np.sum((signs @ kernel) * signs, axis=1) * scale
    return SteinTest(statistic, float((1 + np.count_nonzero(null >= statistic)) / (1 + resamples)))


def _stein_kernel(x: np.ndarray, score: np.ndarray) -> np.ndarray:
    """The kernel (n, n) whose mean over pairs from the target is 0; ``score``: grad ln density, (n, d)."""
    distances = pdist(x)
    median = np.median(distances)
    if not median > 0:
        raise Refused("half of the samples are the same point: they are not independent")
    squared = squareform(distances) ** 2
    base = 1 / (median**2 + squared)
    along = np.sum(score * x, axis=1)
    projected = along[:, None] + along - score @ x.T - x @ score.T  # (s_i - s_j).(x_i - x_j)
    kernel = base**0.5 * (score @ score.T) + base**1.5 * (projected + x.shape[1])
    return kernel - 3 * squared * base**2.5
