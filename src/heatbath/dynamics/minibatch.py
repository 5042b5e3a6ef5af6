"""What the stochastic-gradient dynamics share: a walker, minibatches, step sizes that change, noise drawn
ahead."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from heatbath.core import Control, Draw, MinibatchDynamics, System, batch_gradient, energy_at, numeric
from heatbath.core.numeric import dtype_of, ravel, size, unravel
from heatbath.core.system import Position
from heatbath.dynamics.batches import Batches
from heatbath.dynamics.counter import normals
from heatbath.dynamics.point import check_positive
from heatbath.errors import Refused


class Walker(eqx.Module):
    """A position, U of all the data where it was measured last, and what else the method remembers."""

    position: Position
    potential: Array
    memory: Any = ()


class Drawn(eqx.Module):
    """The random numbers of a step, and its step size h with sqrt(2 h), in the position's dtype. ``noise``
    and ``row`` are arrays, or None where the dynamics needs none."""

    noise: Any
    row: Any
    step_size: Array
    root: Array


class Schedule(eqx.Module):
    """A step size that changes with the step; its numbers are fields, so new ones do not recompile."""

    def __call__(self, step: Array) -> Array:
        """Step sizes for an array of step numbers."""
        raise NotImplementedError


class Steady(Schedule):
    """The same step size at every step."""

    value: Array = eqx.field(converter=numeric)

    def __call__(self, step: Array) -> Array:
        return jnp.broadcast_to(self.value, step.shape)


class Polynomial(Schedule):
    """first x (1 + step/delay)^-power: with power in (1/2, 1] Welling and Teh's (2011) a (b + t)^-gamma."""

    first: Array = eqx.field(converter=numeric)
    delay: Array = eqx.field(converter=numeric)
    power: Array = eqx.field(converter=numeric, default=0.55)

    def __check_init__(self):
        for name in ("first", "delay", "power"):
            check_positive(name, getattr(self, name))

    def __call__(self, step: Array) -> Array:
        return self.first * (1 + step / self.delay) ** -self.power


class CyclicCosine(Schedule):
    """From ``highest`` to almost 0 as half a cosine, over and over, once every ``period`` steps (Zhang et al.
    2020)."""

    highest: Array = eqx.field(converter=numeric)
    period: Array = eqx.field(converter=numeric)

    def __check_init__(self):
        for name in ("highest", "period"):
            check_positive(name, getattr(self, name))

    def __call__(self, step: Array) -> Array:
        return self.highest / 2 * (1 + jnp.cos(jnp.pi * (step % self.period) / self.period))


def schedule(step_size: Any) -> Schedule:
    """A `Schedule` as it is, or a number as a steady one; raises ValueError where it is neither, or not
    positive."""
    if isinstance(step_size, Schedule):
        return step_size
    if isinstance(step_size, type) or step_size is None or np.ndim(step_size):
        raise ValueError(f"step_size is {step_size!r:.60}: give a number, or a Schedule like Polynomial(...)")
    steady = Steady(step_size)
    check_positive("step_size", steady.value)
    return steady


class StochasticGradient(MinibatchDynamics[Walker]):
    """Base: ``step_size`` (a number or a `Schedule`) and ``batches`` (None: all the data at every step).

    Gradients are those of the extensive energy: a minibatch's is scaled by n_items/B. So a step size eta of
    a loss averaged over n items is ``eta / n`` here, and a temperature T of that loss is ``n T``.
    """

    step_size: Schedule = eqx.field(converter=schedule)
    batches: Batches | None = None

    def init(self, system: System, position: Position, control: Control, draw: Draw) -> Walker:
        if self.batches is not None:
            if not isinstance(self.batches, Batches):
                raise Refused(f"batches is {self.batches!r:.60}: give a scheme, like Windows(100)")
            self.batches.check(system)
        potential = energy_at(system, position, control.couplings)
        return Walker(position, potential, self.start(system, position, control, draw))

    def start(self, system: System, position: Position, control: Control, draw: Draw) -> Any:
        """The memory before the first step."""
        return ()

    def remembered(self, system: System, memory: Any, control: Control) -> Any:
        """The memory after the control moved."""
        return memory

    def refresh(self, system: System, state: Walker, control: Control) -> Walker:
        state = self.measured(system, state, control)
        return Walker(state.position, state.potential, self.remembered(system, state.memory, control))

    def measured(self, system: System, state: Walker, control: Control) -> Walker:
        potential = energy_at(system, state.position, control.couplings)
        return Walker(state.position, potential, state.memory)

    def position(self, state: Walker) -> Position:
        return state.position

    def potential(self, state: Walker) -> Array:
        return state.potential

    def draws(self, system: System, state: Walker, key: Array, first: Array, count: int) -> Drawn:
        steps = first + jnp.arange(count)
        noise, dtype = self.noise_rows(), dtype_of(state.position)
        h = self.step_size(steps)
        rows = None if self.batches is None else self.batches.rows(key, steps, system.n_items)
        return Drawn(
            normals(key, steps, noise * size(state.position)).astype(dtype) if noise else None,
            rows,
            h.astype(dtype),
            jnp.sqrt(2 * h).astype(dtype),
        )

    def noise_rows(self) -> int:
        """Normals for each coordinate that a step needs."""
        return 1

    def items(self, drawn: Drawn) -> Any:
        return None if self.batches is None or drawn.row is None else self.batches.items(drawn.row)

    def shuffling(self, system: System) -> tuple[int, int]:
        if self.batches is None or not (every := self.batches.shuffle_every(system.n_items)):
            return 0, 0
        return every, self.batches.size

    def gradient_at(self, system: System, position: Position, control: Control, items: Any) -> Position:
        """dU/dx estimated from the minibatch, a pytree like the position."""
        return batch_gradient(system, position, control.couplings, items)


def leaves_like(position: Position, vector: Array) -> Position:
    """A vector (d,) as a pytree like the position, in its dtypes."""
    return jax.tree.map(lambda v, x: v.astype(x.dtype), unravel(vector, position), position)


def squared_norm(tree: Any) -> Array:
    """Sum of squares of all leaves, in the widest float."""
    wide = ravel(tree).astype(jnp.zeros((), float).dtype)
    return jnp.sum(wide * wide)
