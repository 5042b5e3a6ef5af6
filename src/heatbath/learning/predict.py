"""Predictions with honest uncertainty, and how good they were. NumPy only, no JAX."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy.special import logsumexp, ndtri

from heatbath.errors import Refused
from heatbath.learning.draws import Draws

MOST_DRAWS = 4_000
CHUNK = 2**22


@dataclass(frozen=True)
class Prediction:
    """Of every row and target, arrays (n, outputs), in the units of the table.

    ``std`` is the total standard deviation, std^2 = noise_std^2 + model_std^2; ``q05`` and ``q95`` are
    quantiles of the predictive distribution (a mixture over the posterior draws).
    """

    mean: np.ndarray
    std: np.ndarray
    noise_std: np.ndarray
    model_std: np.ndarray
    q05: np.ndarray
    q95: np.ndarray


def predict(draws: Draws, inputs: np.ndarray) -> Prediction:
    """Predictive distribution at ``inputs`` (n, features), from at most 4,000 draws.

    Raises `Refused` for a row so far from the training rows that single precision cannot hold it.
    """
    parts = [_predict(*part, draws) for part in chunks(draws, inputs)]
    found = {k: np.concatenate([vars(p)[k] for p in parts]) for k in vars(parts[0])}
    check_reach(np.stack(list(found.values()), axis=1))
    return Prediction(**found)


def check_reach(values: np.ndarray) -> None:
    """Raises `Refused` unless all ``values`` (n, ...) are finite."""
    broken = ~np.isfinite(values).all(axis=tuple(range(1, values.ndim)))
    if broken.any():
        row = int(np.argmax(broken)) + 1
        raise Refused(f"row {row} under the header cannot be predicted: it is too far from all training rows")


def log_likelihood(draws: Draws, inputs: np.ndarray, targets: np.ndarray) -> float:
    """Mean over rows of ln p(targets of the row | data), in nats, in the units of the table."""
    y = draws.standardisation.targets(targets)
    total, row = 0.0, 0
    for outputs, noise in chunks(draws, inputs):
        part = y[row : row + outputs.shape[1]]
        row += outputs.shape[1]
        z = (part - outputs) / noise[:, None]
        log_density = -(z**2).sum(axis=2) / 2 - np.log(noise).sum(axis=1)[:, None]
        mixed = np.sum(logsumexp(log_density, axis=0))  # type: ignore[arg-type]
        total += float(mixed) - outputs.shape[1] * np.log(len(outputs))
    constant = np.log(2 * np.pi) / 2 * y.shape[1] + np.log(draws.standardisation.target_scale).sum()
    return total / len(y) - float(constant)


def scores(draws: Draws, prediction: Prediction, inputs: np.ndarray, targets: np.ndarray) -> dict:
    """Root mean squared error of each target, squared error summed over targets, log likelihood, and the
    share of targets inside the 90 % interval."""
    error = prediction.mean - targets
    inside = (targets >= prediction.q05) & (targets <= prediction.q95)
    return {
        "rmse": [float(x) for x in np.sqrt((error**2).mean(axis=0))],
        "squared_error": float((error**2).sum(axis=1).mean()),
        "log_likelihood": log_likelihood(draws, inputs, targets),
        "coverage90": float(inside.mean()),
    }


def chunks(draws: Draws, inputs: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """(outputs (draws, rows, outputs), noise (draws, targets)), standardised, a few rows at a time, of at
    most 4,000 draws."""
    thin = draws.thinned(max(1, MOST_DRAWS // draws.shape[0]))
    count, targets = thin.shape[0] * thin.shape[1], thin.noise.shape[-1]
    noise = thin.noise.reshape(count, targets).astype(np.float64)
    rows = max(1, CHUNK // thin.weights[-1]["b"].size)
    for i in range(0, len(inputs), rows):
        outputs = thin.outputs(inputs[i : i + rows])
        yield outputs.reshape(-1, *outputs.shape[2:]).astype(np.float64), noise


@np.errstate(over="ignore", invalid="ignore")
def _predict(outputs: np.ndarray, noise: np.ndarray, draws: Draws) -> Prediction:
    scale, shift = draws.standardisation.target_scale, draws.standardisation.target_mean
    model, bath = outputs.std(axis=0), np.sqrt((noise**2).mean(axis=0))
    q05, q95 = _quantiles(outputs, noise)
    return Prediction(
        mean=outputs.mean(axis=0) * scale + shift,
        std=np.hypot(model, bath) * scale,
        noise_std=np.broadcast_to(bath * scale, model.shape),
        model_std=model * scale,
        q05=q05 * scale + shift,
        q95=q95 * scale + shift,
    )


def _quantiles(outputs: np.ndarray, noise: np.ndarray) -> np.ndarray:
    """5 % and 95 % quantiles of the mixture of normals: each draw gets one noise value, and the values are
    the normal's own quantiles in an order that does not follow the draws' (a fixed permutation)."""
    count = len(outputs)
    order = np.random.default_rng(0).permuted(np.tile(np.arange(count), (outputs.shape[2], 1)), axis=1).T
    values = outputs + (noise * ndtri((order + 0.5) / count))[:, None, :]
    return np.quantile(values, [0.05, 0.95], axis=0)
