"""Protocols of least mean work: T. Schmiedl and U. Seifert, Phys. Rev. Lett. 98, 108301 (2007).

Overdamped, from equilibrium; both protocols jump at their start and at their end.
"""

import numpy as np
from numpy.typing import ArrayLike

from heatbath.theory import _checks


def drag_work(stiffness: float, friction: float, distance: float, time: float) -> float:
    """Least work of moving the trap by a distance: g l^2 / (t + 2 g/k); dF = 0."""
    friction = float(_checks.positive("friction", friction))
    delay = 2 * friction / _checks.positive("stiffness", stiffness)
    return float(friction * distance**2 / (_checks.nonnegative("time", time) + delay))


def drag_centre(
    moment: ArrayLike, stiffness: float, friction: float, distance: float, time: float
) -> np.ndarray:
    """Where the trap is at each moment between the jumps: l (t + g/k) / (time + 2 g/k)."""
    delay = _checks.positive("friction", friction) / _checks.positive("stiffness", stiffness)
    return distance * (np.asarray(moment, float) + delay) / (_checks.positive("time", time) + 2 * delay)


def stiffness_work(
    stiffness: float, new_stiffness: float, friction: float, temperature: float, time: float
) -> float:
    """Least mean work of changing the stiffness from k0 to k1 in ``time``.

    With <x^2> = (T/k0) (1 + (u - 1) t/time)^2 the work is T (k1 u^2 / k0 - 1)/2 - T ln u
    + g T (u - 1)^2 / (k0 time), least at the u that `_final_width` gives.
    """
    temperature = float(_checks.positive("temperature", temperature))
    width = _final_width(stiffness, new_stiffness, friction, time)
    held = (new_stiffness * width**2 / stiffness - 1) / 2 - np.log(width)
    return float(temperature * (held + friction * (width - 1) ** 2 / (stiffness * time)))


def stiffness_protocol(
    moment: ArrayLike, stiffness: float, new_stiffness: float, friction: float, time: float
) -> np.ndarray:
    """The stiffness at each moment between the jumps; it does not depend on the temperature."""
    speed = (_final_width(stiffness, new_stiffness, friction, time) - 1) / time
    width = 1 + speed * np.asarray(moment, float)
    return (stiffness - friction * speed * width) / width**2


def _final_width(stiffness: float, new_stiffness: float, friction: float, time: float) -> float:
    """sqrt of <x^2> at the end over that at the start: (k1 + 2 r) u^2 - 2 r u - k0 = 0, r = g / time."""
    before, after = _checks.positive("stiffness", stiffness), _checks.positive("new_stiffness", new_stiffness)
    rate = _checks.positive("friction", friction) / _checks.positive("time", time)
    return float((rate + np.sqrt(rate**2 + before * (after + 2 * rate))) / (after + 2 * rate))
