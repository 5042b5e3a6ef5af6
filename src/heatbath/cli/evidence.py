"""`heatbath evidence`: models compared by the probability that they give to the data."""

import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from heatbath.cli import comparison
from heatbath.cli.answer import common
from heatbath.cli.comparison import Comparison
from heatbath.cli.learn import load_problem, load_table, numbers, own_targets, split
from heatbath.data import DataSet, find
from heatbath.errors import Refused
from heatbath.learning.problem import guess_task, stored_problem
from heatbath.learning.settings import CLASSIFICATION, REGRESSION, Settings, check_config
from heatbath.store import RunFolder, check_free, next_run_name

STEPS = 1_000
FEWEST = 100


@click.command("evidence", short_help="Compare models of a table by their evidence.")
@click.argument("data")
@click.option("--target", help="Column(s) to predict, with commas between. [default: the data set's own]")
@click.option(
    "--task", type=click.Choice([REGRESSION, CLASSIFICATION]), help="Numbers or classes? As in learn."
)
@click.option(
    "--hidden",
    default="2,4,8,16",
    show_default=True,
    callback=numbers,
    help="Hidden units, of one network each.",
)
@click.option("--activation", default="tanh", show_default=True, type=click.Choice(["tanh", "relu"]))
@click.option("--steps", type=int, help=f"Moves of each annealing run. [default: {STEPS}]")
@click.option(
    "--seed", default=0, show_default=True, type=int, help="0 to 4294967295; same seed, same result."
)
@click.option(
    "--out", type=Path, help="Folder of the answer. [default: runs/NAME-evidence-001, next free number]"
)
@common
def command(data: str, steps: int | None, out: Path | None, as_json: bool, quiet: bool, **asked: Any) -> int:
    """Log evidence, ln p(targets | inputs, model), of networks of different widths, and the Occam hill.

    DATA is what `heatbath learn` takes, or the folder of a run: then of its model only. Each network is
    annealed from its prior to the posterior and back, which bounds its evidence from both sides. Laplace's
    approximation and mean field stand beside it. In the units of the table.

    \b
    heatbath evidence robot-arm
    heatbath evidence DATA.csv --target y --hidden 2,4,8,16
    """
    if steps is not None and not FEWEST <= steps < 2**32:
        raise Refused(f"--steps {steps}: give at least {FEWEST} moves, a whole number below 2^32")
    check_distinct(asked["hidden"])
    asked |= {"steps": steps or STEPS, "steps_by_hand": steps is not None}
    if not os.path.isdir(data):
        return comparison.begin(of_data(data, out, **asked), as_json=as_json, quiet=quiet)
    check_own(click.get_current_context())
    run = of_run(Path(data), out, **{key: asked[key] for key in ("seed", "steps", "steps_by_hand")})
    comparison.prepare(run)
    return comparison.complete(run, [], as_json=as_json, quiet=quiet)


def check_distinct(hidden: tuple[int, ...]) -> None:
    if len(set(hidden)) < len(hidden):
        raise Refused(f"--hidden names {max(hidden, key=hidden.count)} twice: give each width once")


def check_own(context: click.Context) -> None:
    """Raises `Refused` where something was asked for that a run has of its own."""
    for name in ("target", "task", "hidden", "activation"):
        if context.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            raise Refused(f"--{name} is given, but a run has its own: leave it out, or name the data")


def of_data(
    data: str,
    out: Path | None,
    *,
    target: str | None,
    task: str | None,
    hidden: tuple[int, ...],
    **asked: Any,
) -> Comparison:
    source = find(data)
    targets = split(target) if target else own_targets(source)
    chosen, why = (task, "") if task else guess_task(load_table(source, "train", targets), targets)
    problem = load_problem(source, targets, chosen, "")
    if why:
        print(f"{chosen}, for {why}; to choose: --task", file=sys.stderr)
    models = tuple(replace(Settings.of_task(chosen), hidden=(h,), **asked) for h in hidden)
    name = source.name if isinstance(source, DataSet) else source.stem
    folder = next_run_name("runs", f"{name}-evidence") if out is None else out
    check_free(folder)
    return Comparison(problem, models, folder)


def of_run(path: Path, out: Path | None, **asked: Any) -> Comparison:
    folder = RunFolder.open(path)
    check_config(folder.config)
    settings = replace(Settings.from_config(folder.config), every=1, **asked)
    if out is not None:
        check_free(out)
    return Comparison(stored_problem(folder), (settings,), out or folder.path / "figures")
