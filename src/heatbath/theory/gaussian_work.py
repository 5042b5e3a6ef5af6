"""Estimators of free energy on Gaussian work: their asymptotic standard errors.

Reduced work, forward N(f + s2/2, s2) and reverse N(-f + s2/2, s2), as Crooks' theorem asks. None depends
on f.
"""

import numpy as np
from scipy.integrate import quad
from scipy.special import expit
from scipy.stats import norm

from heatbath.theory import _checks


def jarzynski_error(variance: float, samples: int) -> float:
    """sqrt((exp(s2) - 1) / n) nats."""
    variance = float(_checks.nonnegative("variance", variance))
    return float(np.sqrt(np.expm1(variance) / _checks.count("samples", samples)))


def cumulant_error(variance: float, samples: int) -> float:
    """sqrt(s2 / n + s2^2 / (2 (n - 1))) nats, of the second cumulant estimate mean - variance / 2."""
    variance, samples = float(_checks.nonnegative("variance", variance)), _checks.count("samples", samples, 2)
    return float(np.sqrt(variance / samples + variance**2 / (2 * (samples - 1))))


def bar_error(variance: float, forward: int, reverse: int) -> float:
    """Of Bennett's acceptance ratio with n forward and m reverse values, in nats.

    sqrt of [<s^2>/<s>^2 - 1]/n + [the same]/m, s the logistic weights of both sides (Bennett 1976).
    """
    variance = float(_checks.positive("variance", variance))
    counts = _checks.count("forward", forward), _checks.count("reverse", reverse)
    shift = np.log(counts[0] / counts[1])
    squared = sum(
        _relative_variance(variance, sign * shift) / count
        for sign, count in zip((1, -1), counts, strict=True)
    )
    return float(np.sqrt(squared))


def _relative_variance(variance: float, shift: float) -> float:
    """Of s = 1 / (1 + exp(w + shift)) where w ~ N(s2/2, s2)."""
    width = np.sqrt(variance)
    low, high = -variance / 2 - 13 * width, variance / 2 + 13 * width

    def moment(power: int) -> float:
        def density(w: float) -> float:
            return float(norm.pdf(w, variance / 2, width) * expit(-w - shift) ** power)

        points = (-variance / 2, 0.0, variance / 2)
        return quad(density, low, high, points=points, epsabs=0, epsrel=1e-12, limit=400)[0]

    return moment(2) / moment(1) ** 2 - 1
