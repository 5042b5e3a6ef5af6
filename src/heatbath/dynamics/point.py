"""What every dynamics here remembers of a position: its energy and gradient at the control in force."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import Array

from heatbath.core import Control, System, energy_and_gradient
from heatbath.core.numeric import dtype_of, moved, ravel, size, traced
from heatbath.core.system import Position


class Point(eqx.Module):
    """A position with U (scalar) and dU/dx (a pytree like the position) there."""

    position: Position
    potential: Array
    gradient: Position

    @staticmethod
    def at(system: System, position: Position, control: Control) -> "Point":
        energy, gradient = energy_and_gradient(system, position, control.couplings)
        return Point(position, energy, gradient)

    def force(self, metric: Any) -> Array:
        """-A^T dU/dx, shape (d,)."""
        return -metric.pull_back(ravel(self.gradient))

    def displaced(self, system: System, metric: Any, whitened: Array, control: Control) -> "Point":
        """The point at position + A u."""
        return Point.at(system, moved(self.position, metric.displace(whitened)), control)


def normal(key: Array, position: Position, rows: int = 1) -> Array:
    """Standard normals of shape (rows, d) in the position's dtype."""
    return jax.random.normal(key, (rows, size(position)), dtype_of(position))


def squared(vector: Array) -> Array:
    """|v|^2 as a scalar of the widest float."""
    wide = vector.astype(jnp.zeros((), float).dtype)
    return jnp.sum(wide * wide)


def check_positive(name: str, value: Array) -> None:
    """Raises ValueError for a number of a method that is not positive and finite (traced values pass)."""
    if not traced(value) and not bool(jnp.all((value > 0) & (value < jnp.inf))):
        raise ValueError(f"{name} is {value}: it must be positive and finite")


def check_share(name: str, value: Array) -> None:
    """Raises ValueError for a number of a method that is not in [0, 1) (traced values pass)."""
    if not traced(value) and not bool(jnp.all((value >= 0) & (value < 1))):
        raise ValueError(f"{name} is {value}: it must be at least 0 and below 1")
