"""A trap of changing stiffness, U = k(t) x^2 / 2, from equilibrium: its work is not Gaussian.

A change at once is `langevin_relaxation.quench`.
"""

import numpy as np
from numpy.typing import ArrayLike
from scipy.integrate import solve_ivp

from heatbath.theory import _checks, driven_trap
from heatbath.theory.driven_trap import DrivenWork
from heatbath.theory.quadratic_work import log_average


def free_energy(stiffness: float, new_stiffness: float, temperature: float) -> float:
    """dF = T/2 ln(k1 / k0)."""
    ratio = _checks.positive("new_stiffness", new_stiffness) / _checks.positive("stiffness", stiffness)
    return float(_checks.positive("temperature", temperature) / 2 * np.log(ratio))


def ramp(
    stiffness: float, new_stiffness: float, friction: float, temperature: float, time: float
) -> tuple[float, float]:
    """(<W>, <W> - dF) of a linear change in ``time``.

    Integrates d<x^2>/dt = 2 (T - k <x^2>) / g and dW/dt = <x^2> dk/dt / 2; relative error 1e-11.
    """
    difference = free_energy(stiffness, new_stiffness, temperature)
    friction, time = float(_checks.positive("friction", friction)), float(_checks.positive("time", time))
    speed = (new_stiffness - stiffness) / time

    def flow(t: float, state: np.ndarray) -> list[float]:
        return [2 * (temperature - (stiffness + speed * t) * state[0]) / friction, speed * state[0] / 2]

    start = [temperature / stiffness, 0.0]
    moved = solve_ivp(flow, (0, time), start, method="DOP853", rtol=1e-13, atol=1e-15)
    mean = float(moved.y[1, -1])
    return mean, mean - difference


def jumps(stiffnesses: ArrayLike, friction: float, temperature: float, time: float) -> DrivenWork:
    """Stiffness jumps through the list; after each jump exact relaxation for ``time``."""
    kernel = driven_trap.exact_relaxation(time, friction, temperature)
    return driven_trap.work(stiffnesses, np.zeros(np.size(stiffnesses)), kernel)


def generating_function(
    stiffnesses: ArrayLike, friction: float, temperature: float, time: float, strength: float
) -> float:
    """< exp(-s W) > of `jumps`, infinite where that diverges; exp(-dF/T) at s = 1/T."""
    kernel = driven_trap.exact_relaxation(time, friction, temperature)
    process = driven_trap.steps(stiffnesses, np.zeros(np.size(stiffnesses)), kernel)
    return float(np.exp(log_average(process, strength)))


def euler_maruyama(stiffnesses: ArrayLike, step_size: float, temperature: float) -> DrivenWork:
    """Each jump followed by one Euler-Maruyama step (time step over friction ``step_size``)."""
    kernel = driven_trap.euler_maruyama(step_size, temperature)
    return driven_trap.work(stiffnesses, np.zeros(np.size(stiffnesses)), kernel)
