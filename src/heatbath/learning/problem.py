"""A table as a learning problem: inputs, targets or classes, and their standardisation. No JAX."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Literal

import numpy as np

from heatbath.data import Table, check_columns, classes_of, indices_of
from heatbath.data.text import listed, quoted
from heatbath.errors import Refused
from heatbath.learning.settings import CLASSIFICATION, REGRESSION, Settings
from heatbath.store import RunFolder

RESOLUTION = 1e-14  # a column that varies by less than this share of its size counts as constant
TINY = 1e-100  # and so does one whose squares would underflow
MOST_CLASSES, FEWEST_ROWS = 20, 10  # of whole numbers that are taken for classes: how many, rows of each


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
    """A learning problem in the units of the table: ``inputs`` (n, features), ``targets`` (n, outputs).

    In classification ``targets``, (n, 1), are the places of the labels in ``classes``. ``shape``: of the
    inputs of a row, where they are an image. ``outliers`` (m, features), of the file ``outlier_source``: rows
    known to be unlike the data; nothing is learned from them. ``sha256`` is of all of these.
    """

    name: str
    source: str
    sha256: str
    input_names: tuple[str, ...]
    target_names: tuple[str, ...]
    inputs: np.ndarray
    targets: np.ndarray
    classes: tuple[str, ...] = ()
    shape: tuple[int, ...] = ()
    outlier_source: str = ""
    outliers: np.ndarray | None = None

    @property
    def task(self) -> str:
        return CLASSIFICATION if self.classes else REGRESSION

    @property
    def outputs(self) -> int:
        """Number of outputs of the network."""
        return len(self.classes) or self.targets.shape[1]

    @property
    def standardisation(self) -> Standardisation:
        """Classes are not scaled; the pixels of an image are scaled alike, for those that hardly ever vary
        would become huge."""
        scales = Standardisation.of(self.inputs, self.targets)
        if self.classes:
            scales = replace(scales, target_mean=np.zeros(1), target_scale=np.ones(1))
        if self.shape:
            alike = np.ones(self.inputs.shape[1])
            mean, scale = self.inputs.mean() * alike, self.inputs.std() * alike
            scales = replace(scales, input_mean=mean, input_scale=scale)
        return scales

    def arrays(self) -> dict[str, np.ndarray]:
        """What a run folder keeps of it in data.npz."""
        found = {"inputs": self.inputs, "targets": self.targets}
        return found if self.outliers is None else found | {"outliers": self.outliers}

    def with_outliers(self, table: Table) -> "Problem":
        """With the rows of ``table``, which must have the columns of the inputs; a target is ignored."""
        rows = table.select(matching(table, self.input_names, self.target_names, self.shape))
        sha256 = hashlib.sha256(f"{self.sha256} {table.sha256}".encode()).hexdigest()
        return replace(self, outlier_source=table.path, outliers=rows, sha256=sha256)


def matching(
    table: Table, inputs: Sequence[str], targets: Sequence[str], shape: Sequence[int]
) -> Sequence[str]:
    """``inputs``, after it was checked that ``table`` has them all, of that shape, and nothing unknown."""
    if tuple(table.shape) != tuple(shape):
        raise Refused(
            f"{table.path}: its rows are {_kind(table.shape)}, the run has learned from {_kind(shape)}"
        )
    check_columns(table, inputs, "input")
    extra = set(table.columns).difference(inputs, targets)
    if extra:
        unknown = [name for name in table.columns if name in extra]
        raise Refused(
            f"{table.path}: the run knows no column {listed(unknown[:3])}; remove it, or learn with it"
        )
    return inputs


def _kind(shape: Sequence[int]) -> str:
    return f"images of shape {' x '.join(map(str, shape))}" if shape else "no images"


def guess_task(table: Table, targets: Sequence[str]) -> tuple[Literal["regression", "classification"], str]:
    """What a user would expect who did not say, and, where that is not certain, why.

    Classification where the only target is text, or whole numbers of which there are at most 20 and on
    average ten rows of each; else regression. ``table`` was read with its targets as labels.
    """
    if len(targets) != 1 or not (labels := table.labels.get(targets[0])):
        return REGRESSION, ""
    classes, target = classes_of(labels), quoted(targets[0])
    numbers = [label for label in classes if _is_float(label)]
    if not numbers:
        return CLASSIFICATION, f"target {target} is text"
    if len(numbers) < len(classes) or not all(float(label).is_integer() for label in numbers):
        return REGRESSION, ""
    many = f"target {target} is whole numbers, {len(classes)} different ones in {len(labels)} rows"
    few = len(classes) <= MOST_CLASSES and FEWEST_ROWS * len(classes) <= len(labels)
    return (CLASSIFICATION if few else REGRESSION), many


def _is_float(label: str) -> bool:
    try:
        float(label)
    except ValueError:
        return False
    return True


def classification_problem(table: Table, targets: Sequence[str], name: str) -> Problem:
    """``targets``: the one column of labels; every other column is an input.

    Raises `Refused` for more than one target, an unknown one, no inputs left, and labels of which there is
    only one, or as good as one for each row.
    """
    if len(targets) != 1:
        raise Refused(f"classification takes one target, {len(targets)} are given: learn one after the other")
    (target,) = targets
    if target not in table.labels:
        check_columns(table, targets, "target")
        raise Refused(f"{table.path}: {quoted(target)} holds measured numbers: --task regression")
    if not table.columns:
        raise Refused(f"{table.path}: every column is a target, no input is left")
    labels = table.labels[target]
    classes = classes_of(labels)
    if len(classes) < 2:
        raise Refused(f"{table.path}: target {quoted(target)} is constant: there is nothing to learn")
    if 2 * len(classes) > len(labels) and len(classes) > 2:
        raise Refused(
            f"{table.path}: target {quoted(target)} has {len(classes)} classes in {len(labels)} rows: too "
            "few rows of each to learn from"
        )
    places = indices_of(labels, classes)[:, None]
    return Problem(
        name, table.path, table.sha256, table.columns, (target,), table.values, places, classes, table.shape
    )


def regression_problem(table: Table, targets: Sequence[str], name: str) -> Problem:
    """``targets``: column names; every other column is an input.

    Raises `Refused` for unknown or repeated targets, no inputs left, a single row and a constant target.
    """
    if not targets:
        raise Refused(f"which column is to be predicted? give --target; columns: {listed(table.columns[:8])}")
    repeated = {t for t in targets if list(targets).count(t) > 1}
    if repeated:
        raise Refused(f"target {quoted(min(repeated))} is named twice")
    classes = [target for target in targets if target in table.labels]
    if classes:
        raise Refused(f"{table.path}: target {quoted(classes[0])} holds classes: --task classification")
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
    return Problem(
        name,
        table.path,
        table.sha256,
        inputs,
        tuple(targets),
        table.select(inputs),
        values,
        shape=table.shape,
    )


def configuration(problem: Problem, settings: Settings) -> dict[str, Any]:
    """config.toml of a run."""
    more = {"classes": problem.classes, "shape": problem.shape, "outliers": problem.outlier_source}
    return {
        "task": problem.task,
        "data": {
            "name": problem.name,
            "source": problem.source,
            "sha256": problem.sha256,
            "rows": len(problem.inputs),
            "inputs": list(problem.input_names),
            "targets": list(problem.target_names),
            **{key: value for key, value in more.items() if value},
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
        tuple(data.get("classes", ())),
        tuple(data.get("shape", ())),
        data.get("outliers", ""),
        arrays.get("outliers"),
    )
