"""Gradient noise scales: McCandlish, Kaplan, Amodei et al. 2018 (arXiv:1812.06162), exact for linear data."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from heatbath.errors import Refused
from heatbath.theory import _checks


class NoiseScales(NamedTuple):
    """Simple tr S / |G|^2, Hessian-weighted tr(H S) / G^T H G, and longest useful step |G|^2 / G^T H G."""

    simple: float
    weighted: float
    longest_step: float


class EstimatorErrors(NamedTuple):
    """Standard deviation of the estimate of |G|^2, and of that of tr S relative to tr S."""

    squared_gradient: float
    relative_trace: float


def linear_gradient(
    covariance: ArrayLike, displacement: ArrayLike, noise_variance: float
) -> tuple[np.ndarray, np.ndarray]:
    """Mean gradient G = A delta, (d,), and covariance S of one example's, (d, d), for linear data.

    x ~ N(0, A), y = x . theta* + N(0, s2), squared loss / 2 (Hessian A):
    S = A (delta^T A delta + s2) + G G^T.

    Args:
        covariance: A, (d, d).
        displacement: delta = theta - theta*, (d,).
        noise_variance: s2, zero or more.
    """
    covariance = _checks.semidefinite("covariance", covariance)
    displacement = _checks.vector("displacement", displacement, len(covariance))
    gradient = covariance @ displacement
    residual = displacement @ gradient + float(_checks.nonnegative("noise_variance", noise_variance))
    return gradient, covariance * residual + np.outer(gradient, gradient)


def noise_scales(gradient: ArrayLike, covariance: ArrayLike, hessian: ArrayLike) -> NoiseScales:
    """Noise scales of mean gradient G (d,), per-example covariance S (d, d) and Hessian H (d, d).

    ``Refused`` where G = 0 (the scales are infinite) or H is not positive along it.
    """
    covariance = _checks.semidefinite("covariance", covariance)
    gradient = _checks.vector("gradient", gradient, len(covariance))
    hessian = _checks.square("hessian", hessian, len(covariance))
    squared, bent = gradient @ gradient, gradient @ hessian @ gradient
    if not (squared > 0 and bent > 0):
        raise Refused("noise scales need a gradient that is not zero and a Hessian that is positive along it")
    return NoiseScales(
        float(np.trace(covariance) / squared),
        float(np.sum(hessian * covariance) / bent),
        float(squared / bent),
    )


def best_step(scales: NoiseScales, batch: ArrayLike) -> np.ndarray:
    """Step of steepest expected descent at batch B: longest step / (1 + weighted scale / B)."""
    return scales.longest_step / (1 + scales.weighted / _checks.positive("batch", batch))


def effective_dimension(covariance: ArrayLike) -> float:
    """(tr S)^2 / tr S^2 of a covariance (d, d): between 1 and d."""
    covariance = _checks.semidefinite("covariance", covariance)
    _checks.positive("trace of covariance", np.trace(covariance))
    return float(np.trace(covariance) ** 2 / np.sum(covariance**2))


def estimator_errors(gradient: ArrayLike, covariance: ArrayLike, batch: int, parts: int) -> EstimatorErrors:
    """Errors of the unbiased estimates from one batch of B cut into k micro-batches, for Gaussian gradients.

    Var |G|^2 = 4 G S G / B + 2 tr S^2 k / (B^2 (k - 1)); of tr S, relative: sqrt(2 / ((k - 1) d_eff)).
    Real gradients have heavier tails, so that theirs are larger.

    Args:
        gradient, covariance: G (d,) and S (d, d).
        batch, parts: B and k, at least 2; k divides B.
    """
    batch, parts = _checks.count("batch", batch, 2), _checks.count("parts", parts, 2)
    if batch % parts:
        raise Refused(f"{parts} parts do not divide a batch of {batch}")
    relative = np.sqrt(2 / ((parts - 1) * effective_dimension(covariance)))
    covariance = np.asarray(covariance, float)
    gradient = _checks.vector("gradient", gradient, len(covariance))
    variance = 4 * gradient @ covariance @ gradient / batch + 2 * np.sum(covariance**2) * parts / (
        batch**2 * (parts - 1)
    )
    return EstimatorErrors(float(np.sqrt(variance)), float(relative))
