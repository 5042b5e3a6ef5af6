"""What `learn`, `run` and `resume` share: carry a run to its end, diagnose it, write its report."""

import json
import sys
import time
from pathlib import Path

from heatbath.cli.answer import CHECK_FAILED, answer
from heatbath.errors import Interrupted
from heatbath.learning.problem import Problem
from heatbath.learning.settings import Settings
from heatbath.store import RunFolder


def prepare() -> None:
    """The command line computes with 64-bit ledgers; the library never switches this by itself."""
    import jax

    jax.config.update("jax_enable_x64", True)


def within(budget: float, problem: Problem, settings: Settings, began: float, quiet: bool) -> Settings:
    from heatbath.learning.fit import affordable_steps

    if not quiet:
        print(f"timing a pilot to spend {budget:g} s well ...", file=sys.stderr)
    return affordable_steps(problem, settings, budget, began)


def new_folder(path: Path, problem: Problem, settings: Settings) -> RunFolder:
    from heatbath.learning.fit import create

    return create(path, problem, settings)


def complete(folder: RunFolder, *, as_json: bool, quiet: bool, by_hand: bool) -> int:
    """Sample to the number of steps asked for, diagnose, write report and verdict, answer.

    Exit code 3 where equilibrium was not reached, unless the number of steps was given ``by_hand``.
    """
    from heatbath.learning.diagnose import diagnose
    from heatbath.learning.draws import read_draws
    from heatbath.learning.fit import fit
    from heatbath.report import write_report

    began = time.perf_counter()
    with folder:
        folder.log("started")
        try:
            cost = fit(folder, progress=not quiet)
        except Interrupted as stop:
            folder.log(str(stop))
            raise Interrupted(f"{stop}; continue: heatbath resume {folder.path}") from stop
        folder.log(f"sampled in {cost.seconds:.1f} s, of which {cost.compile_seconds:.1f} s compiling")
        settings = Settings.from_config(folder.config)
        draws = read_draws(folder)
        diagnosis = diagnose(draws, folder.data()["inputs"])
        summary = {
            "task": "regression",
            "replicas": settings.replicas,
            "steps": settings.steps,
            "gradient_evaluations": cost.gradient_evaluations,
            "acceptance": cost.acceptance,
            "divergences": cost.divergences,
            **diagnosis.summary(),
        }
        (folder.path / "verdict.json").write_text(json.dumps(summary, indent=1) + "\n")
        report = write_report(folder, draws, diagnosis)
        folder.log(f"finished after {time.perf_counter() - began:.1f} s: {diagnosis.verdict()}")
    seconds = {"seconds": time.perf_counter() - began, "compile_seconds": cost.compile_seconds}
    result = {"run": str(folder.path), **summary, **seconds}
    lines = [
        f"{diagnosis.verdict()}",
        f"noise (standard deviation of each target): {noise_line(draws, folder)}",
        f"run:    {_short(folder.path)}",
        f"report: {_short(report)}",
        f"next:   heatbath predict {_short(folder.path)} NEW.csv",
    ]
    answer(result, lines, as_json=as_json, quiet=quiet)
    return 0 if diagnosis.at_equilibrium or by_hand else CHECK_FAILED


def noise_line(draws, folder: RunFolder) -> str:
    scaled = draws.noise * draws.standardisation.target_scale
    names = folder.config["data"]["targets"]
    return ", ".join(
        f"{name} {mean:.4g} +- {sd:.2g}"
        for name, mean, sd in zip(names, scaled.mean((0, 1)), scaled.std((0, 1)), strict=True)
    )


def _short(path: Path) -> str:
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)
