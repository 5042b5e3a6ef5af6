"""Sampling a Bayesian network: anneal from the prior, freeze the metric, sample at equilibrium."""

import platform
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from heatbath._version import __version__
from heatbath.core import (
    Constant,
    Control,
    Dynamics,
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
from heatbath.dynamics import CurvatureWarmUp, Gibbs, Metric, MicrocanonicalLangevin, metric_of
from heatbath.errors import Refused
from heatbath.learning.problem import Problem, configuration, stored_problem
from heatbath.learning.settings import Settings
from heatbath.store import RunFolder
from heatbath.systems import ClassificationNetwork, Network, RegressionNetwork

START_COUPLING = 1e-3
POSTERIOR = Control(1.0, {"likelihood": 1.0})
CURVATURE_POINTS = 50


@dataclass(frozen=True)
class Cost:
    """What a fit took: in this process ``seconds`` and ``compile_seconds``; over the whole run the rest."""

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
        settled = equilibrate(posterior, settings, warm_up, progress)
        compiling += warm_up.compile_seconds + settled.compile_seconds
        tuned = freeze(posterior, warm_up, settled)
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


def anneal(posterior: Network, settings: Settings, sink: Sink | None, progress: bool) -> Run:
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


def equilibrate(posterior: Network, settings: Settings, warm_up: Run, progress: bool) -> Run:
    """Steps of the sampling dynamics that are thrown away: hyperparameters relax slowly. What is kept is the
    curvature along them (`freeze`)."""
    tuned = to_arrays({"curvature": warm_up.states.curvature, "position": warm_up.position})
    kept = InMemory()
    run = _sampling(posterior, settings, tuned, 1, settings.equilibrate, kept, progress)
    return replace(run, records=kept.records())


def freeze(posterior: Network, warm_up: Run, settled: Run) -> dict[str, np.ndarray]:
    """What sampling needs of the warm-up: each replica's curvature, averaged over the second half of the
    equilibration, and position; and the gradients that it cost."""
    mean = _mean_curvature(posterior, _second_half(settled.records))
    cost = sum(run.means["gradients"] * run.steps for run in (warm_up, settled))
    return to_arrays({"curvature": mean, "position": settled.position, "gradients": cost})


def _second_half(records: dict[str, np.ndarray]) -> Any:
    """Positions (saves, replicas, ...), at most 50, as the network has them."""
    names = [name for name in records if name.startswith("sample/")]
    saves = len(records[names[0]])
    chosen = np.unique(np.linspace(saves // 2, saves - 1, CURVATURE_POINTS).astype(int))
    layers = sorted({int(name.split("/")[2]) for name in names if name.startswith("sample/weights/")})
    weights = tuple({k: records[f"sample/weights/{i}/{k}"][chosen] for k in "bw"} for i in layers)
    kept = (name.removeprefix("sample/") for name in names if not name.startswith("sample/weights/"))
    rest = {name: records[f"sample/{name}"][chosen] for name in kept}
    return {"weights": weights, **rest}


@eqx.filter_jit
def _mean_curvature(posterior: Network, positions: Any) -> jax.Array:
    """Mean over the saves, for each replica; in float64, for it will be inverted."""

    def of_all(position):
        return jax.vmap(lambda x: numeric(posterior.curvature(x, POSTERIOR.couplings)))(position)

    shape = jax.eval_shape(of_all, jax.tree.map(lambda x: x[0], positions))
    zero = jnp.zeros(shape.shape, shape.dtype)
    total, _ = jax.lax.scan(lambda total, position: (total + of_all(position), None), zero, positions)
    return total / len(positions["log_precision"])


def sample(
    posterior: Network,
    settings: Settings,
    tuned: dict[str, np.ndarray],
    sink: Sink | None,
    progress: bool,
) -> Run:
    """Sampling at equilibrium with the frozen metrics."""
    return _sampling(posterior, settings, tuned, 2, settings.steps, sink, progress)


def _sampling(
    posterior: Network,
    settings: Settings,
    tuned: dict[str, np.ndarray],
    stream: int,
    steps: int,
    sink: Sink | None,
    progress: bool,
) -> Run:
    """Steps of the `sampling_dynamics`, each replica with its own metric; random numbers of ``stream``."""
    metrics = _metrics(jnp.asarray(tuned["curvature"]), posterior.inputs.dtype)
    metrics = jax.tree.map(np.asarray, metrics)
    each = [jax.tree.map(lambda x, r=r: x[r], metrics) for r in range(settings.replicas)]
    members = [sampling_dynamics(settings, metric) for metric in each]
    seeds = jax.random.split(run_key(0), settings.replicas)
    template = jax.eval_shape(jax.vmap(lambda k: posterior.init(k, POSTERIOR)), seeds)
    return simulate(
        posterior,
        PerReplica.of(members),
        Constant(POSTERIOR),
        key=jax.random.fold_in(run_key(settings.seed), stream),
        replicas=settings.replicas,
        steps=steps,
        every=settings.every,
        observers={"sample": SAMPLES, "thermometer": THERMOMETER},
        positions=from_arrays({"position": template}, tuned)["position"],
        sink=sink,
        progress=Progress("equilibrating" if stream == 1 else "sampling") if progress else False,
    )


def sampling_dynamics(settings: Settings, metric: Metric) -> Dynamics:
    """The dynamics of one replica at equilibrium: of the weights, in ``metric``, with precisions by Gibbs."""
    inner = MicrocanonicalLangevin(settings.step_size, settings.decoherence_length, metric=metric)
    return Gibbs(inner, settings.gibbs_every)


@eqx.filter_jit
def _metrics(curvatures: jax.Array, dtype: Any) -> Any:
    return jax.vmap(lambda c: metric_of(c, dtype))(curvatures)


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
    short = replace(pilot, anneal=min(20, settings.anneal), equilibrate=pilot.every * 50)
    warm_up = anneal(posterior, short, InMemory(), False)
    if (spent := time.perf_counter() - began) > budget:
        raise Refused(
            f"budget {budget:g} s is too small: compiling took {spent:.0f} s; give at least {4 * spent:.0f}"
        )
    run = equilibrate(posterior, short, warm_up, False)
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


class InMemory:
    """A sink that keeps the records and cannot be resumed. Its blocks have the shapes of stored ones, so what
    follows does not compile again; with a sink, Ctrl-C ends the phase in good order."""

    def __init__(self):
        self._blocks: list[Mapping[str, np.ndarray]] = []

    def restore(self) -> None:
        return None

    def partial_records(self) -> None:
        return None

    def block(self, steps: int, records: Mapping[str, np.ndarray], state: Mapping[str, np.ndarray]) -> None:
        self._blocks.append(records)

    def partial(self, steps: int, records: Mapping[str, np.ndarray], state: Mapping[str, np.ndarray]) -> None:
        pass

    def records(self) -> dict[str, np.ndarray]:
        """All blocks, joined: (saves, replicas, ...)."""
        return {name: np.concatenate([b[name] for b in self._blocks]) for name in self._blocks[0]}
