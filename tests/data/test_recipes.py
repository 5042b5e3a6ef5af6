"""Points drawn by the recipe of the robot arm: its formula, its range, its noise."""

import numpy as np
import pytest

from heatbath.data import SHIPPED, robot_arm
from heatbath.errors import Refused


def test_drawn_points_follow_the_formula():
    inputs, targets, exact = robot_arm(20_000, 3)
    assert inputs.shape == targets.shape == exact.shape == (20_000, 2)
    x1, x2 = inputs.T
    np.testing.assert_allclose(exact[:, 0], 2 * np.cos(x1) + 1.3 * np.cos(x1 + x2))
    np.testing.assert_allclose(exact[:, 1], 2 * np.sin(x1) + 1.3 * np.sin(x1 + x2))
    noise = targets - exact
    # 5 standard errors: of the deviations, of their correlation and of the share of positive x1
    np.testing.assert_allclose(noise.std(axis=0), 0.05, rtol=5 / np.sqrt(2 * 20_000))
    assert abs(np.corrcoef(noise.T)[0, 1]) < 5 / np.sqrt(20_000)
    assert abs((x1 > 0).mean() - 0.5) < 5 * 0.5 / np.sqrt(20_000)


def test_drawn_points_cover_the_shipped_range():
    inputs, _, _ = robot_arm(20_000, 4)
    drawn_low, drawn_high = np.abs(inputs).min(axis=0), inputs.max(axis=0)
    np.testing.assert_allclose(drawn_low, [0.453, 0.534], atol=2e-3)
    np.testing.assert_allclose(drawn_high, [1.932, 3.142], atol=2e-3)
    shipped = np.concatenate(
        [SHIPPED["robot-arm"].table(part).select(["x1", "x2"]) for part in ("train", "test")]
    )
    low, high = np.array([0.453, 0.534]), np.array([1.932, 3.142])
    assert (np.abs(shipped) >= low).all()
    assert (np.abs(shipped) <= high).all()
    # 400 uniform points come within 5 % of the width of each end, but for a chance of 1e-8
    assert (np.abs(shipped).min(axis=0) < low + 0.05 * (high - low)).all()
    assert (np.abs(shipped).max(axis=0) > high - 0.05 * (high - low)).all()


def test_shipped_noise_agrees_with_the_formula():
    values = np.concatenate([SHIPPED["robot-arm"].table(part).values for part in ("train", "test")])
    x1, x2, y1, y2 = values.T
    errors = [y1 - 2 * np.cos(x1) - 1.3 * np.cos(x1 + x2), y2 - 2 * np.sin(x1) - 1.3 * np.sin(x1 + x2)]
    np.testing.assert_allclose(np.std(errors, axis=1), 0.05, rtol=5 / np.sqrt(2 * 400))


def test_same_seed_same_points():
    for first, second in zip(robot_arm(5, 7), robot_arm(5, 7), strict=True):
        np.testing.assert_array_equal(first, second)
    assert not np.array_equal(robot_arm(5, 7)[0], robot_arm(5, 8)[0])
    _, targets, exact = robot_arm(5, 7, noise=0.0)
    np.testing.assert_array_equal(targets, exact)


@pytest.mark.parametrize(
    "arguments", [(0, 1), (5, -1), (5, 2**32), (5, 1, -0.1), (5, 1, float("nan")), (5, 1, float("inf"))]
)
def test_bad_requests_are_refused(arguments):
    with pytest.raises(Refused, match=r"^robot_arm: "):
        robot_arm(*arguments)
