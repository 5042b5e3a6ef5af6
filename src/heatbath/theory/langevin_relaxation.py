"""Relaxation, quenches and moved traps of overdamped Langevin dynamics (mobility 1) on quadratic energies.

Work and heat are energies received by the system.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from heatbath.errors import Refused
from heatbath.theory import _checks
from heatbath.theory.gaussian import divergence, entropy


class Relaxation(NamedTuple):
    """State after the time asked for: entropy_change - heat / T = entropy_production = fall of divergence."""

    mean: np.ndarray
    covariance: np.ndarray
    mean_energy: float
    divergence_start: float
    divergence: float
    heat: float
    entropy_change: float
    entropy_production: float


class Work(NamedTuple):
    """Mean and variance of the work, free-energy difference, and mean - free energy: dissipated."""

    mean: float
    variance: float
    free_energy: float
    dissipated: float


def relaxation(
    hessian: ArrayLike, temperature: float, time: float, mean: ArrayLike, covariance: ArrayLike
) -> Relaxation:
    """Relaxation in x^T H x / 2 from N(mean, covariance).

    m_t = e^-Ht m and S_t = e^-Ht (S - T H^-1) e^-Ht + T H^-1.

    Args:
        hessian: (d, d), positive definite.
        temperature: T, positive.
        time: zero or more.
        mean, covariance: of the start, (d,) and (d, d), positive definite.
    """
    hessian = _checks.definite("hessian", hessian)
    temperature = float(_checks.positive("temperature", temperature))
    mean = _checks.vector("mean", mean, len(hessian))
    covariance = _checks.definite("covariance", covariance, len(hessian))
    curvatures, modes = np.linalg.eigh(hessian)
    decay = (modes * np.exp(-curvatures * float(_checks.nonnegative("time", time)))) @ modes.T
    rest = temperature * np.linalg.inv(hessian)
    later_mean = decay @ mean
    later = decay @ (covariance - rest) @ decay + rest
    zero = np.zeros(len(hessian))
    start, end = divergence(mean, covariance, zero, rest), divergence(later_mean, later, zero, rest)
    energies = [
        (m @ hessian @ m + np.trace(hessian @ s)) / 2 for m, s in ((mean, covariance), (later_mean, later))
    ]
    gained = entropy(later) - entropy(covariance)
    heat = float(energies[1] - energies[0])
    return Relaxation(
        later_mean, later, float(energies[1]), start, end, heat, gained, gained - heat / temperature
    )


def quench(hessian: ArrayLike, new_hessian: ArrayLike, new_minimum: ArrayLike, temperature: float) -> Work:
    """Sudden change from x^T H0 x / 2, at equilibrium, to (x - b)^T H1 (x - b) / 2: a switch of task.

    Args:
        hessian, new_hessian: H0 and H1, (d, d), positive definite.
        new_minimum: b, (d,).
        temperature: T, positive.
    """
    hessian = _checks.definite("hessian", hessian)
    new_hessian = _checks.definite("new_hessian", new_hessian, len(hessian))
    minimum = _checks.vector("new_minimum", new_minimum, len(hessian))
    temperature = float(_checks.positive("temperature", temperature))
    covariance = temperature * np.linalg.inv(hessian)
    stiffened, force = (new_hessian - hessian) @ covariance, new_hessian @ minimum
    mean = float((np.trace(stiffened) + minimum @ force) / 2)
    variance = float(np.trace(stiffened @ stiffened) / 2 + force @ covariance @ force)
    free_energy = float(temperature / 2 * (np.linalg.slogdet(new_hessian)[1] - np.linalg.slogdet(hessian)[1]))
    return Work(mean, variance, free_energy, mean - free_energy)


def moving_trap(stiffness: float, velocity: float, temperature: float, time: float) -> Work:
    """A trap of stiffness k dragged at velocity u for a time t, from equilibrium.

    Mazonka and Jarzynski 1999: the work is Gaussian, of mean u^2 (t - (1 - e^-kt) / k) and variance 2 T
    times the mean.
    """
    stiffness = float(_checks.positive("stiffness", stiffness))
    temperature = float(_checks.positive("temperature", temperature))
    time = float(_checks.nonnegative("time", time))
    mean = float(_checks.number("velocity", velocity) ** 2 * (time + np.expm1(-stiffness * time) / stiffness))
    return Work(mean, 2 * temperature * mean, 0.0, mean)


def sgld_shadow_work(
    curvature: ArrayLike, step_size: ArrayLike, temperature: ArrayLike, gradient_noise: ArrayLike
) -> np.ndarray:
    """Mean shadow work over T, in nats, of a stationary SGLD step in a mode: h c (1 - h k / 2) / T.

    The step is x' = x - h g + sqrt(2 h T) xi with g of variance c (summed batch gradient) about k x; the
    heat is by the path ratio with the same batch. Arguments broadcast; sum over modes. ``Refused`` for h k
    >= 2.
    """
    curvature, step_size = _checks.positive("curvature", curvature), _checks.positive("step_size", step_size)
    if np.any(step_size * curvature >= 2):
        raise Refused(
            f"step_size is at or above the critical step {2 / curvature.max():.6g} (2 / top curvature)"
        )
    noise = _checks.nonnegative("gradient_noise", gradient_noise)
    return step_size * noise * (1 - step_size * curvature / 2) / _checks.positive("temperature", temperature)
