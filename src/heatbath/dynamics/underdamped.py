"""Underdamped Langevin dynamics by splittings, named by their letters."""

from typing import Any, ClassVar

import equinox as eqx
import jax.numpy as jnp
from jax import Array

from heatbath.core import Control, Draw, Dynamics, Flow, System, numeric
from heatbath.core.numeric import size
from heatbath.core.system import Position
from heatbath.dynamics.metric import Diagonal, Metric
from heatbath.dynamics.point import Point, check_positive, normal, squared


class Phase(eqx.Module):
    """A point with mass-weighted momenta, shape (d,), and the temperature they belong to."""

    point: Point
    momentum: Array
    temperature: Array


class WithMomenta(Dynamics[Phase]):
    """What the dynamics with momenta share: init draws them from the bath, refresh rescales them."""

    def init(self, system: System, position: Position, control: Control, draw: Draw) -> Phase:
        noise = normal(draw.key(), position)[0]
        momentum = jnp.sqrt(control.temperature).astype(noise.dtype) * noise
        return Phase(Point.at(system, position, control), momentum, control.temperature)

    def refresh(self, system: System, state: Phase, control: Control) -> Phase:
        factor = jnp.sqrt(control.temperature / state.temperature).astype(state.momentum.dtype)
        point = Point.at(system, state.point.position, control)
        return Phase(point, factor * state.momentum, control.temperature)

    def position(self, state: Phase) -> Position:
        return state.point.position

    def potential(self, state: Phase) -> Array:
        return state.point.potential

    def gradient(self, state: Phase) -> Position:
        return state.point.gradient

    def kinetic(self, state: Phase) -> Array:
        return squared(state.momentum) / 2

    def momenta(self, state: Phase) -> int:
        return size(state.momentum)


class Langevin(WithMomenta):
    """Langevin dynamics with momenta: a splitting named by its letters.

    A drifts the position, B kicks the momentum, O is the bath (exact Ornstein-Uhlenbeck); each letter
    acts for ``step_size`` divided by how often it occurs (Leimkuhler and Matthews 2013, "BAOAB"; the
    names R and V for A and B are understood). Heat is the change of kinetic energy in O, shadow work the
    change of H in A and B (Sivak, Chodera, Crooks 2013). Targets exp(-H/T) + O(step^2) for palindromes.

    ``friction``: 1/time. Unit mass in the metric's coordinates.
    """

    target: ClassVar = "boltzmann + O(step)"
    step_size: Array = eqx.field(converter=numeric)
    friction: Array = eqx.field(converter=numeric, default=1.0)
    splitting: str = eqx.field(
        static=True, default="BAOAB", converter=lambda s: s.upper().replace("R", "A").replace("V", "B")
    )
    metric: Metric = eqx.field(default_factory=Diagonal)

    def __check_init__(self):
        check_positive("step_size", self.step_size)
        check_positive("friction", self.friction)
        if set(self.splitting) != {"A", "B", "O"}:
            raise ValueError(f"splitting {self.splitting!r} must consist of A, B and O, each at least once")

    def reversed(self) -> "Langevin":
        return Langevin(self.step_size, self.friction, self.splitting[::-1], self.metric)

    def noise(self, state: Phase, draw: Draw) -> Array:
        """Standard normals, shape (number of O, d)."""
        return normal(draw.key(), state.point.position, self.splitting.count("O"))

    def step(self, system: System, state: Phase, control: Control, draw: Draw) -> tuple[Phase, Flow]:
        return self.step_given(system, state, control, self.noise(state, draw))

    def step_given(self, system: System, state: Phase, control: Control, noise: Array) -> tuple[Phase, Flow]:
        point, drift = state.point, None  # drift: displacement since the point's gradient was computed
        force = point.force(self.metric)
        momentum = state.momentum.astype(force.dtype)
        t = control.temperature.astype(force.dtype)
        heat, bath = jnp.zeros_like(point.potential), 0
        for letter in self.splitting:
            h = (self.step_size / self.splitting.count(letter)).astype(force.dtype)
            if letter == "A":
                drift = h * momentum if drift is None else drift + h * momentum
            elif letter == "B":
                if drift is not None:
                    point, drift = point.displaced(system, self.metric, drift, control), None
                    force = point.force(self.metric)
                momentum = momentum + h * force
            else:
                decay = jnp.exp(-self.friction * h).astype(force.dtype)
                new = decay * momentum + jnp.sqrt(t * (1 - decay**2)) * noise[bath]
                heat = heat + (squared(new) - squared(momentum)) / 2
                momentum, bath = new, bath + 1
        if drift is not None:
            point = point.displaced(system, self.metric, drift, control)
        new = Phase(point, momentum.astype(state.momentum.dtype), control.temperature)
        change = self.energy(system, new, control) - self.energy(system, state, control)
        return new, Flow(heat, change - heat)

    def bath_momentum(self, state: Phase) -> Array | None:
        """Known where no B follows the last O, or only one that ends the step."""
        rest = self.splitting[self.splitting.rindex("O") + 1 :]
        if "B" not in rest:
            return state.momentum
        if rest.index("B") < len(rest) - 1:
            return None
        h = (self.step_size / self.splitting.count("B")).astype(state.momentum.dtype)
        return state.momentum - h * state.point.force(self.metric)

    @classmethod
    def examples(cls) -> dict[str, Any]:
        return {
            "BAOAB": cls(0.4, 1.2),
            "OBABO": cls(0.4, 1.2, "OBABO"),
            "BAO": cls(0.2, 1.2, "BAO"),
        }
