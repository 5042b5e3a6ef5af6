"""`simulate`: replicas of a system under a dynamics and a protocol, with the books kept."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from heatbath.core import loop
from heatbath.core.driver import Driver, MinibatchDriver
from heatbath.core.dynamics import Dynamics, MinibatchDynamics
from heatbath.core.ensemble import EnsembleMove
from heatbath.core.ledger import Ledger
from heatbath.core.numeric import all_finite, integer, x64
from heatbath.core.observer import Observer, Positions
from heatbath.core.progress import Progress
from heatbath.core.protocol import PerReplica, Protocol
from heatbath.core.sink import Sink
from heatbath.core.stream import Stream
from heatbath.core.system import System
from heatbath.errors import Refused, Stopped

LIMIT = 2**32


@dataclass(frozen=True)
class Run:
    """What a simulation returns; replicas are the leading axis everywhere.

    ``position``: final positions. ``ledger``: totals of each replica (None with ``ledger="off"``); the
    reduced work of a replica that broke is +inf: it stays in every exponential average, with weight 0.
    ``records``: by name, arrays of shape (replicas, saves, ...); empty where a sink took them.
    ``observers``: final carries. ``means``: mean over steps of what the dynamics reports ("acceptance",
    "divergent", ...), shape (replicas,). ``first_bad_step``: -1 for replicas that are alive.
    """

    position: Any
    states: Any
    ledger: Ledger | None
    records: dict[str, np.ndarray]
    observers: Mapping[str, Any]
    means: dict[str, np.ndarray]
    steps: int
    alive: np.ndarray
    first_bad_step: np.ndarray
    seconds: float
    compile_seconds: float


class Diverged(Stopped):
    """No replica is alive, or the stream of minibatches failed (``reason``); ``run`` is what the run has
    until then, its positions the last good ones."""

    def __init__(self, run: Run, reason: str = ""):
        last = int(run.first_bad_step.max())
        diverged = f"diverged: energy, gradient or position is not finite in any replica at step {last:,}"
        super().__init__(reason or f"{diverged}; try a smaller step size")
        self.run = run


def simulate(
    system: System,
    dynamics: Dynamics | PerReplica,
    protocol: Protocol | PerReplica,
    *,
    key: Array | int,
    replicas: int,
    steps: int,
    observers: Mapping[str, Observer] | None = None,
    every: int = 1,
    ledger: str | None = None,
    moves: Sequence[EnsembleMove] = (),
    sink: Sink | None = None,
    progress: Progress | bool | None = None,
    positions: Any = None,
    energy_every: int | None = None,
    stream: Stream | None = None,
) -> Run:
    """Run ``replicas`` copies of ``system`` for ``steps`` steps.

    Inside step t: the control moves from protocol(t-1) to protocol(t) at fixed position (work; not at
    t = 0); the dynamics moves the position (heat, shadow work); observers look.

    ``key``: a seed from 0 to 2^32 - 1 or a JAX key. ``positions``: starting positions with a leading
    replica axis; drawn by ``system.init`` if not given. ``every``: steps between saves. ``observers``:
    what to store besides energies and ledger; positions if not given. ``ledger``: "path" (heat and shadow
    work by the path ratio), "energy" (energies only) or "off"; needs x64 unless "off"; default "path"
    where the dynamics has one, else "energy". ``sink``: takes the finished blocks, makes the run
    resumable; Ctrl-C and SIGTERM then save and raise `Interrupted`. ``progress``: False shows none.

    The result does not depend on chunks, blocks or interruptions. Raises `Refused` for bad requests and
    for an energy or gradient that is not finite at the start, `Diverged` (with what the run has until then)
    as soon as no replica is alive.

    Minibatch dynamics: the energy of all the data is evaluated where the control moves, at the end of each
    block of records and every ``energy_every`` steps; at saves where it was not, energies and ledger are NaN
    in the records. ``stream``: a function from a step to an iterator of the minibatches from this step on,
    for data that do not fit into memory (`heatbath.data.Shards`); the dynamics then has ``batches=None``. A
    minibatch that cannot be used ends the run with `Diverged`, which says why.
    """
    _check_kinds(system, dynamics, protocol, moves)
    method = dynamics.stacked if isinstance(dynamics, PerReplica) else dynamics
    minibatches = isinstance(method, MinibatchDynamics)
    mode = _ledger_mode(method, ledger)
    if moves and isinstance(dynamics, PerReplica):
        raise Refused("ensemble moves need one dynamics for all replicas: what they swap must fit everywhere")
    energies = 1 if energy_every is None else energy_every
    _check_counts(replicas=replicas, steps=steps, every=every, energy_every=energies)
    if energy_every is not None and not minibatches:
        raise Refused(
            f"energy_every is for minibatch dynamics: {type(method).__name__} knows its energy at every step"
        )
    if stream is not None:
        _check_stream(system, method, stream)
    padded = replicas if minibatches else max(replicas, 2)  # a batch of one rounds differently
    task = loop.Task(
        system=system,
        dynamics=dynamics,
        protocol=protocol,
        observers={"position": Positions()} if observers is None else dict(observers),
        moves=tuple(moves),
        key=run_key(key),
        replicas=padded,
        every=every,
        ledger=mode,
        energy_every=None if energy_every is None or mode == "off" else integer(energy_every),
    )
    if task.replicas > replicas and positions is not None:
        positions = jax.tree.map(lambda x: jnp.concatenate([x, x]), positions)
    began, compiled = time.perf_counter(), _compiling.seconds
    try:
        carry = _start(task, positions)
    except KeyError as error:
        names = ", ".join(task.controls(jnp.zeros((), int)).couplings) or "none"
        raise Refused(f"the system finds no {error}: is it a coupling? the control has {names}") from error
    bar = progress if isinstance(progress, Progress) else Progress()
    driver = (MinibatchDriver if minibatches else Driver)(
        task, steps, replicas, sink, None if progress is False else bar, stream
    )
    try:
        carry, records = driver.run(carry)
    finally:
        driver.close()
        bar.close()
    clocks = time.perf_counter() - began, _compiling.seconds - compiled
    run = _result(task, carry, records, replicas, driver.reached, *clocks)
    if driver.failure or not run.alive.any():
        raise Diverged(run, driver.failure)
    return run


def run_key(key: Array | int) -> Array:
    """A JAX key from a seed (0 to 2^32 - 1; JAX would fold others silently) or as it is."""
    if isinstance(key, int | np.integer):
        if not 0 <= key < LIMIT:
            raise Refused(f"seed {key} is out of range: give a whole number from 0 to {LIMIT - 1}")
        return jax.random.key(int(key))
    if not isinstance(key, Array):
        raise Refused(f"key is {key!r:.40}: give a whole number from 0 to {LIMIT - 1}, or a JAX key")
    return key


class _Compiling:
    """Seconds this process has spent compiling, by JAX's own account."""

    def __init__(self):
        self.seconds = 0.0
        jax.monitoring.register_event_duration_secs_listener(self.listen)

    def listen(self, event: str, duration_secs: float, **_: Any) -> None:
        if event.endswith(("backend_compile_duration", "jaxpr_to_mlir_module_duration")):
            self.seconds += duration_secs


_compiling = _Compiling()


def _ledger_mode(method: Dynamics, ledger: str | None) -> str:
    refusal = method.refusal()
    mode = ledger or ("energy" if refusal or isinstance(method, MinibatchDynamics) else "path")
    if mode not in ("path", "energy", "off"):
        raise Refused(f"ledger {mode!r} is unknown: choose 'path', 'energy' or 'off'")
    if mode == "path" and refusal:
        raise Refused(f"ledger 'path' cannot be kept for {type(method).__name__}: {refusal}")
    if mode != "off" and not x64():
        raise Refused(
            "the ledger needs 64-bit numbers: call jax.config.update('jax_enable_x64', True) first,"
            " or pass ledger='off'"
        )
    return mode


def _check_kinds(system: Any, dynamics: Any, protocol: Any, moves: Any) -> None:
    """Raises `Refused` where a part of a run is something else."""
    method, path = (x.stacked if isinstance(x, PerReplica) else x for x in (dynamics, protocol))
    if not isinstance(system, System):
        raise Refused(f"system is {system!r:.60}: give a System, like heatbath.systems.Posterior")
    if not isinstance(method, Dynamics):
        raise Refused(
            f"dynamics is {method!r:.60}: give a Dynamics, like SGLD(0.01) or Optax(optax.adam(0.01))"
        )
    if not callable(path):
        raise Refused(f"protocol is a {type(path).__name__}: give a Protocol, like Constant(control)")
    if not isinstance(moves, Sequence) or not all(isinstance(move, EnsembleMove) for move in moves):
        raise Refused(f"moves are {moves!r:.60}: give a list, like [ReplicaExchange(every=10)]")


def _check_counts(**counts: int) -> None:
    for name, value in counts.items():
        whole = isinstance(value, int | np.integer) or (isinstance(value, float) and value.is_integer())
        if not whole or not 1 <= value < LIMIT:
            raise Refused(f"{name} is {value!r:.40}: give a whole number from 1 to {LIMIT - 1}")


def _check_stream(system: System, method: Dynamics, stream: Stream) -> None:
    if not isinstance(method, MinibatchDynamics) or getattr(method, "batches", None) is not None:
        raise Refused("a stream brings the minibatches: give a minibatch dynamics with batches=None")
    if not callable(stream):
        raise Refused(f"stream is a {type(stream).__name__}: give a function from a step to an iterator")
    items = getattr(stream, "n_items", system.n_items)
    if items != system.n_items:
        raise Refused(
            f"the stream has {items} items, the system {system.n_items}: give Posterior(..., total={items})"
        )


def _start(task: loop.Task, positions: Any) -> loop.Carry:
    """The first carry, with temperature, shapes, energy and gradient checked before anything long runs."""
    controls = task.controls(jnp.zeros((), int))
    if not bool(jnp.all(controls.temperature > 0)):
        raise Refused(f"temperature {float(jnp.min(controls.temperature))} is not positive")
    positions = loop.initial_positions(task) if positions is None else positions
    leaves = jax.tree.leaves(positions)
    if not sum(x.size for x in leaves):
        raise Refused("the model has no parameters to move")
    whole = [x.dtype for x in leaves if not jnp.issubdtype(x.dtype, jnp.floating)]
    if whole:
        raise Refused(
            f"the parameters hold {whole[0]}: give floating-point numbers, keep others out of the position"
        )
    leading = {x.shape[:1] for x in leaves}
    if leading != {(task.replicas,)}:
        raise Refused(f"positions need a leading replica axis of {task.replicas}; got {sorted(leading)}")
    try:
        carry = loop.start(task, positions)
    except TypeError as error:
        raise Refused(f"the energy cannot be used: {str(error).splitlines()[0][:200]}") from error
    if carry.start_energy.shape != (task.replicas,):
        shape = carry.start_energy.shape[1:]
        raise Refused(f"the energy is an array of shape {shape}: return a scalar, the sum over the data")
    loop.check_couplings(task, positions)
    finite = np.asarray(jax.vmap(all_finite)(carry.states))
    if not finite.all():
        raise Refused(
            f"the energy or its gradient is not finite at the start of replica {int(np.argmin(finite))}:"
            " check the model and the starting positions"
        )
    return carry


def _result(
    task: loop.Task,
    carry: loop.Carry,
    records: dict[str, np.ndarray],
    replicas: int,
    steps: int,
    seconds: float,
    compile_seconds: float,
) -> Run:
    position = jax.tree.map(lambda x: x[:replicas], loop.positions_of(task, carry))
    carry = jax.tree.map(lambda x: x[:replicas], carry)
    ledger = carry.ledgers
    if ledger is not None:
        weightless = jnp.where(carry.alive, ledger.reduced_work, jnp.inf)
        ledger = Ledger(**{**vars(ledger), "reduced_work": weightless})
    return Run(
        position=position,
        states=carry.states,
        ledger=ledger,
        records={name: np.moveaxis(x, 0, 1)[:replicas] for name, x in records.items()},
        observers=carry.observers,
        means={name: np.asarray(x) / steps for name, x in carry.totals.items()},
        steps=steps,
        alive=np.asarray(carry.alive),
        first_bad_step=np.asarray(carry.first_bad_step),
        seconds=seconds,
        compile_seconds=compile_seconds,
    )
