"""`heatbath predict`: new rows with honest uncertainty."""

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np

from heatbath.cli.answer import answer, common
from heatbath.cli.learn import load_table
from heatbath.cli.out import check_out, write_out
from heatbath.data import DataSet, Table, check_columns, find, indices_of
from heatbath.learning.classify import classify
from heatbath.learning.classify import scores as class_scores
from heatbath.learning.draws import Draws, read_draws
from heatbath.learning.predict import predict, scores
from heatbath.learning.problem import matching
from heatbath.learning.unfamiliar import auroc, of_regression, unfamiliar
from heatbath.store import RunFolder
from heatbath.store.files import show


@click.command("predict", short_help="Predict new rows with a finished run.")
@click.argument("run", type=Path)
@click.argument("new")
@click.option("--out", type=Path, help="Where to write them. [default: NEW-predictions.csv, in this folder]")
@click.option("--outliers", help="File of rows known to be unlike the data: does the run notice them?")
@common
def command(run: Path, new: str, out: Path | None, outliers: str | None, as_json: bool, quiet: bool) -> int:
    """Predict the rows of NEW, a file with the columns the run has learned from.

    For each target: mean, standard deviation (total, and its noise and model parts), 5 % and 95 % quantile.
    For classes: the most probable one, the probability of each, the predictive entropy and its model part.
    Where NEW holds the targets too, the predictions are scored. NEW may be an npz file (x_test, else x) or
    the name of a data set: its test rows.
    """
    folder = RunFolder.open(run)
    draws = read_draws(folder)
    names = folder.config["data"]
    source = find(new)
    out = out or Path(f"{source.name if isinstance(source, DataSet) else source.stem}-predictions.csv")
    check_out(out)
    table = load_table(source, "test", names["targets"] if draws.classes else [])
    inputs = table.select(check(table, names))
    strange = rows_of(outliers, names) if outliers else None
    result: dict = {"run": str(folder.path), "predictions": str(out), "n": len(inputs)}
    lines = [f"{len(inputs)} row{'s' * (len(inputs) > 1)} predicted: {show(out)}"]
    kind = of_classes if draws.classes else of_numbers
    columns, model_part, more, said = kind(draws, table, inputs, names["targets"])
    if strange is not None:
        area = auroc(model_part, unfamiliar(draws, strange))
        more = {**more, "unfamiliar_auroc": area.value}
        said = [*said, f"outliers are less familiar than these rows with probability {area} (AUROC)"]
    write(out, columns)
    answer(result | more, lines + said, as_json=as_json, quiet=quiet)
    return 0


Answer = tuple[dict[str, Any], np.ndarray, dict[str, Any], list[str]]


def of_numbers(draws: Draws, table: Table, inputs: np.ndarray, names: list[str]) -> Answer:
    """Regression: columns of the file (of each target TARGET_mean, _std, _noise_std, _model_std, _q05 and
    _q95), model part of the uncertainty, scores, lines that say them."""
    found = predict(draws, inputs)
    columns = {
        f"{name}_{part}": values[:, k] for k, name in enumerate(names) for part, values in vars(found).items()
    }
    if not set(names) <= set(table.columns):
        return columns, of_regression(found), {}, []
    result = scores(draws, found, inputs, table.select(names))
    rmse = dict(zip(names, result["rmse"], strict=True))
    result["rmse"] = rmse if len(rmse) > 1 else result["rmse"][0]
    lines = [
        "root mean squared error: " + ", ".join(f"{k} {v:.4g}" for k, v in rmse.items()),
        f"squared error, summed over targets, mean over rows: {result['squared_error']:.5g}",
        f"log likelihood of a row: {result['log_likelihood']:.4g} nats",
        f"share of targets in the 90 % interval: {result['coverage90']:.1%}",
    ]
    return columns, of_regression(found), result, lines


def of_classes(draws: Draws, table: Table, inputs: np.ndarray, names: list[str]) -> Answer:
    """Classification: TARGET_class, TARGET_p_CLASS of each class, TARGET_entropy, TARGET_unfamiliar; the rest
    as of regression."""
    (name,) = names
    found = classify(draws, inputs)
    columns = {f"{name}_class": np.array(draws.classes)[found.predicted]}
    columns |= {f"{name}_p_{c}": p for c, p in zip(draws.classes, found.probabilities.T, strict=True)}
    columns |= {f"{name}_entropy": found.entropy, f"{name}_unfamiliar": found.unfamiliar}
    if name not in table.labels:
        return columns, found.unfamiliar, {}, []
    result = class_scores(found, indices_of(table.labels[name], draws.classes))
    lines = [
        f"accuracy: {result['accuracy']:.2%}",
        f"log likelihood of a row: {result['log_likelihood']:.4g} nats",
        f"expected calibration error: {result['calibration_error']:.3g}",
    ]
    if strangers := result["unknown_labels"]:
        lines.append(
            f"{strangers} rows are of classes the run has not learned, and are left out of the scores"
        )
    return columns, found.unfamiliar, result, lines


def check(table: Table, names: Mapping[str, Any]) -> Sequence[str]:
    """The names of the inputs: every one there, nothing unknown, of the targets all or none."""
    inputs = matching(table, names["inputs"], names["targets"], names.get("shape", ()))
    given = [name for name in names["targets"] if name in table.columns]
    if given and len(given) < len(names["targets"]):
        check_columns(table, names["targets"], "target")
    return inputs


def rows_of(outliers: str, names: Mapping[str, Any]) -> np.ndarray:
    """The inputs of a file of outliers; targets in it are ignored, and may be anything."""
    table = load_table(find(outliers), "test", names["targets"])
    return table.select(matching(table, names["inputs"], names["targets"], names.get("shape", ())))


def write(path: Path, columns: Mapping[str, np.ndarray]) -> None:
    """One line a row, numbers with nine digits."""
    texts = [
        values.tolist() if values.dtype.kind == "U" else [f"{x:.9g}" for x in values]
        for values in columns.values()
    ]
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(columns)
    writer.writerows(zip(*texts, strict=True))
    write_out(path, text.getvalue().encode())
