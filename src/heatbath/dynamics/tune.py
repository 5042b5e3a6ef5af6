"""Warm-up: step size and metric are tuned, then frozen."""

from typing import Any, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from heatbath.core import Control, Draw, Dynamics, Flow, Protocol, Run, System, numeric, simulate
from heatbath.core.system import Position
from heatbath.dynamics.metric import Diagonal


class WarmUpState(eqx.Module):
    inner: Any
    log_step: Array
    log_step_mean: Array
    error_sum: Array
    count: Array


class WarmUp(Dynamics[WarmUpState]):
    """``dynamics`` with its ``step_size`` adapted by dual averaging (Hoffman and Gelman 2014, section 3.2).

    The mean acceptance probability is driven to ``acceptance``. The ledger's identity does not hold while
    a method adapts to its own path, so heat is not booked: tune, then `frozen`, then measure.
    """

    dynamics: Dynamics
    acceptance: Array = eqx.field(converter=numeric, default=0.8)

    def init(self, system: System, position: Position, control: Control, draw: Draw) -> WarmUpState:
        log_step = jnp.log(self.dynamics.step_size)  # type: ignore[attr-defined]
        zero = jnp.zeros_like(log_step)
        return WarmUpState(
            self.dynamics.init(system, position, control, draw), log_step, log_step, zero, zero
        )

    def step(
        self, system: System, state: WarmUpState, control: Control, draw: Draw
    ) -> tuple[WarmUpState, Flow]:
        inner, flow = self._with_step(state.log_step).step(system, state.inner, control, draw)
        count = state.count + 1
        error_sum = state.error_sum + self.acceptance - flow.info["acceptance"]
        start = jnp.log(10 * self.dynamics.step_size)  # type: ignore[attr-defined]
        log_step = start - jnp.sqrt(count) / 0.05 * error_sum / (count + 10)
        weight = count**-0.75
        mean = weight * log_step + (1 - weight) * state.log_step_mean
        return WarmUpState(inner, log_step, mean, error_sum, count), flow

    def _with_step(self, log_step: Array) -> Dynamics:
        return eqx.tree_at(lambda d: d.step_size, self.dynamics, jnp.exp(log_step))

    def frozen(self, states: WarmUpState) -> Dynamics:
        """The tuned dynamics: step size of the replicas' geometric mean."""
        return self._with_step(jnp.mean(states.log_step_mean))

    def refresh(self, system: System, state: WarmUpState, control: Control) -> WarmUpState:
        inner = self.dynamics.refresh(system, state.inner, control)
        return eqx.tree_at(lambda s: s.inner, state, inner)

    def position(self, state: WarmUpState) -> Position:
        return self.dynamics.position(state.inner)

    def potential(self, state: WarmUpState) -> Array:
        return self.dynamics.potential(state.inner)

    def gradient(self, state: WarmUpState) -> Position | None:
        return self.dynamics.gradient(state.inner)

    def kinetic(self, state: WarmUpState) -> Array:
        return self.dynamics.kinetic(state.inner)

    def momenta(self, state: WarmUpState) -> int:
        return self.dynamics.momenta(state.inner)

    def refusal(self) -> str:
        return "it adapts to its own path; freeze it first"


def tune(
    system: System,
    dynamics: Dynamics,
    protocol: Protocol,
    *,
    key: Array | int,
    replicas: int,
    steps: int,
    acceptance: float = 0.8,
    mass: Literal["diagonal", "group", "keep"] = "diagonal",
    positions: Any = None,
) -> tuple[Dynamics, Run]:
    """Tune a Metropolised dynamics in two pilots of ``steps``/2 each, and freeze it.

    The first adapts the step size with the metric as given and measures the variance of each coordinate
    over all replicas and its second half; the second adapts the step size again with the new metric
    (never both at once: a metric that changes while the step size adapts ruins the acceptance).
    ``mass``: "diagonal", "group" (one variance for each leaf of the position) or "keep". Returns the
    tuned dynamics and the second pilot, whose ``position`` is where production goes on from.
    """
    halves = jax.random.split(key if isinstance(key, Array) else jax.random.key(key))
    pilot = WarmUp(dynamics, acceptance)
    for half, last in zip(halves, (False, True), strict=True):
        run = simulate(
            system,
            pilot,
            protocol,
            key=half,
            replicas=replicas,
            steps=max(2, steps // 2),
            ledger="off",
            positions=positions,
            progress=False,
        )
        positions = run.position
        dynamics = pilot.frozen(run.states)
        if not last and mass != "keep":
            dynamics = eqx.tree_at(lambda d: d.metric, dynamics, Diagonal(_scales(run, mass)))
        pilot = WarmUp(dynamics, acceptance)  # from a step of the right size
    return dynamics, run


def _scales(run: Run, mass: str) -> np.ndarray:
    """Standard deviation of each coordinate, shape (d,), over replicas and the second half of the saves."""
    names = [name for name in run.records if name == "position" or name.startswith("position/")]
    scales = []
    for name in names:
        x = run.records[name][run.alive]
        x = x[:, x.shape[1] // 2 :]
        variance = x.astype(np.float64).var(axis=(0, 1))
        n = x.shape[0] * x.shape[1]
        variance = (n * variance + 5e-3) / (n + 5)  # shrunk as in Stan
        scales.append(np.full(variance.size, variance.mean()) if mass == "group" else variance.ravel())
    return np.sqrt(np.concatenate(scales))
