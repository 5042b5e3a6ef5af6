"""Sampling a Bayesian network: anneal from the prior, freeze the units of length, sample at equilibrium."""

import platform
import time
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import jax
import numpy as np

from heatbath._version import __version__
from heatbath.errors import Refused
from heatbath.learning import microcanonical, stochastic
from heatbath.learning.phases import InMemory
from heatbath.learning.problem import Problem, configuration, stored_problem
from heatbath.learning.settings import Settings
from heatbath.store import RunFolder
from heatbath.systems import ClassificationNetwork, Network, RegressionNetwork


@dataclass(frozen=True)
class Cost:
    """What a fit took: in this process ``seconds`` and ``compile_seconds``; over the whole run the rest.

    ``gradient_evaluations``: of minibatches, where the dynamics takes those; it has no ``acceptance`` (NaN).
    """

    seconds: float
    compile_seconds: float
    gradient_evaluations: int
    acceptance: float
    divergences: int


def network(problem: Problem, settings: Settings) -> Network:
    """The posterior of ``problem``, standardised, in single precision (energies are summed in double)."""
    to = problem.standardisation
    if problem.classes:
        return ClassificationNetwork(
            to.inputs(problem.inputs),
            problem.targets[:, 0],
            len(problem.classes),
            settings.hidden,
            settings.activation,
            settings.weight_prior,
        )
    return RegressionNetwork(
        to.inputs(problem.inputs),
        to.targets(problem.targets),
        settings.hidden,
        settings.activation,
        settings.weight_prior,
        settings.noise_prior,
    )


def environment(problem: Problem, settings: Settings) -> dict[str, Any]:
    """environment.json of a run: versions, device, replicas on it, seed, hash of the data."""
    return {
        "heatbath": __version__,
        "python": platform.python_version(),
        "jax": jax.__version__,
        "numpy": np.__version__,
        "machine": platform.machine(),
        "device": jax.devices()[0].device_kind,
        "replicas_per_device": max(settings.replicas, 2),
        "seed": settings.seed,
        "data_sha256": problem.sha256,
    }


def create(path: Path, problem: Problem, settings: Settings) -> RunFolder:
    """A new run folder with the data in it, open for writing."""
    config, made_in = configuration(problem, settings), environment(problem, settings)
    return RunFolder.create(path, config, made_in, problem.arrays())


def way(settings: Settings) -> ModuleType:
    """The module that has the phases `anneal`, `equilibrate`, `freeze` and `sample` of a run."""
    return stochastic if settings.batch else microcanonical


def fit(folder: RunFolder, *, progress: bool = True) -> Cost:
    """Take the run in ``folder`` to the number of steps its config asks for, from wherever it stands.

    Raises `Interrupted` on Ctrl-C and SIGTERM (nothing is lost), `Refused` where the energy is not finite at
    the start and `Diverged` as soon as no replica is alive (what was reached is kept).
    """
    settings = Settings.from_config(folder.config)
    posterior, phases = network(stored_problem(folder), settings), way(settings)
    began = time.perf_counter()
    compiling = 0.0
    tuned = folder.tuned()
    if tuned is None:
        warm_up = phases.anneal(posterior, settings, folder.phase("anneal"), progress)
        settled = phases.equilibrate(posterior, settings, warm_up, progress)
        compiling += warm_up.compile_seconds + settled.compile_seconds
        tuned = phases.freeze(posterior, warm_up, settled)
        folder.save_tuned(tuned)
    run = phases.sample(posterior, settings, tuned, folder.phase("sample"), progress)
    compiling += run.compile_seconds
    gradients = float(tuned["gradients"].sum()) + float(phases.gradients(run).sum())
    none = np.full(settings.replicas, np.nan)
    return Cost(
        seconds=time.perf_counter() - began,
        compile_seconds=compiling,
        gradient_evaluations=round(gradients),
        acceptance=float(run.means.get("acceptance", none).mean()),
        divergences=round(float(run.means.get("divergent", 0 * run.alive).sum()) * run.steps)
        + int((~run.alive).sum()),
    )


def affordable_steps(problem: Problem, settings: Settings, budget: float, began: float) -> Settings:
    """Settings with the number of sampling steps that ``budget`` seconds since ``began`` pay for.

    A pilot compiles and times the real program; its chains are thrown away. Raises `Refused` if the
    budget does not reach beyond the warm-up.
    """
    posterior, phases = network(problem, settings), way(settings)
    pilot = replace(settings, seed=(settings.seed + 1) % 2**32)
    short = replace(pilot, anneal=min(phases.PILOT, settings.anneal), equilibrate=pilot.every * 50)
    warm_up = phases.anneal(posterior, short, InMemory(), False)
    if (spent := time.perf_counter() - began) > budget:
        raise Refused(
            f"budget {budget:g} s is too small: compiling took {spent:.0f} s; give at least {4 * spent:.0f}"
        )
    run = phases.equilibrate(posterior, short, warm_up, False)
    a_step = (run.seconds - run.compile_seconds) / run.steps
    warm_up_seconds = (warm_up.seconds - warm_up.compile_seconds) / short.anneal * settings.anneal
    warm_up_seconds += a_step * settings.equilibrate
    left = budget - (time.perf_counter() - began) - 1.2 * warm_up_seconds
    steps = int(left / (1.15 * a_step)) // settings.every * settings.every
    if steps < 100 * settings.every:
        needed = budget - left + 1.15 * a_step * 100 * settings.every
        raise Refused(
            f"budget {budget:g} s is too small to warm up and sample: give at least {needed * 1.1:.0f}"
        )
    return replace(settings, steps=steps)
