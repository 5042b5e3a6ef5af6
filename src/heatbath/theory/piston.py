"""One particle and a piston: R. C. Lua and A. Y. Grosberg, J. Phys. Chem. B 109, 6805 (2005).

The particle starts in equilibrium between a wall at 0 and a piston at L, which moves at speed u (outward
where positive) for a time. After n bounces off the piston W = 2 m n u (n u - v), v the initial velocity.
"""

from collections.abc import Callable
from itertools import pairwise

import numpy as np
from scipy.integrate import quad
from scipy.stats import norm

from heatbath.errors import Refused
from heatbath.theory import _checks


def free_energy(length: float, speed: float, time: float, temperature: float) -> float:
    """-T ln[(L + u tau) / L]."""
    end = _end(length, speed, time)
    return float(-_checks.positive("temperature", temperature) * np.log(end / length))


def mean_work(length: float, speed: float, time: float, temperature: float, mass: float = 1.0) -> float:
    """<W>; relative error about 1e-10."""

    def weighted(v: float, bounces: int, spread: float) -> float:
        return float(2 * mass * bounces * speed * (bounces * speed - v) * norm.pdf(v, 0, spread))

    return _average(weighted, length, speed, time, temperature, mass)


def exponential_average(
    length: float, speed: float, time: float, temperature: float, mass: float = 1.0
) -> float:
    """< exp(-W/T) > by integration over all trajectories: (L + u tau) / L.

    For a fast piston it lives on rare fast particles: few samples of W miss it.
    """

    def weighted(v: float, bounces: int, spread: float) -> float:
        # exp(-W/T) moves the Gaussian of the velocities to 2 n u.
        return float(norm.pdf(v, 2 * bounces * speed, spread) - norm.pdf(v, 0, spread))

    return 1 + _average(weighted, length, speed, time, temperature, mass)


def work(
    position: np.ndarray, velocity: np.ndarray, length: float, speed: float, time: float, mass: float = 1.0
) -> np.ndarray:
    """Work of trajectories from their starts: position (0 to L) and velocity of any shape."""
    end = _end(length, speed, time)
    # The wall is a mirror, but for a particle that runs away from the piston and is caught before the wall.
    straight = (velocity > 0) | (position + velocity * time >= end)
    position = np.where(straight, position, -position)
    velocity = np.where(straight, velocity, -velocity)
    bounces = np.floor((position + velocity * time + end) / (2 * end))
    return 2 * mass * bounces * speed * (bounces * speed - velocity)


def _average(
    weighted: Callable[[float, int, float], float],
    length: float,
    speed: float,
    time: float,
    temperature: float,
    mass: float,
) -> float:
    """Sum over the bounces n, integral over v, of share of the starts times ``weighted(v, n, spread)``."""
    end = _end(length, speed, time)
    spread = float(np.sqrt(_checks.positive("temperature", temperature) / _checks.positive("mass", mass)))

    def at_least(number: int, v: float) -> float:
        """Share of the starts, -L to L with the mirror, that bounce so often."""
        return min(max((length + v * time - (2 * number - 1) * end) / (2 * length), 0.0), 1.0)

    def integrand(v: float, number: int) -> float:
        return 2 * (at_least(number, v) - at_least(number + 1, v)) * weighted(v, number, spread)

    total, number = 0.0, 1
    while True:
        corners = [
            ((2 * n - 1) * end + side * length) / time for n in (number, number + 1) for side in (-1, 1)
        ]
        top = max(0, 2 * number * speed) + 13 * spread
        if corners[0] >= top:
            return total
        points = np.unique(np.minimum(corners, top))
        total += sum(
            quad(integrand, a, b, args=(number,), epsabs=1e-13, epsrel=1e-12, limit=200)[0]
            for a, b in pairwise(points)
        )
        number += 1


def _end(length: float, speed: float, time: float) -> float:
    end = float(_checks.positive("length", length)) + speed * float(_checks.positive("time", time))
    if not end > 0:
        raise Refused(f"the piston reaches the wall: length + speed time is {end:.6g}, must be above 0")
    return end
