"""Logistic fit of the direction of a run on its work: what Crooks' theorem says of both directions."""

import math

import numpy as np
from scipy.special import expit, log_expit


def fit(forward: np.ndarray, reverse: np.ndarray, centre: float) -> tuple[np.ndarray, np.ndarray, float]:
    """ln P(forward | w)/P(reverse | -w) = intercept + slope (w - centre), ``centre`` that of Bennett.

    Both numbers, their covariance, and what the fit gains in log likelihood over slope 1. There is no maximum
    where one value of the work divides the directions (`separated`).
    """
    # Far from the crossing the direction is in no doubt: such work may be cut short, and it may be +inf.
    x = np.clip(np.concatenate([forward, -reverse]) - centre, -200, 200)
    return _newton(x, np.repeat([1.0, 0.0], [forward.size, reverse.size]))


def separated(forward: np.ndarray, reverse: np.ndarray) -> bool:
    """Whether one value of the work divides the two directions, so that the likelihood has no maximum."""
    return bool(forward.min() >= -reverse.min() or forward.max() <= -reverse.max())


def _newton(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """Logistic regression of y on x: intercept and slope, their covariance, and what the fit gains in log
    likelihood over slope 1 (and Bennett's intercept), where Newton's method starts."""
    sign = 2 * y - 1
    theta = np.array([math.log(y.sum() / (y.size - y.sum())), 1.0])

    def likelihood(theta: np.ndarray) -> float:
        return float(np.sum(log_expit(sign * (theta[0] + theta[1] * x))))

    def derivatives(theta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        p = expit(theta[0] + theta[1] * x)
        rest, weight = y - p, p * (1 - p)
        first = float(weight @ x)
        information = np.array([[weight.sum(), first], [first, (weight * x) @ x]])
        return np.array([rest.sum(), rest @ x]), information

    start = value = likelihood(theta)
    for _ in range(100):
        score, information = derivatives(theta)
        step = np.linalg.lstsq(information, score, rcond=None)[0]
        while (new := likelihood(theta + step)) < value and np.abs(step).max() > 1e-10:
            step = step / 2
        theta, value = theta + step, new
        if np.abs(step).max() < 1e-9:
            break
    return theta, np.linalg.pinv(derivatives(theta)[1]), value - start
