"""Has equilibrium been reached? R-hat and effective sample size of the predictions. No JAX."""

from dataclasses import dataclass

import numpy as np

from heatbath.learning.draws import Draws

RHAT_LIMIT = 1.05
RHAT_SHARE_LIMIT = 0.05
ESS_LIMIT = 100
MOST_POINTS = 200
MOST_CHANCES = 500
MOST_SAVES = 1_000
FEWEST_SAVES = 10  # of a replica: with fewer the estimator of the effective size returns its upper limit


@dataclass(frozen=True)
class Diagnosis:
    """R-hat and effective sample size of the noiseless predictions, each of shape (points, outputs); in
    classification of the classes' probabilities. ``apart``: how many of the ``replicas`` predict unlike the
    rest (`apart_of`)."""

    rhat: np.ndarray
    ess: np.ndarray
    replicas: int
    apart: int = 0

    @property
    def rhat_share(self) -> float:
        """Share of the points with an R-hat above 1.05 (or none at all)."""
        return float(np.mean(~(self.rhat <= RHAT_LIMIT)))

    @property
    def at_equilibrium(self) -> bool:
        return self.rhat_share <= RHAT_SHARE_LIMIT and float(np.median(self.ess)) >= ESS_LIMIT

    def verdict(self) -> str:
        """One sentence."""
        share, ess = self.rhat_share, float(np.median(self.ess))
        facts = f"R-hat above 1.05 at {share:.1%} of the points, median effective sample size {ess:.0f}"
        if self.at_equilibrium:
            return f"at equilibrium: {facts}"
        advice = "give it more steps (heatbath resume RUN --more N)"
        if self.apart:
            few = f"{self.apart} of {self.replicas} replicas predict{'s' * (self.apart == 1)} unlike the rest"
            advice += f"; {few}: steps may not free what a mode has trapped, so try another --seed too"
        return f"not at equilibrium: {facts}; {advice}"

    def summary(self) -> dict:
        return {
            "rhat_max": float(np.nanmax(self.rhat)) if np.isfinite(self.rhat).any() else None,
            "rhat_share": self.rhat_share,
            "ess_min": float(self.ess.min()),
            "ess_median": float(np.median(self.ess)),
            "verdict": self.verdict(),
        }


def diagnose(draws: Draws, inputs: np.ndarray) -> Diagnosis:
    """At up to 200 of the training ``inputs`` (n, features), evenly spaced; from at most 1,000 saves of
    each replica. R-hat is the rank-normalised split R-hat, the effective size the bulk one (Vehtari et
    al. 2021). In classification at so many points that there are at most 500 probabilities."""
    from arviz_stats.base.array import array_stats

    most = max(1, MOST_CHANCES // len(draws.classes)) if draws.classes else MOST_POINTS
    points = inputs[np.linspace(0, len(inputs) - 1, min(MOST_POINTS, most, len(inputs))).astype(int)]
    outputs = draws.thinned(MOST_SAVES).outputs(points)
    if draws.classes:
        outputs = log_odds(outputs)
    replicas, saves = outputs.shape[:2]
    if saves < 4:
        return Diagnosis(np.full(outputs.shape[2:], np.inf), np.ones(outputs.shape[2:]), replicas)
    flat = outputs.reshape(replicas, saves, -1).astype(np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):  # chains that stand still have no R-hat
        rhat = array_stats.rhat(flat, chain_axis=0, draw_axis=1)
        enough = saves >= FEWEST_SAVES
        ess = array_stats.ess(flat, chain_axis=0, draw_axis=1) if enough else np.ones(flat.shape[2])
    shape = outputs.shape[2:]
    return Diagnosis(np.reshape(rhat, shape), np.reshape(ess, shape), replicas, apart_of(flat))


def apart_of(outputs: np.ndarray) -> int:
    """Number of replicas whose mean ``outputs``, (replicas, saves, points), are off the median replica's by
    more than a typical replica's standard deviation (rms over the points); 0 where it is above a quarter."""
    means, spread = outputs.mean(axis=1), np.median(outputs.std(axis=1), axis=0)
    off = (means - np.median(means, axis=0)) / np.where(spread > 0, spread, np.inf)
    count = int((np.sqrt((off**2).mean(axis=1)) > 1).sum())
    return count if 4 * count <= len(outputs) else 0


def log_odds(outputs: np.ndarray) -> np.ndarray:
    """ln p/(1 - p) of each class, (..., classes), where p is the softmax of ``outputs``, (..., classes): it
    ranks draws as the probability does, and goes on where that is 1 to the last digit."""
    z = outputs.astype(np.float64)
    others = [np.logaddexp.reduce(np.delete(z, k, axis=-1), axis=-1) for k in range(z.shape[-1])]
    return z - np.stack(others, axis=-1)
