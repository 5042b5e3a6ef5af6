"""Protocols: how the control moves with the step."""

from collections.abc import Callable, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from heatbath.core.control import Control
from heatbath.core.numeric import integer, numeric, traced


class Protocol(eqx.Module):
    """A pure function of the step and the replica. Its numbers are fields, so new ones do not recompile."""

    def __call__(self, step: Array, replica: Array) -> Control:
        raise NotImplementedError

    def moves(self, step: Array) -> Array | bool:
        """Whether the control at ``step`` differs from the one at ``step - 1`` for some replica. False
        (a Python bool) promises that it never moves."""
        return True


class Constant(Protocol):
    """The same control at every step."""

    control: Control

    def __call__(self, step: Array, replica: Array) -> Control:
        return self.control

    def moves(self, step: Array) -> bool:
        return False


class _Ramp(Protocol):
    """From ``start`` at step 0 to ``end`` at step ``steps`` (that many moves), constant after it."""

    start: Control
    end: Control
    steps: Array = eqx.field(converter=integer)

    def __check_init__(self):
        if jax.tree.structure(self.start) != jax.tree.structure(self.end):
            raise ValueError("start and end of a protocol must name the same couplings")

    def _fraction(self, step: Array) -> Array:
        return jnp.clip(numeric(step) / self.steps, 0.0, 1.0)

    def moves(self, step: Array) -> Array:
        return (step >= 1) & (step <= self.steps)


class Linear(_Ramp):
    """Every number moves in equal steps from ``start`` to ``end``."""

    def __call__(self, step: Array, replica: Array) -> Control:
        return _mix(self.start, self.end, self._fraction(step))


class Geometric(_Ramp):
    """Every number moves by equal factors; start and end of each must be positive (or equal)."""

    def __check_init__(self):
        for a, b in zip(jax.tree.leaves(self.start), jax.tree.leaves(self.end), strict=True):
            if not traced(a) and not bool(jnp.all((a == b) | ((a > 0) & (b > 0)))):
                raise ValueError(f"a geometric ramp from {a} to {b}: both must be positive")

    def __call__(self, step: Array, replica: Array) -> Control:
        s = self._fraction(step)

        def leaf(a, b):
            return jnp.where(a == b, a, a * (b / jnp.where(a == b, b, a)) ** s)

        return jax.tree.map(leaf, self.start, self.end)


class Exponential(_Ramp):
    """Every number relaxes to ``end`` as exp(-step/time_constant), scaled to arrive at ``steps``."""

    time_constant: Array = eqx.field(converter=numeric, kw_only=True)

    def __call__(self, step: Array, replica: Array) -> Control:
        s = jnp.expm1(-self._fraction(step) * self.steps / self.time_constant)
        return _mix(self.start, self.end, s / jnp.expm1(-self.steps / self.time_constant))


class Quench(Protocol):
    """``start`` before step ``at``, ``end`` from it on: one move."""

    start: Control
    end: Control
    at: Array = eqx.field(converter=integer)

    def __call__(self, step: Array, replica: Array) -> Control:
        return jax.tree.map(lambda a, b: jnp.where(step < self.at, a, b), self.start, self.end)

    def moves(self, step: Array) -> Array:
        return step == self.at


class Cyclic(Protocol):
    """From ``low`` to ``high`` and back as a cosine, once every ``period`` steps, for ever."""

    low: Control
    high: Control
    period: Array = eqx.field(converter=integer)

    def __call__(self, step: Array, replica: Array) -> Control:
        phase = numeric(step % self.period) / self.period
        return _mix(self.low, self.high, (1 - jnp.cos(2 * jnp.pi * phase)) / 2)


class Piecewise(Protocol):
    """Straight lines between ``controls`` reached at steps ``at`` (increasing; the first is 0)."""

    controls: Control
    at: Array = eqx.field(converter=integer)

    def __init__(self, controls: Sequence[Control], at: Sequence[int]):
        """``controls``: one for each knot, naming the same couplings; ``at``: their steps, increasing."""
        knots = [int(a) for a in at]
        if len(controls) != len(knots) or len(knots) < 2:
            raise ValueError(
                f"{len(controls)} controls for {len(knots)} steps: give one for each, at least 2"
            )
        for i in range(1, len(knots)):
            if knots[i] <= knots[i - 1]:
                raise ValueError(f"steps of a piecewise protocol must increase: index {i} is {knots[i]}")
        self.controls = jax.tree.map(lambda *x: jnp.stack(x), *controls)
        self.at = integer(knots)

    def __call__(self, step: Array, replica: Array) -> Control:
        i = jnp.clip(jnp.searchsorted(self.at, step, side="right") - 1, 0, self.at.size - 2)
        s = jnp.clip(numeric(step - self.at[i]) / (self.at[i + 1] - self.at[i]), 0.0, 1.0)
        return jax.tree.map(lambda c: (1 - s) * c[i] + s * c[i + 1], self.controls)

    def moves(self, step: Array) -> Array:
        return (step >= 1) & (step <= self.at[-1])


class FromFunction(Protocol):
    """A user's own ``function(step, replica, parameters) -> Control``.

    Its numbers belong in ``parameters`` (any pytree): numbers in a lambda compile again for each value.
    """

    function: Callable[[Array, Array, Any], Control] = eqx.field(static=True)
    parameters: Any = eqx.field(converter=numeric, default=None)

    def __call__(self, step: Array, replica: Array) -> Control:
        return self.function(step, replica, self.parameters)


class Reversed(Protocol):
    """The list of controls of ``protocol`` over moves 0 to ``steps``, last first: the reverse process."""

    protocol: Protocol
    steps: Array = eqx.field(converter=integer)

    def __call__(self, step: Array, replica: Array) -> Control:
        return self.protocol(self.steps - step, replica)

    def moves(self, step: Array) -> Array | bool:
        return self.protocol.moves(self.steps - step + 1)


class PerReplica(eqx.Module):
    """Protocols or dynamics of one kind with different numbers: replica r uses the r-th. Make it with `of`.

    ``stacked``: one protocol (or dynamics); arrays that differ between replicas carry a leading replica
    axis, the others are ``shared`` (in the order of the leaves). What all replicas share, a condition on
    the step say, must not become a matter of the single replica: both branches would always be computed.
    """

    stacked: Any
    shared: tuple[bool, ...] = eqx.field(static=True)

    @staticmethod
    def of(members: Sequence[Any]) -> "PerReplica":
        """From one protocol or dynamics for each replica, alike in kind and shapes."""
        columns = list(zip(*(jax.tree.leaves(member) for member in members), strict=True))
        shared = tuple(all(np.array_equal(column[0], x) for x in column[1:]) for column in columns)
        leaves = [
            column[0] if same else jnp.asarray(np.stack(column))
            for column, same in zip(columns, shared, strict=True)
        ]
        return PerReplica(jax.tree.unflatten(jax.tree.structure(members[0]), leaves), shared)

    def axes(self) -> Any:
        """For vmap: 0 for the arrays with a replica axis, None for the others."""
        leaves = [None if same else 0 for same in self.shared]
        return jax.tree.unflatten(jax.tree.structure(self.stacked), leaves)


def _mix(a: Any, b: Any, s: Array) -> Any:
    """(1-s) a + s b, exactly a at s = 0 and exactly b at s = 1."""
    return jax.tree.map(lambda x, y: (1 - s) * x + s * y, a, b)
