"""Sums and means of exponentials as logarithms, which neither overflow nor underflow."""

import math

import numpy as np
from scipy.special import logsumexp


def log_sum_exp(values: np.ndarray) -> float:
    """ln of the sum of exp(values)."""
    return float(np.asarray(logsumexp(values)))


def log_mean_exp(values: np.ndarray) -> float:
    """ln of the mean of exp(values)."""
    return log_sum_exp(values) - math.log(values.size)
