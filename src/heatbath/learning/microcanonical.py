"""Sampling with all the data at every step: anneal, freeze the metric, microcanonical Langevin dynamics."""

from dataclasses import replace
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from heatbath.core import (
    Constant,
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
from heatbath.learning.phases import POSTERIOR, START, InMemory, coupling
from heatbath.learning.settings import Settings
from heatbath.systems import Network

CURVATURE_POINTS = 50
SHRINKAGE = 0.01
PILOT = 20  # steps of annealing that show what one costs


def anneal(posterior: Network, settings: Settings, sink: Sink | None, progress: bool) -> Run:
    """Warm-up: the coupling to the data rises from 0.001 to 1 in the first quarter, by equal factors; the
    metric and the step size of each replica are learned along the way."""
    moves = max(1, settings.anneal // 4)
    return simulate(
        posterior,
        CurvatureWarmUp(settled=moves),
        Geometric(START, POSTERIOR, moves),
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
    equilibration, and position; and the gradients that it cost.

    A hundredth of its diagonal is added to the curvature. Directions that are loose on average turn as the
    weights move, and would then be a thousand times too stiff for the step, which heats the chain.
    """
    mean = np.array(_mean_curvature(posterior, _second_half(settled.records)))
    if mean.ndim == 3:
        mean += SHRINKAGE * mean * np.eye(mean.shape[-1])
    cost = gradients(warm_up) + gradients(settled)
    return to_arrays({"curvature": mean, "position": settled.position, "gradients": cost})


def gradients(run: Run) -> np.ndarray:
    """Gradient evaluations of each replica."""
    return run.means["gradients"] * run.steps


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
    metrics = _metrics(jnp.asarray(tuned["curvature"]), posterior.dtype)
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
        "likelihood": coupling(seen),
    }


THERMOMETER = Record(_thermometer)
SAMPLES = Record(_position)
