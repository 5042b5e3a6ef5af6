"""Warm-up of systems that know their curvature: metric and step size of each replica, then frozen."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import Array

from heatbath.core import Control, Draw, Dynamics, Flow, integer, numeric
from heatbath.core.numeric import dtype_of, size
from heatbath.core.system import Position
from heatbath.dynamics.gibbs import Gibbs
from heatbath.dynamics.hamiltonian import HMC
from heatbath.dynamics.metric import Metric, metric_of

FORGET = 0.7


class CurvatureState(eqx.Module):
    inner: Any
    log_step: Array
    curvature: Array
    weight: Array
    metric: Metric


class CurvatureWarmUp(Dynamics[CurvatureState]):
    """Hybrid Monte Carlo (``length`` leapfrogs, the rest of the position by Gibbs) that learns its metric.

    The system must have ``curvature(position, couplings)``, the Gauss-Newton precision of its moved part,
    shape (d, d), or (d,) for its diagonal only.
    Every ``every`` steps it enters a running mean, for one point is not enough; before step ``settled``,
    while the control still moves, its memory is short (about the last three). The metric is its inverse.
    The longer the mean, the smaller the energy errors of an unadjusted dynamics with it. The step size
    follows the acceptance (Robbins and Monro), aiming at ``acceptance``. Each replica learns its own: the
    modes of a network are copies of each other with the units permuted. ``state.metric`` is what to freeze.
    """

    start_step: Array = eqx.field(converter=numeric, default=0.2)
    length: Array = eqx.field(converter=integer, default=8)
    every: Array = eqx.field(converter=integer, default=5)
    settled: Array = eqx.field(converter=integer, default=0)
    acceptance: Array = eqx.field(converter=numeric, default=0.8)

    def _method(self, log_step: Array, metric: Metric) -> Gibbs:
        return Gibbs(HMC(jnp.exp(log_step), self.length, 0.2, metric=metric))

    def init(self, system: Any, position: Position, control: Control, draw: Draw) -> CurvatureState:
        log_step = jnp.log(self.start_step)
        curvature = numeric(system.curvature(position, control.couplings))
        metric = metric_of(curvature, dtype_of(system.parts(position)[0]))
        inner = self._method(log_step, metric).init(system, position, control, draw)
        return CurvatureState(inner, log_step, curvature, jnp.ones_like(log_step), metric)

    def step(
        self, system: Any, state: CurvatureState, control: Control, draw: Draw
    ) -> tuple[CurvatureState, Flow]:
        inner, flow = self._method(state.log_step, state.metric).step(system, state.inner, control, draw)
        log_step = state.log_step + 0.1 * (flow.info["acceptance"] - self.acceptance)
        state = CurvatureState(inner, log_step, state.curvature, state.weight, state.metric)
        due = (draw.step + 1) % self.every == 0
        state = jax.lax.cond(due, lambda s: self._learn(system, s, control, draw), lambda s: s, state)
        return state, flow

    def _learn(self, system: Any, state: CurvatureState, control: Control, draw: Draw) -> CurvatureState:
        weight = jnp.where(draw.step < self.settled, FORGET, 1.0) * state.weight + 1
        new = numeric(system.curvature(state.inner.position, control.couplings))
        curvature = state.curvature + (new - state.curvature) / weight
        metric = metric_of(curvature, dtype_of(state.inner.inner.point.position))
        return CurvatureState(state.inner, state.log_step, curvature, weight, metric)

    def refresh(self, system: Any, state: CurvatureState, control: Control) -> CurvatureState:
        inner = self._method(state.log_step, state.metric).refresh(system, state.inner, control)
        return eqx.tree_at(lambda s: s.inner, state, inner)

    def position(self, state: CurvatureState) -> Position:
        return state.inner.position

    def potential(self, state: CurvatureState) -> Array:
        return state.inner.inner.point.potential

    def gradient(self, state: CurvatureState) -> Position:
        return state.inner.inner.point.gradient

    def kinetic(self, state: CurvatureState) -> Array:
        return jnp.sum(numeric(state.inner.inner.momentum) ** 2) / 2

    def momenta(self, state: CurvatureState) -> int:
        return size(state.inner.inner.momentum)

    def refusal(self) -> str:
        return "it adapts to its own path; freeze it first"
