"""What every estimator asks of its input, and when an exponential average can be relied on."""

import math

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import ndtri

from heatbath.errors import Refused

FEWEST = 20
"""Values in each direction, or of each state, below which no error bar is relied on."""
FEWEST_ONE_SIDED = 400
"""Runs from which the error bar of an exponential average holds, at a variance of the work of about 1."""
HEAVY_TAIL = 0.45
"""Index of the weights' tail up to which it is never too heavy; at 1/2 their variance becomes infinite."""
FEWEST_OVERLAPPING = 2
"""Runs in the overlap of two directions from which Bennett's error bar holds: below, value +- 2 standard
errors of Gaussian work covered the truth in 60 to 90 % of repeats only."""
LEAST_OVERLAP = 0.03
"""Smallest element of the overlap matrix between neighbours (Klimovich, Shirts and Mobley 2015)."""


def check_energies(values: ArrayLike, name: str) -> np.ndarray:
    """Float64 array of any shape. +inf is legal (weight 0); NaN and -inf are refused, with the index."""
    array = numbers(values, name)
    wrong = ~(array > -np.inf)
    if wrong.any():
        raise Refused(
            f"{_first(array, wrong, name)}: it must be a number, or +inf (weight 0); leave out or repair the "
            "run"
        )
    return array


def numbers(values: ArrayLike, name: str) -> np.ndarray:
    """Float64 array of any shape, not empty."""
    try:
        array = np.asarray(values)
        if np.iscomplexobj(array):
            raise TypeError("complex")
        array = array.astype(float)
    except (TypeError, ValueError) as error:
        raise Refused(f"{name}: not numbers ({error}): give an array of floats") from None
    if array.size == 0:
        raise Refused(f"{name} is empty: give at least one value")
    return array


def _first(array: np.ndarray, wrong: np.ndarray, name: str) -> str:
    """The first of the wrong values, with its place, and how many there are."""
    index = tuple(int(i) for i in np.argwhere(wrong)[0])
    where = f"[{', '.join(map(str, index))}]" if index else ""
    return f"{name}{where} is {array[index]:g} ({int(wrong.sum())} such)"


def check_work(work: ArrayLike, name: str = "work") -> np.ndarray:
    """A one-dimensional array of reduced work (nats), at least one value of it finite."""
    array = check_energies(work, name)
    if array.ndim != 1:
        raise Refused(f"{name} has shape {array.shape}: give a one-dimensional array, one value a run")
    if np.isinf(array).all():
        raise Refused(f"{name}: all {array.size} values are infinite, so no run has a weight")
    return array


def check_ladder(couplings: ArrayLike, energies) -> tuple[np.ndarray, list[np.ndarray]]:
    """Couplings (K,) in strict order and K arrays of finite dU/dlambda/T."""
    ladder = numbers(couplings, "couplings")
    if ladder.ndim != 1 or ladder.size < 2:
        raise Refused(f"couplings of shape {ladder.shape}: give a one-dimensional array of two or more")
    if not np.isfinite(ladder).all():
        raise Refused(f"{_first(ladder, ~np.isfinite(ladder), 'couplings')}: it must be a finite number")
    steps = np.diff(ladder)
    if not ((steps > 0).all() or (steps < 0).all()):
        raise Refused("couplings must rise, or fall, at every step: sort them, each with its energies")
    energies = [] if energies is None else list(energies)
    if len(energies) != ladder.size:
        raise Refused(f"{ladder.size} couplings but {len(energies)} arrays of energies: one array a coupling")
    arrays = [check_work(u, f"energies[{k}]") for k, u in enumerate(energies)]
    for k, u in enumerate(arrays):
        if np.isinf(u).any():
            raise Refused(
                f"energies[{k}][{int(np.argmax(np.isinf(u)))}] is infinite: an average needs finite ones"
            )
    return ladder, arrays


def spread(work: np.ndarray) -> float:
    """Variance of the work (nats^2), its upper tail cut to the length of the lower one.

    Values far above the others (1e23, +inf) have no weight in the average of exp(-w), and so no say here.
    """
    finite = work[np.isfinite(work)]
    if finite.size < 2:
        return math.inf
    return float(np.var(np.minimum(finite, 2 * np.median(finite) - finite.min()), ddof=1))


def tail_indices(work: np.ndarray) -> tuple[float, float]:
    """Index of the tail of the weights exp(-w), and the highest one that Gaussian work would show.

    Hill's estimator (1975): the mean of the largest log weights over a threshold, above which there are
    min(n/5, 3 sqrt n) of them, as in Pareto-smoothed importance sampling (Vehtari et al. 2024). Above 1/2 the
    weights have no variance. Gaussian work has index 0 in the end, but shows the mean excess of a Gaussian of
    its variance, with a relative standard error of 1/sqrt(number).
    """
    n = work.size
    ranked = np.sort(-work)
    number = int(min(n / 5, 3 * math.sqrt(n)))
    top = ranked[ranked > ranked[-1 - number]]
    if not top.size:
        return 0.0, math.inf
    z = -float(ndtri(number / n))
    excess = math.exp(-(z**2) / 2) / math.sqrt(2 * math.pi) * n / number - z
    gaussian = math.sqrt(spread(work)) * excess * (1 + 3 / math.sqrt(number))
    return float(np.mean(top - ranked[-1 - number])), gaussian


def why_tail_not_sampled(work: np.ndarray) -> str:
    """Why the average of exp(-w) over these runs cannot be relied on; "" where it can.

    For Gaussian work about one run in exp(var w) carries the average. The error bar holds from 400 runs at a
    variance of about 1; beyond, the number it needs was measured to grow as exp(2 var w). Neither the largest
    weight nor the effective sample size is asked: both look best in the runs that missed the tail.
    """
    n = work.size
    if n < 2:
        return "a single run has no error bar: give more runs"
    variance = spread(work)
    needed = FEWEST_ONE_SIDED * math.exp(2 * min(max(variance - 1.2, 0.0), 12.0))
    if n < needed:
        rarity = f"in {_brief(math.exp(variance))}" if variance < 13 else "in over 400,000"
        seen = f"var(w) = {variance:.3g}: one run {rarity} carries exp(-w); " if variance > 1.2 else ""
        number = f"about {_brief(needed)}" if variance < 13 else "far more"
        return (
            f"{seen}the error bar of an exponential average needs {number} runs, here {n}: "
            "make more or slower runs, or add reverse ones"
        )
    index, gaussian = tail_indices(work)
    if index > max(HEAVY_TAIL, gaussian):
        return (
            f"the weights exp(-w) have a heavy tail, index {index:.2g} (no variance from 0.5): runs rarer "
            "than those seen may carry the average; make more or slower runs, or add reverse ones"
        )
    return ""


def _brief(number: float) -> str:
    """Two digits, no exponent below a million: 86, 270,000, 1.1e+13."""
    digits = 1 - math.floor(math.log10(number))
    return f"{round(number, digits):,.0f}" if number < 1e6 else f"{number:.1e}"
