"""Recipes that draw more data of the same kind as a shipped set."""

import math

import numpy as np

from heatbath.errors import Refused


def robot_arm(n: int, seed: int, noise: float = 0.05) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draw new points of MacKay's robot arm.

    x1 is uniform on [-1.932, -0.453] and [0.453, 1.932], x2 on [0.534, 3.142];
    y1 = 2 cos x1 + 1.3 cos(x1 + x2), y2 = 2 sin x1 + 1.3 sin(x1 + x2), plus Gaussian noise of
    standard deviation ``noise`` on each.

    Returns:
        inputs, targets and targets without noise, each (n, 2).

    Raises:
        Refused: ``n`` below 1, ``seed`` outside 0 to 2^32 - 1, ``noise`` negative or not finite.
    """
    if n < 1:
        raise Refused(f"robot_arm: n is {n}; ask for at least 1 point")
    if not 0 <= seed < 2**32:
        raise Refused(f"robot_arm: seed is {seed}; give one from 0 to 4294967295")
    if not (math.isfinite(noise) and noise >= 0):
        raise Refused(f"robot_arm: noise is {noise}; give a finite number, zero or above")
    rng = np.random.default_rng(seed)
    x1 = rng.choice([-1.0, 1.0], n) * rng.uniform(0.453, 1.932, n)
    x2 = rng.uniform(0.534, 3.142, n)
    exact = np.stack(
        [2.0 * np.cos(x1) + 1.3 * np.cos(x1 + x2), 2.0 * np.sin(x1) + 1.3 * np.sin(x1 + x2)], axis=1
    )
    return np.stack([x1, x2], axis=1), exact + noise * rng.standard_normal((n, 2)), exact
