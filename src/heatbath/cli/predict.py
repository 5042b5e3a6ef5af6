"""`heatbath predict`: new rows with honest uncertainty."""

import csv
import errno
import io
import os
from pathlib import Path

import click
import numpy as np

from heatbath.cli.answer import answer, common
from heatbath.data import DataSet, Table, check_columns, find, read_table
from heatbath.data.text import listed
from heatbath.errors import Refused, Stopped
from heatbath.learning.draws import read_draws
from heatbath.learning.predict import Prediction, predict, scores
from heatbath.store import RunFolder
from heatbath.store.files import show, write_new


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
    out = out or Path(f"{source.name if isinstance(source, DataSet) else source.stem}-predictions.csv")
    check_out(out)
    table = source.table("test") if isinstance(source, DataSet) else read_table(source)
    check(table, names["inputs"], names["targets"])
    inputs = table.select(names["inputs"])
    prediction = predict(draws, inputs)
    write(out, names["targets"], prediction)
    result: dict = {"run": str(folder.path), "predictions": str(out), "n": len(inputs)}
    lines = [f"{len(inputs)} row{'s' * (len(inputs) > 1)} predicted: {show(out)}"]
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
    check_columns(table, inputs, "input")
    extra = [name for name in table.columns if name not in [*inputs, *targets]]
    if extra:
        raise Refused(
            f"{table.path}: the run knows no column {listed(extra[:3])}; remove it, or learn with it"
        )
    given = [name for name in targets if name in table.columns]
    if given and len(given) < len(targets):
        check_columns(table, targets, "target")


def check_out(out: Path) -> None:
    """Refused, before anything is computed, where no new file can be made."""
    if os.path.lexists(out):
        raise Refused(f"{show(out)} exists already: choose another --out")
    if not os.path.isdir(out.parent):
        raise Refused(
            f"cannot write {show(out)}: there is no folder {show(out.parent)}; choose another --out"
        )


def write(path: Path, targets: list[str], prediction: Prediction) -> None:
    """One line a row; of each target TARGET_mean, _std, _noise_std, _model_std, _q05 and _q95."""
    parts = vars(prediction)
    header = [f"{target}_{part}" for target in targets for part in parts]
    columns = [values[:, k] for k in range(len(targets)) for values in parts.values()]
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(header)
    writer.writerows([f"{x:.9g}" for x in row] for row in np.stack(columns, axis=1))
    try:
        write_new(path, text.getvalue().encode())
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        kind = Stopped if full else Refused
        raise kind(f"cannot write {show(path)}: {error.strerror}; choose another --out") from error
