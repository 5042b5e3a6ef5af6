"""Crooks' fluctuation theorem: where forward and reverse work cross, and whether they keep to it."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from heatbath.estimate import Estimate
from heatbath.free_energy._checks import check_work
from heatbath.free_energy._logistic import fit, separated
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
    if separated(forward, reverse) or min(forward.size, reverse.size) < 2:
        reason = reason or "forward work lies all on one side of -reverse: no slope to fit"
        return Crooks(
            Estimate(math.nan, math.inf, reliable=False, reason=reason),
            Estimate(math.nan, math.inf, reliable=False, reason=reason),
        )
    (intercept, slope), covariance, gain = fit(forward, reverse, centre)
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
        Estimate(float(crossing), crossing_error, reliable=not reason, reason=reason),
        Estimate(float(slope), slope_error, reliable=not reason, reason=reason),
    )
