"""Work of linear steps with Gaussian noise, where the work is a quadratic function of state and noise.

A state is written with a 1 at its end: x = (position, momentum, 1) makes shifts linear, and an energy
``x @ E @ x``. Averages of exp(-s W) are then exact by going backward: ln of the average over the rest of the
run is again quadratic in the state.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.linalg import LinAlgError, cho_factor, cho_solve


class Step(NamedTuple):
    """x' = move @ (x, xi) with ``noise`` standard normal numbers xi.

    work, shadow: symmetric matrices M; the protocol work and the shadow work of the step are
    (x, xi) @ M @ (x, xi), as energies.
    """

    move: np.ndarray
    work: np.ndarray
    shadow: np.ndarray
    noise: int


def log_average(steps: Sequence[Step], strength: float, *, shadow: bool = True) -> float:
    """ln < exp(-strength (W + W_shadow)) >, without W_shadow where ``shadow`` is False.

    The first step makes the start out of the state (1,). Plus infinity where the average is infinite.
    """
    form, constant = np.zeros((len(steps[-1].move),) * 2), 0.0
    for step in reversed(steps):
        full = 2 * strength * _booked(step, shadow) + step.move.T @ form @ step.move
        size = len(full) - step.noise
        form = full[:size, :size]
        if step.noise:
            try:
                factor = cho_factor(np.eye(step.noise) + full[size:, size:])
            except LinAlgError:
                return np.inf
            form = form - full[:size, size:] @ cho_solve(factor, full[size:, :size])
            constant -= np.log(np.diag(factor[0])).sum()
    return float(constant - form[0, 0] / 2)


def moments(steps: Sequence[Step], *, shadow: bool = False) -> tuple[float, float]:
    """Mean and variance of W, or of W + W_shadow: `log_average` expanded to second order in the strength."""
    first = np.zeros((len(steps[-1].move),) * 2)
    second, mean, variance = first.copy(), 0.0, 0.0
    for step in reversed(steps):
        linear = _booked(step, shadow) + step.move.T @ first @ step.move
        square = step.move.T @ second @ step.move
        size = len(linear) - step.noise
        mean += np.trace(linear[size:, size:])
        variance += np.trace(square[size:, size:]) + 2 * np.sum(linear[size:, size:] ** 2)
        first = linear[:size, :size]
        second = square[:size, :size] + 4 * linear[:size, size:] @ linear[size:, :size]
    return float(mean + first[0, 0]), float(variance + second[0, 0])


def _booked(step: Step, shadow: bool) -> np.ndarray:
    return step.work + step.shadow if shadow else step.work
