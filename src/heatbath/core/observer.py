"""Observers: folds over what is seen at the saved steps. They run inside the compiled loop."""

from collections.abc import Callable, Mapping
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import Array

from heatbath.core.control import Control
from heatbath.core.ledger import Ledger
from heatbath.core.numeric import widen
from heatbath.core.system import Position


class Snapshot(eqx.Module):
    """One replica at one step, after the dynamics moved it. ``momentum``: `Dynamics.bath_momentum`."""

    step: Array
    position: Position
    gradient: Position | None
    potential: Array
    kinetic: Array
    momentum: Array | None
    control: Control
    ledger: Ledger
    info: Mapping[str, Array]


class Observer(eqx.Module):
    """A fold with its own carry, one for each replica: init, then a call at every saved step."""

    def init(self, position: Position) -> Any:
        """The carry before the first call; None for an observer without memory."""
        return None

    def __call__(self, carry: Any, seen: Snapshot) -> tuple[Any, Any]:
        """The new carry and the record to store (a pytree of arrays)."""
        raise NotImplementedError


class Positions(Observer):
    """Stores the position."""

    def __call__(self, carry: Any, seen: Snapshot) -> tuple[Any, Any]:
        return carry, seen.position


class Record(Observer):
    """Stores ``function(snapshot, parameters)``; numbers belong in ``parameters``."""

    function: Callable[[Snapshot, Any], Any] = eqx.field(static=True)
    parameters: Any = None

    def __call__(self, carry: Any, seen: Snapshot) -> tuple[Any, Any]:
        return carry, self.function(seen, self.parameters)


class Average(Observer):
    """Mean of ``function(snapshot, parameters)`` over the saved steps; stores nothing, read its carry.

    The carry is (count, mean), the mean in float64 under x64 (running update, no cancellation).
    """

    function: Callable[[Snapshot, Any], Any] = eqx.field(static=True)
    example: Callable[[Position], Any] = eqx.field(static=True)
    parameters: Any = None

    def init(self, position: Position) -> Any:
        zero = jax.tree.map(jnp.zeros_like, widen(self.example(position)))
        return jnp.zeros((), int), zero

    def __call__(self, carry: Any, seen: Snapshot) -> tuple[Any, Any]:
        count, mean = carry
        count = count + 1
        value = widen(self.function(seen, self.parameters))
        return (count, jax.tree.map(lambda m, v: m + (v - m) / count, mean, value)), {}
