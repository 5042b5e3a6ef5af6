"""A relaxation curve from replicas: how far the law of one observable is from where it comes to rest."""

from dataclasses import dataclass

import numpy as np
from scipy.special import digamma

from heatbath.errors import Refused
from heatbath.theory import _checks

FEWEST = 4
GROUPS = 20
REPEATS = 20_000


@dataclass(frozen=True)
class Curve:
    """``divergence`` (times,) in nats with its ``std_error`` (times,). ``noise``: below it are 99 of 100
    values at rest, so that no value below can be told from equilibrium."""

    divergence: np.ndarray
    std_error: np.ndarray
    noise: float


def relaxation_curve(values: np.ndarray, late: np.ndarray) -> Curve:
    """D of the law of an observable over replicas from its late law, as Gaussians and then unbiased.

    Where the late law is Gaussian, a **lower bound** on D of the replicas' whole law from their late one, by
    data processing, whatever the law on the way. The late law is the run's own: replicas that stay in one of
    several basins are not noticed. Errors by jackknife over the replicas.

    Args:
        values: (times, replicas), finite, of 4 or more independent replicas.
        late: the observable at rest, any shape; taken as exact, so give many.
    """
    values, late = np.asarray(values, float), np.asarray(late, float)
    if values.ndim != 2 or values.shape[1] < FEWEST or not np.isfinite(values).all():
        raise Refused(
            f"values of shape {values.shape}: give finite (times, replicas), {FEWEST} replicas or more"
        )
    _checks.positive("the variance of late", late.var())
    whitened = (values - late.mean()) / late.std()
    n = values.shape[1]
    groups = np.arange(n) % min(n, GROUPS)
    left_out = np.array([_divergence(whitened[:, groups != g]) for g in np.unique(groups)])
    with np.errstate(invalid="ignore"):  # replicas that are all alike are infinitely far away
        error = np.sqrt((len(left_out) - 1) * left_out.var(axis=0))
    at_rest = _divergence(np.random.default_rng(0).normal(size=(REPEATS, min(n, 1_000))))
    noise = np.quantile(at_rest, 0.99) * min(n, 1_000) / n
    return Curve(_divergence(whitened), error, float(noise))


def _divergence(whitened: np.ndarray) -> np.ndarray:
    """D of the Gaussian of each row from N(0, 1), its bias taken off (as `gaussian_fit`, of many rows)."""
    n = whitened.shape[1]
    mean, variance = whitened.mean(axis=1), whitened.var(axis=1, ddof=1)
    bias = digamma((n - 1) / 2) + np.log(2 / (n - 1))
    with np.errstate(divide="ignore"):
        return (variance * (1 - 1 / n) + mean**2 - 1 - np.log(variance) + bias) / 2
