"""A dynamics: one step of a system in contact with a heat bath."""

from typing import Any, ClassVar, Generic, Literal, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import Array

from heatbath.core.control import Control
from heatbath.core.numeric import numeric
from heatbath.core.system import Position, System

S = TypeVar("S")


class Draw(eqx.Module):
    """Where a step's random numbers come from: the replica's key and the step's number, nothing else."""

    replica_key: Array
    step: Array

    def key(self) -> Array:
        return jax.random.fold_in(self.replica_key, self.step)


class Flow(eqx.Module):
    """What a step exchanged: energy received from the bath and made by the discretisation, per replica.

    ``info``: scalars of the step by name; "acceptance" (a probability), "divergent" (0 or 1) and
    "gradients" (evaluations) are understood by the runner.
    """

    heat: Array = eqx.field(converter=numeric)
    shadow_work: Array = eqx.field(converter=numeric)
    info: dict[str, Array] = eqx.field(converter=numeric, default_factory=dict)


class Dynamics(eqx.Module, Generic[S]):
    """Moves a position; only the parameters of the method are fields, what may change is an argument.

    A state is a pytree of arrays that a NaN or infinity anywhere marks as bad, and holds no keys. It
    caches the potential energy and the gradient at the control in force. ``init`` and ``step`` can be
    used by hand in a Python loop; `simulate` is a convenience.
    """

    target: ClassVar[Literal["boltzmann", "boltzmann + O(step)", "other"]] = "other"

    def init(self, system: System, position: Position, control: Control, draw: Draw) -> S:
        raise NotImplementedError

    def step(self, system: System, state: S, control: Control, draw: Draw) -> tuple[S, Flow]:
        """One step at fixed control. Heat is -T ln[p(x -> x')/p~(x' -> x)], shadow work whatever else
        changed the energy; both are energies received by the system."""
        raise NotImplementedError

    def refresh(self, system: System, state: S, control: Control) -> S:
        """The state after the control moved at fixed position: cached energy and gradient made new,
        momenta rescaled by sqrt(T_new/T_old) where there are any."""
        raise NotImplementedError

    def position(self, state: S) -> Position:
        raise NotImplementedError

    def potential(self, state: S) -> Array:
        """U at the control in force, a scalar."""
        raise NotImplementedError

    def gradient(self, state: S) -> Position | None:
        """dU/dx at the control in force, or None where the state does not hold it."""
        return None

    def kinetic(self, state: S) -> Array:
        """Kinetic energy of the momenta; 0 where the dynamics has none."""
        return jnp.zeros_like(self.potential(state))

    def momenta(self, state: S) -> int:
        """Number of momenta that `refresh` rescales; 0 where there are none."""
        return 0

    def bath_momentum(self, state: S) -> Array | None:
        """Mass-weighted momenta right after the bath's last move in the step before, (d,), for a kinetic
        temperature: <|p|^2>/d = T there. None where there are none, or the state does not know."""
        return None

    def energy(self, system: System, state: S, control: Control) -> Array:
        """E = U + kinetic, a scalar."""
        return self.potential(state) + self.kinetic(state)

    def refusal(self) -> str | None:
        """Why ``ledger="path"`` cannot be kept for this dynamics; None where it can."""
        return None

    def reversed(self) -> "Dynamics[S]":
        """The dynamics of the time-reversed process (itself, unless it is a splitting that is no
        palindrome)."""
        return self

    @classmethod
    def examples(cls) -> dict[str, Any]:
        """Instances the conformance tests run; see tests/conformance."""
        return {}


class MinibatchDynamics(Dynamics[S]):
    """A dynamics that sees a part of the data at a time.

    It draws the random numbers of many steps at once, and the energy of all the data is known only where it
    was `measured`, not after every `move`. `simulate` runs it in stretches of many moves; `step` is the same
    by hand, one move with all the books.
    """

    def draws(self, system: System, state: S, key: Array, first: Array, count: int) -> Any:
        """The random numbers of steps ``first`` to ``first + count - 1``: a pytree with leading axis
        ``count``, the same numbers however many are drawn at once."""
        raise NotImplementedError

    def items(self, drawn: Any) -> Any:
        """The ``items`` of `System.energy` that one step's random numbers choose; None for all of them."""
        return None

    def move(self, system: System, state: S, control: Control, drawn: Any, items: Any) -> S:
        """One step; the state's potential energy is left as it was."""
        raise NotImplementedError

    def path_heat(self, system: System, old: S, new: S, control: Control, drawn: Any, items: Any) -> Array:
        """-T ln[p(x -> x')/p~(x' -> x)] given the minibatch; where ``refusal`` is None."""
        raise NotImplementedError

    def measured(self, system: System, state: S, control: Control) -> S:
        """The state with its potential energy made true; what else it remembers stays."""
        raise NotImplementedError

    def renewal(self) -> int:
        """Steps between two calls of `renew`; 0: never."""
        return 0

    def renew(self, system: System, state: S, control: Control) -> S:
        """What is done now and then with all the data, after the step."""
        return state

    def shuffling(self, system: System) -> tuple[int, int]:
        """Steps between two shuffles of the data (0: never), and items repeated at the end."""
        return 0, 0

    def step(self, system: System, state: S, control: Control, draw: Draw) -> tuple[S, Flow]:
        drawn = jax.tree.map(
            lambda x: x[0], self.draws(system, state, draw.replica_key, jnp.asarray(draw.step), 1)
        )
        new, flow = self.step_given(system, state, control, drawn)
        if every := self.renewal():
            due = (jnp.asarray(draw.step) + 1) % every == 0
            new = jax.lax.cond(due, lambda s: self.renew(system, s, control), lambda s: s, new)
        return new, flow

    def step_given(self, system: System, state: S, control: Control, drawn: Any) -> tuple[S, Flow]:
        """A move with given random numbers, and its books: costs an energy of all the data."""
        items = self.items(drawn)
        moved = self.move(system, state, control, drawn, items)
        new = self.measured(system, moved, control)
        if self.refusal():
            nan = jnp.full_like(self.potential(new), jnp.nan)
            return new, Flow(nan, nan)
        heat = self.path_heat(system, state, moved, control, drawn, items)
        change = self.energy(system, new, control) - self.energy(system, state, control)
        return new, Flow(heat, change - heat)
