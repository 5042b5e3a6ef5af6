"""Hybrid (Hamiltonian) Monte Carlo."""

from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import Array

from heatbath.core import Control, Draw, Flow, System, integer, numeric
from heatbath.core.numeric import select
from heatbath.dynamics.langevin import metropolis
from heatbath.dynamics.metric import Diagonal, Metric
from heatbath.dynamics.point import check_positive, normal
from heatbath.dynamics.underdamped import Phase, WithMomenta


class HMC(WithMomenta):
    """Hybrid Monte Carlo (Duane et al. 1987; Neal 1992), with partial refreshment (Horowitz 1991).

    A step: momenta p -> persistence p + sqrt(1 - persistence^2) sqrt(T) xi (0: drawn afresh); ``length``
    leapfrogs of ``step_size``; accepted with probability min(1, exp(-dH/T)), else the position is kept
    and the momenta flipped. ``jitter`` in [0, 1): each trajectory's step size, and so its length in
    time, is multiplied by a number uniform in [1 - jitter, 1 + jitter]. Targets exp(-H/T) exactly. Heat is
    the change of H, shadow work 0.
    """

    target: ClassVar = "boltzmann"
    step_size: Array = eqx.field(converter=numeric)
    length: Array = eqx.field(converter=integer, default=16)
    jitter: Array = eqx.field(converter=numeric, default=0.0)
    persistence: Array = eqx.field(converter=numeric, default=0.0)
    metric: Metric = eqx.field(default_factory=Diagonal)

    def __check_init__(self):
        check_positive("step_size", self.step_size)
        check_positive("length", self.length)

    def noise(self, state: Phase, draw: Draw) -> tuple[Array, Array]:
        """Standard normals, shape (1, d), and two uniform numbers (jitter, acceptance)."""
        momenta, uniforms = jax.random.split(draw.key())
        return normal(momenta, state.point.position), jax.random.uniform(uniforms, (2,))

    def step(self, system: System, state: Phase, control: Control, draw: Draw) -> tuple[Phase, Flow]:
        return self.step_given(system, state, control, self.noise(state, draw))

    def step_given(
        self, system: System, state: Phase, control: Control, noise: tuple[Array, Array]
    ) -> tuple[Phase, Flow]:
        normals, uniforms = noise
        dtype = state.momentum.dtype
        keep, t = self.persistence.astype(dtype), control.temperature.astype(dtype)
        momentum = keep * state.momentum + jnp.sqrt((1 - keep**2) * t) * normals[0]
        start = Phase(state.point, momentum, control.temperature)
        h = self.step_size * (1 + self.jitter * (2 * uniforms[0] - 1))
        end = self._trajectory(system, start, control, h)
        error = self.energy(system, end, control) - self.energy(system, start, control)
        accepted, info = metropolis(error / control.temperature, uniforms[1])
        flipped = Phase(start.point, -start.momentum, start.temperature)
        new = select(accepted, end, flipped)
        heat = self.energy(system, new, control) - self.energy(system, state, control)
        return new, Flow(heat, 0.0, {**info, "gradients": self.length})

    def _trajectory(self, system: System, start: Phase, control: Control, h: Array) -> Phase:
        """``length`` leapfrogs; half kicks at the ends only."""
        point = start.point
        force = point.force(self.metric)
        h = h.astype(force.dtype)

        def leapfrog(_, at):
            point, momentum = at
            point = point.displaced(system, self.metric, h * momentum, control)
            return point, momentum + h * point.force(self.metric)

        half = start.momentum.astype(force.dtype) + h / 2 * force
        point, momentum = jax.lax.fori_loop(0, self.length, leapfrog, (point, half))
        momentum = momentum - h / 2 * point.force(self.metric)
        return Phase(point, momentum.astype(start.momentum.dtype), start.temperature)

    @classmethod
    def examples(cls) -> dict[str, Any]:
        return {
            "HMC": cls(0.5, 4, 0.2),
            "HMC with partial refreshment": cls(0.5, 2, 0.1, 0.8),
        }
