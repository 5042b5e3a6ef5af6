"""Crooks' fluctuation theorem: where forward and reverse work cross, and whether they keep to it."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import expit, log_expit

from heatbath.estimate import Estimate
from heatbath.free_energy._checks import check_work
from heatbath.free_energy.bar import solve, why_not


@dataclass(frozen=True)
class Crooks:
    """Where the densities of w_F and -w_R cross (kT), and the slope of their log ratio, which must be 1."""

    crossing: Estimate
    slope: Estimate


def crooks(forward: ArrayLike, reverse: ArrayLike) -> Crooks:
    """Logistic fit of the direction of a run on its work: ln P_F(w)/P_R(-w) = slope (w - crossing).

    ``forward`` (n,) and ``reverse`` (m,): reduced work in nats of independent runs, as for `bar`. Crooks'
    theorem says slope 1 and crossing f_1 - f_0. Standard errors are those of maximum likelihood at given n
    and m: the inverse information, less 1/n + 1/m for the intercept (Prentice and Pyke, Biometrika 66, 403,
    1979). Not reliable where the likelihood ratio puts the slope 3 standard errors off 1, and where `bar` is
    not. Without overlap, with a single value, or work that does not vary there is no fit (NaN). Raises
    `Refused` as `bar`.
    Source: Crooks, Phys. Rev. E 60, 2721 (1999), eq. 2; the fit: Shirts, Bair, Hooker and Pande, Phys. Rev.
    Lett. 91, 140601 (2003).
    """
    forward, reverse = check_work(forward, "forward"), check_work(reverse, "reverse")
    centre = solve(forward, reverse)
    reason = why_not(forward, reverse, centre)
    if _separated(forward, reverse) or min(forward.size, reverse.size) < 2:
        reason = reason or "forward work lies all on one side of -reverse: no slope to fit"
        return Crooks(
            Estimate(math.nan, math.inf, reliable=False, reason=reason),
            Estimate(math.nan, math.inf, reliable=False, reason=reason),
        )
    # Far from the crossing the direction is in no doubt: such work may be cut short, and it may be +inf.
    x = np.clip(np.concatenate([forward, -reverse]) - centre, -200, 200)
    is_forward = np.repeat([1.0, 0.0], [forward.size, reverse.size])
    (intercept, slope), covariance, gain = _fit(x, is_forward)
    shift = math.log(forward.size / reverse.size)
    crossing = centre - (intercept - shift) / slope
    gradient = np.array([-1 / slope, (intercept - shift) / slope**2])
    # The numbers of runs are chosen, not drawn: the intercept is known better than its logistic error says.
    chosen = np.array([[1 / forward.size + 1 / reverse.size, 0], [0, 0]])
    variance = float(gradient @ (covariance - chosen) @ gradient)
    crossing_error = math.sqrt(variance) if variance > 0 else math.inf
    slope_error = math.sqrt(covariance[1, 1])
    if not reason and 2 * gain > 9:
        reason = (
            f"slope {slope:.3g} ({slope_error:.2g}) is off 1 by {math.sqrt(2 * gain):.2g} standard errors: "
            "the work breaks Crooks' theorem; check units, signs, that runs start in equilibrium, and that "
            "the reverse runs retrace the forward ones"
        )
    return Crooks(
        Estimate(crossing, crossing_error, reliable=not reason, reason=reason),
        Estimate(slope, slope_error, reliable=not reason, reason=reason),
    )


def _separated(forward: np.ndarray, reverse: np.ndarray) -> bool:
    """Whether one value of the work divides the two directions, so that the likelihood has no maximum."""
    return bool(forward.min() >= -reverse.min() or forward.max() <= -reverse.max())


def _fit(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """Logistic regression of y on x: intercept and slope, their covariance, and what the fit gains in log
    likelihood over slope 1 (and Bennett's intercept), where Newton's method starts."""
    sign = 2 * y - 1
    theta = np.array([math.log(y.sum() / (y.size - y.sum())), 1.0])

    def likelihood(theta: np.ndarray) -> float:
        return float(np.sum(log_expit(sign * (theta[0] + theta[1] * x))))

    def derivatives(theta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        p = expit(theta[0] + theta[1] * x)
        rest, weight = y - p, p * (1 - p)
        first = float(weight @ x)
        information = np.array([[weight.sum(), first], [first, (weight * x) @ x]])
        return np.array([rest.sum(), rest @ x]), information

    start = value = likelihood(theta)
    for _ in range(100):
        score, information = derivatives(theta)
        step = np.linalg.lstsq(information, score, rcond=None)[0]
        while (new := likelihood(theta + step)) < value and np.abs(step).max() > 1e-10:
            step = step / 2
        theta, value = theta + step, new
        if np.abs(step).max() < 1e-9:
            break
    return theta, np.linalg.pinv(derivatives(theta)[1]), value - start
