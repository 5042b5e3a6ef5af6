"""A system: an energy over positions, with its couplings in the experimenter's hand."""

from collections.abc import Mapping
from typing import Any

import equinox as eqx
import jax
from jax import Array

from heatbath.core.control import Control
from heatbath.core.numeric import widen

Position = Any


class Window(eqx.Module):
    """The ``size`` items from ``start`` on, which lie together in memory; ``start`` may be traced."""

    start: Array
    size: int = eqx.field(static=True)


class Loaded(eqx.Module):
    """Items that are not part of the system: their data, arrays with the items as leading axis."""

    data: Any


Items = Array | Window | Loaded


def take(data: Any, items: Items) -> tuple[Any, int]:
    """The rows of ``data`` (a pytree of arrays) that ``items`` name, and how many they are."""
    if isinstance(items, Loaded):
        return items.data, jax.tree.leaves(items.data)[0].shape[0]
    if isinstance(items, Window):
        rows = jax.tree.map(lambda x: jax.lax.dynamic_slice_in_dim(x, items.start, items.size), data)
        return rows, items.size
    return jax.tree.map(lambda x: x[items], data), items.size


class System(eqx.Module):
    """Energy of a configuration; a position is any pytree of floating arrays.

    Subclass, give `energy` and `init`; fields that are numbers take ``eqx.field(converter=numeric)``.
    """

    def energy(self, position: Position, couplings: Mapping[str, Any], items: Items | None = None) -> Array:
        """U, a scalar, extensive: summed over the data (not averaged). With ``items`` (an integer vector, a
        `Window` or `Loaded` data; `take` understands them all) the sum over those items only, scaled by
        n_items over their number: an unbiased estimate of U."""
        raise NotImplementedError

    def init(self, key: Array, control: Control) -> Position:
        """A starting position, drawn with ``key``; not an equilibrium one (`Solvable.sample` is)."""
        raise NotImplementedError

    @property
    def n_items(self) -> int:
        """Number of data items the energy is a sum over; 0 where there are none."""
        return 0

    def reordered(self, order: Array) -> "System":
        """The system with its items in another order, followed by those of ``order`` beyond n_items again:
        what windows that wrap around are cut from."""
        raise NotImplementedError(
            f"{type(self).__name__} cannot reorder its items: draw them WithReplacement"
        )

    @property
    def precision(self) -> str:
        """ "float64": energies and gradients are computed at the position cast to float64 (where x64 is
        on). "position": in the position's own dtype, only sums over items in float64."""
        return "float64"

    @classmethod
    def examples(cls) -> "dict[str, tuple[System, Control]]":
        """Instances with a control at which they are interesting; the conformance tests run them."""
        return {}


class Solvable(System):
    """A system whose answers are known exactly; they feed the tests."""

    def log_partition(self, control: Control) -> Array:
        """ln of the integral of exp(-U/T) over all positions, in nats."""
        raise NotImplementedError

    def sample(self, key: Array, control: Control) -> Position:
        """An exact draw from exp(-U/T)/Z."""
        raise NotImplementedError


class Conditional(System):
    """A system some of whose coordinates can be drawn exactly given the others (`dynamics.Gibbs` does)."""

    def parts(self, position: Position) -> tuple[Any, Any]:
        """(moved by a dynamics, drawn from their conditional), two pytrees."""
        raise NotImplementedError

    def whole(self, moved: Any, drawn: Any) -> Position:
        """The inverse of `parts`."""
        raise NotImplementedError

    def draw(self, key: Array, moved: Any, control: Control) -> Any:
        """The drawn part from exp(-U/T) given the moved part."""
        raise NotImplementedError


def energy_at(system: System, position: Position, couplings: Mapping[str, Any]) -> Array:
    """U as a scalar of the widest float, at the precision the system asks for."""
    return widen(system.energy(_cast(system, position), couplings))


def energy_and_gradient(
    system: System, position: Position, couplings: Mapping[str, Any]
) -> tuple[Array, Position]:
    """U and dU/dx (a pytree like the position) at the precision the system asks for."""
    energy, gradient = jax.value_and_grad(system.energy)(_cast(system, position), couplings)
    return widen(energy), gradient


def batch_gradient(
    system: System, position: Position, couplings: Mapping[str, Any], items: Items | None
) -> Position:
    """dU/dx of the items, estimated from them for all; in the position's dtype."""
    gradient = jax.grad(system.energy)(_cast(system, position), couplings, items)
    return jax.tree.map(lambda g, x: g.astype(x.dtype), gradient, position)


def _cast(system: System, position: Position) -> Position:
    return widen(position) if system.precision == "float64" else position
