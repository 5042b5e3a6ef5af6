"""What an estimate of the local learning coefficient aims at when data, step and batch are finite.

The estimate (Lau, Murfet, Wei et al. 2023) is n beta <L - L*> under exp(-n beta L - gamma |w|^2 / 2),
sampled by w' = w - (eps/2)(n beta g + gamma w) + sqrt(eps) xi. The real log canonical threshold is its limit
of large n beta.
"""

import numpy as np
from numpy.typing import ArrayLike
from scipy.integrate import quad

from heatbath.errors import Refused
from heatbath.theory import _checks


def quadratic_coefficient(
    curvature: ArrayLike,
    sharpness: float,
    localization: float,
    *,
    step_size: float = 0.0,
    gradient_noise: ArrayLike = 0.0,
    batch: int = 1,
) -> float:
    """Sum over modes of n beta h / 2 times the variance, exact at finite step and batch. Limit: rank / 2.

    Variance of a mode: [1 + (eps/4) (n beta)^2 c / B] / (k (1 - eps k / 4)), k = n beta h + gamma.

    Args:
        curvature: h, (d,), zero or more.
        sharpness: n beta, positive.
        localization: gamma, zero or more; positive where a curvature is zero.
        step_size: eps; 0 is exact sampling. ``Refused`` from 4 / max k on.
        gradient_noise: c, variance of one example's gradient of L along each mode, (d,) or a number.
        batch: B examples a step, drawn with replacement.
    """
    curvature = _checks.vector("curvature", _checks.nonnegative("curvature", curvature))
    sharpness = float(_checks.positive("sharpness", sharpness))
    stiffness = sharpness * curvature + float(_checks.nonnegative("localization", localization))
    if not np.all(stiffness > 0):
        raise Refused("a mode without curvature needs a localization above 0")
    step_size = float(_checks.nonnegative("step_size", step_size))
    if step_size * stiffness.max() >= 4:
        raise Refused(f"step_size {step_size:.6g} is at or above the critical step {4 / stiffness.max():.6g}")
    noise = _checks.nonnegative("gradient_noise", gradient_noise)
    if noise.ndim:
        noise = _checks.vector("gradient_noise", noise, curvature.size)
    noise = sharpness**2 * noise / _checks.count("batch", batch)
    variance = (1 + step_size / 4 * noise) / (stiffness * (1 - step_size * stiffness / 4))
    return float(np.sum(sharpness * curvature * variance) / 2)


def power_coefficient(half_power: int, sharpness: float, localization: float) -> float:
    """n beta <w^2k> for the loss w^2k of one weight, by quadrature. Limit: 1 / (2 k).

    Args:
        half_power: k, a whole number from 1.
        sharpness: n beta, positive.
        localization: gamma, zero or more.
    """
    power = 2 * _checks.count("half_power", half_power)
    sharpness = float(_checks.positive("sharpness", sharpness))
    # In units of the loss's own width n beta w^2k = u^2k, so that a large n beta is no harder.
    pull = float(_checks.nonnegative("localization", localization)) * sharpness ** (-2 / power) / 2
    # Beyond `end` the integrands are below e^-50, and a strong pull is resolved.
    end = min(50 ** (1 / power), np.sqrt(50 / pull) if pull else np.inf)

    def weight(u: float) -> float:
        return np.exp(-(u**power) - pull * u**2)

    return _integral(lambda u: u**power * weight(u), end) / _integral(weight, end)


def cross_coefficient(sharpness: float, localization: float) -> float:
    """n beta <(w1 w2)^2> for the loss (w1 w2)^2 of two weights.

    The limit 1/2 is reached only like 1/2 - 1 / ln(n beta). w2 is integrated in closed form, w1 = sinh(y) /
    sqrt(2 n beta / gamma) by quadrature.

    Args:
        sharpness: n beta, positive.
        localization: gamma, positive.
    """
    localization = float(_checks.positive("localization", localization))
    # Only n beta / gamma^2 matters: w1 in units of 1 / sqrt(gamma).
    ratio = 2 * float(_checks.positive("sharpness", sharpness)) / localization**2
    end = np.arcsinh(np.sqrt(100 * ratio))

    def weight(y: float) -> float:
        return np.exp(-(np.sinh(y) ** 2) / (2 * ratio))

    return _integral(lambda y: weight(y) * np.tanh(y) ** 2, end) / (2 * _integral(weight, end))


def reduced_rank_threshold(inputs: int, hidden: int, outputs: int, rank: int) -> tuple[float, int]:
    """Real log canonical threshold and multiplicity of reduced-rank regression (Aoyagi and Watanabe 2005).

    A linear network inputs -> hidden -> outputs whose true map has ``rank`` (at most each of the widths).
    """
    m, h, n = (
        _checks.count(name, value)
        for name, value in (("inputs", inputs), ("hidden", hidden), ("outputs", outputs))
    )
    r = _checks.count("rank", rank, 0)
    if r > min(m, h, n):
        raise Refused(f"rank {r} is above the smallest width {min(m, h, n)}")
    if n + r > m + h:
        return (h * m - h * r + n * r) / 2, 1
    if m + r > n + h:
        return (h * n - h * r + m * r) / 2, 1
    if h + r > m + n:
        return m * n / 2, 1
    odd = (m + h + n + r) % 2
    width = h + r
    return (2 * width * (m + n) + 2 * m * n - width**2 - m**2 - n**2 + odd) / 8, 1 + odd


def _integral(density, end: float) -> float:
    return float(quad(density, 0.0, end, epsabs=0.0, epsrel=1e-12, limit=500)[0])
