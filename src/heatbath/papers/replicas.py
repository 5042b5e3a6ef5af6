"""Numbers of independent replicas, with errors from leaving one out. NumPy; no JAX."""

from collections.abc import Callable

import numpy as np

from heatbath.estimate import Estimate
from heatbath.papers.claims import LIMIT


def jackknife(statistic: Callable[..., float], *arrays: np.ndarray, meaning: str = "") -> Estimate:
    """``statistic(*arrays)``, a smooth function of means over the leading axis, which all ``arrays`` share.

    Its bias of order 1/replicas is removed. Source: Efron and Tibshirani 1993, chapters 10 and 11.
    """
    count = len(arrays[0])
    whole = statistic(*arrays)
    without = np.array([statistic(*(np.delete(x, r, axis=0) for x in arrays)) for r in range(count)])
    error = np.sqrt((count - 1) / count * np.sum((without - without.mean()) ** 2))
    value = count * whole - (count - 1) * without.mean()
    return Estimate(float(value), float(error), float(count), meaning=meaning)


def mean(values: np.ndarray, meaning: str = "") -> Estimate:
    """Of one number from each replica, (replicas,)."""
    error = float(values.std(ddof=1) / np.sqrt(len(values)))
    return Estimate(float(values.mean()), error, float(len(values)), meaning=meaning)


def share(hits: np.ndarray) -> Estimate:
    """Of a truth value from each of as many independent readings, (n,); no error is 0 (Laplace's rule)."""
    padded = (hits.sum() + 1) / (hits.size + 2)
    return Estimate(float(hits.mean()), float(np.sqrt(padded * (1 - padded) / hits.size)), hits.size)


def less(ours: Estimate, theirs: Estimate) -> Estimate:
    """The difference of independent estimates."""
    error = float(np.hypot(ours.std_error, theirs.std_error))
    return Estimate(ours.value - theirs.value, error, min(ours.ess, theirs.ess))


def paired(ours: np.ndarray, theirs: np.ndarray) -> Estimate:
    """Mean over the same items of what replicas have more than independent others, (replicas, items) each.
    The error is that of other items and other replicas."""
    difference = less(mean(ours.mean(axis=1)), mean(theirs.mean(axis=1)))
    of_items = mean(ours.mean(axis=0) - theirs.mean(axis=0)).std_error
    return Estimate(difference.value, float(np.hypot(difference.std_error, of_items)), difference.ess)


def decided(estimate: Estimate, limit: float) -> Estimate:
    """The same, not to be relied on where its error does not tell on which side of ``limit`` it is."""
    if abs(estimate.value - limit) >= LIMIT * estimate.std_error:
        return estimate
    return doubted(estimate, f"{estimate} does not tell on which side of {limit:g} it is")


def doubted(estimate: Estimate, reason: str) -> Estimate:
    """The same, not to be relied on for this ``reason``, if there is one; the first reason stays."""
    e = estimate
    reason = e.reason or reason
    return Estimate(e.value, e.std_error, e.ess, not reason, reason, e.meaning)
