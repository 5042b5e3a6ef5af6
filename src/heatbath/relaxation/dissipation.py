"""Bounds from work: how far from equilibrium a driven system can be, and what haste costs at least."""

import numpy as np
from numpy.typing import ArrayLike

from heatbath.errors import Refused
from heatbath.estimate import Estimate
from heatbath.theory import _checks

FEWEST = 20


def dissipation_bound(
    reduced_work: ArrayLike, free_energy: float | Estimate, *, start: float = 0.0
) -> Estimate:
    """Upper bound <w> - f + start on D(p_t || p_eq(lambda_t)) in nats (Vaikuntanathan and Jarzynski 2009).

    Holds at any step size when shadow work is counted, as ``Ledger.reduced_work`` does, for steps that do not
    depend on the path behind them.

    Args:
        reduced_work: (W + W_shadow)/T of each replica up to the time asked for, (n,), in nats.
        free_energy: f = F(lambda_t)/T - F(lambda_0)/T in nats; of an `Estimate` the error is carried along.
        start: D(p_0 || p_eq(lambda_0)) in nats; 0 for a start in equilibrium.
    """
    work = _checks.vector("reduced_work", reduced_work)
    if len(work) < 2:
        raise Refused("reduced_work of one replica has no error: give two or more")
    f = free_energy if isinstance(free_energy, Estimate) else Estimate(float(free_energy), 0.0)
    value = work.mean() - f.value + float(_checks.nonnegative("start", start))
    error = float(np.hypot(work.std(ddof=1) / np.sqrt(len(work)), f.std_error))
    reason = "" if f.reliable else f"the free energy is not reliable: {f.reason}"
    if not np.isfinite(f.value):
        raise Refused("free_energy is not finite: without it the work bounds nothing")
    if len(work) < FEWEST:
        reason = (
            reason or f"{len(work)} replicas, at least {FEWEST} are needed for the error of the mean work"
        )
    elif value < -4 * error:
        reason = reason or "the bound is negative: the work, the free energy or a sign of them is wrong"
    meaning = "The distance to equilibrium is at most this."
    return Estimate(float(value), error, len(work), not reason, reason, meaning)


def speed_limit(distance: float, duration: float, *, friction: float = 1.0, lag: float = 0.0) -> float:
    """Least dissipated work of overdamped motion, friction distance^2/duration + lag, an energy.

    Aurell, Mejia-Monasterio and Muratore-Ginanneschi 2011. ``distance``: W2 between the first and the last
    distribution (`wasserstein_distance`); ``lag``: T D(p_end || p_eq(lambda_end)), an energy.
    """
    rate = _checks.positive("friction", friction) / _checks.positive("duration", duration)
    return float(rate * _checks.nonnegative("distance", distance) ** 2 + _checks.nonnegative("lag", lag))
