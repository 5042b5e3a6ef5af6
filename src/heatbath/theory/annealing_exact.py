"""Annealing with perfect relaxation: work in nats, sum of (b_k - b_(k-1)) U_k with U_k drawn at b_(k-1).

Two cases: U = |x|^2 / 2, and the evidence of one Gaussian observation.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.integrate import quad

from heatbath.errors import Refused
from heatbath.theory import _checks


class Annealing(NamedTuple):
    """Mean and variance of the work, ln < exp(-W) >, and mean + ln < exp(-W) >: dissipated; nats."""

    mean: float
    variance: float
    log_average: float
    dissipated: float


def gamma(dimension: int, inverse_temperatures: ArrayLike) -> Annealing:
    """U = |x|^2 / 2 in d dimensions: U_k ~ Gamma(d/2, rate b), and ln < exp(-W) > = -(d/2) ln(b_K / b_0)."""
    beta = _checks.positive(
        "inverse_temperatures", _checks.vector("inverse_temperatures", inverse_temperatures)
    )
    shape = _checks.count("dimension", dimension) / 2
    moved = np.diff(beta) / beta[:-1]
    mean, average = shape * moved.sum(), -shape * np.log1p(moved).sum()
    return Annealing(float(mean), float(shape * np.sum(moved**2)), float(average), float(mean + average))


def gamma_length(dimension: int, first: float, last: float) -> float:
    """Thermodynamic length sqrt(d/2) |ln(b_1 / b_0)| of the same; geometric steps are of equal length."""
    ratio = _checks.positive("last", last) / _checks.positive("first", first)
    return float(np.sqrt(_checks.count("dimension", dimension) / 2) * abs(np.log(ratio)))


def least_dissipation(length: float, steps: int) -> float:
    """L^2 / 2K nats: the dissipated work of K steps of equal thermodynamic length, for large K."""
    return float(_checks.nonnegative("length", length) ** 2 / (2 * _checks.count("steps", steps)))


def evidence_log_partition(beta: ArrayLike, observation: float, noise: float) -> np.ndarray:
    """ln Z(beta) of a likelihood N(y; x, s^2) to the power beta, under the prior N(0, 1). The evidence at 1.

    -ln(1 + beta/s^2)/2 - y^2 beta / (2 (s^2 + beta)) - beta ln(s sqrt(2 pi)).
    """
    beta, variance = _checks.nonnegative("beta", beta), _checks.positive("noise", noise) ** 2
    fit = np.log1p(beta / variance) + observation**2 * beta / (variance + beta)
    return -(fit + beta * np.log(2 * np.pi * variance)) / 2


def evidence_energy(beta: ArrayLike, observation: float, noise: float) -> tuple[np.ndarray, np.ndarray]:
    """Mean and variance of U = -ln likelihood at beta; -d<U>/d beta is the variance."""
    beta, variance = _checks.nonnegative("beta", beta), _checks.positive("noise", noise) ** 2
    width = variance + beta
    misfit = observation**2 * variance
    mean = 1 / (2 * width) + misfit / (2 * width**2) + np.log(2 * np.pi * variance) / 2
    return mean, 1 / (2 * width**2) + misfit / width**3


def evidence_length(observation: float, noise: float) -> float:
    """Thermodynamic length from prior to posterior: integral over beta from 0 to 1 of sqrt(Var U)."""

    def speed(log_width: float) -> float:
        width = np.exp(log_width)  # of s^2 + beta: even steps where the length is
        return width * float(np.sqrt(evidence_energy(width - noise**2, observation, noise)[1]))

    low = float(_checks.positive("noise", noise)) ** 2
    return float(
        quad(lambda u: speed(max(u, np.log(low))), np.log(low), np.log1p(low), epsabs=1e-13, epsrel=1e-12)[0]
    )


def evidence_annealing(schedule: ArrayLike, observation: float, noise: float) -> Annealing:
    """Annealing from prior (0) to posterior (1) through the schedule, with perfect relaxation.

    The dissipated work is the sum of the divergences D(p_(k-1) || p_k).
    """
    beta = _checks.vector("schedule", schedule)
    if beta.size < 2 or beta[0] != 0 or beta[-1] != 1:
        raise Refused("schedule must start at 0, the prior, and end at 1, the posterior")
    mean, variance = evidence_energy(beta[:-1], observation, noise)
    moved = np.diff(beta)
    work, average = float(moved @ mean), float(evidence_log_partition(1.0, observation, noise))
    return Annealing(work, float(moved**2 @ variance), average, work + average)
