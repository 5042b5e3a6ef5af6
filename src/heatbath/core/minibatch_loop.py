"""The compiled loop of minibatch dynamics: stretches of many moves, the energy of all the data now and then.

A stretch ends where random numbers are drawn anew (every `stride` steps), where the control moves, where the
energy is measured and where an ensemble move acts. Only its end is looked at; if a replica broke on the way,
the stretch is done again, slowly, to find the step.
"""

from functools import cache
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import Array

from heatbath.core.dynamics import MinibatchDynamics
from heatbath.core.loop import Carry, Task, books, drive, ensemble, look
from heatbath.core.numeric import all_finite, float_dtype, select
from heatbath.core.system import Loaded

STRIDE = 64
NUMBERS = 2**16  # drawn at most at once: they stay in the cache
SHUFFLE_STREAM = 2**32 - 3


class Stretch(eqx.Module):
    """What changes within a stretch; states and exchanged without the replica axis where there is one
    replica."""

    states: Any
    exchanged: tuple[Array, Array]  # the ledgers' heat and entropy flow
    observers: Any
    alive: Array
    first_bad_step: Array
    rows: Any


def stride(task: Task, carry: Carry) -> int:
    """Steps drawn at once: a power of two, at most 64."""
    size = sum(x.size for x in jax.tree.leaves((carry.states, carry.observers)))
    steps = STRIDE
    while steps > 1 and steps * size > NUMBERS:
        steps //= 2
    return steps


def method(task: Task) -> MinibatchDynamics:
    assert isinstance(task.method, MinibatchDynamics)
    return task.method


@eqx.filter_jit
def shuffled(task: Task, epoch: Array, repeated: int) -> Task:
    """The task with its system's items in the order of ``epoch``."""
    key = jax.random.fold_in(jax.random.fold_in(task.key, jnp.uint32(SHUFFLE_STREAM)), epoch)
    order = jax.random.permutation(key, task.system.n_items)
    system = task.system.reordered(jnp.concatenate([order, order[:repeated]]))
    return eqx.tree_at(lambda t: t.system, task, system)


def measure(task: Task, carry: Carry, t: Array) -> Carry:
    """Energies of all the data, after step ``t``, and the books closed with them."""
    controls = task.controls(t)

    def one(dynamics, state, control):
        new = dynamics.measured(task.system, state, control)
        return new, dynamics.energy(task.system, new, control)

    states, energy = task.each(one)(carry.states, controls)
    if task.ledger == "off":
        return eqx.tree_at(lambda c: c.states, carry, states)
    change = energy - carry.start_energy
    if task.ledger == "path":
        ledgers = jax.vmap(lambda b, c, e: b.closed(c, e))(carry.ledgers, controls, change)
    else:
        nan = jnp.full_like(change, jnp.nan)
        ledgers = jax.vmap(lambda b, c, e, n: b.stepped(c, n, n, e))(carry.ledgers, controls, change, nan)
    return eqx.tree_at(lambda c: (c.states, c.ledgers), carry, (states, ledgers))


class Chunk(eqx.Module):
    """Steps ``first`` to ``stop`` - 1 of a block that began at step ``block``. ``stream``: data of the
    minibatches of these steps where they come from outside (leading axis: steps, from ``first`` on)."""

    task: Task
    carry: Carry
    first: Array
    stop: Array
    block: Array
    stream: Any = None


def advance(chunk: Chunk, buffer: Any) -> tuple[Carry, Any]:
    """Do the steps; ``buffer`` is given away: filling it in place is what makes storing every step cheap."""
    return _compiled()(chunk, buffer)


@cache
def _compiled() -> Any:
    """Without a copy of the loop's counter a step is one kernel shorter: XLA runs up to eight of them in a
    row, more of them through a scheduler that costs as much as a small step."""
    options: dict[str, Any] = {"xla_cpu_copy_insertion_use_region_analysis": True}
    try:
        jax.jit(lambda x: x, compiler_options=options).lower(0.0).compile()
    except jax.errors.JaxRuntimeError:  # this version does not know it
        options = {}
    return eqx.filter_jit(_advance, donate="all-except-first", compiler_options=options)  # pyright: ignore[reportCallIssue]


def _advance(chunk: Chunk, buffer: Any) -> tuple[Carry, Any]:
    task, carry, stream = chunk.task, chunk.carry, chunk.stream
    first, stop, block = chunk.first, chunk.stop, chunk.block
    count = stride(task, carry)
    moves = task.moved(first) is not False
    axis = 0 if task.replicas == 1 else 1  # of the steps in what is drawn

    def draw(t):
        def one(dynamics, state, key):
            return dynamics.draws(task.system, state, key, t, count)

        return _each(task, one)(_alone(task, carry.states), _alone(task, task.replica_keys()))

    def stretches(loop):
        t, carry, buffer = loop
        base = t // count * count
        drawn = jax.lax.optimization_barrier(draw(base))  # else the generator is fused into every gather

        def given(i):
            now = jax.tree.map(lambda x: jax.lax.dynamic_index_in_dim(x, i - base, axis, False), drawn)
            if stream is None:
                return now, None
            return now, Loaded(
                jax.tree.map(lambda x: jax.lax.dynamic_index_in_dim(x, i - first, 0, False), stream)
            )

        end = jnp.minimum(stop, base + count)
        if not moves and task.energy_every is None and not task.moves and not method(task).renewal():
            return _stretch(task, carry, buffer, given, t, end, block, moves)
        return jax.lax.while_loop(
            lambda loop: loop[0] < end,
            lambda loop: _stretch(
                task, loop[1], loop[2], given, loop[0], _clip(task, loop[0], end), block, moves
            ),
            (t, carry, buffer),
        )

    return jax.lax.while_loop(lambda loop: loop[0] < stop, stretches, (first, carry, buffer))[1:]


def _clip(task: Task, t: Array, end: Array) -> Array:
    """The end of the stretch from ``t``: the energy is measured there, or an ensemble move acts."""
    periods = [move.every for move in task.moves]
    periods += [] if task.energy_every is None else [task.energy_every]
    periods += [every] if (every := method(task).renewal()) else []
    for period in periods:
        end = jnp.minimum(end, (t // period + 1) * period)
    return end


def _stretch(task: Task, carry: Carry, buffer: Any, given, t: Array, end: Array, block: Array, moves: bool):
    """From step ``t`` to ``end`` or, before it, to the next move of the control."""
    if moves:
        carry = jax.lax.cond(task.moved(t) & (t > 0), lambda c: _drive(task, c, t), lambda c: c, carry)
    before = _open(task, carry, buffer)
    reached, after = _run(task, carry, before, given, t, end, block, moves, False)
    whole = jnp.all(carry.alive) & jnp.all(_each_finite(task, (after.states, after.exchanged)))

    def again(loop):  # the rows are written over
        stretch = eqx.tree_at(lambda s: s.rows, before, loop[1].rows)
        return *_run(task, carry, stretch, given, t, end, block, moves, True), jnp.asarray(True)

    # a loop of at most one pass, for a cond would copy the rows
    reached, after, _ = jax.lax.while_loop(lambda loop: ~loop[2], again, (reached, after, whole))
    ledgers = carry.ledgers
    if task.ledger == "path":
        exchanged = _together(task, after.exchanged)
        ledgers = eqx.tree_at(lambda b: (b.heat, b.entropy_flow), ledgers, exchanged)
    carry = Carry(
        states=_together(task, after.states),
        ledgers=ledgers,
        start_energy=carry.start_energy,
        observers=after.observers,
        alive=after.alive,
        first_bad_step=after.first_bad_step,
        totals=carry.totals,
    )
    buffer = buffer | after.rows
    if task.energy_every is not None:
        carry, buffer = jax.lax.cond(
            reached % task.energy_every == 0,
            lambda c, b: _measured(task, c, b, reached, block),
            lambda c, b: (c, b),
            carry,
            buffer,
        )
    for number, move in enumerate(task.moves):
        carry = jax.lax.cond(
            reached % move.every == 0,
            lambda c, m=move, n=number: ensemble(task, measure(task, c, reached - 1), m, n, reached - 1),
            lambda c: c,
            carry,
        )
    if every := method(task).renewal():
        carry = jax.lax.cond(
            reached % every == 0, lambda c: _renewed(task, c, reached - 1), lambda c: c, carry
        )
    return reached, carry, buffer


def _open(task: Task, carry: Carry, buffer: Any) -> Stretch:
    """A stretch at its beginning."""
    exchanged = (jnp.zeros(task.replicas, float_dtype()),) * 2
    if task.ledger == "path":
        assert carry.ledgers is not None
        exchanged = carry.ledgers.heat, carry.ledgers.entropy_flow
    return Stretch(
        states=_alone(task, carry.states),
        exchanged=_alone(task, exchanged),
        observers=carry.observers,
        alive=carry.alive,
        first_bad_step=carry.first_bad_step,
        rows={name: buffer[name] for name in task.observers},
    )


def _run(
    task: Task,
    carry: Carry,
    stretch: Stretch,
    given: Any,
    t: Array,
    end: Array,
    block: Array,
    moves: bool,
    careful: bool,
) -> tuple[Array, Stretch]:
    """The moves of a stretch and what the observers see of it; ``careful``: look at every step."""
    controls = _alone(task, task.controls(t))

    def goes_on(i, limit):
        return (i < limit) & ((i == t) | ~task.moved(i)) if moves else i < limit

    def one(i, s: Stretch) -> Stretch:
        drawn, loaded = given(i)

        def move(dynamics, state, control, drawn):
            items = dynamics.items(drawn) if loaded is None else loaded
            new = dynamics.move(task.system, state, control, drawn, items)
            if task.ledger != "path":
                return new, jnp.zeros((), float_dtype())
            return new, dynamics.path_heat(task.system, state, new, control, drawn, items)

        states, heat = _each(task, move)(s.states, controls, drawn)
        exchanged = s.exchanged
        if task.ledger == "path":
            exchanged = exchanged[0] + heat, exchanged[1] - heat / controls.temperature
        if not careful:
            return eqx.tree_at(lambda s: (s.states, s.exchanged), s, (states, exchanged))
        good = _each_finite(task, (states, heat))
        alive = s.alive & good
        return Stretch(
            states=_each_chosen(task, alive, states, s.states),
            exchanged=_each_chosen(task, alive, exchanged, s.exchanged),
            observers=s.observers,
            alive=alive,
            first_bad_step=jnp.where(s.alive & ~good, i, s.first_bad_step),
            rows=s.rows,
        )

    def see(i, s: Stretch) -> Stretch:
        observers, record = look(task, _together(task, s.states), carry.ledgers, s.observers, {}, i)
        row = (i + 1 - block) // task.every - 1
        rows = jax.tree.map(
            lambda b, r: jax.lax.dynamic_update_index_in_dim(b, r, row, 0), s.rows, record
        )  # b.at[row].set would copy b
        return eqx.tree_at(lambda s: (s.observers, s.rows), s, (observers, rows))

    def to_next_save(loop):
        i, s = loop
        if task.every == 1:
            return i + 1, see(i, one(i, s))
        limit = jnp.minimum(end, (i // task.every + 1) * task.every)
        j, s = jax.lax.while_loop(
            lambda loop: goes_on(loop[0], limit), lambda loop: (loop[0] + 1, one(*loop)), (i, s)
        )
        return j, jax.lax.cond(j % task.every == 0, lambda s: see(j - 1, s), lambda s: s, s)

    return jax.lax.while_loop(lambda loop: goes_on(loop[0], end), to_next_save, (t, stretch))


def _each(task: Task, function: Any) -> Any:
    """``function(dynamics, ...)`` of every replica, or of the only one."""
    return task.each(function) if task.replicas > 1 else lambda *args: function(task.method, *args)


def _alone(task: Task, tree: Any) -> Any:
    """Without the replica axis where there is one replica: a batch of one costs more than its member."""
    return jax.tree.map(lambda x: x[0], tree) if task.replicas == 1 else tree


def _together(task: Task, tree: Any) -> Any:
    """The inverse of `_alone`."""
    return jax.tree.map(lambda x: x[None], tree) if task.replicas == 1 else tree


def _each_finite(task: Task, tree: Any) -> Array:
    return all_finite(tree)[None] if task.replicas == 1 else jax.vmap(all_finite)(tree)


def _each_chosen(task: Task, chosen: Array, new: Any, old: Any) -> Any:
    return select(chosen[0], new, old) if task.replicas == 1 else jax.vmap(select)(chosen, new, old)


def _drive(task: Task, carry: Carry, t: Array) -> Carry:
    """The control moves into step ``t``: the energy is measured before, and the move is work."""
    carry = measure(task, carry, t - 1)
    states, ledgers = drive(task, carry.states, carry.ledgers, t)
    return Carry(**{**vars(carry), "states": states, "ledgers": ledgers})


def _renewed(task: Task, carry: Carry, t: Array) -> Carry:
    """What the dynamics does with all the data, after step ``t``."""
    renewed = task.each(lambda dynamics, state, control: dynamics.renew(task.system, state, control))
    return eqx.tree_at(lambda c: c.states, carry, renewed(carry.states, task.controls(t)))


@eqx.filter_jit
def closed(task: Task, carry: Carry, buffer: Any, reached: Array, block: Array) -> tuple[Carry, Any]:
    """At the end of a block the energy is measured."""
    return _measured(task, carry, buffer, reached, block)


def _measured(task: Task, carry: Carry, buffer: Any, reached: Array, block: Array) -> tuple[Carry, Any]:
    """The energy is measured after step ``reached - 1``, and recorded where that step is saved."""
    carry = measure(task, carry, reached - 1)
    last = jax.tree.leaves(buffer)[0].shape[0] - 1
    row = jnp.where(reached % task.every == 0, (reached - block) // task.every - 1, last)
    record = books(task, carry, reached - 1)
    kept = {name: buffer[name] for name in record}
    return carry, buffer | jax.tree.map(lambda b, r: b.at[row].set(r), kept, record)
