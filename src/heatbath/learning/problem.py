"""A table of numbers as a learning problem: inputs, targets, and their standardisation. No JAX."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from heatbath.data import Table, check_columns
from heatbath.data.text import listed, quoted
from heatbath.errors import Refused
from heatbath.learning.settings import Settings
from heatbath.store import RunFolder

RESOLUTION = 1e-14  # a column that varies by less than this share of its size counts as constant
TINY = 1e-100  # and so does one whose squares would underflow


def spread(values: np.ndarray) -> np.ndarray:
    """Standard deviation of each column, 0 where it is a matter of rounding."""
    scale = values.std(axis=0)
    return np.where(scale > np.maximum(RESOLUTION * np.abs(values).max(axis=0), TINY), scale, 0.0)


@dataclass(frozen=True)
class Standardisation:
    """Shift and scale of each input and target column: standardised = (value - mean)/scale."""

    input_mean: np.ndarray
    input_scale: np.ndarray
    target_mean: np.ndarray
    target_scale: np.ndarray

    @staticmethod
    def of(inputs: np.ndarray, targets: np.ndarray) -> "Standardisation":
        """Means and standard deviations over the rows; a constant input has scale 1."""
        # the order of a sum follows the memory: the same numbers must give the same bits
        inputs, targets = np.ascontiguousarray(inputs), np.ascontiguousarray(targets)
        scale = spread(inputs)
        return Standardisation(
            inputs.mean(axis=0), np.where(scale > 0, scale, 1.0), targets.mean(axis=0), targets.std(axis=0)
        )

    def to_config(self) -> dict[str, list[float]]:
        return {name: [float(x) for x in value] for name, value in vars(self).items()}

    @staticmethod
    def from_config(config: Mapping[str, Any]) -> "Standardisation":
        """Raises `Refused` unless ``config`` holds finite numbers, one a column, the scales positive."""
        names = [field.name for field in fields(Standardisation)]
        try:
            if set(config) != set(names):
                raise ValueError(f"its keys are not {', '.join(names)}")
            found = {name: np.asarray(config[name], float) for name in names}
            for part in ("input", "target"):
                mean, scale = found[f"{part}_mean"], found[f"{part}_scale"]
                if mean.ndim != 1 or mean.shape != scale.shape or not np.isfinite([mean, scale]).all():
                    raise ValueError(f"{part}_mean and {part}_scale must be finite numbers, one a column")
                if not (scale > 0).all():
                    raise ValueError(f"{part}_scale must be positive")
        except (TypeError, ValueError, OverflowError) as error:
            raise Refused(f"config.toml: [standardisation] is damaged: {error!s:.150}") from error
        return Standardisation(**found)

    def inputs(self, values: np.ndarray) -> np.ndarray:
        return (values - self.input_mean) / self.input_scale

    def targets(self, values: np.ndarray) -> np.ndarray:
        return (values - self.target_mean) / self.target_scale


@dataclass(frozen=True)
class Problem:
    """A regression problem in the units of the table: ``inputs`` (n, features), ``targets`` (n, outputs)."""

    name: str
    source: str
    sha256: str
    input_names: tuple[str, ...]
    target_names: tuple[str, ...]
    inputs: np.ndarray
    targets: np.ndarray

    @property
    def standardisation(self) -> Standardisation:
        return Standardisation.of(self.inputs, self.targets)


def regression_problem(table: Table, targets: Sequence[str], name: str) -> Problem:
    """``targets``: column names; every other column is an input.

    Raises `Refused` for unknown or repeated targets, no inputs left, a single row and a constant target.
    """
    if not targets:
        raise Refused(f"which column is to be predicted? give --target; columns: {listed(table.columns[:8])}")
    repeated = {t for t in targets if list(targets).count(t) > 1}
    if repeated:
        raise Refused(f"target {quoted(min(repeated))} is named twice")
    check_columns(table, targets, "target")
    inputs = tuple(c for c in table.columns if c not in targets)
    if not inputs:
        raise Refused(f"{table.path}: every column is a target, no input is left")
    if len(table.values) < 2:
        raise Refused(f"{table.path}: one row is not enough to learn from; give at least 2")
    values = table.select(targets)
    for column, scale in zip(targets, spread(values), strict=True):
        if scale == 0:
            why = "is constant" if np.ptp(table.column(column)) == 0 else "varies by rounding errors only"
            raise Refused(f"{table.path}: target {quoted(column)} {why}: there is nothing to learn")
    return Problem(name, table.path, table.sha256, inputs, tuple(targets), table.select(inputs), values)


def configuration(problem: Problem, settings: Settings) -> dict[str, Any]:
    """config.toml of a run."""
    return {
        "task": "regression",
        "data": {
            "name": problem.name,
            "source": problem.source,
            "sha256": problem.sha256,
            "rows": len(problem.inputs),
            "inputs": list(problem.input_names),
            "targets": list(problem.target_names),
        },
        **settings.to_config(),
        "standardisation": problem.standardisation.to_config(),
    }


def stored_problem(folder: RunFolder) -> Problem:
    """The problem a run was made for, from its own folder."""
    data, arrays = folder.config["data"], folder.data()
    return Problem(
        data["name"],
        data["source"],
        data["sha256"],
        tuple(data["inputs"]),
        tuple(data["targets"]),
        arrays["inputs"],
        arrays["targets"],
    )
