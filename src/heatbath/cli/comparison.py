"""What `evidence`, `run` and `resume` share: carry a comparison of models to its end, model by model."""

import json
import math
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from heatbath.cli.answer import CHECK_FAILED, answer, json_file
from heatbath.errors import Refused
from heatbath.estimate import with_error
from heatbath.learning.problem import Problem, configuration, stored_problem
from heatbath.learning.settings import Settings, settings_of_evidence
from heatbath.store import RunFolder
from heatbath.store.files import open_plain, replace, show, stopping
from heatbath.store.layout import LARGEST_TEXT

METHODS = ("annealing", "Laplace", "mean field")
ANSWER = "evidence.json"
COLUMNS = ("log_evidence", "std_error", "lower", "upper")


@dataclass(frozen=True)
class Comparison:
    """``models``: the settings of each, with the moves of an annealing run as ``steps``. ``folder``: of
    the answer."""

    problem: Problem
    models: tuple[Settings, ...]
    folder: Path

    def to_config(self) -> dict[str, Any]:
        """config.toml: what was asked."""
        first = self.models[0]
        whole = configuration(self.problem, first)
        hidden = [width for model in self.models for width in model.hidden]
        same = {key: getattr(first, key) for key in ("activation", "steps", "steps_by_hand", "seed")}
        kept = {key: whole[key] for key in ("task", "data", "prior", "standardisation")}
        return {"evidence": {"hidden": hidden, **same}, **kept}


def prepare(asked: Comparison) -> None:
    """JAX is set up, if the models fit into memory. Raises `Refused`."""
    from heatbath.cli import sampling

    for settings in asked.models:
        sampling.check_memory(asked.problem, settings)
    sampling.prepare()


def begin(asked: Comparison, *, as_json: bool, quiet: bool) -> int:
    """A comparison in a new folder, carried to its end."""
    prepare(asked)
    from heatbath.cli import sampling
    from heatbath.learning.fit import environment

    made_in = environment(asked.problem, asked.models[0])
    with (
        sampling.resumable(asked.folder),
        RunFolder.create(asked.folder, asked.to_config(), made_in, asked.problem.arrays()) as folder,
    ):
        try:
            return complete(asked, [], as_json=as_json, quiet=quiet)
        except Refused:
            if not (folder.path / ANSWER).exists():
                shutil.rmtree(folder.path)
            raise


def resume(folder: RunFolder, *, as_json: bool, quiet: bool) -> int:
    """The models that are missing in ``folder``."""
    from heatbath.cli.sampling import from_here

    path = from_here(folder.path)
    asked = Comparison(stored_problem(folder), settings_of_evidence(folder.config), path)
    prepare(asked)
    return complete(asked, finished(folder.path), as_json=as_json, quiet=quiet)


def finished(folder: Path) -> list[dict[str, Any]]:
    """What a comparison in ``folder`` has found so far."""
    path = folder / ANSWER
    try:
        with open_plain(path, LARGEST_TEXT) as file:
            rows = json.load(file)["models"]
        for row in rows:
            _ = [row[key] for key in (*COLUMNS, "name", "method", "reliable", "reason")]
        return rows
    except FileNotFoundError:
        return []
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise Refused(f"{show(path)} is damaged: remove it, and its models are computed again") from error


def complete(asked: Comparison, rows: list[dict[str, Any]], *, as_json: bool, quiet: bool) -> int:
    """The models that are not among ``rows``, each written as soon as it is known; then the answer.

    Exit code 3 where a bound is not reliable, unless the number of steps was given by hand.
    """
    known = {row["name"] for row in rows}
    for settings in asked.models:
        if name_of(settings) not in known:
            rows = rows + evidences(asked.problem, settings, quiet)
            save(asked, rows)
    result = answer_of(asked, rows)
    answer(result, lines(rows, result["best"], Path(result["figure"])), as_json=as_json, quiet=quiet)
    return result.get("exit", 0)


def name_of(settings: Settings) -> str:
    return ",".join(map(str, settings.hidden))


def answer_of(asked: Comparison, rows: list[dict[str, Any]]) -> dict[str, Any]:
    annealing = [row for row in rows if row["method"] == METHODS[0]]
    known = [row for row in annealing if row["log_evidence"] is not None]
    fine = all(row["reliable"] for row in annealing) or asked.models[0].steps_by_hand
    return {
        "models": rows,
        "best": max(known, key=lambda row: row["log_evidence"])["name"] if known else None,
        "figure": str(asked.folder / "evidence.svg"),
        **({} if fine else {"exit": CHECK_FAILED}),
    }


def save(asked: Comparison, rows: list[dict[str, Any]]) -> None:
    from heatbath.plotting import svg
    from heatbath.plotting.evidence import occam_hill

    def table(method: str) -> np.ndarray:
        of = [row for row in rows if row["method"] == method]
        return np.array([[math.nan if row[key] is None else row[key] for key in COLUMNS] for row in of])

    names = list(dict.fromkeys(row["name"] for row in rows))
    drawn = occam_hill(names, {method: table(method) for method in METHODS})
    if asked.folder.is_symlink():
        raise Refused(f"{show(asked.folder)} is a link: remove it")
    with stopping(asked.folder):
        asked.folder.mkdir(exist_ok=True)
        replace(asked.folder / "evidence.svg", svg(drawn, "evidence").encode())
        replace(asked.folder / ANSWER, json_file(answer_of(asked, rows)))


def evidences(problem: Problem, settings: Settings, quiet: bool) -> list[dict[str, Any]]:
    """By annealing, Laplace's approximation and mean field, for JSON."""
    from heatbath.learning.annealed import annealed
    from heatbath.learning.fit import network
    from heatbath.learning.laplace import laplace, modes
    from heatbath.learning.mean_field import mean_field

    posterior, name = network(problem, settings), name_of(settings)
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
            made = annealed(posterior, seed=seed, steps=settings.steps, found=at, progress=not quiet)
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
