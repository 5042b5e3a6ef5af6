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
