"""Probabilities of classes, how good they were, and what a network does not know. No JAX."""

from dataclasses import dataclass

import numpy as np
from scipy.special import log_softmax, logsumexp

from heatbath.learning.draws import Draws
from heatbath.learning.predict import check_reach, chunks

BINS = 15


@dataclass(frozen=True)
class Classification:
    """Of every row: ``log_probabilities`` (n, classes), natural logarithms of the predictive probabilities (a
    mean over the posterior draws); ``entropy`` (n,), that of the predictive distribution, in nats; and
    ``unfamiliar`` (n,), its model part: the mutual information between label and weights, in nats, which
    more data would take away."""

    log_probabilities: np.ndarray
    entropy: np.ndarray
    unfamiliar: np.ndarray

    @property
    def probabilities(self) -> np.ndarray:
        return np.exp(self.log_probabilities)

    @property
    def predicted(self) -> np.ndarray:
        """The most probable class, (n,), by its place."""
        return self.log_probabilities.argmax(axis=1)


def classify(draws: Draws, inputs: np.ndarray) -> Classification:
    """Predictive distribution over the classes at ``inputs`` (n, features), from at most 4,000 draws.

    The model part is H[mean p] - mean H[p], H the entropy and the means over the draws (Houlsby et al. 2011,
    equation 2). Raises `Refused` for a row that is too far from the training rows for single precision.
    """
    parts = []
    for outputs, _ in chunks(draws, inputs):
        with np.errstate(invalid="ignore"):
            each = log_softmax(outputs, axis=-1)
            mean = logsumexp(each, axis=0) - np.log(len(each))
            parts.append((mean, _entropy(mean), _entropy(each).mean(axis=0)))
    mean, total, aleatoric = (np.concatenate(part) for part in zip(*parts, strict=True))
    check_reach(mean)
    return Classification(mean, total, np.maximum(total - aleatoric, 0))


def _entropy(log_probabilities: np.ndarray) -> np.ndarray:
    return -(np.exp(log_probabilities) * log_probabilities).sum(axis=-1)


def scores(found: Classification, labels: np.ndarray) -> dict:
    """Accuracy, mean log likelihood in nats and calibration error, over the rows whose label is known.

    ``labels`` (n,): places in the classes, -1 for a label that the run has not learned; ``unknown_labels``
    counts those. NaN where no row has a known label.
    """
    known = labels >= 0
    result = {"accuracy": np.nan, "log_likelihood": np.nan, "calibration_error": np.nan}
    if known.any():
        chances, labels = found.log_probabilities[known], labels[known]
        right = found.predicted[known] == labels
        result = {
            "accuracy": float(right.mean()),
            "log_likelihood": float(chances[np.arange(len(labels)), labels].mean()),
            "calibration_error": calibration_error(np.exp(chances.max(axis=1)), right),
        }
    return result | {"unknown_labels": int((~known).sum())}


def calibration_error(confidence: np.ndarray, right: np.ndarray) -> float:
    """Expected calibration error (Guo et al. 2017, equation 3): the rows are sorted into 15 bins of equal
    width by their ``confidence`` (n,), the probability of the predicted class; mean over the rows of
    |mean confidence - share ``right``| of their bin."""
    count, confidences, hits = reliability(confidence, right)
    return float(np.abs(confidences - hits) @ count / count.sum())


def reliability(confidence: np.ndarray, right: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of each bin that is not empty: number of rows, mean confidence, share of right predictions."""
    place = np.minimum((confidence * BINS).astype(int), BINS - 1)
    count, confidences, hits = (
        np.bincount(place, weights, BINS) for weights in (None, confidence, right.astype(float))
    )
    filled = count > 0
    return count[filled], confidences[filled] / count[filled], hits[filled] / count[filled]
