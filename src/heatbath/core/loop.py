"""The compiled loop: all replicas, a traced number of steps, one compilation for a whole run."""

from collections.abc import Callable, Mapping
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import Array

from heatbath.core.control import Control
from heatbath.core.dynamics import Draw, Dynamics, Flow, MinibatchDynamics
from heatbath.core.ensemble import EnsembleMove
from heatbath.core.ledger import Ledger
from heatbath.core.numeric import all_finite, float_dtype, select
from heatbath.core.observer import Observer, Snapshot
from heatbath.core.protocol import Constant, PerReplica, Protocol
from heatbath.core.system import System, energy_at
from heatbath.errors import Refused

INIT_STREAM = 2**32 - 1  # folded into the run's key where a replica's number would stand: never one
MOVE_STREAM = 2**32 - 2


class Task(eqx.Module):
    """All that a run is, apart from what changes while it runs."""

    system: System
    dynamics: Dynamics | PerReplica
    protocol: Protocol | PerReplica
    observers: Mapping[str, Observer]
    moves: tuple[EnsembleMove, ...]
    key: Array
    replicas: int = eqx.field(static=True)
    every: int = eqx.field(static=True)
    ledger: str = eqx.field(static=True)
    energy_every: Array | None = None

    def numbers(self) -> Array:
        return jnp.arange(self.replicas)

    def replica_keys(self) -> Array:
        """What the steps draw from."""
        return jax.vmap(lambda r: jax.random.fold_in(self.key, r))(self.numbers())

    def init_keys(self) -> Array:
        """What the starting positions and momenta draw from."""
        stream = jax.random.fold_in(self.key, jnp.uint32(INIT_STREAM))
        return jax.vmap(lambda r: jax.random.fold_in(stream, r))(self.numbers())

    def controls(self, step: Array) -> Control:
        """The control of every replica at ``step``: leaves with a leading replica axis."""
        protocol, axis = _member(self.protocol)
        at = eqx.filter_vmap(lambda p, r: p(step, r), in_axes=(axis, 0), axis_size=self.replicas)
        return at(protocol, self.numbers())

    def moved(self, step: Array) -> Array | bool:
        """Whether the control moves into ``step`` for any replica."""
        protocol, axis = _member(self.protocol)
        if axis is None or isinstance(protocol, Constant):
            return protocol.moves(step)
        at = eqx.filter_vmap(lambda p: jnp.asarray(p.moves(step)), in_axes=(axis,), axis_size=self.replicas)
        return jnp.any(at(protocol))

    @property
    def method(self) -> Dynamics:
        """The dynamics (with a replica axis where it differs between replicas)."""
        return _member(self.dynamics)[0]

    def each(self, function: Callable) -> Callable:
        """``function(dynamics, ...)`` vmapped over replicas; the arguments carry the replica axis."""
        dynamics, axis = _member(self.dynamics)
        return lambda *args: eqx.filter_vmap(function, in_axes=(axis, *[0] * len(args)))(dynamics, *args)


class Carry(eqx.Module):
    """What changes while a run runs; leaves have a leading replica axis."""

    states: Any
    ledgers: Ledger | None
    start_energy: Array
    observers: Mapping[str, Any]
    alive: Array
    first_bad_step: Array
    totals: Mapping[str, Array]


def once(function: Callable) -> Callable:
    """Compiled for a single call: quickly rather than well, but one over all the data must not crawl."""
    options = {"xla_backend_optimization_level": 1}
    return eqx.filter_jit(function, compiler_options=options)  # pyright: ignore[reportCallIssue]


def _member(item: Any) -> tuple[Any, Any]:
    return (item.stacked, item.axes()) if isinstance(item, PerReplica) else (item, None)


@once
def initial_positions(task: Task) -> Any:
    """Drawn from `System.init`, one a replica."""
    return jax.vmap(task.system.init)(task.init_keys(), task.controls(jnp.zeros((), int)))


@once
def start(task: Task, positions: Any) -> Carry:
    """The carry before the first step."""

    def init(dynamics, position, control, key):
        state = dynamics.init(task.system, position, control, Draw(key, jnp.ones((), int)))
        return state, dynamics.energy(task.system, state, control)

    states, energy = task.each(init)(positions, task.controls(jnp.zeros((), int)), task.init_keys())
    info = {}
    if not isinstance(task.method, MinibatchDynamics):
        info = eqx.filter_eval_shape(_step, task, states, jnp.zeros((), int))[1].info
    ledgers = None
    if task.ledger != "off":
        ledgers = jax.tree.map(lambda x: jnp.broadcast_to(x, (task.replicas,)), Ledger.zero())
    return Carry(
        states=states,
        ledgers=ledgers,
        start_energy=energy,
        observers={name: jax.vmap(o.init)(positions) for name, o in task.observers.items()},
        alive=jnp.ones(task.replicas, bool),
        first_bad_step=jnp.full(task.replicas, -1, jnp.zeros((), int).dtype),
        totals={name: jnp.zeros(task.replicas, float_dtype()) for name in info},
    )


def check_couplings(task: Task, positions: Any) -> None:
    """Raises `Refused` for a coupling that the energy does not depend on: it would be moved without work."""
    eqx.filter_eval_shape(_coupled, task, positions)


@eqx.filter_jit  # traced once, never compiled
def _coupled(task: Task, positions: Any) -> None:
    couplings = task.controls(jnp.zeros((), int)).couplings
    if not couplings:
        return
    position, couplings = jax.tree.map(lambda x: x[0], (positions, couplings))
    program = jax.make_jaxpr(lambda x, c: energy_at(task.system, x, c))(position, couplings).jaxpr
    used = {id(x) for x in (*program.outvars, *(x for line in program.eqns for x in line.invars))}
    leaves = jax.tree_util.tree_leaves_with_path(couplings)
    for (path, _), variable in zip(leaves, program.invars[-len(leaves) :], strict=True):
        if id(variable) not in used:
            name = jax.tree_util.keystr(path, simple=True)
            raise Refused(f"the energy does not depend on the coupling '{name}': check its name")


def record_shapes(task: Task, carry: Carry) -> Any:
    """Shapes and dtypes of one save's records."""
    return eqx.filter_eval_shape(_record, task, carry)


@eqx.filter_jit  # traced once, never compiled
def _record(task: Task, carry: Carry) -> dict[str, Any]:
    info = {name: jnp.zeros_like(total) for name, total in carry.totals.items()}
    return _observe(task, carry, info, jnp.zeros((), int))[1]


@eqx.filter_jit
def potentials(task: Task, carry: Carry) -> Array:
    """U of every replica, shape (replicas,)."""
    return task.each(lambda dynamics, state: dynamics.potential(state))(carry.states)


def positions_of(task: Task, carry: Carry) -> Any:
    return task.each(lambda dynamics, state: dynamics.position(state))(carry.states)


@eqx.filter_jit
def advance(task: Task, carry: Carry, buffer: Any, first: Array, stop: Array, block: Array):
    """Steps ``first`` to ``stop`` - 1 of a block that began at step ``block``.

    ``buffer``: records of the block, leaves of shape (saves + 1, replicas, ...); the last row is scratch,
    written where ``stop`` is no step that is saved.
    """
    scratch = jax.tree.leaves(buffer)[0].shape[0] - 1
    no_info = {name: jnp.zeros_like(total) for name, total in carry.totals.items()}

    def to_next_save(loop):
        t, carry, buffer = loop
        end = jnp.minimum(stop, (t // task.every + 1) * task.every)
        carry, info = jax.lax.fori_loop(t, end, lambda i, c: _advance_one(task, c[0], i), (carry, no_info))
        due = end % task.every == 0
        observers, record = jax.lax.cond(
            due,
            lambda c: _observe(task, c, info, end - 1),
            lambda c: (c.observers, jax.tree.map(lambda b: jnp.zeros(b.shape[1:], b.dtype), buffer)),
            carry,
        )
        row = jnp.where(due, (end - block) // task.every - 1, scratch)
        buffer = jax.tree.map(lambda b, r: b.at[row].set(r), buffer, record)
        return end, eqx.tree_at(lambda c: c.observers, carry, observers), buffer

    return jax.lax.while_loop(lambda loop: loop[0] < stop, to_next_save, (first, carry, buffer))[1:]


def _advance_one(task: Task, carry: Carry, t: Array) -> tuple[Carry, Mapping[str, Array]]:
    states, ledgers = carry.states, carry.ledgers
    moved = task.moved(t)
    if moved is not False:
        states, ledgers = jax.lax.cond(
            moved & (t > 0), lambda s, b: drive(task, s, b, t), lambda s, b: (s, b), states, ledgers
        )
    new, flow = _step(task, states, t)
    if ledgers is not None:
        ledgers = _book(task, carry.start_energy, new, ledgers, flow, t)
    booked = (flow.heat, flow.shadow_work) if task.ledger == "path" else ()
    good = jax.vmap(all_finite)((new, booked))
    alive = carry.alive & good
    states, ledgers = jax.lax.cond(
        jnp.all(alive),
        lambda new, old: new,
        lambda new, old: jax.vmap(select)(alive, new, old),
        (new, ledgers),
        (carry.states, carry.ledgers),
    )
    carry = Carry(
        states=states,
        ledgers=ledgers,
        start_energy=carry.start_energy,
        observers=carry.observers,
        alive=alive,
        first_bad_step=jnp.where(carry.alive & ~good, t, carry.first_bad_step),
        totals={name: carry.totals[name] + jnp.where(alive, flow.info[name], 0.0) for name in carry.totals},
    )
    for number, move in enumerate(task.moves):
        carry = jax.lax.cond(
            (t + 1) % move.every == 0,
            lambda c, m=move, n=number: ensemble(task, c, m, n, t),
            lambda c: c,
            carry,
        )
    return carry, flow.info


def drive(task: Task, states: Any, ledgers: Ledger | None, t: Array) -> tuple[Any, Ledger | None]:
    """The control moves from ``t - 1`` to ``t`` at fixed position: work."""

    def one(dynamics, state, ledger, old, new):
        after = dynamics.refresh(task.system, state, new)
        if ledger is None:
            return after, None
        ledger = ledger.moved(
            old,
            new,
            (dynamics.potential(state), dynamics.potential(after)),
            (dynamics.kinetic(state), dynamics.kinetic(after)),
            dynamics.momenta(state),
        )
        return after, ledger

    return task.each(one)(states, ledgers, task.controls(t - 1), task.controls(t))


def _step(task: Task, states: Any, t: Array) -> tuple[Any, Flow]:
    def one(dynamics, state, control, key):
        return dynamics.step(task.system, state, control, Draw(key, t))

    return task.each(one)(states, task.controls(t), task.replica_keys())


def _book(task: Task, start_energy: Array, after: Any, ledgers: Ledger, flow: Flow, t: Array) -> Ledger:
    """Heat and shadow work of a step; with the energy ledger both are NaN."""
    unknown = jnp.full_like(start_energy, jnp.nan)
    heat, shadow = (flow.heat, flow.shadow_work) if task.ledger == "path" else (unknown, unknown)
    energy = task.each(lambda d, s, c: d.energy(task.system, s, c))(after, task.controls(t))
    return jax.vmap(lambda b, c, q, w, e: b.stepped(c, q, w, e))(
        ledgers, task.controls(t), heat, shadow, energy - start_energy
    )


def _observe(task: Task, carry: Carry, info: Mapping[str, Array], t: Array) -> tuple[Any, Any]:
    """Observers' carries and the record of one save: energies, ledger and what the observers store."""
    observers, record = look(task, carry.states, carry.ledgers, carry.observers, info, t)
    return observers, books(task, carry, t) | record


def books(task: Task, carry: Carry, t: Array) -> dict[str, Any]:
    """Energies, temperature and ledger of every replica, as they are recorded."""
    record: dict[str, Any] = {
        "potential": task.each(lambda d, s: d.potential(s))(carry.states),
        "kinetic": task.each(lambda d, s: d.kinetic(s))(carry.states),
        "temperature": task.controls(t).temperature,
    }
    if carry.ledgers is not None:
        record["ledger"] = {
            name: getattr(carry.ledgers, name)
            for name in ("work", "reduced_work", "heat", "shadow_work", "entropy_flow", "energy_change")
        }
    return record


def look(
    task: Task, states: Any, ledgers: Ledger | None, observers: Any, info: Mapping[str, Array], t: Array
) -> tuple[Any, dict[str, Any]]:
    """What the observers carry on and store."""

    def one(dynamics, state, ledger, control, info, carries):
        seen = Snapshot(
            step=t,
            position=dynamics.position(state),
            gradient=dynamics.gradient(state),
            potential=dynamics.potential(state),
            kinetic=dynamics.kinetic(state),
            momentum=dynamics.bath_momentum(state),
            control=control,
            ledger=ledger,
            info=info,
        )
        new, record = {}, {}
        for name, observer in task.observers.items():
            new[name], record[name] = observer(carries[name], seen)
        return new, record

    return task.each(one)(states, ledgers, task.controls(t), info, observers)


def ensemble(task: Task, carry: Carry, move: EnsembleMove, number: int, t: Array) -> Carry:
    """A move of all replicas; it sees an infinite reduced work, and so no weight, where one is not alive."""
    key = jax.random.fold_in(jax.random.fold_in(task.key, jnp.uint32(MOVE_STREAM)), number)
    ledgers = carry.ledgers
    if ledgers is not None:
        work = ledgers.reduced_work
        ledgers = eqx.tree_at(lambda b: b.reduced_work, ledgers, jnp.where(carry.alive, work, jnp.inf))
    states, ledgers = move.apply(
        task.system, task.method, carry.states, task.controls(t), ledgers, jax.random.fold_in(key, t), t
    )
    if ledgers is not None:
        kept = jnp.where(carry.alive, ledgers.reduced_work, work)
        ledgers = eqx.tree_at(lambda b: b.reduced_work, ledgers, kept)
    return Carry(**{**vars(carry), "states": states, "ledgers": ledgers})
