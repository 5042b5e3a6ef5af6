"""Stochastic gradient Langevin dynamics, and its relatives that need no momenta."""

from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jax import Array

from heatbath.core import Control, System
from heatbath.core.numeric import ravel, widen
from heatbath.dynamics.minibatch import Drawn, StochasticGradient, Walker, leaves_like
from heatbath.dynamics.point import squared


class SGLD(StochasticGradient):
    """Stochastic gradient Langevin dynamics: x' = x - h g + sqrt(2 h T) xi (Welling and Teh 2011, equation 4, whose
    step is 2 h).

    g: gradient of the minibatch, scaled to all the data. Targets exp(-U/T) + O(h): the minibatch's own noise
    heats by h tr(Cov g)/(2 d). Given the minibatches its path has a density, so ``ledger="path"`` can be kept:
    heat = T ln of the backward over the forward step with the same minibatch, for one more gradient.
    """

    target: ClassVar = "boltzmann + O(step)"

    def move(self, system: System, state: Walker, control: Control, drawn: Drawn, items: Any) -> Walker:
        g = self.gradient_at(system, state.position, control, items)
        kick = leaves_like(state.position, drawn.noise)

        root_t = jnp.sqrt(control.temperature).astype(drawn.root.dtype)

        def leaf(x, g, z):
            return x - (drawn.step_size * g - drawn.root * (root_t * z)).astype(x.dtype)

        return Walker(jax.tree.map(leaf, state.position, g, kick), state.potential, state.memory)

    def path_heat(
        self, system: System, old: Walker, new: Walker, control: Control, drawn: Drawn, items: Any
    ) -> Array:
        """-T ln[p(x -> x')/p(x' -> x)] of the stored positions, both steps with the same minibatch."""
        u = ravel(jax.tree.map(lambda a, b: b - a, widen(old.position), widen(new.position)))
        g0, g1 = (
            ravel(self.gradient_at(system, s.position, control, items)).astype(u.dtype) for s in (old, new)
        )
        return jnp.sum(u * (g0 + g1)) / 2 - drawn.step_size / 4 * (squared(g1) - squared(g0))

    @classmethod
    def examples(cls) -> dict[str, Any]:
        return {"SGLD": cls(0.1)}
