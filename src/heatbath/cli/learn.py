"""`heatbath learn`: a table of data to posterior samples, diagnosis and report."""

import csv
import time
from dataclasses import replace
from pathlib import Path

import click

from heatbath.cli.answer import common
from heatbath.data import DataSet, find, read_table
from heatbath.data.text import quoted
from heatbath.errors import Refused
from heatbath.learning.problem import Problem, regression_problem
from heatbath.learning.settings import Settings
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
@click.option("--target", help="Column(s) to predict, with commas between. [default: the shipped set's own]")
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

    DATA is a CSV file of numbers with a header, or robot-arm, the shipped data set (./robot-arm is a file
    of that name). A Bayesian neural network is sampled: annealed from its prior, then at equilibrium, with
    its hyperparameters. The run folder then holds all that `heatbath predict` and `heatbath report` need.
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
    problem = load_problem(data, split(target) if target else None)
    settings = replace(
        DEFAULTS,
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

    if budget is not None:
        settings = sampling.within(budget, problem, settings, began, quiet)
    return sampling.begin(path, problem, settings, as_json=as_json, quiet=quiet)


def load_problem(data: str, targets: list[str] | None) -> Problem:
    """The problem named on the command line. Raises `Refused` for everything that is wrong with it."""
    source = find(data)
    if isinstance(source, DataSet):
        return regression_problem(source.table("train"), targets or list(source.targets), source.name)
    return regression_problem(read_table(source), targets or [], source.stem)
