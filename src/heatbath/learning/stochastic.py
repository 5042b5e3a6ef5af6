"""Sampling with minibatches: anneal, freeze the units of length, stochastic-gradient dynamics.

Weights and precisions move together, in units of length in which the posterior is about equally stiff in all
directions, and has curvature 1 in the stiffest: there one step size fits all.
"""

from dataclasses import replace
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from heatbath.core import (
    Constant,
    Control,
    Diverged,
    Geometric,
    MinibatchDynamics,
    Progress,
    Protocol,
    Record,
    Run,
    Sink,
    Snapshot,
    from_arrays,
    integer,
    run_key,
    simulate,
    to_arrays,
)
from heatbath.core.numeric import dtype_of, ravel, size, unravel
from heatbath.dynamics import SGHMC, SGLD, SGNHT, PreconditionedSGLD, Windows
from heatbath.learning.phases import POSTERIOR, START, InMemory, coupling
from heatbath.learning.settings import Settings
from heatbath.systems import Network, Whitened, Whitening
from heatbath.systems.whitened import Stretch, layer_precisions
from heatbath.thermometry import hessian_vector_product

RISES = 20  # of the coupling while it is annealed
RATE = 5e-3  # how far a weight moves in a step of annealing, about
ITEMS, ITERATIONS = 1_024, 30  # of the search for the stiffest direction
FRICTION = 1.0  # of the dynamics with momenta: the stiffest direction is not quite overdamped
PILOT = 2**32  # steps of annealing that show what one costs: all of it
STRETCH = ("scale", "directions", "factors")
LIKELIHOOD = Record(lambda seen, _: {"likelihood": coupling(seen)})


class Stairs(Protocol):
    """``protocol`` at the last multiple of ``every``: each move costs two energies of all the data."""

    protocol: Protocol
    every: Array = eqx.field(converter=integer)

    def __call__(self, step: Array, replica: Array) -> Control:
        return self.protocol(step // self.every * self.every, replica)

    def moves(self, step: Array) -> Array:
        return (step % self.every == 0) & self.protocol.moves(step)


def anneal(posterior: Network, settings: Settings, sink: Sink | None, progress: bool) -> Run:
    """Warm-up: the coupling to the data rises from 0.001 to 1 in the first quarter, by equal factors, while
    the preconditioner of RMSprop finds how far each weight has to step."""
    moves = max(1, settings.anneal // 4)
    stair = max(1, moves // RISES)
    every = min(10, settings.anneal)
    return simulate(
        posterior,
        PreconditionedSGLD(RATE / posterior.n_items, Windows(settings.batch)),
        Stairs(Geometric(START, POSTERIOR, moves // stair * stair), stair),
        key=jax.random.fold_in(run_key(settings.seed), 0),
        replicas=settings.replicas,
        steps=settings.anneal,
        every=every,
        energy_every=measured_every(1, posterior, settings, every),
        observers={"thermometer": LIKELIHOOD},
        sink=sink,
        progress=Progress("annealing") if progress else False,
    )


def measured_every(passes: int, posterior: Network, settings: Settings, every: int) -> int:
    """Steps between energies of all the data: so many passes over them, and a multiple of ``every``."""
    return -(-passes * posterior.n_items // (settings.batch * every)) * every


def equilibrate(posterior: Network, settings: Settings, warm_up: Run, progress: bool) -> Run:
    """Steps of the sampling dynamics that are thrown away."""
    tuned = _frozen(posterior, warm_up)
    run = _sampling(posterior, settings, tuned, 1, settings.equilibrate, InMemory(), progress)
    whitening = _whitened(posterior, tuned).whitening
    return replace(run, position=jax.vmap(whitening.original)(run.position))


def freeze(posterior: Network, warm_up: Run, settled: Run) -> dict[str, np.ndarray]:
    """What sampling needs of the warm-up: units of length and positions; and the gradients that it cost."""
    return _frozen(posterior, settled) | {"gradients": gradients(warm_up) + gradients(settled)}


def gradients(run: Run) -> np.ndarray:
    """Gradients of minibatches of each replica."""
    return np.full(len(run.alive), run.steps)


def sample(
    posterior: Network, settings: Settings, tuned: dict[str, np.ndarray], sink: Sink | None, progress: bool
) -> Run:
    """Sampling at equilibrium in the frozen units."""
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
    """Steps of the `sampling_dynamics`; random numbers of ``stream``."""
    whitened = _whitened(posterior, tuned)
    template = jax.eval_shape(lambda k: posterior.init(k, POSTERIOR), run_key(0))
    position = jax.tree.map(lambda x: jax.ShapeDtypeStruct((settings.replicas, *x.shape), x.dtype), template)
    return simulate(
        whitened,
        sampling_dynamics(settings, posterior.n_items),
        Constant(POSTERIOR),
        key=jax.random.fold_in(run_key(settings.seed), stream),
        replicas=settings.replicas,
        steps=steps,
        every=settings.every,
        energy_every=measured_every(5, posterior, settings, settings.every),
        observers={"sample": Record(_original, whitened.whitening), "thermometer": LIKELIHOOD},
        positions=jax.vmap(whitened.whitening.whitened)(
            from_arrays({"position": position}, tuned)["position"]
        ),
        sink=sink,
        progress=Progress("equilibrating" if stream == 1 else "sampling") if progress else False,
    )


def sampling_dynamics(settings: Settings, rows: int) -> MinibatchDynamics:
    """The dynamics at equilibrium, in units in which the stiffest direction has curvature 1."""
    batches, h = Windows(settings.batch), settings.step_size
    if settings.dynamics == "sgld":
        return SGLD(h, batches)
    if settings.dynamics == "psgld":
        return PreconditionedSGLD(h / rows, batches)
    momenta = {"sghmc": SGHMC, "sgnht": SGNHT}[settings.dynamics]
    return momenta(h, batches, friction=FRICTION)


def _whitened(posterior: Network, tuned: dict[str, np.ndarray]) -> Whitened:
    """The network in the units of length that were frozen."""

    def stretch(i):
        return Stretch(*(jnp.asarray(tuned[f"whitening/layers/{i}/{part}"]) for part in STRETCH))

    layers = tuple(stretch(i) for i in range(len(posterior.hidden) + 1))
    scales = {name: jnp.asarray(tuned[f"whitening/scales/{name}"]) for name in posterior.priors()}
    return Whitened(posterior, Whitening(layers, scales))


def _original(seen: Snapshot, whitening: Whitening) -> Any:
    """Weights and hyperparameters, in the units of the network."""
    return whitening.original(seen.position)


def _frozen(posterior: Network, run: Run) -> dict[str, np.ndarray]:
    """`_tuned` at the end of ``run``. Raises `Diverged` where the replicas are so far out that the energy has
    no finite curvature."""
    try:
        with np.errstate(all="ignore"):
            tuned = _tuned(posterior, run.position, run.alive)
    except np.linalg.LinAlgError:
        tuned = {"curvature": np.array(np.nan)}
    if not all(np.isfinite(x).all() for x in tuned.values()):
        raise Diverged(
            run, "diverged: the energy has no finite curvature after the warm-up; try a smaller step size"
        )
    return tuned


def _tuned(posterior: Network, position: Any, alive: np.ndarray) -> dict[str, np.ndarray]:
    """``position`` (of every replica) and the units of length that those ``alive`` ask for, as arrays."""
    chosen = jax.tree.map(lambda x: x[alive], position)
    precisions, shapes = _curvatures(posterior, chosen)
    layers = tuple(Stretch.of(np.asarray(precision, float)) for precision in precisions)
    whitening = Whitening(layers, {name: shape**-0.5 for name, shape in shapes.items()})
    stiffest = _stiffest(Whitened(posterior, whitening), chosen)
    return to_arrays({"position": position, "whitening": whitening.enlarged(stiffest**-0.5)})


@eqx.filter_jit
def _curvatures(posterior: Network, position: Any) -> tuple[list[Array], dict[str, Array]]:
    """Means over the replicas of `layer_precisions`; and the curvatures of the log precisions, which are, on
    average, the shapes of their conditional distributions."""
    found = jax.lax.map(lambda x: layer_precisions(posterior, x, POSTERIOR.couplings), position)
    first = jax.tree.map(lambda x: x[0], position["weights"])
    shapes = {name: shape for name, (shape, _) in posterior.conditionals(first, 1.0).items()}
    return jax.tree.map(lambda x: x.mean(axis=0), found), jax.tree.map(
        lambda x: x.astype(posterior.dtype), shapes
    )


@eqx.filter_jit
def _stiffest(whitened: Whitened, position: Any) -> Array:
    """Largest curvature along any direction in the new units, mean over the replicas, by power iteration: of
    the Fisher information at no more than 1,024 rows, scaled to all, and of the prior."""
    network, whitening = whitened.network, whitened.whitening
    items = jnp.arange(0, network.n_items, -(-network.n_items // ITEMS))
    inputs, scale = network.inputs[:, items], network.n_items / items.size

    def prior(z):
        return whitened.energy(z, {"likelihood": 0.0}, items[:1])

    def of_one(position):
        z = whitening.whitened(position)

        def information(z):
            outputs = network.outputs(whitening.original(z)["weights"], inputs)
            return jax.vmap(lambda x: network.unit_information(position, x), in_axes=1)(outputs)

        push = jax.linearize(information, z)[1]
        pull = jax.linear_transpose(push, z)

        def once(_, found):
            vector = unravel(found[0], z)
            turned = ravel(pull(push(vector))[0]) * scale + ravel(hessian_vector_product(prior, z, vector))
            norm = jnp.linalg.norm(turned)
            return turned / norm, norm

        start = jax.random.normal(jax.random.key(0), (size(z),), dtype_of(z))
        return jax.lax.fori_loop(0, ITERATIONS, once, (start, jnp.zeros((), start.dtype)))[1]

    return jnp.mean(jax.lax.map(of_one, position))
