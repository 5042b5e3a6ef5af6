"""The sandwich: runs in both directions bound the free energy from both sides, and BAR sits between."""

import math
from dataclasses import dataclass, replace

from numpy.typing import ArrayLike

from heatbath.estimate import Estimate
from heatbath.free_energy.bar import bar
from heatbath.free_energy.crooks import crooks
from heatbath.free_energy.jarzynski import jarzynski

WIDEST_GAP = 2.0
"""Nats between the bounds above which one of the directions has missed what counts."""


@dataclass(frozen=True)
class Sandwich:
    """Bounds on f_1 - f_0 (kT) in expectation, BAR, and ``gap`` = upper - lower.

    The bounds on ln Z_1/Z_0 are their negatives, with lower and upper exchanged.
    """

    lower: Estimate
    upper: Estimate
    bar: Estimate
    gap: float
    reliable: bool
    reason: str


def sandwich(forward: ArrayLike, reverse: ArrayLike) -> Sandwich:
    """Upper bound from the forward runs, lower bound from the reverse ones, BAR, and whether they agree.

    ``forward`` (n,) and ``reverse`` (m,): reduced work in nats of independent runs, as for `bar`; the reverse
    runs start from exact draws of state 1. In expectation -ln mean exp(-w_F) lies above f_1 - f_0 and
    ln mean exp(-w_R) below it, at any number of runs; both close in on it as the runs get slower or more.
    Scatter can make the gap negative.

    Not reliable where `bar` or the slope of `crooks` is not, where the gap is over 2 nats, or the bounds are
    apart by 3 joint standard errors. Raises `Refused` as `bar`.
    Source: Grosse, Ghahramani and Adams, arXiv:1511.02543 (2015).
    """
    middle, upper, back = bar(forward, reverse), jarzynski(forward), jarzynski(reverse)
    meaning = back.meaning.replace("upwards", "downwards")
    lower = replace(back, value=-back.value, meaning=meaning)
    gap, error = upper.value - lower.value, math.hypot(upper.std_error, lower.std_error)
    reason = middle.reason
    if not reason and abs(gap) > WIDEST_GAP:
        reason = f"the bounds are {gap:.3g} nats apart, over {WIDEST_GAP:g}: one direction missed what counts"
    if not reason and abs(gap) > 3 * error:
        reason = f"forward and reverse Jarzynski differ by {gap:.3g} nats, over 3 joint errors of {error:.2g}"
    if not reason:
        reason = crooks(forward, reverse).slope.reason
    return Sandwich(lower, upper, middle, gap, not reason, reason)
