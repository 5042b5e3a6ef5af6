"""Gibbs sampling of some coordinates in turn with a dynamics of the others."""

from typing import Any

import equinox as eqx
import jax
from jax import Array

from heatbath.core import Conditional, Control, Draw, Dynamics, Flow, System, integer
from heatbath.core.system import Position


class Given(System):
    """``system`` as a function of its moved part, the drawn part held fixed."""

    system: Conditional
    drawn: Any

    @property
    def precision(self) -> str:
        return self.system.precision

    def energy(self, position: Any, couplings: Any, items: Array | None = None) -> Array:
        return self.system.energy(self.system.whole(position, self.drawn), couplings, items)


class GibbsState(eqx.Module):
    """The inner dynamics' state, what was drawn last, and the whole position."""

    inner: Any
    drawn: Any
    position: Position


class Gibbs(Dynamics[GibbsState]):
    """``dynamics`` moves one part of the position; every ``every`` steps the rest is drawn afresh.

    The system must be `Conditional` (Geman and Geman 1984; Neal 1996, section 3.2, for hyperparameters).
    Drawing from the conditional satisfies detailed balance, so its energy change is heat. Targets what
    ``dynamics`` targets.
    """

    dynamics: Dynamics
    every: Array = eqx.field(converter=integer, default=1)

    def init(self, system: Any, position: Position, control: Control, draw: Draw) -> GibbsState:
        moved, drawn = system.parts(position)
        return GibbsState(self.dynamics.init(Given(system, drawn), moved, control, draw), drawn, position)

    def refresh(self, system: Any, state: GibbsState, control: Control) -> GibbsState:
        inner = self.dynamics.refresh(Given(system, state.drawn), state.inner, control)
        return GibbsState(inner, state.drawn, state.position)

    def step(self, system: Any, state: GibbsState, control: Control, draw: Draw) -> tuple[GibbsState, Flow]:
        inner, flow = self.dynamics.step(Given(system, state.drawn), state.inner, control, draw)
        moved = self.dynamics.position(inner)
        state = GibbsState(inner, state.drawn, system.whole(moved, state.drawn))
        due = (draw.step + 1) % self.every == 0
        new = jax.lax.cond(due, lambda s: self._drawn(system, s, control, draw), lambda s: s, state)
        heat = self.potential(new) - self.potential(state)
        info = dict(flow.info)
        if "gradients" in info:
            info["gradients"] = info["gradients"] + due
        return new, Flow(flow.heat + heat, flow.shadow_work, info)

    def _drawn(self, system: Any, state: GibbsState, control: Control, draw: Draw) -> GibbsState:
        moved = self.dynamics.position(state.inner)
        drawn = system.draw(jax.random.fold_in(draw.key(), 1), moved, control)
        inner = self.dynamics.refresh(Given(system, drawn), state.inner, control)
        return GibbsState(inner, drawn, system.whole(moved, drawn))

    def position(self, state: GibbsState) -> Position:
        return state.position

    def potential(self, state: GibbsState) -> Array:
        return self.dynamics.potential(state.inner)

    def gradient(self, state: GibbsState) -> Position | None:
        """dU/dx of the moved part only."""
        return self.dynamics.gradient(state.inner)

    def kinetic(self, state: GibbsState) -> Array:
        return self.dynamics.kinetic(state.inner)

    def momenta(self, state: GibbsState) -> int:
        return self.dynamics.momenta(state.inner)

    def refusal(self) -> str | None:
        return self.dynamics.refusal()
