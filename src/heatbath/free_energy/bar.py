"""Bennett's acceptance ratio: the free energy from runs in both directions, and how well the two agree."""

import math

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import root_scalar
from scipy.special import expit, log_expit

from heatbath.estimate import Estimate
from heatbath.free_energy._checks import FEWEST, FEWEST_OVERLAPPING, check_work, spread
from heatbath.free_energy._logistic import fit, separated
from heatbath.free_energy.log_domain import log_sum_exp


def bar(forward: ArrayLike, reverse: ArrayLike) -> Estimate:
    """Free-energy difference f_1 - f_0 in kT: the maximum-likelihood estimate from both directions.

    ``forward``: reduced work in nats, shape (n,), of independent runs from equilibrium at state 0 to state 1;
    ``reverse``: shape (m,), work done **on** the system in runs from equilibrium at state 1 to state 0.
    +inf is a run of weight 0. Solves sum_F 1/(1 + exp(w - f + M)) = sum_R 1/(1 + exp(w_R + f - M)),
    M = ln(n/m). The standard error is the asymptotic one; it is infinite where no forward value lies beyond
    the reverse ones, or one direction has a single value.

    Not reliable where a sign looks reversed, below 20 values in a direction, and where fewer than 2 of them
    overlap (n times `overlap`): the error bar is then too small.
    Raises `Refused` for NaN, -inf, an empty array or one without a finite value.
    Source: Bennett, J. Comput. Phys. 22, 245 (1976); the error: Shirts, Bair, Hooker and Pande, Phys.
    Rev. Lett. 91, 140601 (2003).
    """
    forward, reverse = check_work(forward, "forward"), check_work(reverse, "reverse")
    f = solve(forward, reverse)
    reason = why_not(forward, reverse, f)
    single = min(forward.size, reverse.size) < 2
    error = math.inf if single or why_no_overlap(forward, reverse) else _standard_error(forward, reverse, f)
    return Estimate(f, error, reliable=not reason, reason=reason)


def solve(forward: np.ndarray, reverse: np.ndarray) -> float:
    """The root of Bennett's equation. Its two sides are compared as logarithms."""
    shift = math.log(forward.size / reverse.size)

    def balance(f: float) -> float:
        return _log_sum_expit(f - forward - shift) - _log_sum_expit(shift - reverse - f)

    centre, width = (forward.min() - reverse.min()) / 2, 1.0 + abs(shift)
    while balance(centre - width) > 0 or balance(centre + width) < 0:
        width *= 2
    return root_scalar(balance, bracket=(centre - width, centre + width), method="brentq", xtol=1e-13).root


def _log_sum_expit(values: np.ndarray) -> float:
    """ln of the sum of 1/(1 + exp(-values)); all in the log domain only where the sum underflows."""
    total = float(expit(values).sum())
    return math.log(total) if total > 1e-280 else log_sum_exp(log_expit(values))


def _standard_error(forward: np.ndarray, reverse: np.ndarray, f: float) -> float:
    shift = math.log(forward.size / reverse.size)
    variance = 0.0
    for logs in (log_expit(f - forward - shift), log_expit(shift - reverse - f)):
        # [mean s^2 / (mean s)^2 - 1] / n
        log_ratio = log_sum_exp(2 * logs) - 2 * log_sum_exp(logs) + math.log(logs.size)
        variance += math.expm1(max(log_ratio, 0.0)) / logs.size
    return math.sqrt(variance)


def overlap(forward: ArrayLike, reverse: ArrayLike) -> float:
    """Overlap of both directions: element (0, 1) of the overlap matrix of two states, 0 to m/(n + m).

    Arguments as `bar`. Below about 0.03 the error bars are not to be believed. Raises as `bar`.
    Source: Klimovich, Shirts and Mobley, J. Comput. Aided Mol. Des. 29, 397 (2015).
    """
    forward, reverse = check_work(forward, "forward"), check_work(reverse, "reverse")
    return _overlapping(forward, reverse, solve(forward, reverse)) / forward.size


def _overlapping(forward: np.ndarray, reverse: np.ndarray, f: float) -> float:
    """Number of runs whose work could be of either direction, counted once for both."""
    score = np.concatenate([forward, -reverse]) - f + math.log(forward.size / reverse.size)
    return float(np.sum(expit(score) * expit(-score)))


def hysteresis(forward: ArrayLike, reverse: ArrayLike) -> float:
    """mean(forward) + mean(reverse), in kT: what both directions together dissipate, >= 0 in expectation.

    Arguments as `bar`, and what it raises. Slow runs bring it to 0; near equilibrium it is the variance of
    the work. Source: the second law, <w> >= f_1 - f_0 in both directions.
    """
    return float(check_work(forward, "forward").mean() + check_work(reverse, "reverse").mean())


def check_signs(forward: ArrayLike, reverse: ArrayLike) -> str:
    """Why a sign looks reversed in one of the two sets of work; "" where none does. Nothing is corrected.

    Arguments as `bar`. It shows in three ways. The mean works add up to less than 0 by over 3 standard
    errors, against the second law. Or they add up to over 4 times the variance of the work (Gaussian work
    dissipates just that), and forward and -reverse have no value in common while the raw values have. Or the
    works break Crooks' theorem by 5 standard errors, and keep it (within 3) with one sign changed; that is
    asked only where they dissipate other than Gaussian work.
    Raises `Refused` as `bar`.
    """
    forward, reverse = check_work(forward, "forward"), check_work(reverse, "reverse")
    total = hysteresis(forward, reverse)
    if not math.isfinite(total):
        return ""
    remedy = "reverse work is that done on the system in the reverse runs; change the sign of one set"
    error = math.sqrt(sum(w.var(ddof=1) / w.size if w.size > 1 else math.inf for w in (forward, reverse)))
    if total < -3 * error:
        return (
            f"a sign looks reversed: the mean works add up to {total:.4g} kT ({error:.2g}), below 0 against "
            f"the second law; {remedy}"
        )
    raw_overlap = forward.min() <= reverse.max() and reverse.min() <= forward.max()
    usual = (spread(forward) + spread(reverse)) / 2
    if raw_overlap and why_no_overlap(forward, reverse) and total > 4 * usual:
        return (
            f"a sign looks reversed: the mean works add up to {total:+.4g} kT, far above their variance "
            f"({usual:.3g}), and they overlap only with one sign changed; {remedy}"
        )
    unusual = abs(total - usual) > usual / 4 + 3 * error
    if unusual and _off(forward, reverse) > 5 and _off(forward, -reverse) < 3:
        return (
            "a sign looks reversed: the work breaks Crooks' theorem, and keeps it with one sign changed; "
            f"{remedy}"
        )
    return ""


def _off(forward: np.ndarray, reverse: np.ndarray) -> float:
    """Standard errors by which the slope of ln P_F/P_R is off 1, by the likelihood ratio; infinite where
    forward work lies below all -reverse, 0 where it lies above."""
    if separated(forward, reverse):
        return math.inf if forward.max() <= -reverse.max() else 0.0
    return math.sqrt(max(2 * fit(forward, reverse, solve(forward, reverse))[2], 0.0))


def why_not(forward: np.ndarray, reverse: np.ndarray, f: float) -> str:
    """Why an estimate from both directions cannot be relied on; "" where it can. ``f``: that of `solve`."""
    reason = check_signs(forward, reverse) or why_no_overlap(forward, reverse) or why_few(forward, reverse)
    if reason:
        return reason
    number = _overlapping(forward, reverse, f)
    if number >= FEWEST_OVERLAPPING:
        return ""
    return (
        f"hardly any overlap: the work of {number:.2g} runs could be of either direction, below "
        f"{FEWEST_OVERLAPPING}; make more or slower runs, or put states between"
    )


def why_no_overlap(forward: np.ndarray, reverse: np.ndarray) -> str:
    """Why forward work and minus reverse work have no value in common; "" where they overlap."""
    lowest, highest = forward.min(), -reverse.min()
    if lowest <= highest:
        return ""
    return (
        f"no overlap: the smallest forward work, {lowest:.4g}, lies above all -reverse, up to {highest:.4g}; "
        "the free energy lies between; make slower runs or more states between"
    )


def why_few(forward: np.ndarray, reverse: np.ndarray) -> str:
    """Why there are too few values for an error bar; "" where there are enough."""
    fewest = min(forward.size, reverse.size)
    if fewest >= FEWEST:
        return ""
    return f"{fewest} run{'s' * (fewest > 1)} in one direction: an error bar needs at least {FEWEST} in each"
