"""Temperatures at which thermostats hold one harmonic mode, exact at finite step size.

The mode has curvature k and mass m, the bath temperature T; the momentum keeps the fraction
``friction_factor`` (mu) of itself in a step. The gradient may carry noise of variance c, fresh at each step.
Every scheme is one linear map of (x, v), so that its stationary covariance is exact.
"""

from typing import NamedTuple

import numpy as np

from heatbath.errors import Refused
from heatbath.theory import _checks
from heatbath.theory.gaussian import chain_covariance

SCHEMES = ("sgld", "symplectic-euler", "baoab", "aboba", "bbk")


class Temperatures(NamedTuple):
    """m <v^2> (NaN where there is no momentum) and k <x^2>."""

    kinetic: float
    configurational: float


def thermostat_temperatures(
    scheme: str,
    curvature: float,
    step_size: float,
    *,
    friction_factor: float = 0.0,
    temperature: float = 1.0,
    gradient_noise: float = 0.0,
    mass: float = 1.0,
) -> Temperatures:
    """Stationary kinetic and configurational temperature of a scheme; ``Refused`` from its critical step on.

    - ``sgld``: x' = x - h g + sqrt(2 h T) xi. No momentum: mu and the mass play no role.
    - ``symplectic-euler`` (SGHMC as it is mostly written): v' = mu v - h g/m + sqrt(2 (1 - mu) T/m) xi, then
      x' = x + h v'. Reads v'.
    - ``baoab`` (Leimkuhler and Matthews 2013): v is read right after the bath's move O; at the end of a step
      its temperature is T (1 - h^2 k / (4 m)) instead.
    - ``aboba`` (Leimkuhler and Matthews 2013; `heatbath.dynamics.SGHMC`): read at the end of a step.
    - ``bbk`` (Brunger, Brooks and Karplus 1984) in its leapfrog form:
      v' = mu v - (1 + mu) h g/(2 m) + sqrt((1 - mu^2) T/m) xi, then x' = x + h v'. Reads v', at half a step.

    Args:
        scheme: one of `SCHEMES`.
        curvature, step_size, temperature, mass: k, h, T and m, positive.
        friction_factor: mu, from 0 up to 1 (without 1).
        gradient_noise: c, variance of g at fixed x. In BAOAB one gradient serves both half kicks around a
            step's end, in ABOBA the two around the bath.
    """
    k, h, mass = (
        float(_checks.positive(name, value))
        for name, value in (("curvature", curvature), ("step_size", step_size), ("mass", mass))
    )
    temperature = float(_checks.positive("temperature", temperature))
    noise = float(_checks.nonnegative("gradient_noise", gradient_noise))
    mu = _checks.below_one("friction_factor", friction_factor)
    if scheme == "sgld":
        _stable(h, 2 / k)
        return Temperatures(np.nan, (2 * temperature + h * noise) / (2 - h * k))
    kick, push = h / mass, np.array([h, 1.0])
    if scheme == "symplectic-euler":
        _stable(h, np.sqrt(2 * (1 + mu) * mass / k))
        transition = np.array([[1 - h * kick * k, h * mu], [-kick * k, mu]])
        spread = (2 * (1 - mu) * temperature / mass + kick**2 * noise) * np.outer(push, push)
    elif scheme == "bbk":
        _stable(h, 2 * np.sqrt(mass / k))
        kick *= (1 + mu) / 2
        transition = np.array([[1 - h * kick * k, h * mu], [-kick * k, mu]])
        spread = ((1 - mu**2) * temperature / mass + kick**2 * noise) * np.outer(push, push)
    elif scheme == "baoab":
        _stable(h, 2 * np.sqrt(mass / k))
        # From O to O, (x, v) in the middle of the step: A/2, the two half kicks at one position, A/2, O.
        drift, kicks = np.array([[1, h / 2], [0, 1]]), np.array([[1, 0], [-kick * k, 1]])
        bath = np.diag([1, mu])
        transition = bath @ drift @ kicks @ drift
        push = bath @ drift @ np.array([0, kick])
        spread = noise * np.outer(push, push) + np.diag([0, (1 - mu**2) * temperature / mass])
        middle = chain_covariance(transition, spread)
        position = (drift @ middle @ drift.T)[0, 0]
        return Temperatures(float(mass * middle[1, 1]), float(k * position))
    elif scheme == "aboba":
        _stable(h, 2 * np.sqrt(mass / k))
        drift, half_kick = np.array([[1, h / 2], [0, 1]]), np.array([[1, 0], [-kick * k / 2, 1]])
        transition = drift @ half_kick @ np.diag([1, mu]) @ half_kick @ drift
        push = drift @ np.array([0, 1])
        spread = ((1 - mu**2) * temperature / mass + ((1 + mu) * kick / 2) ** 2 * noise) * np.outer(
            push, push
        )
    else:
        raise Refused(f"no thermostat is called {scheme!r}; there are {', '.join(SCHEMES)}")
    covariance = chain_covariance(transition, spread)
    return Temperatures(float(mass * covariance[1, 1]), float(k * covariance[0, 0]))


def _stable(step_size: float, critical: float) -> None:
    if step_size >= critical:
        raise Refused(
            f"step_size {step_size:.6g} is not below the critical step {critical:.6g}: nothing is stationary"
        )
