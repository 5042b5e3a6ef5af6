"""Free energy from runs in one direction: Jarzynski's equality and its second cumulant.

Runs start in equilibrium, and are independent of one another.
"""

import math

import numpy as np
from numpy.typing import ArrayLike

from heatbath.errors import Refused
from heatbath.estimate import Estimate
from heatbath.free_energy._checks import check_work, numbers, why_tail_not_sampled
from heatbath.free_energy.log_domain import log_mean_exp


def jarzynski(work: ArrayLike) -> Estimate:
    """Free-energy difference f_1 - f_0 = -ln mean exp(-w), in kT.

    ``work``: reduced work in nats, shape (n,), of independent runs from equilibrium at state 0 to state 1
    (shadow work included; +inf is a run of weight 0). The standard error is that of the mean of exp(-w), to
    first order. exp(-f) is unbiased, f is biased upwards; ``meaning`` says by about how much. ``ess`` is
    (sum of weights)^2 / sum of squared weights, and decides nothing.

    Reliable where the tail that carries the average was sampled: 400 runs at var(w) about 1, more beyond.
    Raises `Refused` for NaN, -inf, an empty array or one without a finite value.
    Source: Jarzynski, Phys. Rev. Lett. 78, 2690 (1997), eq. 2.
    """
    w = check_work(work)
    n = w.size
    weights = np.exp(w.min() - w)
    mean = weights.mean()
    error = weights.std(ddof=1) / mean / math.sqrt(n) if n > 1 else math.inf
    reason = why_tail_not_sampled(w)
    meaning = f"biased upwards by about {error**2 / 2:.2g} kT" if math.isfinite(error) else ""
    ess = float(weights.sum() ** 2 / np.sum(weights**2))
    return Estimate(-log_mean_exp(-w), float(error), ess, not reason, reason, meaning)


def second_cumulant(work: ArrayLike) -> Estimate:
    """Free-energy difference f_1 - f_0 = mean(w) - var(w)/2, in kT: exact for Gaussian work only.

    ``work``: reduced work in nats, shape (n,), finite. Standard error sqrt(v/n + v^2 / (2 (n - 1))), v the
    variance (divisor n - 1). Reliable only where skewness and excess kurtosis are within 2.5 standard errors
    of 0, from 20 runs.
    Raises `Refused` as `jarzynski`, and for infinite work. Source: Jarzynski (1997).
    """
    w = check_work(work)
    if np.isinf(w).any():
        raise Refused(
            f"work[{int(np.argmax(np.isinf(w)))}] is infinite: it has no variance; use jarzynski or bar"
        )
    n = w.size
    if n < 2:
        return Estimate(float(w[0]), math.inf, n, False, "a single value has no variance and no error bar")
    variance = float(w.var(ddof=1))
    error = math.sqrt(variance / n + variance**2 / (2 * (n - 1)))
    reason = _why_not_gaussian(w)
    return Estimate(float(w.mean()) - variance / 2, error, n, not reason, reason)


def _why_not_gaussian(w: np.ndarray) -> str:
    n = w.size
    if n < 20:
        return f"{n} values cannot show that the work is Gaussian: give at least 20"
    if np.ptp(w) == 0:
        return ""
    # Exact standard deviations of the two for Gaussian samples (Fisher 1930).
    skew_error = math.sqrt(6 * n * (n - 1) / ((n - 2) * (n + 1) * (n + 3)))
    kurtosis_error = 2 * skew_error * math.sqrt((n * n - 1) / ((n - 3) * (n + 5)))
    off = w - w.mean()
    off = off / np.abs(off).max()
    second, third, fourth = (float(np.mean(off**k)) for k in (2, 3, 4))
    # Fisher's unbiased ratios of cumulants.
    third *= math.sqrt(n * (n - 1)) / (n - 2) / second**1.5
    fourth = ((n + 1) * (fourth / second**2 - 3) + 6) * (n - 1) / ((n - 2) * (n - 3))
    if abs(third) <= 2.5 * skew_error and abs(fourth) <= 2.5 * kurtosis_error:
        return ""
    return (
        f"the work is not Gaussian: skewness {third:.2g} ({skew_error:.1g}), excess kurtosis {fourth:.2g} "
        f"({kurtosis_error:.1g}); the second cumulant is exact for Gaussian work only"
    )


def annealed_importance_sampling(log_weights: ArrayLike) -> Estimate:
    """Log of the ratio of partition functions, ln Z_1/Z_0 = ln mean exp(log weight), in nats.

    ``log_weights``: shape (n,), one a run (-inf is weight 0). With a normalised prior as state 0 and the
    posterior as state 1 it is the log evidence. The same as ``-jarzynski(-log_weights)``, with its error bar,
    its conditions and what it raises. Source: Neal, Statistics and Computing 11, 125 (2001).
    """
    weights = numbers(log_weights, "log_weights")
    wrong = ~(weights < np.inf)
    if wrong.any():
        index = int(np.argmax(wrong))
        raise Refused(f"log_weights[{index}] is {weights.flat[index]:g}: a log weight is a number, or -inf")
    found = jarzynski(check_work(-weights, "log_weights"))
    meaning = found.meaning.replace("upwards", "downwards").replace("kT", "nats")
    return Estimate(-found.value, found.std_error, found.ess, found.reliable, found.reason, meaning)


def lower_bound(work: ArrayLike, confidence: float = 0.95) -> float:
    """A number below ln Z_1/Z_0 (nats) with probability ``confidence`` or more, from runs in one direction.

    ln mean exp(-w) + ln(1 - confidence), as P(ln mean exp(-w) > ln Z_1/Z_0 + a) <= exp(-a) by Markov's
    inequality, at any number of runs and however badly the tail was sampled. Its negative is an upper bound
    on the free-energy difference f_1 - f_0. ``work``: reduced work, shape (n,), nats.
    Raises `Refused` as `jarzynski`, and for a confidence outside 0 to 1.
    Source: Grosse, Ghahramani and Adams, arXiv:1511.02543 (2015).
    """
    if not 0 < confidence < 1:
        raise Refused(f"confidence = {confidence:g}: give a number between 0 and 1")
    return log_mean_exp(-check_work(work)) + math.log1p(-confidence)
