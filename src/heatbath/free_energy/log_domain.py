"""Sums and means of exponentials as logarithms, which neither overflow nor underflow."""

import math

import numpy as np


def log_sum_exp(values: np.ndarray) -> float:
    """ln of the sum of exp(values)."""
    largest = float(values.max())
    return largest + math.log(np.exp(values - largest).sum()) if math.isfinite(largest) else largest


def log_mean_exp(values: np.ndarray) -> float:
    """ln of the mean of exp(values)."""
    return log_sum_exp(values) - math.log(values.size)
