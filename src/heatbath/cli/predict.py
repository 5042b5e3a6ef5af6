"""`heatbath predict`: new rows with honest uncertainty."""

import csv
import os
from pathlib import Path

import click
import numpy as np

from heatbath.cli.answer import answer, common
from heatbath.data import DataSet, Table, check_columns, find, read_table
from heatbath.data.text import listed
from heatbath.errors import Refused
from heatbath.learning.draws import read_draws
from heatbath.learning.predict import Prediction, predict, scores
from heatbath.store import RunFolder


@click.command("predict", short_help="Predict new rows with a finished run.")
@click.argument("run", type=Path)
@click.argument("new")
@click.option("--out", type=Path, help="Where to write them. [default: NEW-predictions.csv, in this folder]")
@common
def command(run: Path, new: str, out: Path | None, as_json: bool, quiet: bool) -> int:
    """Predict the rows of NEW, a CSV file with the columns the run has learned from.

    For each target: mean, standard deviation (total, and its noise and model parts), 5 % and 95 % quantile.
    Where NEW holds the targets too, the predictions are scored. NEW may be robot-arm: its test points.
    """
    folder = RunFolder.open(run)
    draws = read_draws(folder)
    names = folder.config["data"]
    source = find(new)
    table = source.table("test") if isinstance(source, DataSet) else read_table(source)
    check(table, names["inputs"], names["targets"])
    inputs = table.select(names["inputs"])
    out = out or Path(f"{source.name if isinstance(source, DataSet) else source.stem}-predictions.csv")
    if out.exists():
        raise Refused(f"{out} exists already: choose another --out")
    prediction = predict(draws, inputs)
    write(out, names["targets"], prediction)
    result: dict = {"run": str(folder.path), "predictions": str(out), "n": len(inputs)}
    lines = [f"{len(inputs)} rows predicted: {out}"]
    if set(names["targets"]) <= set(table.columns):
        targets = table.select(names["targets"])
        result |= scores(draws, prediction, inputs, targets)
        rmse = dict(zip(names["targets"], result["rmse"], strict=True))
        result["rmse"] = rmse if len(rmse) > 1 else result["rmse"][0]
        lines += [
            "root mean squared error: " + ", ".join(f"{k} {v:.4g}" for k, v in rmse.items()),
            f"squared error, summed over targets, mean over rows: {result['squared_error']:.5g}",
            f"log likelihood of a row: {result['log_likelihood']:.4g} nats",
            f"share of targets in the 90 % interval: {result['coverage90']:.1%}",
        ]
    answer(result, lines, as_json=as_json, quiet=quiet)
    return 0


def check(table: Table, inputs: list[str], targets: list[str]) -> None:
    """Every input there, nothing unknown, of the targets all or none."""
    check_columns(table, inputs, "this run")
    extra = [name for name in table.columns if name not in [*inputs, *targets]]
    if extra:
        raise Refused(f"{table.path}: the run knows no column {listed(extra[:3])}; remove it, or learn with it")
    given = [name for name in targets if name in table.columns]
    if given and len(given) < len(targets):
        check_columns(table, targets, "scoring")


def write(path: Path, targets: list[str], prediction: Prediction) -> None:
    """One row a row, columns TARGET_mean, TARGET_std, TARGET_noise_std, TARGET_model_std, TARGET_q05, TARGET_q95."""
    parts = vars(prediction)
    header = [f"{target}_{part}" for target in targets for part in parts]
    columns = [values[:, k] for k in range(len(targets)) for values in parts.values()]
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with open(temporary, "w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(header)
            writer.writerows([f"{x:.9g}" for x in row] for row in np.stack(columns, axis=1))
        os.replace(temporary, path)
    except OSError as error:
        raise Refused(f"cannot write {path}: {error.strerror}; choose another --out") from error
