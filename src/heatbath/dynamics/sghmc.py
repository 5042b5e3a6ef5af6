"""Stochastic gradients with momenta: SGHMC as a splitting, and the adaptive thermostat SGNHT."""

from typing import Any, ClassVar

import equinox as eqx
import jax.numpy as jnp
from jax import Array

from heatbath.core import Control, Draw, System, numeric
from heatbath.core.numeric import moved, ravel, size
from heatbath.core.system import Position
from heatbath.dynamics.minibatch import Drawn, StochasticGradient, Walker
from heatbath.dynamics.point import check_positive, normal, squared


class Momenta(eqx.Module):
    """Momenta, shape (d,), at the end of a step and right after its bath; the temperature they belong to, the
    heat of that bath, and the thermostat."""

    momentum: Array
    after: Array
    temperature: Array
    heat: Array
    thermostat: Array


class _WithMomenta(StochasticGradient):
    """Unit mass. The position moves twice a step, half each, so that the gradient is needed once."""

    friction: Array = eqx.field(converter=numeric, default=1.0)

    def __check_init__(self):
        check_positive("friction", self.friction)

    def start(self, system: System, position: Position, control: Control, draw: Draw) -> Momenta:
        noise, other = normal(draw.key(), position, 2)
        momentum = jnp.sqrt(control.temperature).astype(noise.dtype) * noise
        zero = jnp.zeros_like(control.temperature)
        spread = jnp.sqrt(control.temperature / other.size)
        return Momenta(momentum, momentum, control.temperature, zero, self.friction + spread * other[0])

    def remembered(self, system: System, memory: Momenta, control: Control) -> Momenta:
        factor = jnp.sqrt(control.temperature / memory.temperature).astype(memory.momentum.dtype)
        momentum, after = factor * memory.momentum, factor * memory.after
        return Momenta(momentum, after, control.temperature, memory.heat, memory.thermostat)

    def kinetic(self, state: Walker) -> Array:
        return squared(state.memory.momentum) / 2

    def momenta(self, state: Walker) -> int:
        return size(state.position)

    def bath_momentum(self, state: Walker) -> Array:
        return state.memory.after

    def _drifted(self, position: Position, h: Array, momentum: Array) -> Position:
        return moved(position, h * momentum)


class SGHMC(_WithMomenta):
    """Stochastic gradient Hamiltonian Monte Carlo (Chen, Fox, Guestrin 2014) as the splitting A B O B A:
    drift, kick by the minibatch's force, bath, the same kick, drift; one gradient a step.

    ``friction``: 1/time; a momentum mu of SGD is exp(-friction h). ``gradient_noise``: an estimate of the
    covariance of one gradient (per coordinate), whose heating h/2 times it is subtracted from the bath's.
    Targets exp(-H/T) + O(step): the minibatch's noise heats by h tr(Cov g)/(2 friction d). Given the
    minibatches the kicks and drifts keep phase volume, so the heat is the change of kinetic energy in O.
    """

    target: ClassVar = "boltzmann + O(step)"
    gradient_noise: Array = eqx.field(converter=numeric, default=0.0)

    def move(self, system: System, state: Walker, control: Control, drawn: Drawn, items: Any) -> Walker:
        p, h = state.memory.momentum, drawn.step_size.astype(state.memory.momentum.dtype)
        middle = self._drifted(state.position, h / 2, p)
        force = -ravel(self.gradient_at(system, middle, control, items)).astype(p.dtype)
        before = p + h / 2 * force
        decay = jnp.exp(-self.friction * drawn.step_size).astype(p.dtype)
        variance = control.temperature.astype(p.dtype) * (1 - decay**2)
        variance = jnp.maximum(variance - (h**2 * self.gradient_noise.astype(p.dtype)), 0)
        after = decay * before + jnp.sqrt(variance) * drawn.noise
        p = after + h / 2 * force
        heat = (squared(after) - squared(before)) / 2
        memory = Momenta(p, after, state.memory.temperature, heat, state.memory.thermostat)
        return Walker(self._drifted(middle, h / 2, p), state.potential, memory)

    def path_heat(
        self, system: System, old: Walker, new: Walker, control: Control, drawn: Drawn, items: Any
    ) -> Array:
        """Change of kinetic energy in the bath's letter."""
        return new.memory.heat

    def refusal(self) -> str | None:
        if bool(jnp.any(self.gradient_noise != 0)):
            return "with gradient_noise subtracted the bath does not keep exp(-H/T); use ledger='energy'"
        return None

    @classmethod
    def examples(cls) -> dict[str, Any]:
        return {"SGHMC": cls(0.4, friction=1.2)}


class SGNHT(_WithMomenta):
    """Stochastic gradient Nose-Hoover thermostat (Ding et al. 2014) as the splitting of Leimkuhler and Shang
    (2016): the friction xi adapts by dxi/dt = |p|^2/d - T, and takes up gradient noise of unknown strength.

    ``friction``: that of the bath, A; xi is begun in its equilibrium without gradient noise, N(A, T/d).
    Targets exp(-U/T) + O(step) even where the minibatch's noise is large, as long as it is isotropic and does
    not depend on the position.
    """

    target: ClassVar = "boltzmann + O(step)"

    def move(self, system: System, state: Walker, control: Control, drawn: Drawn, items: Any) -> Walker:
        memory, t = state.memory, control.temperature
        p, h = memory.momentum, drawn.step_size.astype(memory.momentum.dtype)
        xi, half = memory.thermostat, drawn.step_size.astype(memory.thermostat.dtype) / 2
        middle = self._drifted(state.position, h / 2, p)
        force = -ravel(self.gradient_at(system, middle, control, items)).astype(p.dtype)
        p = p + h / 2 * force
        xi = xi + half * (squared(p) / p.size - t)
        small = jnp.abs(xi) < 1e-8
        rate = jnp.where(small, 1.0, xi)
        grown = jnp.where(small, 4 * half, -jnp.expm1(-4 * half * rate) / rate)  # (1 - exp(-2 xi h))/xi
        strength = jnp.sqrt(self.friction * t * grown).astype(p.dtype)
        after = jnp.exp(-2 * half * xi).astype(p.dtype) * p + strength * drawn.noise
        xi = xi + half * (squared(after) / p.size - t)
        p = after + h / 2 * force
        memory = Momenta(p, after, memory.temperature, memory.heat, xi)
        return Walker(self._drifted(middle, h / 2, p), state.potential, memory)

    def refusal(self) -> str:
        return "the thermostat adapts to the path and is not part of the energy; use ledger='energy'"

    @classmethod
    def examples(cls) -> dict[str, Any]:
        return {"SGNHT": cls(0.2, friction=1.2)}
