"""What a run of `learn` is asked for, and its form in config.toml. No JAX."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from heatbath.data.text import listed, nearest, quoted
from heatbath.errors import Refused

REGRESSION: Literal["regression"] = "regression"
CLASSIFICATION: Literal["classification"] = "classification"
MICROCANONICAL = "microcanonical"
STOCHASTIC = ("sgld", "psgld", "sghmc", "sgnht")  # dynamics with minibatches
BATCH, LARGEST_STEP, HEATING = 100, 0.25, 0.5  # their defaults
LIMIT = 2**32
SMALLEST, LARGEST = 1e-30, 1e30  # what single precision bears with room to spare


@dataclass(frozen=True)
class Settings:
    """Model, prior and run of a Bayesian network; every default is what ``heatbath learn`` uses in regression
    with all the data at every step (`of_task` and `with_minibatches` have the others).

    ``weight_prior`` and ``noise_prior``: shape and rate of the gamma priors of the precisions, in
    standardised units. ``dynamics``: that of the sampling; ``batch``: rows of a minibatch, 0 for all the data
    at every step. ``anneal``: steps of warm-up (hybrid Monte Carlo; with minibatches, preconditioned SGLD)
    while the coupling to the data rises. ``equilibrate``: steps of the sampling dynamics that are thrown
    away. ``steps``: steps of sampling. ``every``: steps between stored samples. ``step_size``: in whitened
    units; with minibatches, in units in which the stiffest direction has curvature 1.
    ``decoherence_length``, in whitened units, and ``gibbs_every``, steps between draws of the precisions, are
    of the microcanonical dynamics alone. ``steps_by_hand``: whether ``steps`` was given by a person, who then
    judges the result.
    """

    hidden: tuple[int, ...] = (16,)
    activation: str = "tanh"
    weight_prior: tuple[float, float] = (0.5, 0.005)
    noise_prior: tuple[float, float] = (0.5, 5e-5)
    replicas: int = 16
    seed: int = 0
    dynamics: str = MICROCANONICAL
    batch: int = 0
    anneal: int = 300
    equilibrate: int = 4_000
    steps: int = 24_000
    every: int = 20
    step_size: float = 0.6
    decoherence_length: float = 240.0
    gibbs_every: int = 20
    steps_by_hand: bool = False

    def __post_init__(self):
        layers = self.hidden if isinstance(self.hidden, tuple) else ()
        if not layers or not all(_whole(h) and 1 <= h <= 10_000 for h in layers):
            raise Refused(
                f"hidden is {_shown(self.hidden)}: give the units of each layer, 1 to 10000, like 16,16"
            )
        if self.activation not in ("tanh", "relu"):
            raise Refused(f"activation {_shown(self.activation)} is unknown: choose tanh or relu")
        _check_dynamics(self.dynamics)
        if not _whole(self.batch) or not 0 <= self.batch < LIMIT:
            raise Refused(f"batch is {_shown(self.batch)}: give a whole number of rows, at least 1")
        if self.batch and self.dynamics == MICROCANONICAL:
            raise Refused(
                f"batch is {self.batch}, but the {MICROCANONICAL} dynamics takes all the data at every step:"
                f" choose --dynamics {', '.join(STOCHASTIC[:-1])} or {STOCHASTIC[-1]}"
            )
        if not self.batch and self.dynamics != MICROCANONICAL:
            raise Refused(f"batch is 0: {self.dynamics} takes minibatches; give at least 1")
        for name in ("replicas", "anneal", "equilibrate", "steps", "every", "gibbs_every"):
            value = getattr(self, name)
            if not _whole(value) or not 1 <= value < LIMIT:
                raise Refused(f"{name} is {_shown(value)}: give a whole number from 1 to {LIMIT - 1}")
        if self.replicas > 100_000:
            raise Refused(f"replicas is {self.replicas}: give at most 100000")
        if self.every > self.steps:
            raise Refused(f"every is {self.every}, more than the {self.steps} steps: no sample would be kept")
        if not _whole(self.seed) or not 0 <= self.seed < LIMIT:
            raise Refused(f"seed is {_shown(self.seed)}: give a whole number from 0 to {LIMIT - 1}")
        if not isinstance(self.steps_by_hand, bool):
            raise Refused(f"steps_by_hand is {_shown(self.steps_by_hand)}: give true or false")
        numbers = {"step_size": self.step_size, "decoherence_length": self.decoherence_length}
        for name in ("weight_prior", "noise_prior"):
            pair = getattr(self, name)
            if not isinstance(pair, tuple) or len(pair) != 2:
                raise Refused(f"{name} is {_shown(pair)}: give shape and rate, like [0.5, 0.005]")
            numbers |= {f"{name} shape": pair[0], f"{name} rate": pair[1]}
        for name, value in numbers.items():
            number = isinstance(value, int | float) and not isinstance(value, bool)
            if not number or not SMALLEST <= value <= LARGEST:
                raise Refused(
                    f"{name} is {_shown(value)}: give a positive number, {SMALLEST:g} to {LARGEST:g}"
                )

    @staticmethod
    def of_task(task: str) -> "Settings":
        """The defaults of a task. Labels pull at the weights less than numbers measured with little noise do:
        with the prior of regression, chains stay for long where all weights are near zero."""
        return Settings(weight_prior=(0.5, 0.05)) if task == CLASSIFICATION else Settings()

    def with_minibatches(self, dynamics: str, batch: int, rows: int) -> "Settings":
        """With the defaults of ``dynamics`` and ``batch`` of ``rows`` rows at every step. The step size is
        one at which the minibatches' noise heats the stiffest direction by about half (`heating`)."""
        asked = replace(self, dynamics=dynamics, batch=batch)
        asked.check_rows(rows)
        largest = LARGEST_STEP if batch == rows else min(LARGEST_STEP, 2 * HEATING / (rows / batch - 1))
        step_size = float(f"{largest:.2g}")
        return replace(asked, anneal=2_000, equilibrate=5_000, steps=30_000, every=50, step_size=step_size)

    def heating(self, rows: int) -> float:
        """Share by which minibatches out of ``rows`` rows heat the stiffest direction, about: h tr C/2 for a
        gradient noise C = (rows/batch - 1) x curvature, which holds where the model fits; 0 without. NaN for
        psgld, whose units of length are its own."""
        if self.dynamics == "psgld" and self.batch < rows:
            return math.nan
        return self.step_size * (rows / self.batch - 1) / 2 if self.batch else 0.0

    def check_rows(self, rows: int) -> None:
        """Raises `Refused` where a minibatch is larger than the data."""
        if self.batch > rows:
            raise Refused(
                f"batch is {self.batch}, more than the {rows} rows of the data: give at most {rows}"
            )

    def to_config(self) -> dict[str, dict[str, Any]]:
        """Nested as in config.toml."""
        values = {k: list(v) if isinstance(v, tuple) else v for k, v in vars(self).items()}
        return {table: {key: values[key] for key in keys} for table, keys in _tables(self.dynamics).items()}

    @staticmethod
    def from_config(config: Mapping[str, Any]) -> "Settings":
        """Raises `Refused` for unknown keys, naming the nearest, and for values of the wrong type."""
        found: dict[str, Any] = {}
        dynamics = _dynamics(config)
        for table, keys in _tables(dynamics).items():
            for key, value in _table(config, table, keys).items():
                found[key] = tuple(value) if isinstance(value, list) else value
        try:
            return replace(Settings(), **found)
        except Refused as error:
            raise Refused(f"config.toml: {error}") from error


def check_config(config: Mapping[str, Any]) -> None:
    """Raises `Refused` unless ``config``, read from config.toml, describes a run of ``heatbath learn``.

    The settings and the standardisation are checked where they are read.
    """
    if "evidence" in config:
        raise Refused(
            "config.toml is that of `heatbath evidence`, which keeps no samples: give a run of learn"
        )
    task = config.get("task")
    if task not in (REGRESSION, CLASSIFICATION):
        raise Refused("config.toml is that of another model: it was not made by `heatbath learn`")
    _known(config, "", ("format", "task", "data", "model", "prior", "run", "standardisation"))
    needed = _DATA | ({"classes": list} if task == CLASSIFICATION else {})
    data = _table(config, "data", (*needed, *_OPTIONAL))
    for key, kind in (needed | {key: _OPTIONAL[key] for key in data if key in _OPTIONAL}).items():
        value = data.get(key)
        if kind is tuple:
            _check_shape(value, len(data["inputs"]))
            continue
        names = isinstance(value, list) and value and all(isinstance(item, str) for item in value)
        if not (names if kind is list else type(value) is kind):
            raise Refused(f"config.toml: [data] {key} is {_shown(value)}: give {_GIVE[kind]}")


def settings_of_evidence(config: Mapping[str, Any]) -> tuple[Settings, ...]:
    """The settings of each model that ``config``, a config.toml of ``heatbath evidence``, compares, with the
    moves of an annealing run as ``steps``. Raises `Refused` unless it is one."""
    asked = dict(_table(config, "evidence", ("hidden", "activation", "steps", "steps_by_hand", "seed")))
    widths = asked.pop("hidden", None)
    if not isinstance(widths, list) or not widths:
        raise Refused(
            f"config.toml: [evidence] hidden is {_shown(widths)}: give a list of widths, like [2, 4]"
        )
    rest = {key: value for key, value in config.items() if key != "evidence"}
    model = {"activation": asked.pop("activation", "tanh")}
    found = []
    for width in widths:
        one = {**rest, "model": {**model, "hidden": [width]}, "run": asked}
        check_config(one)
        found.append(Settings.from_config(one))
    return tuple(found)


def _check_shape(shape: Any, size: int) -> None:
    """Raises `Refused` unless ``shape`` is that of an image of ``size`` numbers."""
    sizes = shape if isinstance(shape, list) and all(map(_whole, shape)) else [0]
    if min(sizes, default=0) < 1 or math.prod(sizes) != size:
        raise Refused(f"config.toml: [data] shape is {_shown(shape)}: give that of the {size} inputs")


def _table(config: Mapping[str, Any], table: str, keys: tuple[str, ...]) -> Mapping[str, Any]:
    found = config.get(table, {})
    if not isinstance(found, Mapping):
        raise Refused(f"config.toml: {table} is {_shown(found)}: it must be a table, [{table}]")
    _known(found, f"[{table}] ", keys)
    return found


def _known(found: Mapping[str, Any], where: str, keys: tuple[str, ...]) -> None:
    for key in found:
        if key not in keys:
            near = nearest(key, keys)
            advice = f"did you mean {near[0]}?" if near else f"known: {listed(keys)}"
            raise Refused(f"config.toml: unknown key {where}{quoted(key)}; {advice}")


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _shown(value: Any) -> str:
    if isinstance(value, str):
        return quoted(value, 60)
    return str(list(value) if isinstance(value, tuple) else value)[:60]


_DATA = {"name": str, "source": str, "sha256": str, "rows": int, "inputs": list, "targets": list}
_OPTIONAL = {"shape": tuple, "outliers": str}
_GIVE = {str: "a text", int: "a whole number", list: "a list of names"}


_RUN = (
    "replicas",
    "seed",
    "dynamics",
    "anneal",
    "equilibrate",
    "steps",
    "every",
    "step_size",
    "steps_by_hand",
)


def _tables(dynamics: str) -> dict[str, tuple[str, ...]]:
    """The keys of each table of config.toml."""
    own = {
        MICROCANONICAL: ("decoherence_length", "gibbs_every"),
        **dict.fromkeys(STOCHASTIC, ("batch",)),
    }
    return {
        "model": ("hidden", "activation"),
        "prior": ("weight_prior", "noise_prior"),
        "run": (*_RUN, *own[dynamics]),
    }


def _dynamics(config: Mapping[str, Any]) -> str:
    """Raises `Refused` where it is unknown: the other keys depend on it."""
    run = config.get("run")
    found = run.get("dynamics", MICROCANONICAL) if isinstance(run, Mapping) else MICROCANONICAL
    _check_dynamics(found)
    return found


def _check_dynamics(dynamics: Any) -> None:
    known = (MICROCANONICAL, *STOCHASTIC)
    if dynamics not in known:
        raise Refused(f"dynamics {_shown(dynamics)} is unknown: choose one of {', '.join(known)}")
