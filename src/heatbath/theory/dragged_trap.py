"""A trap of stiffness k dragged at velocity v through a fluid of friction g: Mazonka and Jarzynski 1999.

U = k (x - v t)^2 / 2 from equilibrium, so dF = 0. The work is Gaussian, of variance 2 T times its mean.
"""

import numpy as np

from heatbath.theory import _checks, driven_trap
from heatbath.theory.driven_trap import DrivenWork, Kernel
from heatbath.theory.langevin_relaxation import Work, moving_trap


def continuous(stiffness: float, friction: float, temperature: float, velocity: float, time: float) -> Work:
    """Mean g v^2 (t - th (1 - e^-t/th)), th = g / k: `langevin_relaxation.moving_trap` in units of g = 1."""
    friction = float(_checks.positive("friction", friction))
    return moving_trap(stiffness, velocity * friction, temperature, time / friction)


def jumps(
    stiffness: float, friction: float, temperature: float, velocity: float, time: float, number: int
) -> Work:
    """The same in ``number`` equal jumps, each followed by exact relaxation for time / number.

    <W> = N k d^2 / 2 + k d^2 a / (1 - a) (N - (1 - a^N) / (1 - a)), d the jump and a = e^(-k time / N g).
    """
    k, friction = (
        float(_checks.positive("stiffness", stiffness)),
        float(_checks.positive("friction", friction)),
    )
    temperature = float(_checks.positive("temperature", temperature))
    number, time = _checks.count("number", number), float(_checks.positive("time", time))
    away, forgotten = velocity * time / number, -np.expm1(-k * time / (number * friction))
    kept = 1 - forgotten
    lags = kept / forgotten * (number + np.expm1(-k * time / friction) / forgotten)
    mean = float(k * away**2 * (number / 2 + lags))
    return Work(mean, 2 * temperature * mean, 0.0, mean)


def lag_divergence(
    stiffness: float, friction: float, temperature: float, velocity: float, time: float
) -> float:
    """D(p_t || equilibrium at the trap's place), in nats: k lag^2 / 2T, lag = v th (1 - e^-t/th).

    T times it is at most the work done so far (Vaikuntanathan and Jarzynski 2009).
    """
    k, friction = (
        float(_checks.positive("stiffness", stiffness)),
        float(_checks.positive("friction", friction)),
    )
    temperature = float(_checks.positive("temperature", temperature))
    lag = velocity * friction / k * -np.expm1(-k * float(_checks.nonnegative("time", time)) / friction)
    return float(k * lag**2 / (2 * temperature))


def euler_maruyama(
    stiffness: float, friction: float, temperature: float, velocity: float, time: float, number: int
) -> DrivenWork:
    """In ``number`` jumps, each followed by one Euler-Maruyama step of length time / number."""
    step = time / _checks.count("number", number) / float(_checks.positive("friction", friction))
    return _dragged(stiffness, velocity * time, number, driven_trap.euler_maruyama(step, temperature))


def baoab(
    stiffness: float,
    friction: float,
    temperature: float,
    velocity: float,
    time: float,
    number: int,
    mass: float = 1.0,
) -> DrivenWork:
    """In ``number`` jumps, each followed by one BAOAB step of length time / number."""
    kernel = driven_trap.baoab(time / _checks.count("number", number), friction, temperature, mass)
    return _dragged(stiffness, velocity * time, number, kernel)


def _dragged(stiffness: float, distance: float, number: int, kernel: Kernel) -> DrivenWork:
    return driven_trap.work(np.full(number + 1, stiffness), np.linspace(0, distance, number + 1), kernel)
