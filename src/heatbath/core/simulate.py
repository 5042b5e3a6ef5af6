"""`simulate`: replicas of a system under a dynamics and a protocol, with the books kept."""

import signal
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from heatbath.core import loop, minibatch_loop
from heatbath.core.dynamics import Dynamics, MinibatchDynamics
from heatbath.core.ensemble import EnsembleMove
from heatbath.core.ledger import Ledger
from heatbath.core.numeric import all_finite, integer, x64
from heatbath.core.observer import Observer, Positions
from heatbath.core.progress import Progress
from heatbath.core.protocol import PerReplica, Protocol
from heatbath.core.sink import Sink
from heatbath.core.system import System
from heatbath.errors import Interrupted, Refused, Stopped

CHUNK_SECONDS = 0.35
BLOCK_STEPS = 1_000
BLOCK_BYTES = 64 * 2**20
MEMORY_BYTES = 16 * 2**20  # of a block that is not stored: fresh memory costs more than what is written to it
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
    """No replica is alive; ``run`` is what the run has until then, its positions the last good ones."""

    def __init__(self, run: Run):
        last = int(run.first_bad_step.max())
        super().__init__(
            f"diverged: energy, gradient or position is not finite in any replica at step {last:,};"
            " try a smaller step size"
        )
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
    in the records.
    """
    mode = _ledger_mode(dynamics, ledger)
    if moves and isinstance(dynamics, PerReplica):
        raise Refused("ensemble moves need one dynamics for all replicas: what they swap must fit everywhere")
    _check_counts(replicas=replicas, steps=steps, every=every, energy_every=energy_every or 1)
    method = dynamics.stacked if isinstance(dynamics, PerReplica) else dynamics
    minibatches = isinstance(method, MinibatchDynamics)
    if energy_every is not None and not minibatches:
        raise Refused(
            f"energy_every is for minibatch dynamics: {type(method).__name__} knows its energy at every step"
        )
    task = loop.Task(
        system=system,
        dynamics=dynamics,
        protocol=protocol,
        observers={"position": Positions()} if observers is None else dict(observers),
        moves=tuple(moves),
        key=run_key(key),
        replicas=replicas
        if minibatches
        else max(replicas, 2),  # a batch of one rounds differently: it is padded
        every=every,
        ledger=mode,
        energy_every=None if energy_every is None or mode == "off" else integer(energy_every),
    )
    if task.replicas > replicas and positions is not None:
        positions = jax.tree.map(lambda x: jnp.concatenate([x, x]), positions)
    began, compiled = time.perf_counter(), _compiling.seconds
    carry = _start(task, positions)
    bar = progress if isinstance(progress, Progress) else Progress()
    driver = (_MinibatchDriver if minibatches else _Driver)(
        task, steps, replicas, sink, None if progress is False else bar
    )
    try:
        carry, records = driver.run(carry)
    finally:
        bar.close()
    clocks = time.perf_counter() - began, _compiling.seconds - compiled
    run = _result(task, carry, records, replicas, driver.reached, *clocks)
    if not run.alive.any():
        raise Diverged(run)
    return run


def run_key(key: Array | int) -> Array:
    """A JAX key from a seed (0 to 2^32 - 1; JAX would fold others silently) or as it is."""
    if isinstance(key, int | np.integer):
        if not 0 <= key < LIMIT:
            raise Refused(f"seed {key} is out of range: give a whole number from 0 to {LIMIT - 1}")
        return jax.random.key(int(key))
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


class _Driver:
    """The host's side: chunks of the compiled loop, blocks, progress, interrupts."""

    def __init__(self, task: loop.Task, steps: int, replicas: int, sink: Sink | None, bar: Progress | None):
        self.task, self.steps, self.replicas, self.sink, self.bar = task, steps, replicas, sink, bar
        self.kept: dict[str, np.ndarray] = {}
        self.saved = self.reached = 0

    def run(self, carry: loop.Carry) -> tuple[loop.Carry, dict[str, np.ndarray]]:
        shapes = loop.record_shapes(self.task, carry)
        block_steps, every = self._block_steps(shapes), self.task.every
        steps = block_steps if self.sink is not None else min(block_steps, self.steps)
        empty = self._empty(shapes, -(-steps // every))
        step, block, carry, buffer = self._restore(carry, empty)
        chunk = 1
        with _interruptible(self.sink is not None) as stop:
            while step < self.steps:
                block_end = (block // block_steps + 1) * block_steps
                end = self._end(step, min(step + chunk, block_end, self.steps))
                began = time.perf_counter()
                carry, buffer = self._advance(carry, buffer, step, end, block)
                jax.block_until_ready(carry)
                seconds_a_step = (time.perf_counter() - began) / (end - step)
                step = end
                chunk = max(1, min(8 * chunk, int(CHUNK_SECONDS / seconds_a_step)))
                self._show(step, carry)
                dead = not np.asarray(carry.alive).any()
                if dead or step in (block_end, self.steps):
                    carry, buffer = self._close(carry, buffer, step, block)
                    self._finish(step, (step - block) // every, buffer, carry)
                    block, buffer = step, self._emptied(buffer, empty)
                if dead:
                    break
                if stop.is_set():
                    self._interrupt(step, (step - block) // every, block < step, buffer, carry)
        self.reached = step
        return carry, {name: records[: self.saved] for name, records in self.kept.items()}

    def _empty(self, shapes: Any, saves: int) -> Any:
        """A block's buffer: a row for each save and a scratch row."""
        return jax.tree.map(lambda x: jnp.zeros((saves + 1, *x.shape), x.dtype), shapes)

    def _emptied(self, buffer: Any, empty: Any) -> Any:
        """The buffer for the next block."""
        return empty

    def _end(self, step: int, end: int) -> int:
        """Where the chunk that begins at ``step`` ends at the latest."""
        return end

    def _advance(self, carry: loop.Carry, buffer: Any, step: int, end: int, block: int):
        return loop.advance(self.task, carry, buffer, jnp.asarray(step), jnp.asarray(end), jnp.asarray(block))

    def _close(self, carry: loop.Carry, buffer: Any, step: int, block: int) -> tuple[loop.Carry, Any]:
        """What is due at the end of a block."""
        return carry, buffer

    def _block_steps(self, shapes: Any) -> int:
        """Steps of a block, from counts alone: where stored at most 1,000 and 64 MB of records."""
        every = self.task.every
        size = sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(shapes))
        saves = max(1, (MEMORY_BYTES if self.sink is None else BLOCK_BYTES) // max(size, 1))
        if self.sink is not None:
            saves = min(saves, max(1, BLOCK_STEPS // every))
        return saves * every

    def _restore(self, carry: loop.Carry, empty: Any) -> tuple[int, int, loop.Carry, Any]:
        """Where to go on: (step, first step of the block, carry, records of the block so far)."""
        found = self.sink.restore() if self.sink is not None else None
        if found is None or self.sink is None:
            return 0, 0, carry, empty
        step, arrays = found
        if not arrays:
            return step, step, carry, empty
        carry = from_arrays(carry, arrays)
        block, records = step - step % self.task.every, self.sink.partial_records()
        if not records:
            return step, block, carry, empty
        rows = from_arrays(jax.tree.map(lambda x: x[0], empty), records, extra_axis=True)
        filled = jax.tree.map(lambda e, r: e.at[: r.shape[0]].set(r), empty, rows)
        return step, block - len(jax.tree.leaves(rows)[0]) * self.task.every, carry, filled

    def _finish(self, step: int, saves: int, buffer: Any, carry: loop.Carry) -> None:
        if self.sink is not None:
            self.sink.block(step, to_arrays(jax.tree.map(lambda b: b[:saves], buffer)), to_arrays(carry))
            return
        for name, x in to_arrays(buffer).items():
            if saves == self.steps // self.task.every:
                self.kept[name] = x[:saves]
                continue
            if name not in self.kept:
                self.kept[name] = np.empty((self.steps // self.task.every, *x.shape[1:]), x.dtype)
            self.kept[name][self.saved : self.saved + saves] = x[:saves]
        self.saved += saves

    def _interrupt(self, step: int, saves: int, unfinished: bool, buffer: Any, carry: loop.Carry) -> None:
        assert self.sink is not None
        if unfinished:
            self.sink.partial(step, to_arrays(jax.tree.map(lambda b: b[:saves], buffer)), to_arrays(carry))
        raise Interrupted(f"interrupted at step {step:,} of {self.steps:,}; nothing is lost")

    def _show(self, step: int, carry: loop.Carry) -> None:
        if self.bar is None:
            return
        alive = np.asarray(carry.alive)[: self.replicas]
        potential = np.asarray(loop.potentials(self.task, carry))[: self.replicas]
        temperature = np.asarray(self.task.controls(jnp.asarray(step - 1)).temperature)[: self.replicas]
        energy = float(potential[alive].mean()) if alive.any() else float("nan")
        self.bar.update(step, self.steps, energy, float(temperature.mean()), int(alive.sum()), self.replicas)


class _MinibatchDriver(_Driver):
    """The same for minibatch dynamics: shuffles the data, measures the energy at the end of a block."""

    epoch, shuffled = -1, None

    def _empty(self, shapes: Any, saves: int) -> Any:
        empty = super()._empty(shapes, saves)
        return self._emptied(empty, empty)

    def _emptied(self, buffer: Any, empty: Any) -> Any:
        """Energies and ledger unknown; what the observers store is written over."""
        books = {name: x for name, x in buffer.items() if name not in self.task.observers}
        return buffer | jax.tree.map(lambda x: jnp.full_like(x, jnp.nan), books)

    def _end(self, step: int, end: int) -> int:
        every, _ = self.task.method.shuffling(self.task.system)
        return min(end, (step // every + 1) * every) if every else end

    def _advance(self, carry: loop.Carry, buffer: Any, step: int, end: int, block: int):
        task = self._in_order(step)
        chunk = minibatch_loop.Chunk(task, carry, jnp.asarray(step), jnp.asarray(end), jnp.asarray(block))
        return minibatch_loop.advance(chunk, buffer)

    def _in_order(self, step: int) -> loop.Task:
        """The task with the data in the order of ``step``."""
        every, repeated = self.task.method.shuffling(self.task.system)
        if not every:
            return self.task
        if step // every != self.epoch:
            self.epoch = step // every
            self.shuffled = minibatch_loop.shuffled(self.task, jnp.asarray(self.epoch), repeated)
        return self.shuffled

    def _close(self, carry: loop.Carry, buffer: Any, step: int, block: int) -> tuple[loop.Carry, Any]:
        if self.task.ledger == "off" or (self.sink is None and step < self.steps):
            return carry, buffer  # blocks in memory are short
        return minibatch_loop.closed(self.task, carry, buffer, jnp.asarray(step), jnp.asarray(block))


def to_arrays(tree: Any) -> dict[str, np.ndarray]:
    """Leaves as NumPy arrays under their path in the pytree, joined by "/"."""
    return {_name(path): np.asarray(leaf) for path, leaf in jax.tree_util.tree_leaves_with_path(tree)}


def from_arrays(like: Any, arrays: Mapping[str, np.ndarray], extra_axis: bool = False) -> Any:
    """The inverse of `to_arrays` for a pytree of the structure of ``like``.

    ``extra_axis``: the arrays carry one more leading axis than ``like``. Raises `Refused` where an array
    is missing or of another shape: the state belongs to another run.
    """

    def leaf(path, x):
        name = _name(path)
        found = arrays.get(name)
        if found is None or found.shape[1 if extra_axis else 0 :] != x.shape:
            raise Refused(f"the saved state has no '{name}' of shape {x.shape}: it belongs to another model")
        return jnp.asarray(found, x.dtype)

    return jax.tree_util.tree_map_with_path(leaf, like)


def _name(path: Any) -> str:
    return jax.tree_util.keystr(path, simple=True, separator="/")


@contextmanager
def _interruptible(active: bool) -> Iterator[threading.Event]:
    """Ctrl-C and SIGTERM set the event (main thread only, where the run can be saved)."""
    event = threading.Event()
    if not active or threading.current_thread() is not threading.main_thread():
        yield event
        return
    old = {
        number: signal.signal(number, lambda *_: event.set()) for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield event
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)


def _ledger_mode(dynamics: Dynamics | PerReplica, ledger: str | None) -> str:
    method = dynamics.stacked if isinstance(dynamics, PerReplica) else dynamics
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


def _check_counts(**counts: int) -> None:
    for name, value in counts.items():
        if int(value) != value or not 1 <= value < LIMIT:
            raise Refused(f"{name} is {value}: give a whole number from 1 to {LIMIT - 1}")


def _start(task: loop.Task, positions: Any) -> loop.Carry:
    """The first carry, with temperature, shapes, energy and gradient checked before anything long runs."""
    controls = task.controls(jnp.zeros((), int))
    if not bool(jnp.all(controls.temperature > 0)):
        raise Refused(f"temperature {float(jnp.min(controls.temperature))} is not positive")
    positions = loop.initial_positions(task) if positions is None else positions
    leading = {x.shape[:1] for x in jax.tree.leaves(positions)}
    if leading != {(task.replicas,)}:
        raise Refused(f"positions need a leading replica axis of {task.replicas}; got {sorted(leading)}")
    try:
        carry = loop.start(task, positions)
    except TypeError as error:
        raise Refused(f"the energy cannot be used: {str(error).splitlines()[0][:200]}") from error
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
