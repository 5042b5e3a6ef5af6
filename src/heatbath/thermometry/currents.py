"""Probability currents of a stationary run, and a lower bound on its entropy production. NumPy; no JAX.

Positions are consecutive, (replicas, samples, d), of a dynamics without momenta: positions alone do not bound
the entropy production of one with momenta.
"""

from dataclasses import dataclass
from itertools import combinations

import numpy as np
from scipy.optimize import minimize_scalar

from heatbath.errors import Refused
from heatbath.estimate import Estimate
from heatbath.theory.entropy_production import step_uncertainty_bound
from heatbath.thermometry import series

MOST_COORDINATES = 20
FEWEST_BLOCKS = 20
BOOTSTRAPS = 400
BEST_A = (-10.0, 10.0)  # 2 for a weak current, by the normalisation of the fit
RARE_SHARE = 0.01


def area_rates(positions, interval: float = 1.0) -> dict[tuple[int, int], Estimate]:
    """Signed area that each pair of coordinates (i, j) sweeps a unit of time, <x_i dx_j - x_j dx_i>/2.

    Zero for a reversible process, however correlated. ``interval``: time between samples (1: per step). For
    dx = -A x dt + sqrt(2 D) dW the small-interval limit is D - S A^T, S the stationary covariance.
    """
    x = series.checked("positions", positions, trailing=1)
    dt = series.positive("interval", interval)
    if x.shape[1] < 2 or x.shape[2] < 2:
        raise Refused(f"positions has shape {x.shape}: give 2 or more samples of 2 or more coordinates")
    x = x - x.mean(axis=(0, 1))
    now, change = (x[:, 1:] + x[:, :-1]) / 2, np.diff(x, axis=1)

    def rate(i: int, j: int) -> Estimate:
        swept = (now[..., i] * change[..., j] - now[..., j] * change[..., i]) / (2 * dt)
        return series.mean(swept, f"Circulation from coordinate {i} to {j}; 0 at equilibrium.")

    return {pair: rate(*pair) for pair in combinations(range(x.shape[2]), 2)}


@dataclass(frozen=True)
class _Current:
    """J = (x + x' - 2 centre)/2 . weights . (x' - x)."""

    weights: np.ndarray
    centre: np.ndarray

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """Current of each step of one replica (samples, d)."""
        middle = (x[1:] + x[:-1]) / 2 - self.centre
        return np.sum((middle @ self.weights) * np.diff(x, axis=0), axis=1)


@dataclass(frozen=True)
class EntropyProduction:
    """Two lower bounds on the entropy production a step, in nats, from one current J.

    ``uncertainty``: ln(1 + 2 <J>^2/Var J), which needs two moments only; ``variational``: the largest <aJ> -
    <exp(-aJ)> + 1 over a, which for linear dynamics reaches the truth but leans on rare steps against the
    current (not reliable where too few of them were seen).
    """

    uncertainty: Estimate
    variational: Estimate


def entropy_production(positions, *, seed: int, block: int | None = None) -> EntropyProduction:
    """Lower bounds on the entropy production a step from the best linear current, cross-fitted.

    The d x d weights of J are fitted on every second replica and J is measured on the others, and the other
    way round: a reversible process gives 0 within its error, as often below as above (J keeps its sign),
    which a plug-in estimate does not. Errors by bootstrap of blocks of ``block`` steps, which must be longer
    than the slowest relaxation (default: 10 integrated autocorrelation times of the slowest coordinate). Real
    minibatch noise is discrete and its entropy production has no finite value; what is bounded is that of
    Gaussian noise of the same covariance.

    Raises `Refused` for one replica, one coordinate, or more than 20 coordinates (project on principal
    directions of *other* data first). Sources: Hasegawa and Van Vu 2019 (uncertainty relation in discrete
    time); Kim et al. 2020 (variational form).
    """
    x, seed = series.checked("positions", positions, trailing=1), series.seed(seed)
    replicas, samples, d = x.shape
    if replicas < 2 or samples < 3:
        raise Refused(f"positions has shape {x.shape}: give 2 or more replicas of 3 or more samples")
    if not 2 <= d <= MOST_COORDINATES:
        raise Refused(
            f"{d} coordinates: give 2 to {MOST_COORDINATES}, e.g. principal directions of another run"
        )
    if not np.ptp(x, axis=(0, 1)).all():
        raise Refused("a coordinate does not vary: leave it out")
    if block is None:
        block = int(np.ceil(10 * max(x[..., i].size / series.effective_size(x[..., i]) for i in range(d))))
    length = min(series.whole("block", block), samples - 1)
    halves = x[::2], x[1::2]
    folds = [_Fold.measured(_fit(a), b, length) for a, b in (halves, halves[::-1])]
    rng = np.random.default_rng(seed)
    again = np.array([[f.bounds(rng) for f in folds] for _ in range(BOOTSTRAPS)])
    value = np.mean([f.bounds() for f in folds], axis=0)
    error = again.std(axis=0, ddof=1).mean(axis=0)  # the folds share their data: taken as fully correlated
    blocks, reason = sum(len(f.moments) for f in folds), ""
    if blocks < FEWEST_BLOCKS or length < block:
        reason = (
            f"{blocks} blocks of {length} steps: at least {FEWEST_BLOCKS} of {block} are needed; run longer"
        )
    meaning = "At least so much entropy is produced a step; 0 at equilibrium."
    bounds = [
        Estimate(float(v), float(e), blocks, not reason, reason, meaning)
        for v, e in zip(value, error, strict=True)
    ]
    if max(f.largest_share for f in folds) > RARE_SHARE:
        bounds[1] = series.doubted(
            bounds[1], "a few steps against the current make up its average; run longer"
        )
    return EntropyProduction(*bounds)


@dataclass(frozen=True)
class _Fold:
    """Means of J, J^2 and exp(-aJ) in each block (blocks, 3), the best ``a``, and the largest share of one
    step in the average of exp(-aJ)."""

    moments: np.ndarray
    a: float
    largest_share: float

    @staticmethod
    def measured(current: "_Current", x: np.ndarray, length: int) -> "_Fold":
        j = np.stack([current(one) for one in x])
        found = minimize_scalar(lambda a: np.mean(_against(a, j)) - a * j.mean(), bounds=BEST_A)
        a = float(found.x)  # pyright: ignore[reportAttributeAccessIssue]
        against = _against(a, j)
        used = j.shape[1] // length * length
        blocks = [q[:, :used].reshape(-1, length).mean(axis=1) for q in (j, j**2, against)]
        return _Fold(np.stack(blocks, axis=1), a, float(against.max() / against.sum()))

    def bounds(self, rng: np.random.Generator | None = None) -> tuple[float, float]:
        """Both bounds, with the sign of <J>, which the fit made positive; of resampled blocks with
        ``rng``."""
        blocks = self.moments
        if rng is not None:
            blocks = blocks[rng.integers(len(blocks), size=len(blocks))]
        first, second, against = blocks.mean(axis=0)
        uncertainty = np.sign(first) * step_uncertainty_bound(first, second - first**2)
        return float(uncertainty), float(np.sign(self.a) * (self.a * first - against + 1))


def _against(a: float, j: np.ndarray) -> np.ndarray:
    """exp(-aJ), short of overflow."""
    return np.exp(np.minimum(-a * j, 600.0))


def _fit(x: np.ndarray) -> _Current:
    """The linear current of largest <J>^2/Var J: weights Cov(f)^-1 <f> of the features f_ab = x_a dx_b."""
    centre, d = x.mean(axis=(0, 1)), x.shape[2]
    total, square, steps = np.zeros(d * d), np.zeros((d * d, d * d)), 0
    for one in x:
        middle = (one[1:] + one[:-1]) / 2 - centre
        features = (middle[:, :, None] * np.diff(one, axis=0)[:, None, :]).reshape(-1, d * d)
        total, steps = total + features.sum(axis=0), steps + len(features)
        square += features.T @ features
    mean = total / steps
    weights, *_ = np.linalg.lstsq(square / steps - np.outer(mean, mean), mean, rcond=1e-10)
    return _Current(weights.reshape(d, d), centre)
