"""Does the ensemble notice rows that are unlike its data? No JAX."""

import numpy as np

from heatbath.estimate import Estimate
from heatbath.learning.classify import classify
from heatbath.learning.draws import Draws
from heatbath.learning.predict import Prediction, predict

MOST_ROWS = 1_000
MOST_SAVES = 1_000  # over all replicas


def some(values: np.ndarray) -> np.ndarray:
    """At most 1,000 rows, evenly spaced: what a report looks at."""
    return values[np.linspace(0, len(values) - 1, min(MOST_ROWS, len(values))).astype(int)]


def few(draws: Draws) -> Draws:
    """At most about 1,000 draws."""
    return draws.thinned(max(1, MOST_SAVES // draws.shape[0]))


def unfamiliar(draws: Draws, inputs: np.ndarray) -> np.ndarray:
    """The model part of the uncertainty at ``inputs`` (n, features), in nats, (n,): the mutual information
    between target and weights, in regression that of normal distributions (`of_regression`)."""
    return classify(draws, inputs).unfamiliar if draws.classes else of_regression(predict(draws, inputs))


def of_regression(found: Prediction) -> np.ndarray:
    """Sum over the targets of ln(std^2/noise_std^2)/2, (n,), in nats."""
    return np.log(found.std / found.noise_std).sum(axis=1)


def auroc(familiar: np.ndarray, strange: np.ndarray) -> Estimate:
    """Probability that one of ``strange`` (m,) exceeds one of ``familiar`` (n,), ties counting half: the area
    under the receiver operating characteristic. Standard error after DeLong et al. (1988)."""
    above = share_below(strange, familiar)
    below = 1 - share_below(familiar, strange)
    m, n = len(strange), len(familiar)
    enough = min(m, n) > 1
    error = float(np.sqrt(above.var(ddof=1) / m + below.var(ddof=1) / n)) if enough else np.nan
    return Estimate(
        float(above.mean()),
        error,
        float(min(m, n)),
        enough,
        "" if enough else "a single row says nothing about its kind",
        "probability that a row of the outliers is less familiar than one of the data; 0.5 is blind",
    )


def share_below(values: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Of each value: share of the ``others`` below it, ties counting half."""
    ranked = np.sort(others)
    sides = [np.searchsorted(ranked, values, side) for side in ("left", "right")]
    return (sides[0] + sides[1]) / (2 * len(ranked))


def auroc_of_training(draws: Draws, data: dict[str, np.ndarray]) -> Estimate | None:
    """Of the ``outliers`` of a run's data against the ``inputs`` it has learned from, at most 1,000 of each;
    None where it has no outliers."""
    if "outliers" not in data:
        return None
    return auroc(*(unfamiliar(few(draws), some(data[name])) for name in ("inputs", "outliers")))
