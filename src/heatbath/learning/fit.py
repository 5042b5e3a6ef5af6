"""Sampling a Bayesian network: anneal from the prior, freeze the metric, sample at equilibrium."""

import platform
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from heatbath._version import __version__
from heatbath.core import (
    Constant,
    Control,
    Geometric,
    PerReplica,
    Progress,
    Record,
    Run,
    Sink,
    Snapshot,
    from_arrays,
    numeric,
    run_key,
    simulate,
    to_arrays,
)
from heatbath.core.numeric import ravel
from heatbath.dynamics import CurvatureWarmUp, Dense, Gibbs, MicrocanonicalLangevin
from heatbath.errors import Refused
from heatbath.learning.problem import Problem
from heatbath.learning.settings import Settings
from heatbath.store import RunFolder
from heatbath.systems import RegressionNetwork

START_COUPLING = 1e-3
POSTERIOR = Control(1.0, {"likelihood": 1.0})
PHASES = ("anneal", "sample")


@dataclass(frozen=True)
class Cost:
    """What a fit took: in this process ``seconds`` and ``compile_seconds``; over the whole run the rest."""

    seconds: float
    compile_seconds: float
    gradient_evaluations: int
    acceptance: float
    divergences: int


def network(problem: Problem, settings: Settings) -> RegressionNetwork:
    """The posterior of ``problem``, standardised, in single precision (energies are summed in double)."""
    to = problem.standardisation
    return RegressionNetwork(
        to.inputs(problem.inputs),
        to.targets(problem.targets),
        settings.hidden,
        settings.activation,
        settings.weight_prior,
        settings.noise_prior,
    )


def configuration(problem: Problem, settings: Settings) -> dict[str, Any]:
    """config.toml of a run."""
    return {
        "task": "regression",
        "data": {
            "name": problem.name,
            "source": problem.source,
            "sha256": problem.sha256,
            "rows": len(problem.inputs),
            "inputs": list(problem.input_names),
            "targets": list(problem.target_names),
        },
        **settings.to_config(),
        "standardisation": problem.standardisation.to_config(),
    }


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
    data = {"inputs": problem.inputs, "targets": problem.targets}
    return RunFolder.create(path, configuration(problem, settings), environment(problem, settings), data)


def stored_problem(folder: RunFolder) -> Problem:
    """The problem a run was made for, from its own folder."""
    data, arrays = folder.config["data"], folder.data()
    return Problem(
        data["name"],
        data["source"],
        data["sha256"],
        tuple(data["inputs"]),
        tuple(data["targets"]),
        arrays["inputs"],
        arrays["targets"],
    )


def fit(folder: RunFolder, *, progress: bool = True) -> Cost:
    """Take the run in ``folder`` to the number of steps its config asks for, from wherever it stands.

    Raises `Interrupted` on Ctrl-C and SIGTERM (nothing is lost) and `Refused` where the energy is not
    finite at the start.
    """
    settings = Settings.from_config(folder.config)
    posterior = network(stored_problem(folder), settings)
    began = time.perf_counter()
    compiling = 0.0
    tuned = folder.tuned()
    if tuned is None:
        warm_up = anneal(posterior, settings, folder.phase("anneal"), progress)
        compiling += warm_up.compile_seconds
        tuned = freeze(warm_up)
        folder.save_tuned(tuned)
    run = sample(posterior, settings, tuned, folder.phase("sample"), progress)
    compiling += run.compile_seconds
    gradients = float(tuned["gradients"].sum()) + float(run.means["gradients"].sum()) * run.steps
    return Cost(
        seconds=time.perf_counter() - began,
        compile_seconds=compiling,
        gradient_evaluations=round(gradients),
        acceptance=float(run.means["acceptance"].mean()),
        divergences=round(float(run.means["divergent"].sum()) * run.steps) + int((~run.alive).sum()),
    )


def anneal(posterior: RegressionNetwork, settings: Settings, sink: Sink | None, progress: bool) -> Run:
    """Warm-up: the coupling to the data rises from 0.001 to 1 in the first quarter, by equal factors; the
    metric and the step size of each replica are learned along the way."""
    start, moves = Control(1.0, {"likelihood": START_COUPLING}), max(1, settings.anneal // 4)
    return simulate(
        posterior,
        CurvatureWarmUp(settled=moves),
        Geometric(start, POSTERIOR, moves),
        key=jax.random.fold_in(run_key(settings.seed), 0),
        replicas=settings.replicas,
        steps=settings.anneal,
        observers={"thermometer": THERMOMETER},
        sink=sink,
        progress=Progress("annealing") if progress else False,
    )


def freeze(warm_up: Run) -> dict[str, np.ndarray]:
    """What sampling needs of the warm-up: metrics and positions of all replicas, and what it cost."""
    gradients = warm_up.means["gradients"] * warm_up.steps
    return to_arrays({"factor": warm_up.states.factor, "position": warm_up.position, "gradients": gradients})


def sample(
    posterior: RegressionNetwork,
    settings: Settings,
    tuned: dict[str, np.ndarray],
    sink: Sink | None,
    progress: bool,
) -> Run:
    """Sampling at equilibrium with the frozen metrics."""

    def member(factor):
        inner = MicrocanonicalLangevin(settings.step_size, settings.decoherence_length, metric=Dense(factor))
        return Gibbs(inner, settings.gibbs_every)

    template = jax.vmap(lambda k: posterior.init(k, POSTERIOR))(
        jax.random.split(run_key(0), settings.replicas)
    )
    return simulate(
        posterior,
        PerReplica(jax.vmap(member)(jnp.asarray(tuned["factor"]))),
        Constant(POSTERIOR),
        key=jax.random.fold_in(run_key(settings.seed), 1),
        replicas=settings.replicas,
        steps=settings.steps,
        every=settings.every,
        observers={"sample": SAMPLES, "thermometer": THERMOMETER},
        positions=from_arrays({"position": template}, tuned)["position"],
        sink=sink,
        progress=Progress("sampling") if progress else False,
    )


def _position(seen: Snapshot, _: Any) -> Any:
    """Weights and hyperparameters, as sampled."""
    return seen.position


def _thermometer(seen: Snapshot, _: Any) -> dict[str, jax.Array]:
    """Configurational temperature, mean of x dU/dx over the weights (virial theorem), and the coupling."""
    weights, gradient = seen.position["weights"], seen.gradient
    return {
        "configurational": jnp.mean(numeric(ravel(weights)) * ravel(gradient)),
        "likelihood": seen.control.couplings["likelihood"],
    }


THERMOMETER = Record(_thermometer)
SAMPLES = Record(_position)


def affordable_steps(problem: Problem, settings: Settings, budget: float, began: float) -> Settings:
    """Settings with the number of sampling steps that ``budget`` seconds since ``began`` pay for.

    A pilot compiles and times the real program; its chains are thrown away. Raises `Refused` if the
    budget does not reach beyond the warm-up.
    """
    posterior = network(problem, settings)
    pilot = replace(settings, seed=(settings.seed + 1) % 2**32)
    short = replace(pilot, anneal=min(20, settings.anneal), steps=pilot.every * 50)
    discard = _Discard()
    warm_up = anneal(posterior, short, discard, False)
    warm_up_seconds = (warm_up.seconds - warm_up.compile_seconds) / short.anneal * settings.anneal
    run = sample(posterior, short, freeze(warm_up), discard, False)
    a_step = (run.seconds - run.compile_seconds) / short.steps
    left = budget - (time.perf_counter() - began) - 1.2 * warm_up_seconds
    steps = int(left / (1.15 * a_step)) // settings.every * settings.every
    if steps < 100 * settings.every:
        needed = budget - left + 1.15 * a_step * 100 * settings.every
        raise Refused(
            f"budget {budget:g} s is too small to warm up and sample: give at least {needed * 1.1:.0f}"
        )
    return replace(settings, steps=steps)


class _Discard:
    """A sink that keeps nothing: the pilot's blocks have the real shapes, so nothing compiles twice."""

    def restore(self):
        return None

    def partial_records(self):
        return None

    def block(self, steps, records, state):
        pass

    def partial(self, steps, records, state):
        pass
