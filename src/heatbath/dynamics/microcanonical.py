"""Microcanonical Langevin Monte Carlo: momenta of unit length, steered by the gradient."""

from typing import Any, ClassVar, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import Array

from heatbath.core import Control, Draw, Dynamics, Flow, System, numeric
from heatbath.core.numeric import size
from heatbath.core.system import Position
from heatbath.dynamics.langevin import DIVERGENCE
from heatbath.dynamics.metric import Diagonal, Metric
from heatbath.dynamics.point import Point, check_positive, normal

# Shares of a step that the turns take, drifts in equal parts between them.
MCLACHLAN = 0.1931833275037836
TURNS = {"minimal norm": (MCLACHLAN, 1 - 2 * MCLACHLAN, MCLACHLAN), "leapfrog": (0.5, 0.5)}


class Direction(eqx.Module):
    """A point with a unit vector, shape (d,)."""

    point: Point
    direction: Array


class MicrocanonicalLangevin(Dynamics[Direction]):
    """Unadjusted microcanonical Langevin Monte Carlo (Robnik, De Luca, Silverstein, Seljak 2023).

    A step is O (B A)... B O: half a partial refreshment of the unit vector u, turns B by the force and
    drifts A along u, the other half. ``integrator``: "minimal norm" (McLachlan 1995; B A B A B, two
    gradients a step, a ten times smaller error) or "leapfrog" (B A B, one gradient). u decorrelates over
    the distance ``decoherence_length``. The turn by delta = h |F|/((d-1) T) along e = F/|F| changes the
    isokinetic "kinetic energy" by (d-1) T ln(cosh delta + e.u sinh delta), so shadow work = dU + the sum
    of those terms (their equation 8 at temperature T), heat = dU - shadow work. Needs d >= 2. Targets
    exp(-U/T) + O(step^2).
    """

    target: ClassVar = "boltzmann + O(step)"
    step_size: Array = eqx.field(converter=numeric)
    decoherence_length: Array = eqx.field(converter=numeric)
    integrator: Literal["minimal norm", "leapfrog"] = eqx.field(static=True, default="minimal norm")
    metric: Metric = eqx.field(default_factory=Diagonal)

    def __check_init__(self):
        if self.integrator not in TURNS:
            raise ValueError(f"integrator {self.integrator!r} is unknown: choose one of {list(TURNS)}")
        check_positive("step_size", self.step_size)
        check_positive("decoherence_length", self.decoherence_length)

    def init(self, system: System, position: Position, control: Control, draw: Draw) -> Direction:
        if size(position) < 2:
            raise TypeError("microcanonical Langevin dynamics needs at least 2 dimensions")
        noise = normal(draw.key(), position)[0]
        return Direction(Point.at(system, position, control), _unit(noise))

    def refresh(self, system: System, state: Direction, control: Control) -> Direction:
        return Direction(Point.at(system, state.point.position, control), state.direction)

    def position(self, state: Direction) -> Position:
        return state.point.position

    def potential(self, state: Direction) -> Array:
        return state.point.potential

    def gradient(self, state: Direction) -> Position:
        return state.point.gradient

    def noise(self, state: Direction, draw: Draw) -> Array:
        """Standard normals, shape (2, d)."""
        return normal(draw.key(), state.point.position, 2)

    def step(self, system: System, state: Direction, control: Control, draw: Draw) -> tuple[Direction, Flow]:
        return self.step_given(system, state, control, self.noise(state, draw))

    def step_given(
        self, system: System, state: Direction, control: Control, noise: Array
    ) -> tuple[Direction, Flow]:
        force = state.point.force(self.metric)
        h, u = self.step_size.astype(force.dtype), state.direction.astype(force.dtype)
        turns = TURNS[self.integrator]
        u = self._refreshed(u, noise[0])
        u, log_volume = self._turned(u, force, turns[0] * h, control)
        drift = h / (len(turns) - 1)

        def drift_and_turn(at, turn):  # in a scan: the gradient is compiled once
            point, u, log_volume = at
            point = point.displaced(system, self.metric, drift * u, control)
            u, more = self._turned(u, point.force(self.metric), turn * h, control)
            return (point, u, log_volume + more), None

        rest = jnp.asarray(turns[1:], h.dtype)
        (point, u, log_volume), _ = jax.lax.scan(drift_and_turn, (state.point, u, log_volume), rest)
        u = self._refreshed(u, noise[1])
        change = point.potential - state.point.potential
        shadow = change + control.temperature * log_volume
        new = Direction(point, u.astype(state.direction.dtype))
        error = jnp.where(jnp.isfinite(shadow), shadow / control.temperature, jnp.inf)
        info = {
            "acceptance": jnp.exp(-jnp.maximum(error, 0.0)),  # what a Metropolis test would have given
            "divergent": error > DIVERGENCE,
            "gradients": len(turns) - 1.0,
        }
        return new, Flow(change - shadow, shadow, info)

    def _refreshed(self, u: Array, noise: Array) -> Array:
        """Half a step of the bath: u + nu xi, back to unit length."""
        ratio = self.step_size / self.decoherence_length
        nu = jnp.sqrt(jnp.expm1(ratio) / u.size).astype(u.dtype)
        return _unit(u + nu * noise.astype(u.dtype))

    def _turned(self, u: Array, force: Array, h: Array, control: Control) -> tuple[Array, Array]:
        """The turn of u by the force for a time h, and (d-1) ln(cosh delta + e.u sinh delta)."""
        norm = jnp.sqrt(jnp.sum(force**2))
        e = force / jnp.where(norm > 0, norm, 1)
        delta = h * norm / ((u.size - 1) * control.temperature.astype(force.dtype))
        along, fade = jnp.sum(e * u), jnp.exp(-delta)
        # numerator and denominator divided by exp(delta)/2: large forces do not overflow
        u = _unit(2 * fade * u + e * ((1 - fade**2) + along * (1 - fade) ** 2))
        log_volume = delta + jnp.log((1 + along + (1 - along) * fade**2) / 2)
        return u, (u.size - 1) * log_volume.astype(jnp.zeros((), float).dtype)

    @classmethod
    def examples(cls) -> dict[str, Any]:
        return {"microcanonical": cls(0.9, 2.0), "microcanonical leapfrog": cls(0.5, 2.0, "leapfrog")}


def _unit(v: Array) -> Array:
    return v / jnp.sqrt(jnp.sum(v * v))
