"""Tail index of SGD's stationary law on fresh linear data (Kesten 1973; Gurbuzbalaban et al. 2021).

delta' = (1 - eta X^T X / b) delta + noise with b inputs x ~ N(0, sigma^2 1): P(|delta| > r) ~ r^-alpha, where
E |M e|^alpha = 1 for a unit vector e. With s = |X e|^2 ~ sigma^2 chi^2_b and t ~ sigma^2 chi^2_(d-1),
|M e|^2 = (1 - eta s / b)^2 + (eta / b)^2 s t.
"""

from collections.abc import Callable
from itertools import pairwise

import numpy as np
from scipy.integrate import quad
from scipy.optimize import root_scalar
from scipy.special import gammaln

from heatbath.errors import Refused
from heatbath.theory import _checks
from heatbath.theory.least_squares import gaussian_critical_step

LARGEST = 200.0


def tail_index(step_size: float, batch: int = 1, dimension: int = 1, variance: float = 1.0) -> float:
    """The alpha of the tails, by quadrature (to about 1e-8); moments of order alpha and above are infinite.

    2 exactly at the critical step of the second moment, `gaussian_critical_step`.

    Args:
        step_size: eta. ``Refused`` where E ln |M e| >= 0, so that nothing is stationary, and where alpha is
            above 200, which no sample could tell from a Gaussian.
        batch: b, fresh inputs a step.
        dimension: d.
        variance: sigma^2 of each input.
    """
    scale = float(_checks.positive("step_size", step_size) * _checks.positive("variance", variance))
    batch, dimension = _checks.count("batch", batch), _checks.count("dimension", dimension)
    edge = gaussian_critical_step(dimension, 1.0, batch)
    if _mean(lambda log_norm: log_norm, scale, batch, dimension, 0.0) >= 0:
        raise Refused(
            f"no stationary law at step_size {step_size:.6g}: keep below {edge / float(variance):.6g}"
        )

    def excess(power: float) -> float:
        return _mean(lambda log_norm: np.exp(power * log_norm), scale, batch, dimension, power) - 1

    # E |M e|^p is convex in p and 1 at p = 0, where it falls: one other root.
    low = high = 2.0
    while excess(high) < 0:
        low, high = high, 2 * high
        if low > LARGEST:
            raise Refused(
                f"the tail index is above {LARGEST:.0f} at step_size {step_size:.6g}: the tails are Gaussian"
            )
    while excess(low) >= 0 and low > 1e-6:
        low, high = low / 2, low
    return float(root_scalar(excess, bracket=(low, high), xtol=1e-12, rtol=1e-12).root)


def _mean(function: Callable, scale: float, batch: int, dimension: int, power: float) -> float:
    """Mean of function(ln |M e|): split at the zero of M e, cut where |M e|^power is too rare to count."""
    root = np.sqrt(batch / scale)
    end = np.sqrt(2 * power + batch + dimension) + 12

    def inner(u: float) -> float:
        straight, mixing = (1 - scale * u**2 / batch) ** 2, (scale * u / batch) ** 2
        if dimension == 1:
            return function(np.log(max(straight, 1e-300)) / 2)
        return _integral(
            lambda r: function(np.log(max(straight + mixing * r**2, 1e-300)) / 2) * _chi(r, dimension - 1),
            end,
            None,
        )

    return _integral(lambda u: inner(u) * _chi(u, batch), end, root)


def _chi(r: float, degrees: int) -> float:
    """Density of the square root of chi^2."""
    if r == 0:
        return float(np.sqrt(2 / np.pi)) if degrees == 1 else 0.0
    return float(
        np.exp((degrees - 1) * np.log(r) - r**2 / 2 + (1 - degrees / 2) * np.log(2) - gammaln(degrees / 2))
    )


def _integral(density: Callable, end: float, point: float | None) -> float:
    pieces = [0.0, point, end] if point is not None and point < end else [0.0, end]
    return sum(
        quad(density, low, high, epsabs=1e-13, epsrel=1e-11, limit=200)[0] for low, high in pairwise(pieces)
    )
