"""Means of correlated series with their errors: what every instrument ends in. NumPy; no JAX.

Arrays have the leading axes (replicas, samples). Errors are sd/sqrt(effective sample size); the effective
size (Vehtari et al. 2021, of the mean) counts the autocorrelation and the scatter between replicas. With
fewer than four samples a replica, only the scatter between replicas is left.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from heatbath.errors import Refused
from heatbath.estimate import Estimate
from heatbath.theory._checks import real, short

ESS_LIMIT = 50.0
RHAT_LIMIT = 1.05
RESOLVED = 4.0  # standard errors from 0 at which a denominator counts as known
LARGEST = 1e70  # of measured numbers: sums of their fourth powers are finite
FEWEST_SAMPLES = 4  # below, a series has no autocorrelation to speak of


def checked(name: str, array: Any, axes: str = "replicas, samples", trailing: int = 0) -> np.ndarray:
    """``array`` in float64, finite, with the named leading axes and ``trailing`` more.

    Raises `Refused` where the shape is another one, it is empty, or a number is not finite, or so large that
    its powers are not.
    """
    array = real(name, array)
    dimension = len(axes.split(", ")) + trailing
    if array.ndim != dimension:
        raise Refused(f"{name} has shape {array.shape}: give {dimension} axes, the first being ({axes})")
    if array.size == 0:
        raise Refused(f"{name} has shape {array.shape}: there is nothing in it")
    if not (np.abs(array) < LARGEST).all():
        raise Refused(f"{name} has values that are not finite, or above {LARGEST:g}: leave out what diverged")
    return array


def positive(name: str, value: float) -> float:
    """``value`` as a float. Raises `Refused` unless it is finite and above 0."""
    return between(name, value, np.inf, "number above 0")


def probability(name: str, value: float) -> float:
    """``value`` as a float. Raises `Refused` unless it is between 0 and 1."""
    return between(name, value, 1.0, "probability between 0 and 1")


def between(name: str, value: float, most: float, what: str) -> float:
    """``value`` as a float. Raises `Refused` unless it is above 0 and below ``most``."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = np.nan
    if not 0 < number < most:
        raise Refused(f"{name} = {short(value)}: give a {what}")
    return number


def whole(name: str, value: int, least: int = 1) -> int:
    """``value``. Raises `Refused` unless it is a whole number of at least ``least``."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
        raise Refused(f"{name} = {short(value)}: give a whole number, {least} or more")
    return int(value)


def seed(value: int) -> int:
    """``value``. Raises `Refused` unless it is a whole number from 0 to 2^32 - 1."""
    if whole("seed", value, 0) >= 2**32:
        raise Refused(f"seed = {short(value)}: give one from 0 to 4294967295")
    return int(value)


def estimated(name: str, value: Any) -> Estimate:
    """``value``, doubted where it is not finite. Raises `Refused` unless it is an `Estimate`."""
    if not isinstance(value, Estimate):
        raise Refused(f"{name} is a {type(value).__name__}: give the Estimate of an instrument")
    if not np.isfinite(value.value) or np.isnan(value.std_error):
        return doubted(value, f"{name} is not finite, or has no error")
    return value


def coordinates(name: str, value: Any, d: int) -> np.ndarray:
    """``value``, a number or (d,), as (d,). Raises `Refused` where it is neither, or not finite."""
    array = real(name, value)
    if array.shape not in ((), (d,)) or not np.isfinite(array).all():
        raise Refused(
            f"{name} has shape {array.shape}: give a finite number, or one for each of {d} coordinates"
        )
    return np.broadcast_to(array, (d,))


def effective_size(series: np.ndarray) -> float:
    """Effective number of samples of the mean; ``series``: (replicas, samples)."""
    from arviz_stats.base.array import array_stats

    replicas, samples = series.shape
    if samples < FEWEST_SAMPLES or np.ptp(series) == 0:
        return float(replicas if samples < FEWEST_SAMPLES else replicas * samples)
    return float(np.asarray(array_stats.ess(series, chain_axis=0, draw_axis=1, method="mean")))


def mean(series: np.ndarray, meaning: str = "") -> Estimate:
    """Mean of ``series`` (replicas, samples) over both axes, with the reason where it cannot be relied on."""
    value, ess = float(series.mean()), effective_size(series)
    by_replica = series.mean(axis=1) if series.shape[1] < FEWEST_SAMPLES else series
    error = float(by_replica.std(ddof=1) / np.sqrt(ess)) if by_replica.size > 1 else np.nan
    reason = doubt(series, ess)
    return Estimate(value, error, ess, not reason, reason, meaning)


def ratio(
    above: np.ndarray, below: np.ndarray, meaning: str = "", *, of: str = "the denominator"
) -> Estimate:
    """mean(above)/mean(below) of two series seen together; error by the delta method.

    Not reliable where ``of``, the name of what is below, may as well be 0.
    """
    under = mean(below)
    if under.value == 0:
        raise Refused(f"{of} is 0: there is nothing to divide by")
    value = above.mean() / under.value
    found = shifted(mean((above - value * below) / under.value, meaning), value)
    if not abs(under.value) > RESOLVED * under.std_error:
        return doubted(found, f"{of} is not resolved from 0: give more samples, or less noisy ones")
    return found


def shifted(estimate: Estimate, value: float) -> Estimate:
    """The same errors about another value: for means of linearised series."""
    e = estimate
    return Estimate(float(value), e.std_error, e.ess, e.reliable, e.reason, e.meaning)


def scaled(estimate: Estimate, factor: float, meaning: str) -> Estimate:
    """``factor`` times the estimate; the factor is known exactly."""
    e = estimate
    return Estimate(factor * e.value, abs(factor) * e.std_error, e.ess, e.reliable, e.reason, meaning)


def doubted(estimate: Estimate, reason: str) -> Estimate:
    """The same numbers, not to be relied on; the first reason stays."""
    e = estimate
    return Estimate(e.value, e.std_error, e.ess, False, e.reason or reason, e.meaning)


def doubt(series: np.ndarray, ess: float) -> str:
    """Why a mean over ``series`` cannot be relied on; empty where it can."""
    from arviz_stats.base.array import array_stats

    if not np.isfinite(series).all():
        return "the numbers overflow"
    if np.ptp(series) == 0:
        return "the series does not vary, so it has no error"
    if not ess >= ESS_LIMIT:
        return f"{ess:.0f} effective samples, at least {ESS_LIMIT:.0f} are needed"
    replicas, samples = series.shape
    if samples >= 2 * FEWEST_SAMPLES:
        if replicas == 1:
            series = series[:, : samples // 2 * 2].reshape(2, -1)
        rhat = float(np.asarray(array_stats.rhat(series, chain_axis=0, draw_axis=1)))
        if not rhat <= RHAT_LIMIT:
            return f"replicas, or the halves of the series, disagree (R-hat {rhat:.2f}): not stationary"
    return ""


def per_group(instrument: Callable[..., Any], *arrays: Mapping[str, Any], **settings: Any) -> dict[str, Any]:
    """An instrument on each group ("layer"): ``arrays`` map the name of a group to its array.

    ``per_group(configurational_temperature, {"W": w, "b": b}, {"W": grad_w, "b": grad_b})`` gives
    ``{"W": Estimate, "b": Estimate}``. Raises `Refused` where the groups differ.
    """
    if not arrays or not all(isinstance(a, Mapping) and a for a in arrays):
        raise Refused("groups are missing: give dictionaries from the name of a group to its array")
    names = list(arrays[0])
    for other in arrays[1:]:
        if set(other) != set(names):
            raise Refused(f"groups differ: {sorted(names)} and {sorted(other)}; give the same in each")
    return {name: instrument(*(a[name] for a in arrays), **settings) for name in names}
