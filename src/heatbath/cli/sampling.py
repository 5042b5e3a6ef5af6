"""What `learn`, `run` and `resume` share: carry a run to its end, diagnose it, write its report."""

import math
import os
import shlex
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

from heatbath.cli.answer import CHECK_FAILED, answer, json_file, leave
from heatbath.errors import Interrupted, Refused, Stopped
from heatbath.learning.draws import Draws
from heatbath.learning.problem import Problem
from heatbath.learning.settings import Settings
from heatbath.store import RunFolder
from heatbath.store.files import replace, show, stopping
from heatbath.store.folder import log_line

COPIES = 3  # of the metrics, held at once while they are learned
ACCEPTANCE = 0.9  # of the steps of a run without minibatches, at least


def prepare() -> None:
    """The command line computes with 64-bit ledgers; the library never switches this by itself."""
    os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=1")  # compiles faster, runs as fast
    import jax

    jax.config.update("jax_enable_x64", True)
    try:
        jax.devices()
    except RuntimeError as error:
        raise Refused(f"JAX finds no device to compute on: {error!s:.150}; try JAX_PLATFORMS=cpu") from error


def within(budget: float, problem: Problem, settings: Settings, began: float, quiet: bool) -> Settings:
    prepare()
    from heatbath.learning.fit import affordable_steps

    if not quiet:
        print(f"timing a pilot to spend {budget:g} s well ...", file=sys.stderr)
    return affordable_steps(problem, settings, budget, began)


def check_memory(problem: Problem, settings: Settings) -> None:
    """Raises `Refused` where the metrics (for each replica a matrix of all weights, or of more than 1,000
    weights its diagonal) and the Jacobians they are made of (of 256 rows, or of one where they are large)
    exceed the memory."""
    widths = [problem.inputs.shape[1], *settings.hidden, problem.outputs]
    weights = sum((a + 1) * b for a, b in pairwise(widths))
    metric = weights**2 if weights <= 1_000 else weights
    jacobian = min(256, len(problem.inputs)) * problem.outputs * weights
    if weights > 1_000 and jacobian > 2**24:
        jacobian = problem.outputs * weights
    needed = COPIES * 8 * settings.replicas * (metric + jacobian)
    there = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if needed > there:
        raise Refused(
            f"{settings.replicas} replicas of a network of {weights} weights need about {needed >> 30} GiB, "
            f"there are {there >> 30}: give fewer --hidden units, fewer --replicas or fewer columns"
        )


def begin(path: Path, problem: Problem, settings: Settings, *, as_json: bool, quiet: bool) -> int:
    """A new run, carried to its end. Nothing is left of it where it is refused at the start."""
    check_memory(problem, settings)
    prepare()
    from heatbath.learning.fit import create

    with resumable(path), create(path, problem, settings) as folder:
        try:
            return complete(folder, as_json=as_json, quiet=quiet)
        except Refused:
            if not folder.entries():
                shutil.rmtree(folder.path)
            raise


@contextmanager
def resumable(path: Path) -> Iterator[None]:
    """An interrupt, or a reader of the progress who has gone, ends with the command that continues the run at
    ``path``, as soon as there is one."""
    try:
        yield
    except (Interrupted, KeyboardInterrupt, BrokenPipeError) as stop:
        leave()
        if not (path / "config.toml").exists():
            raise
        message = str(stop) if isinstance(stop, Interrupted) else "interrupted"
        log_line(path, message)
        kept = f"nothing is lost; continue: heatbath resume {_word(path)}"
        raise Interrupted(f"{message}; {kept}") from stop


def complete(folder: RunFolder, *, as_json: bool, quiet: bool) -> int:
    """Sample to the number of steps asked for, diagnose, write report and verdict, answer.

    Exit code 3 where equilibrium was not reached, unless the number of steps was given by hand.
    """
    from heatbath.core import Diverged
    from heatbath.learning.diagnose import diagnose
    from heatbath.learning.draws import read_draws
    from heatbath.learning.fit import fit
    from heatbath.learning.unfamiliar import auroc_of_training
    from heatbath.report import write_report

    began = time.perf_counter()
    folder.log("started")
    try:
        cost = fit(folder, progress=not quiet)
    except Diverged as error:
        folder.log(str(error))
        raise Stopped(f"{error} (--step-size); what was reached is kept in {_word(folder.path)}") from error
    folder.log(f"sampled in {cost.seconds:.1f} s, of which {cost.compile_seconds:.1f} s compiling")
    settings = Settings.from_config(folder.config)
    draws = read_draws(folder)
    data = folder.data()
    diagnosis = diagnose(draws, data["inputs"])
    strange = auroc_of_training(draws, data)
    summary = {
        "task": folder.config["task"],
        "replicas": settings.replicas,
        "replicas_alive": draws.shape[0],
        "steps": settings.steps,
        **of_minibatches(settings, folder),
        "gradient_evaluations": cost.gradient_evaluations,
        "acceptance": cost.acceptance,
        "divergences": cost.divergences,
        **diagnosis.summary(),
        **({"unfamiliar_auroc": strange.value} if strange else {}),
    }
    with stopping(folder.path):
        replace(folder.path / "verdict.json", json_file(summary))
    try:
        report = write_report(folder, draws, diagnosis)
    except Refused as error:  # the disk is full
        raise Stopped(f"{error}; the samples are kept: heatbath report {_word(folder.path)}") from error
    folder.log(f"finished after {time.perf_counter() - began:.1f} s: {diagnosis.verdict()}")
    seconds = {"seconds": time.perf_counter() - began, "compile_seconds": cost.compile_seconds}
    broken = settings.replicas - draws.shape[0]
    fine = (diagnosis.at_equilibrium and not broken) or settings.steps_by_hand
    code = 0 if fine else CHECK_FAILED
    failed = {} if fine else {"exit": code}
    lines = [
        diagnosis.verdict(),
        *[f"{broken} of {settings.replicas} replicas diverged and were left out"] * (broken > 0),
        learned_line(draws, folder),
        *heating_lines(settings, folder, cost.acceptance),
        *[f"outliers are less familiar than the data with probability {strange} (AUROC)"] * bool(strange),
        f"run:    {_word(folder.path)}",
        f"report: {_word(report)}",
        f"next:   heatbath predict {_word(folder.path)} NEW.csv",
    ]
    answer({"run": str(folder.path), **summary, **seconds, **failed}, lines, as_json=as_json, quiet=quiet)
    return code


def of_minibatches(settings: Settings, folder: RunFolder) -> dict[str, Any]:
    """For JSON; empty where all the data are taken at every step."""
    if not settings.batch:
        return {}
    heating = settings.heating(folder.config["data"]["rows"])
    return {"dynamics": settings.dynamics, "batch": settings.batch, "minibatch_heating": heating}


def heating_lines(settings: Settings, folder: RunFolder, acceptance: float) -> list[str]:
    """What is known of the bias of the step size, where it is large, and of minibatches."""
    more = f"every layer's temperature: heatbath thermometer {_word(folder.path)}"
    if not settings.batch:
        rejected = f"a Metropolis test would reject {1 - acceptance:.0%} of the steps"
        told = f"{rejected}: they heat the stiffest directions; give a smaller --step-size; {more}"
        return [told] * (acceptance < ACCEPTANCE)
    share = settings.heating(folder.config["data"]["rows"])
    if math.isnan(share):
        return [f"minibatches heat; with {settings.dynamics} only a measurement tells how much; {more}"]
    advice = "give a smaller --step-size" if share > 1 else more
    return [f"minibatches heat the stiffest direction by about {share:.0%} at this step size; {advice}"]


def learned_line(draws: Draws, folder: RunFolder) -> str:
    if draws.classes:
        return f"classes: {', '.join(draws.classes)}"
    scaled = draws.noise * draws.standardisation.target_scale
    names = folder.config["data"]["targets"]
    each = (
        f"{name} {mean:.4g} +- {sd:.2g}"
        for name, mean, sd in zip(names, scaled.mean((0, 1)), scaled.std((0, 1)), strict=True)
    )
    return f"noise (standard deviation of each target): {', '.join(each)}"


def from_here(path: Path) -> Path:
    """Relative to the current folder where it lies in it."""
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path


def _word(path: Path) -> str:
    """The path as a shell takes it."""
    return shlex.quote(show(from_here(path)))
