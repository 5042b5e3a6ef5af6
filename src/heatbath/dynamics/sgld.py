"""Stochastic gradient Langevin dynamics, and its relatives that need no momenta."""

from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import Array

from heatbath.core import Control, Draw, System, energy_and_gradient, numeric
from heatbath.core.numeric import ravel, widen
from heatbath.core.system import Position
from heatbath.dynamics.batches import Reshuffled
from heatbath.dynamics.minibatch import Drawn, StochasticGradient, Walker, leaves_like
from heatbath.dynamics.point import check_positive, check_share, squared
from heatbath.errors import Refused


class SGLD(StochasticGradient):
    """Stochastic gradient Langevin dynamics: x' = x - h g + sqrt(2 h T) xi (Welling and Teh 2011, equation 4,
    whose step is 2 h).

    g: gradient of the minibatch, scaled to all the data. Targets exp(-U/T) + O(h): the minibatch's own noise
    heats by h tr(Cov g)/(2 d). Given the minibatches its path has a density, so ``ledger="path"`` can be
    kept: heat = T ln of the backward over the forward step with the same minibatch, for one more gradient.
    """

    target: ClassVar = "boltzmann + O(step)"

    def force_at(
        self, system: System, state: Walker, position: Position, control: Control, items: Any
    ) -> Position:
        """g at ``position``, with what ``state`` remembers."""
        return self.gradient_at(system, position, control, items)

    def move(self, system: System, state: Walker, control: Control, drawn: Drawn, items: Any) -> Walker:
        g = self.force_at(system, state, state.position, control, items)
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
            ravel(self.force_at(system, old, s.position, control, items)).astype(u.dtype) for s in (old, new)
        )
        return jnp.sum(u * (g0 + g1)) / 2 - drawn.step_size / 4 * (squared(g1) - squared(g0))

    @classmethod
    def examples(cls) -> dict[str, Any]:
        return {"SGLD": cls(0.1)}


def SGWORLD(step_size: Any, size: int) -> SGLD:
    """Stochastic gradient without-replacement Langevin dynamics (Adhikari et al. 2023): `SGLD` with
    minibatches of ``size`` items, `Reshuffled` each epoch."""
    return SGLD(step_size, Reshuffled(size))


class Anchor(eqx.Module):
    """Where the gradient of all the data is known, and that gradient."""

    position: Position
    gradient: Position


class ControlVariateSGLD(SGLD):
    """`SGLD` with the gradient g = dU/dx(a) + g_B(x) - g_B(a): the minibatch's noise is small near the anchor
    a.

    SGLD-CV (Baker et al. 2019): ``anchor``, a position near the mode, for all replicas; None: where each one
    starts. With ``anchor_every`` steps the anchor moves to the position (SVRG-LD, Dubey et al. 2016), for a
    gradient of all the data each time. Two minibatch gradients a step. ``ledger="path"`` needs an ``anchor``
    that is given and stays: one that is part of the path breaks the work identity.
    """

    anchor_every: int = eqx.field(static=True, default=0)
    anchor: Any = None

    def __check_init__(self):
        if not isinstance(self.anchor_every, int) or self.anchor_every < 0:
            raise ValueError(f"anchor_every is {self.anchor_every!r}: give a number of steps, or 0 for never")

    def start(self, system: System, position: Position, control: Control, draw: Draw) -> Anchor:
        if self.anchor is not None:
            position = self._like(position)
        return Anchor(position, energy_and_gradient(system, position, control.couplings)[1])

    def _like(self, position: Position) -> Position:
        """The anchor in the dtypes of ``position``. Raises `Refused` where it is of another model."""
        shapes = [jax.tree.map(jnp.shape, x) for x in (self.anchor, position)]
        if shapes[0] != shapes[1]:
            raise Refused(f"anchor has shape {shapes[0]!s:.80}, positions have {shapes[1]!s:.80}: give one")
        return jax.tree.map(lambda a, x: jnp.asarray(a, x.dtype), self.anchor, position)

    def remembered(self, system: System, memory: Anchor, control: Control) -> Anchor:
        return Anchor(memory.position, energy_and_gradient(system, memory.position, control.couplings)[1])

    def renewal(self) -> int:
        return self.anchor_every

    def renew(self, system: System, state: Walker, control: Control) -> Walker:
        gradient = energy_and_gradient(system, state.position, control.couplings)[1]
        return Walker(state.position, state.potential, Anchor(state.position, gradient))

    def force_at(
        self, system: System, state: Walker, position: Position, control: Control, items: Any
    ) -> Position:
        anchor: Anchor = state.memory
        here = self.gradient_at(system, position, control, items)
        there = self.gradient_at(system, anchor.position, control, items)
        return jax.tree.map(lambda a, b, c: a + b - c, anchor.gradient, here, there)

    def refusal(self) -> str | None:
        if self.anchor_every:
            return "the anchor moves with the path; use ledger='energy'"
        if self.anchor is None:
            return "the anchor is where the path starts; give one for all replicas, or use ledger='energy'"
        return None

    @classmethod
    def examples(cls) -> dict[str, Any]:
        return {"SGLD-CV": cls(0.1), "SVRG-LD": cls(0.1, anchor_every=3)}


class PreconditionedSGLD(StochasticGradient):
    """SGLD with the preconditioner of RMSprop: x' = x - h G g + sqrt(2 h T G) xi, G = 1/(damping + sqrt(V)),
    V the running mean of (g/n)^2 (Li et al. 2016, algorithm 1, whose step is 2 h and whose Gamma is left out,
    as there).

    g/n: mean gradient of an item (n = 1 where the system has none), so a step moves by about h n. The
    preconditioner follows the path, which biases what is sampled; by less the closer ``decay`` is to 1.
    """

    target: ClassVar = "other"
    decay: Array = eqx.field(converter=numeric, default=0.99)
    damping: Array = eqx.field(converter=numeric, default=1e-5)

    def __check_init__(self):
        check_positive("damping", self.damping)
        check_share("decay", self.decay)

    def start(self, system: System, position: Position, control: Control, draw: Draw) -> Position:
        """V = 0."""
        return jax.tree.map(jnp.zeros_like, position)

    def move(self, system: System, state: Walker, control: Control, drawn: Drawn, items: Any) -> Walker:
        g = self.gradient_at(system, state.position, control, items)
        kick = leaves_like(state.position, drawn.noise)
        n = max(system.n_items, 1)

        def average(v, g):
            decay = self.decay.astype(v.dtype)
            return decay * v + (1 - decay) * (g / n) ** 2

        v = jax.tree.map(average, state.memory, g)
        root_t = jnp.sqrt(control.temperature).astype(drawn.root.dtype)

        def leaf(x, g, z, v):
            scale = 1 / (self.damping.astype(x.dtype) + jnp.sqrt(v))
            step = drawn.step_size * scale * g - drawn.root * jnp.sqrt(scale) * (root_t * z)
            return x - step.astype(x.dtype)

        return Walker(jax.tree.map(leaf, state.position, g, kick, v), state.potential, v)

    def refusal(self) -> str:
        return "the preconditioner adapts to the path; use ledger='energy'"

    @classmethod
    def examples(cls) -> dict[str, Any]:
        return {"pSGLD": cls(0.05)}
