"""Thermodynamic efficiency of learning: Goldt and Seifert, PRL 118, 010601 (2017).

The weights of a perceptron relax by dw = (-w + f) dt + sqrt(2) dW while the field f of the training data
rises linearly from 0 over ``duration``. Information and entropies in nats, heat in kT. Their bound: what is
learnt is at most entropy change plus heat. The heat per nat learnt can go to 0: no Landauer floor of kT ln 2
stands there.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.integrate import quad
from scipy.special import entr, expit, hyp1f1

from heatbath.errors import Refused
from heatbath.theory import _checks


class Learning(NamedTuple):
    """Information about a label, probability of getting it right; entropy change, heat; efficiency.

    Entropy change and heat to the bath are per weight.
    """

    information: float
    correct: float
    entropy_change: float
    dissipated_heat: float
    efficiency: float


def heat_factor(duration: ArrayLike) -> np.ndarray:
    """(e^-tau + tau - 1) / tau^2, the heat of a ramp of length tau over the squared field; 1/2 at tau = 0."""
    duration = _checks.nonnegative("duration", duration)
    short, long = np.minimum(duration, 1.0), np.maximum(duration, 1.0)
    return np.where(duration < 1, hyp1f1(1.0, 3.0, -short) / 2, (1 + np.expm1(-long) / long) / long)


def single_weight(field: float, duration: float) -> Learning:
    """One weight that learns one label (their eqs. 10 to 13).

    Args:
        field: nu, positive, height of the ramp.
        duration: tau, zero or more, length of the ramp.
    """
    field = float(_checks.positive("field", field))

    def told(z: float) -> float:
        # The entropy change is what the weight nu + z tells of the label, whose log-odds are 2 nu (nu + z).
        return _information(float(np.tanh(field * abs(field + z))))

    entropy_change = _mean(told, -12.0, 12.0, -field)
    heat = field**2 * float(heat_factor(duration))
    return _learning(_bias(field, 1.0), 1.0, entropy_change, heat)


def large_perceptron(load: float, field: float, ramp: float = 0.0) -> Learning:
    """Many weights and samples, ``load`` (alpha) samples a weight (their eqs. 17 to 22).

    A sample's stability is N(nu, 1 + alpha nu^2), the entropy change per weight ln(1 + alpha nu^2) / 2.

    Args:
        load, field: alpha and nu, positive.
        ramp: `heat_factor` of the ramp's length; 0 is infinitely slow.
    """
    load, field = float(_checks.positive("load", load)), float(_checks.positive("field", field))
    width = load * field**2
    heat = width * float(_checks.nonnegative("ramp", ramp))
    return _learning(_bias(field, np.sqrt(1 + width)), load, float(np.log1p(width) / 2), heat)


def _bias(mean: float, width: float) -> float:
    """Mean of tanh(x/2), twice the logistic function less 1, over N(mean, width^2)."""

    def both(z: float) -> float:
        # Of mean + y and mean - y together, y = width z: 2 sinh(mean) / (cosh(mean) + cosh(y)) is positive.
        y = width * z
        near = expit(mean + y) * expit(abs(mean - y)) * np.exp(min(mean - y, 0.0))
        return -2 * float(np.expm1(-2 * mean) * near)

    return min(1.0, _mean(both, 0.0, 12.0, mean / width))


def _information(bias: float) -> float:
    """ln 2 less the entropy of the probabilities (1 + bias)/2 and (1 - bias)/2."""
    if bias < 0.5:  # without the cancellation
        return float(bias * np.arctanh(bias) + np.log1p(-(bias**2)) / 2)
    return float(np.log(2) - entr((1 + bias) / 2) - entr((1 - bias) / 2))


def _learning(bias: float, samples: float, entropy_change: float, heat: float) -> Learning:
    information = _information(bias)
    cost = entropy_change + heat
    if not cost > 0:
        raise Refused("field is so weak that its square is 0 to all digits")
    return Learning(information, (1 + bias) / 2, entropy_change, heat, samples * information / cost)


def _mean(function: Callable[[float], float], low: float, high: float, middle: float) -> float:
    """Integral of ``function`` with the standard normal density; it bends at ``middle``."""
    points = [middle] if low < middle < high else None

    def density(z: float) -> float:
        return function(z) * float(np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi))

    return float(quad(density, low, high, points=points, epsabs=0.0, epsrel=1e-13, limit=500)[0])
