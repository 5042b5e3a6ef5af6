"""Hybrid Monte Carlo of a Bayesian network whose units of length follow from its precisions."""

from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from heatbath.core import Control, Draw, Dynamics, Flow, integer, numeric
from heatbath.core.numeric import size
from heatbath.dynamics import HMC, Diagonal
from heatbath.dynamics.gibbs import GibbsState, Given
from heatbath.learning.reference import FromReference
from heatbath.systems import Network


class PriorScaledHMC(Dynamics[GibbsState]):
    """Hybrid Monte Carlo of a network's weights in units of length that follow from the precisions; then the
    precisions by Gibbs. Exact at every coupling: the units do not depend on what moves (Neal 1996, 3.5).

    ``length``: leapfrog steps. Many, for the scales of two layers trade against each other along valleys in
    which short trajectories diffuse. ``log_steps``: step size, in those units, at each of the
    ``log_couplings`` (increasing), between which it is interpolated. ``precisions_first``: the two parts of a
    step in the other order, which is the reverse process that Crooks' theorem needs.
    """

    target: ClassVar = "boltzmann"
    log_couplings: Array = eqx.field(converter=numeric)
    log_steps: Array = eqx.field(converter=numeric)
    length: Array = eqx.field(converter=integer, default=100)
    precisions_first: Array = eqx.field(converter=integer, default=0)

    def reversed(self) -> "PriorScaledHMC":
        return PriorScaledHMC(self.log_couplings, self.log_steps, self.length, 1 - self.precisions_first)

    def _method(self, system: FromReference, drawn: Any, control: Control) -> HMC:
        coupling = control.couplings["likelihood"]
        at = jnp.log(jnp.maximum(coupling, jnp.exp(self.log_couplings[0])))
        step = jnp.exp(jnp.interp(at, self.log_couplings, self.log_steps))
        return HMC(step, self.length, 0.2, metric=Diagonal(typical_widths(system.network, drawn, coupling)))

    def init(self, system: Any, position: Any, control: Control, draw: Draw) -> GibbsState:
        moved, drawn = system.parts(position)
        inner = self._method(system, drawn, control).init(Given(system, drawn), moved, control, draw)
        return GibbsState(inner, drawn, position)

    def step(self, system: Any, state: GibbsState, control: Control, draw: Draw) -> tuple[GibbsState, Flow]:
        def precisions(s: GibbsState) -> GibbsState:
            moved = s.inner.point.position
            drawn = system.draw(jax.random.fold_in(draw.key(), 1), moved, control)
            inner = self._method(system, drawn, control).refresh(Given(system, drawn), s.inner, control)
            return GibbsState(inner, drawn, system.whole(moved, drawn))

        first = self.precisions_first > 0
        start = jax.lax.cond(first, precisions, lambda s: s, state)
        method = self._method(system, start.drawn, control)
        inner, flow = method.step(Given(system, start.drawn), start.inner, control, draw)
        moved = GibbsState(inner, start.drawn, system.whole(inner.point.position, start.drawn))
        new = jax.lax.cond(first, lambda s: s, precisions, moved)
        drawn_heat = (
            self.potential(start) - self.potential(state) + self.potential(new) - self.potential(moved)
        )
        info = {**flow.info, "gradients": flow.info["gradients"] + 1}
        return new, Flow(flow.heat + drawn_heat, 0.0, info)

    def refresh(self, system: Any, state: GibbsState, control: Control) -> GibbsState:
        method = self._method(system, state.drawn, control)
        return GibbsState(
            method.refresh(Given(system, state.drawn), state.inner, control), state.drawn, state.position
        )

    def position(self, state: GibbsState) -> Any:
        return state.position

    def potential(self, state: GibbsState) -> Array:
        return state.inner.point.potential

    def gradient(self, state: GibbsState) -> Any:
        return state.inner.point.gradient

    def kinetic(self, state: GibbsState) -> Array:
        return jnp.sum(numeric(state.inner.momentum) ** 2) / 2

    def momenta(self, state: GibbsState) -> int:
        return size(state.inner.momentum)


def typical_widths(network: Network, precisions: Any, coupling: Array) -> Array:
    """Standard deviation that each weight would have alone, (d,), to an order of magnitude.

    From the ``precisions`` and the coupling only: the information that the data have on a weight is what it
    would be where all other weights are as large as their precisions let expect (Neal 1996, section 3.5).
    """
    tau = jnp.exp(numeric(precisions["log_precision"]))
    widths, n = network.widths, network.n_items
    signal = jnp.mean(numeric(network.inputs) ** 2, axis=1)  # mean squares of what goes into a layer
    ends = np.cumsum([1 + (fan_in if i == 0 else 1) for i, fan_in in enumerate(widths[:-1])])
    groups = jnp.split(tau, ends[:-1])  # of each layer: that of the biases, those of the weights
    signals = []
    for i, group in enumerate(groups):
        signals.append(signal)
        fan_in = 1 if i == 0 else widths[i]
        variance = jnp.sum(signal / (group[1:] if i == 0 else group[1] * fan_in)) + 1 / group[0]
        mean_square = jnp.minimum(variance, 1.0) if network.activation == "tanh" else variance / 2
        signal = jnp.full(widths[i + 1], mean_square)
    noise = precisions.get("log_noise")
    information = jnp.full(widths[-1], 0.25) if noise is None else jnp.exp(numeric(noise))
    found = []
    for i in reversed(range(len(groups))):
        group, fan_in = groups[i], widths[i]
        prior = group[1:] if i == 0 else jnp.full(fan_in, group[1] * fan_in)
        bias = coupling * n * information + group[0]
        weights = coupling * n * signals[i][:, None] * information[None, :] + prior[:, None]
        found += [weights.ravel(), bias]
        information = jnp.full(fan_in, jnp.sum(information) / jnp.mean(prior))
    return jnp.concatenate(found[::-1]) ** -0.5
