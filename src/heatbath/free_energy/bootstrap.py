"""Bootstrap over whole runs: an error bar for any estimator, and a check on the asymptotic ones."""

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike

from heatbath.errors import Refused
from heatbath.estimate import Estimate


def bootstrap(
    estimator: Callable[..., Estimate],
    *works: ArrayLike,
    resamples: int = 400,
    seed: int = 0,
    paired: bool = False,
) -> Estimate:
    """``estimator(*works)`` with the standard deviation of the estimator over resampled runs as its error.

    ``works``: arrays whose first axis counts independent runs (whole trajectories), each resampled with
    replacement on its own; ``paired=True`` draws the same runs from all of them (cycles that hold a forward
    and a reverse run). The error bar is infinite for a single run, and where a resample has
    no finite value (no overlap). Same seed, same resamples.
    Raises `Refused` for fewer than 2 resamples, for paired arrays of unequal length, where the estimator
    returns no `Estimate`, and as the estimator.
    Source: Efron, Annals of Statistics 7, 1 (1979).
    """
    if resamples < 2:
        raise Refused(f"resamples = {resamples}: give at least 2, better some hundreds")
    arrays = [np.asarray(work) for work in works]
    found = estimator(*arrays)
    if not isinstance(found, Estimate):
        kind = type(found).__name__
        raise Refused(f"the estimator returns {kind}: it must return an Estimate, such as crooks(f, r).slope")
    sizes = [len(a) for a in arrays]
    if paired and len(set(sizes)) > 1:
        raise Refused(f"paired works of lengths {sizes}: give one value of each to a cycle, or paired=False")
    if min(sizes) < 2:
        reason = found.reason or "a single run has no error bar: give more runs"
        return replace(found, std_error=math.inf, reliable=False, reason=reason)
    rng = np.random.default_rng(seed)
    values = np.empty(resamples)
    for i in range(resamples):
        rows = [rng.integers(n, size=n) for n in sizes]
        values[i] = estimator(*(a[rows[0] if paired else r] for a, r in zip(arrays, rows, strict=True))).value
    lost = int(np.sum(~np.isfinite(values)))
    if lost:
        reason = found.reason or f"{lost} of {resamples} resamples have no finite value: too few runs overlap"
        return replace(found, std_error=math.inf, reliable=False, reason=reason)
    return replace(found, std_error=float(values.std(ddof=1)))
