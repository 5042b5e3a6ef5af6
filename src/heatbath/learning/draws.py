"""What a run has learned, read back from its folder: weights, noise, outputs. No JAX."""

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from heatbath.errors import Refused, Stopped
from heatbath.learning.problem import Standardisation
from heatbath.learning.settings import Settings, check_config
from heatbath.store import RunFolder

ACTIVATIONS = {"tanh": np.tanh, "relu": lambda x: np.maximum(x, 0)}
CHUNK = 2**24  # hidden signals held at once


@dataclass(frozen=True)
class Draws:
    """Posterior draws of a network, in standardised units.

    ``weights``: of each layer ("w": (replicas, saves, fan_in, fan_out), "b": (replicas, saves, fan_out));
    ``noise``: standard deviations, (replicas, saves, outputs), none, (replicas, saves, 0), in
    classification; ``scale``: prior standard deviation of each group of weights, (replicas, saves, groups).
    ``classes``: empty in regression.
    """

    weights: tuple[dict[str, np.ndarray], ...]
    noise: np.ndarray
    scale: np.ndarray
    activation: str
    standardisation: Standardisation
    classes: tuple[str, ...] = ()

    @property
    def shape(self) -> tuple[int, int]:
        return self.noise.shape[0], self.noise.shape[1]

    def outputs(self, inputs: np.ndarray) -> np.ndarray:
        """Noiseless outputs (replicas, saves, n, outputs), standardised, at ``inputs`` (n, features) in the
        units of the table. Not finite where an input is too far from the training rows."""
        with np.errstate(over="ignore", invalid="ignore"):
            return self._outputs(self.standardisation.inputs(np.asarray(inputs)).astype(np.float32))

    def _outputs(self, x: np.ndarray) -> np.ndarray:
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
        return replace(self, weights=weights, noise=self.noise[:, ::stride], scale=self.scale[:, ::stride])


def read_draws(folder: RunFolder) -> Draws:
    """All stored samples of the sampling phase, without the replicas that broke on the way.

    Raises `Refused` where there are none yet and `Stopped` where every replica broke.
    """
    check_config(folder.config)
    data, scales = folder.config["data"], folder.config.get("standardisation", {})
    standardisation = Standardisation.from_config(scales)
    if [len(data["inputs"]), len(data["targets"])] != [
        len(standardisation.input_mean),
        len(standardisation.target_mean),
    ]:
        raise Refused("config.toml: [standardisation] is not of as many columns as [data] names")
    if not folder.entries("sample"):
        raise Refused(f"{folder.path} has no samples yet: continue it with `heatbath resume {folder.path}`")
    settings = Settings.from_config(folder.config)
    layers = len(settings.hidden) + 1
    names = [f"sample/weights/{i}/{k}" for i in range(layers) for k in "bw"]
    classes = tuple(data.get("classes", ()))
    names += ["sample/log_precision"] if classes else ["sample/log_noise", "sample/log_precision"]
    found = {re.sub("^sample/", "", k): np.moveaxis(v, 0, 1) for k, v in folder.read("sample", names).items()}
    found = {k: v[: settings.replicas] for k, v in found.items()}
    with np.errstate(over="ignore"):
        found["scale"] = np.exp(-found.pop("log_precision") / 2)
        found["noise"] = found["scale"][..., :0] if classes else np.exp(-found.pop("log_noise") / 2)
    whole = _in_each_replica(np.all, [np.isfinite(v) for v in found.values()]).all(axis=0)
    if found["scale"].shape[1] > 1:  # one that broke was frozen at its last good state
        whole &= _in_each_replica(np.any, [v[:, -1:] != v[:, -2:-1] for v in found.values()]).any(axis=0)
    found = {k: v[whole] for k, v in found.items()}
    if not whole.any():
        raise Stopped(
            f"all replicas of {folder.path} diverged: `heatbath run` its config.toml with a smaller step_size"
        )
    return Draws(
        tuple({k: found[f"weights/{i}/{k}"] for k in "bw"} for i in range(layers)),
        found["noise"],
        found["scale"],
        settings.activation,
        standardisation,
        classes,
    )


def _in_each_replica(test: Callable[..., Any], flags: list[np.ndarray]) -> np.ndarray:
    """``test`` (np.all or np.any) over all but the first axis of each of ``flags``, (flags, replicas)."""
    return np.array([test(x, axis=tuple(range(1, x.ndim))) for x in flags])
