"""`heatbath learn`: a table of data to posterior samples, diagnosis and report."""

import csv
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import click

from heatbath.cli.answer import common
from heatbath.data import DataSet, Table, find, read_images, read_table
from heatbath.data.images import TARGET
from heatbath.data.text import quoted
from heatbath.errors import Refused
from heatbath.learning.problem import Problem, classification_problem, guess_task, regression_problem
from heatbath.learning.settings import (
    BATCH,
    CLASSIFICATION,
    MICROCANONICAL,
    REGRESSION,
    STOCHASTIC,
    Settings,
)
from heatbath.store import check_free, next_run_name

DEFAULTS = Settings()
SHORTEST = 10  # seconds: compiling alone takes longer


def numbers(_: click.Context, option: click.Parameter, value: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in value.split(","))
    except ValueError:
        raise Refused(
            f"--{option.name} {quoted(value, 60)}: give whole numbers with commas between, like 16,16"
        ) from None


def split(target: str) -> list[str]:
    """Names between commas; one that holds a comma is put in double quotes, as in the table's header."""
    return [name.strip() for name in next(csv.reader([target], skipinitialspace=True))]


@click.command("learn", short_help="Sample a Bayesian neural network on a table of data.")
@click.argument("data")
@click.option("--target", help="Column(s) to predict, with commas between. [default: the data set's own]")
@click.option(
    "--task",
    type=click.Choice([REGRESSION, CLASSIFICATION]),
    help="Numbers or classes? [default: classification where the target is text, or whole numbers of which "
    "there are few; it says so]",
)
@click.option(
    "--hidden",
    default="16",
    show_default=True,
    callback=numbers,
    help="Units of each hidden layer, like 16,16.",
)
@click.option(
    "--activation",
    default="tanh",
    show_default=True,
    type=click.Choice(["tanh", "relu"]),
    help="Of the units.",
)
@click.option("--outliers", help="File of rows known to be unlike DATA: does the run notice them?")
@click.option(
    "--steps", type=int, help=f"Steps of sampling. [default: {DEFAULTS.steps}; with minibatches 30000]"
)
@click.option("--budget", type=float, help="Instead of --steps: seconds the whole command may take.")
@click.option(
    "--replicas", default=DEFAULTS.replicas, show_default=True, type=int, help="Independent chains."
)
@click.option(
    "--dynamics",
    default=MICROCANONICAL,
    show_default=True,
    type=click.Choice([MICROCANONICAL, *STOCHASTIC]),
    help="How the weights move at equilibrium: with all rows at every step or, in all but the first, with "
    "minibatches, for large data.",
)
@click.option("--batch", type=int, help="Rows of a minibatch. [default: 100, or all where there are fewer]")
@click.option(
    "--step-size",
    type=float,
    help="In units of the posterior's own widths. [default: 0.6; with minibatches at most 0.25, less where "
    "their noise would heat the stiffest direction by more than about half]",
)
@click.option(
    "--seed", default=0, show_default=True, type=int, help="0 to 4294967295; same seed, same result."
)
@click.option("--out", type=Path, help="Run folder. [default: runs/NAME-001, next free number]")
@common
def command(
    data: str,
    target: str | None,
    task: str | None,
    outliers: str | None,
    budget: float | None,
    out: Path | None,
    as_json: bool,
    quiet: bool,
    **asked: Any,
) -> int:
    """Learn the target column(s) of DATA from all its other columns.

    DATA is a CSV file of numbers with a header (the target may be text: classes), an npz file of images, x
    and y, or the name of a data set: robot-arm, a9a, digits, mnist-8k (./robot-arm is a file of that name).
    A Bayesian neural network is sampled: annealed from its prior, then at equilibrium, with its
    hyperparameters. The run folder then holds all that `heatbath predict` and `heatbath report` need.

    \b
    heatbath learn robot-arm
    heatbath learn flowers.csv --target kind
    heatbath learn mnist-8k --dynamics sghmc --batch 100
    """
    began = time.perf_counter()
    check_budget(budget, asked["steps"])
    source = find(data)
    targets = split(target) if target else own_targets(source)
    chosen, why = (task, "") if task else guess_task(load_table(source, "train", targets), targets)
    problem = load_problem(source, targets, chosen, outliers or "")
    settings = settings_of(chosen, len(problem.inputs), **asked)
    path = next_run_name("runs", problem.name) if out is None else out
    check_free(path)
    from heatbath.cli import sampling

    sampling.check_memory(problem, settings)
    if why:
        other = REGRESSION if chosen == CLASSIFICATION else CLASSIFICATION
        print(f"{chosen}, for {why}; for the other: --task {other}", file=sys.stderr)
    if budget is not None:
        settings = sampling.within(budget, problem, settings, began, quiet)
    return sampling.begin(path, problem, settings, as_json=as_json, quiet=quiet)


def check_budget(budget: float | None, steps: int | None) -> None:
    if steps is not None and budget is not None:
        raise Refused("--steps and --budget exclude each other: give one of them")
    if budget is not None and not 0 < budget < 1e9:
        raise Refused(f"--budget {budget:g}: give seconds, a positive number")
    if budget is not None and budget < SHORTEST:
        raise Refused(
            f"--budget {budget:g}: too small to compile and warm up; give at least {SHORTEST} seconds"
        )


def settings_of(
    task: str,
    rows: int,
    *,
    dynamics: str,
    batch: int | None,
    steps: int | None,
    step_size: float | None,
    **asked: Any,
) -> Settings:
    """The defaults of the task and of the dynamics, but for what was ``asked``. A run with few steps saves
    often and has a warm-up no longer than it."""
    settings = replace(Settings.of_task(task), **asked)
    if dynamics != MICROCANONICAL:
        settings = settings.with_minibatches(dynamics, min(BATCH, rows) if batch is None else batch, rows)
    elif batch is not None:
        settings = replace(settings, batch=batch)
    if step_size is not None:
        settings = replace(settings, step_size=step_size)
    if steps is None:
        return settings
    equilibrate, every = (max(1, min(n, steps)) for n in (settings.equilibrate, settings.every))
    return replace(settings, steps=steps, equilibrate=equilibrate, every=every, steps_by_hand=True)


def own_targets(source: DataSet | Path) -> list[str]:
    """The targets where none is asked for."""
    if isinstance(source, DataSet):
        return list(source.targets)
    return [TARGET] if is_npz(source) else []


def load_problem(source: DataSet | Path, targets: list[str], task: str, outliers: str) -> Problem:
    """What `learn` was asked for, as `find` found it; ``outliers``: a file, or empty. Raises `Refused` for
    everything that is wrong with it."""
    classes = task == CLASSIFICATION
    table = load_table(source, "train", targets if classes else [])
    name = source.name if isinstance(source, DataSet) else source.stem
    make = classification_problem if classes else regression_problem
    problem = make(table, targets, name)
    if not outliers:
        return problem
    return problem.with_outliers(load_table(find(outliers), "test", targets))


def load_table(source: DataSet | Path, part: Literal["train", "test"], labels: list[str]) -> Table:
    """The table of a data set or file, the columns ``labels`` read as labels; a CSV file has one part."""
    if isinstance(source, DataSet):
        return source.table(part)
    return read_images(source, part, labels=labels) if is_npz(source) else read_table(source, labels=labels)


def is_npz(source: Path) -> bool:
    return source.suffix == ".npz"
