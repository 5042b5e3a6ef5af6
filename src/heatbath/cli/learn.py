"""`heatbath learn`: a table of data to posterior samples, diagnosis and report."""

import csv
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Literal

import click

from heatbath.cli.answer import common
from heatbath.data import DataSet, Table, find, read_images, read_table
from heatbath.data.images import TARGET
from heatbath.data.text import quoted
from heatbath.errors import Refused
from heatbath.learning.problem import Problem, classification_problem, guess_task, regression_problem
from heatbath.learning.settings import CLASSIFICATION, REGRESSION, Settings
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
@click.option("--outliers", help="File of rows known to be unlike DATA: does the run notice them?")
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
@click.option(
    "--replicas", default=DEFAULTS.replicas, show_default=True, type=int, help="Independent chains."
)
@click.option("--steps", type=int, help=f"Steps of sampling. [default: {DEFAULTS.steps}]")
@click.option("--budget", type=float, help="Instead of --steps: seconds the whole command may take.")
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
    hidden: tuple[int, ...],
    activation: str,
    replicas: int,
    steps: int | None,
    budget: float | None,
    seed: int,
    out: Path | None,
    as_json: bool,
    quiet: bool,
) -> int:
    """Learn the target column(s) of DATA from all its other columns.

    DATA is a CSV file of numbers with a header (the target may be text: classes), an npz file of images, x
    and y, or the name of a data set: robot-arm, a9a, digits, mnist-8k (./robot-arm is a file of that name).
    A Bayesian neural network is sampled: annealed from its prior, then at equilibrium, with its
    hyperparameters. The run folder then holds all that `heatbath predict` and `heatbath report` need.
    """
    began = time.perf_counter()
    if steps is not None and budget is not None:
        raise Refused("--steps and --budget exclude each other: give one of them")
    if budget is not None and not 0 < budget < 1e9:
        raise Refused(f"--budget {budget:g}: give seconds, a positive number")
    if budget is not None and budget < SHORTEST:
        raise Refused(
            f"--budget {budget:g}: too small to compile and warm up; give at least {SHORTEST} seconds"
        )
    source = find(data)
    targets = split(target) if target else own_targets(source)
    chosen, why = (task, "") if task else guess_task(load_table(source, "train", targets), targets)
    problem = load_problem(source, targets, chosen, outliers or "")
    settings = replace(
        Settings.of_task(chosen),
        hidden=hidden,
        activation=activation,
        replicas=replicas,
        equilibrate=DEFAULTS.equilibrate if steps is None else max(1, min(DEFAULTS.equilibrate, steps)),
        steps=DEFAULTS.steps if steps is None else steps,
        every=DEFAULTS.every if steps is None else max(1, min(DEFAULTS.every, steps)),
        seed=seed,
        steps_by_hand=steps is not None,
    )
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
