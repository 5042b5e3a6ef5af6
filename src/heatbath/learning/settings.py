"""What a run of `learn` is asked for, and its form in config.toml. No JAX."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from heatbath.errors import Refused

LIMIT = 2**32


@dataclass(frozen=True)
class Settings:
    """Model, prior and run of a Bayesian network; every default is what ``heatbath learn`` uses.

    ``weight_prior`` and ``noise_prior``: shape and rate of the gamma priors of the precisions, in
    standardised units. ``anneal``: steps of annealing and warm-up. ``steps``: steps of sampling.
    ``every``: steps between stored samples. ``step_size`` and ``decoherence_length``: of the microcanonical
    Langevin dynamics, in whitened units. ``gibbs_every``: steps between draws of the precisions.
    """

    hidden: tuple[int, ...] = (16,)
    activation: str = "tanh"
    weight_prior: tuple[float, float] = (0.5, 0.005)
    noise_prior: tuple[float, float] = (0.5, 0.005)
    replicas: int = 16
    seed: int = 0
    anneal: int = 300
    steps: int = 20_000
    every: int = 20
    step_size: float = 0.8
    decoherence_length: float = 40.0
    gibbs_every: int = 20

    def __post_init__(self):
        if not self.hidden or any(not 1 <= h <= 10_000 for h in self.hidden):
            raise Refused(f"hidden is {list(self.hidden)}: give the units of each layer, 1 to 10000, like 16,16")
        if self.activation not in ("tanh", "relu"):
            raise Refused(f"activation {self.activation!r} is unknown: choose tanh or relu")
        for name in ("replicas", "anneal", "steps", "every", "gibbs_every"):
            value = getattr(self, name)
            if not isinstance(value, int) or not 1 <= value < LIMIT:
                raise Refused(f"{name} is {value}: give a whole number from 1 to {LIMIT - 1}")
        if self.replicas > 100_000:
            raise Refused(f"replicas is {self.replicas}: give at most 100000")
        if not isinstance(self.seed, int) or not 0 <= self.seed < LIMIT:
            raise Refused(f"seed is {self.seed}: give a whole number from 0 to {LIMIT - 1}")
        numbers = {"step_size": self.step_size, "decoherence_length": self.decoherence_length}
        for name in ("weight_prior", "noise_prior"):
            numbers |= {f"{name} shape": getattr(self, name)[0], f"{name} rate": getattr(self, name)[1]}
        for name, value in numbers.items():
            if not 0 < value < float("inf"):
                raise Refused(f"{name} is {value}: it must be positive")

    def to_config(self) -> dict[str, dict[str, Any]]:
        """Nested as in config.toml."""
        values = {k: list(v) if isinstance(v, tuple) else v for k, v in vars(self).items()}
        return {table: {key: values[key] for key in keys} for table, keys in _TABLES.items()}

    @staticmethod
    def from_config(config: Mapping[str, Any]) -> "Settings":
        """Raises `Refused` for unknown keys, naming the nearest, and for values of the wrong type."""
        found: dict[str, Any] = {}
        for table, keys in _TABLES.items():
            for key, value in config.get(table, {}).items():
                if key not in keys:
                    raise Refused(f"config.toml: unknown key [{table}] {key}; known: {', '.join(keys)}")
                found[key] = tuple(value) if isinstance(value, list) else value
        try:
            return replace(Settings(), **found)
        except TypeError as error:
            raise Refused(f"config.toml: a value has the wrong type: {error}") from error


_TABLES = {
    "model": ("hidden", "activation"),
    "prior": ("weight_prior", "noise_prior"),
    "run": (
        "replicas",
        "seed",
        "anneal",
        "steps",
        "every",
        "step_size",
        "decoherence_length",
        "gibbs_every",
    ),
}
