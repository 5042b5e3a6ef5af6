"""`heatbath evidence`: models compared by the probability that they give to the data."""

import math
import os
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click
import numpy as np
from click.core import ParameterSource

from heatbath.cli.answer import CHECK_FAILED, answer, common, json_file
from heatbath.cli.learn import load_problem, load_table, numbers, own_targets, split
from heatbath.data import DataSet, find
from heatbath.errors import Refused
from heatbath.estimate import with_error
from heatbath.learning.problem import Problem, configuration, guess_task, stored_problem
from heatbath.learning.settings import CLASSIFICATION, REGRESSION, Settings
from heatbath.store import RunFolder, check_free, next_run_name
from heatbath.store.files import replace as write
from heatbath.store.files import show
from heatbath.store.toml import write_toml

STEPS = 1_000
FEWEST = 100
METHODS = ("annealing", "Laplace", "mean field")


@dataclass(frozen=True)
class Asked:
    """``models``: settings by the name of each; ``folder``: where the figure goes; ``of_run``: which has a
    config.toml of its own."""

    problem: Problem
    models: dict[str, Settings]
    folder: Path
    of_run: bool = False

    def config(self, steps: int) -> str:
        """config.toml: what was asked."""
        settings = next(iter(self.models.values()))
        whole = configuration(self.problem, settings)
        hidden = [width for model in self.models.values() for width in model.hidden]
        asked = {"hidden": hidden, "activation": settings.activation, "steps": steps, "seed": settings.seed}
        return write_toml(
            {"evidence": asked} | {key: whole[key] for key in ("task", "data", "prior", "standardisation")}
        )


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
    if os.path.isdir(data):
        check_own(click.get_current_context())
        job = of_run(Path(data), out, asked["seed"])
    else:
        job = of_data(data, out, **asked)
    from heatbath.cli import sampling

    for settings in job.models.values():
        sampling.check_memory(job.problem, settings)
    sampling.prepare()
    models = []
    for name, settings in job.models.items():
        models += evidences(job.problem, settings, name, steps or STEPS, quiet)
    annealing = [m for m in models if m["method"] == METHODS[0]]
    known = [m for m in annealing if m["log_evidence"] is not None]
    best = max(known, key=lambda m: m["log_evidence"])["name"] if known else None
    figure = job.folder / "evidence.svg"
    fine = all(m["reliable"] for m in annealing) or steps is not None
    result = {
        "models": models,
        "best": best,
        "figure": str(figure),
        **({} if fine else {"exit": CHECK_FAILED}),
    }
    save(job, figure, models, result, steps or STEPS)
    answer(result, lines(models, best, figure), as_json=as_json, quiet=quiet)
    return 0 if fine else CHECK_FAILED


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
) -> Asked:
    source = find(data)
    targets = split(target) if target else own_targets(source)
    chosen, why = (task, "") if task else guess_task(load_table(source, "train", targets), targets)
    problem = load_problem(source, targets, chosen, "")
    if why:
        print(f"{chosen}, for {why}; to choose: --task", file=sys.stderr)
    models = {str(h): replace(Settings.of_task(chosen), hidden=(h,), **asked) for h in hidden}
    name = source.name if isinstance(source, DataSet) else source.stem
    folder = next_run_name("runs", f"{name}-evidence") if out is None else out
    check_free(folder)
    return Asked(problem, models, folder)


def of_run(path: Path, out: Path | None, seed: int) -> Asked:
    folder = RunFolder.open(path)
    settings = replace(Settings.from_config(folder.config), seed=seed)
    if out is not None:
        check_free(out)
    name = ",".join(map(str, settings.hidden))
    return Asked(stored_problem(folder), {name: settings}, out or folder.path / "figures", of_run=True)


def evidences(
    problem: Problem, settings: Settings, name: str, steps: int, quiet: bool
) -> list[dict[str, Any]]:
    """By annealing, Laplace's approximation and mean field, for JSON."""
    from heatbath.learning.annealed import annealed
    from heatbath.learning.fit import network
    from heatbath.learning.laplace import laplace, modes
    from heatbath.learning.mean_field import mean_field

    posterior = network(problem, settings)
    shift = units(problem)
    seed, found = settings.seed, []

    def say(what: str) -> None:
        if not quiet:
            print(f"{name} hidden units: {what} ...", file=sys.stderr, flush=True)

    say("modes")
    at = modes(posterior, seed=seed)
    for method in METHODS:
        say(method)
        if method == "annealing":
            made = annealed(posterior, seed=seed, steps=steps, found=at, progress=not quiet)
        elif method == "Laplace":
            made = laplace(posterior, seed=seed, found=at)
        else:
            made = mean_field(posterior, seed=seed)
        row = made.to_dict(name)
        for key in ("log_evidence", "lower", "upper"):
            row[key] = None if row[key] is None else row[key] + shift
        found.append({**row, "method": method})
    return found


def units(problem: Problem) -> float:
    """What makes a density of standardised targets one of the targets, in nats."""
    if problem.classes:
        return 0.0
    return -len(problem.targets) * float(np.log(problem.standardisation.target_scale).sum())


def lines(models: list[dict[str, Any]], best: str | None, figure: Path) -> list[str]:
    def number(x: float | None) -> str:
        return "-" if x is None else f"{x:.2f}"

    table = [f"{'hidden':<10}{'method':<12}{'log evidence':<18}{'lower':>11}{'upper':>11}  "]
    for m in models:
        value, error = m["log_evidence"], m["std_error"]
        text = "-" if value is None else number(value) if error is None else with_error(value, error)
        mark = "" if m["reliable"] else "?"
        bounds = f"{number(m['lower']):>11}{number(m['upper']):>11}"
        table.append(f"{m['name']:<10}{m['method']:<12}{text + mark:<18}{bounds}")
    why = [
        f"{m['name']}, {m['method']}: {m['reason']}"
        for m in models
        if m["method"] == "annealing" and m["reason"]
    ]
    most = [f"most evidence: {best} hidden units"] * (best is not None and len(models) > len(METHODS))
    return [*table, *why, *most, f"figure: {show(figure)}"]


def save(job: Asked, figure: Path, models: list[dict[str, Any]], result: dict[str, Any], steps: int) -> None:
    from heatbath.plotting import svg
    from heatbath.plotting.evidence import occam_hill

    def rows(method: str) -> np.ndarray:
        keys = ("log_evidence", "std_error", "lower", "upper")
        of = [m for m in models if m["method"] == method]
        return np.array([[math.nan if m[key] is None else m[key] for key in keys] for m in of])

    drawn = occam_hill(list(job.models), {method: rows(method) for method in METHODS})
    folder = job.folder
    try:
        if folder.is_symlink():
            raise Refused(f"{show(folder)} is a link: remove it")
        folder.mkdir(parents=True, exist_ok=True)
        write(figure, svg(drawn, "evidence").encode())
        write(folder / "evidence.json", json_file(result))
        if not job.of_run:
            write(folder / "config.toml", job.config(steps).encode())
    except OSError as error:
        raise Refused(f"cannot write {show(folder)}: {error.strerror}; choose another --out") from error
