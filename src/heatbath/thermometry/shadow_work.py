"""Shadow work of a stationary run: what a step makes, and whether it can still be averaged."""

from dataclasses import dataclass

import numpy as np

from heatbath.errors import Refused
from heatbath.estimate import Estimate
from heatbath.theory._checks import real
from heatbath.thermometry import series

LARGEST_SHARE = 0.1  # of one replica in the exponential average


@dataclass(frozen=True)
class ShadowWork:
    """``per_step``: in nats (shadow work over T). ``exponential``: mean of exp(-shadow work/T) over the
    replicas, 1 for a run from equilibrium at fixed control, whatever the step size."""

    per_step: Estimate
    exponential: Estimate


def shadow_work(totals, temperature: float, steps: int) -> ShadowWork:
    """From the ledgers' ``shadow_work`` of a run at fixed control: ``totals`` (replicas,), after ``steps``
    steps.

    On minibatches of a quadratic energy of stiffness k the mean is h tr(V)/T (1 - h k/2) a step, V being the
    covariance of the minibatch's gradient (`theory.langevin_relaxation.sgld_shadow_work`): it piles up, and
    the exponential average, exact as it is, soon rests on replicas that nobody drew. Then it is not reliable.

    Raises `Refused` for fewer than two replicas, NaN (``ledger="energy"`` keeps no shadow work), no steps.
    """
    w = real("totals", totals) / series.positive("temperature", temperature)
    if w.ndim != 1 or len(w) < 2:
        raise Refused(f"totals of shape {w.shape}: give one number for each of 2 or more replicas")
    if not (np.abs(w) < series.LARGEST).all():
        raise Refused("the shadow work is not known, or diverged: run with ledger='path'")
    if not isinstance(steps, int | np.integer) or steps < 1:
        raise Refused(f"steps is {steps!r:.60}: give the number of steps, 1 or more")
    n, spread = len(w), float(w.std(ddof=1))
    reason = "" if np.ptp(w) > 0 else "the shadow work does not vary, so it has no error"
    per_step = Estimate(
        float(w.mean() / steps),
        float(spread / np.sqrt(n) / steps),
        float(n),
        not reason,
        reason,
        "Energy that the finite step and the minibatches put in at each step, in units of T.",
    )
    weights = np.exp(w.min() - w)
    ess = float(weights.sum() ** 2 / (weights**2).sum())
    needed, share = spread**2, float(weights.max() / weights.sum())
    with np.errstate(over="ignore", invalid="ignore"):
        scale = np.exp(-w.min())
        value, error = float(scale * weights.mean()), float(scale * weights.std(ddof=1) / np.sqrt(n))
    if not 0 < value < np.inf:
        reason = f"the exponential of {-w.mean():.3g} nats is out of the range of numbers"
    elif needed > np.log(n) or share > LARGEST_SHARE:
        reason = (
            f"{w.mean():.3g} +- {spread:.3g} nats of shadow work have piled up: averaging it needs about "
            f"exp({needed:.3g}) replicas, there are {n}; take fewer or smaller steps, or larger minibatches"
        )
    exponential = Estimate(
        value,
        error,
        ess,
        not reason,
        reason,
        "1 where the run began in equilibrium and its control stood still.",
    )
    return ShadowWork(per_step, exponential)
