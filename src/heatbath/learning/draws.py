"""What a run has learned, read back from its folder: weights, noise, outputs. NumPy only, no JAX."""

import re
from dataclasses import dataclass

import numpy as np

from heatbath.errors import Refused
from heatbath.learning.problem import Standardisation
from heatbath.learning.settings import Settings
from heatbath.store import RunFolder

ACTIVATIONS = {"tanh": np.tanh, "relu": lambda x: np.maximum(x, 0)}
CHUNK = 2**24  # hidden signals held at once


@dataclass(frozen=True)
class Draws:
    """Posterior draws of a network, in standardised units.

    ``weights``: of each layer ("w": (replicas, saves, fan_in, fan_out), "b": (replicas, saves, fan_out));
    ``noise``: standard deviations, (replicas, saves, outputs); ``scale``: prior standard deviation of each
    group of weights, (replicas, saves, groups).
    """

    weights: tuple[dict[str, np.ndarray], ...]
    noise: np.ndarray
    scale: np.ndarray
    activation: str
    standardisation: Standardisation

    @property
    def shape(self) -> tuple[int, int]:
        return self.noise.shape[0], self.noise.shape[1]

    def outputs(self, inputs: np.ndarray) -> np.ndarray:
        """Noiseless outputs (replicas, saves, n, outputs), standardised, at ``inputs`` (n, features) in the
        units of the table."""
        x = self.standardisation.inputs(np.asarray(inputs)).astype(np.float32)
        replicas, saves = self.shape
        widest = max(layer["w"].shape[-1] for layer in self.weights)
        rows = max(1, CHUNK // (replicas * saves * widest))
        parts = [self._forward(x[i : i + rows]) for i in range(0, len(x), rows)]
        return np.concatenate(parts, axis=2)

    def _forward(self, x: np.ndarray) -> np.ndarray:
        act = ACTIVATIONS[self.activation]
        signal = x
        for i, layer in enumerate(self.weights):
            signal = (signal if i == 0 else act(signal)) @ layer["w"] + layer["b"][:, :, None, :]
        return signal

    def thinned(self, most: int) -> "Draws":
        """At most ``most`` saves of each replica, evenly spaced."""
        stride = -(-self.shape[1] // most)
        weights = tuple({k: v[:, ::stride] for k, v in layer.items()} for layer in self.weights)
        return Draws(
            weights,
            self.noise[:, ::stride],
            self.scale[:, ::stride],
            self.activation,
            self.standardisation,
        )


def read_draws(folder: RunFolder) -> Draws:
    """All stored samples of the sampling phase. Raises `Refused` where there are none yet."""
    if folder.config.get("task") != "regression":
        raise Refused(f"{folder.path} is a run of another model: it was not made by `heatbath learn`")
    if not folder.entries("sample"):
        raise Refused(f"{folder.path} has no samples yet: continue it with `heatbath resume {folder.path}`")
    settings = Settings.from_config(folder.config)
    layers = len(settings.hidden) + 1
    names = [f"sample/weights/{i}/{k}" for i in range(layers) for k in "bw"]
    names += ["sample/log_noise", "sample/log_precision"]
    found = {re.sub("^sample/", "", k): np.moveaxis(v, 0, 1) for k, v in folder.read("sample", names).items()}
    alive = np.isfinite(found["log_noise"]).all(axis=(1, 2))
    found = {k: v[: settings.replicas][alive[: settings.replicas]] for k, v in found.items()}
    return Draws(
        tuple({k: found[f"weights/{i}/{k}"] for k in "bw"} for i in range(layers)),
        np.exp(-found["log_noise"] / 2),
        np.exp(-found["log_precision"] / 2),
        settings.activation,
        Standardisation.from_config(folder.config["standardisation"]),
    )
