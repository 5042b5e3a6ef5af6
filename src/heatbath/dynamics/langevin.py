"""Overdamped Langevin dynamics: Euler-Maruyama, and its Metropolised form MALA."""

from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import Array

from heatbath.core import Control, Draw, Dynamics, Flow, System, numeric
from heatbath.core.numeric import ravel, select, widen
from heatbath.core.system import Position
from heatbath.dynamics.metric import Diagonal, Metric
from heatbath.dynamics.point import Point, check_positive, normal, squared


class _Overdamped(Dynamics[Point]):
    step_size: Array = eqx.field(converter=numeric)
    metric: Metric = eqx.field(default_factory=Diagonal)

    def __check_init__(self):
        check_positive("step_size", self.step_size)

    def init(self, system: System, position: Position, control: Control, draw: Draw) -> Point:
        return Point.at(system, position, control)

    def refresh(self, system: System, state: Point, control: Control) -> Point:
        return Point.at(system, state.position, control)

    def position(self, state: Point) -> Position:
        return state.position

    def potential(self, state: Point) -> Array:
        return state.potential

    def gradient(self, state: Point) -> Position:
        return state.gradient

    def _propose(self, system: System, state: Point, control: Control, noise: Array) -> Point:
        """x + h A A^T F + sqrt(2 h T) A noise, rounded to the position's dtype."""
        force = state.force(self.metric)
        h, t = self.step_size.astype(force.dtype), control.temperature.astype(force.dtype)
        return state.displaced(system, self.metric, h * force + jnp.sqrt(2 * h * t) * noise, control)

    def _path_heat(self, old: Point, new: Point) -> Array:
        """-T ln[p(x -> x')/p(x' -> x)] of the Euler-Maruyama density, from the stored positions."""
        change = jax.tree.map(lambda a, b: b - a, widen(old.position), widen(new.position))
        u = self.metric.whiten(ravel(change))
        f0, f1 = widen(old.force(self.metric)), widen(new.force(self.metric))
        return -jnp.sum(u * (f0 + f1)) / 2 - self.step_size / 4 * (squared(f1) - squared(f0))


class OverdampedLangevin(_Overdamped):
    """Euler-Maruyama: x' = x - h grad U + sqrt(2 h T) xi (friction 1).

    Targets exp(-U/T) + O(h). ``step_size``: h, energy^-1 length^2 in the metric's units. Source: the
    unadjusted Langevin algorithm; heat by the path ratio (Sekimoto 2010; ``docs/conventions.md``).
    """

    target: ClassVar = "boltzmann + O(step)"

    def noise(self, state: Point, draw: Draw) -> Array:
        """Standard normals, shape (1, d)."""
        return normal(draw.key(), state.position)

    def step(self, system: System, state: Point, control: Control, draw: Draw) -> tuple[Point, Flow]:
        return self.step_given(system, state, control, self.noise(state, draw))

    def step_given(self, system: System, state: Point, control: Control, noise: Array) -> tuple[Point, Flow]:
        new = self._propose(system, state, control, noise[0])
        heat = self._path_heat(state, new)
        return new, Flow(heat, new.potential - state.potential - heat)

    @classmethod
    def examples(cls) -> dict[str, Any]:
        return {"Euler-Maruyama": cls(0.1)}


class MALA(_Overdamped):
    """Metropolis-adjusted Langevin algorithm (Roberts and Tweedie 1996): Euler-Maruyama as a proposal.

    Targets exp(-U/T) exactly. Heat is the energy change of accepted moves, shadow work is 0.
    """

    target: ClassVar = "boltzmann"

    def noise(self, state: Point, draw: Draw) -> tuple[Array, Array]:
        """Standard normals, shape (1, d), and a uniform number."""
        proposal, accept = jax.random.split(draw.key())
        return normal(proposal, state.position), jax.random.uniform(accept)

    def step(self, system: System, state: Point, control: Control, draw: Draw) -> tuple[Point, Flow]:
        return self.step_given(system, state, control, self.noise(state, draw))

    def step_given(
        self, system: System, state: Point, control: Control, noise: tuple[Array, Array]
    ) -> tuple[Point, Flow]:
        normals, uniform = noise
        new = self._propose(system, state, control, normals[0])
        shadow = new.potential - state.potential - self._path_heat(state, new)
        accepted, info = metropolis(shadow / control.temperature, uniform)
        new = select(accepted, new, state)
        return new, Flow(new.potential - state.potential, 0.0, {**info, "gradients": 1.0})

    @classmethod
    def examples(cls) -> dict[str, Any]:
        return {"MALA": cls(0.25)}


DIVERGENCE = 1000.0  # nats of error in one proposal


def metropolis(error: Array, uniform: Array) -> tuple[Array, dict[str, Array]]:
    """Accept with probability min(1, exp(-error)); NaN is a rejection, and counted as divergent.

    ``error``: the proposal's shadow work over T, in nats.
    """
    error = jnp.where(jnp.isnan(error), jnp.inf, error)
    accepted = jnp.log(uniform) < -error
    acceptance = jnp.exp(-jnp.maximum(error, 0.0))
    return accepted, {"acceptance": acceptance, "divergent": (error > DIVERGENCE).astype(acceptance.dtype)}
