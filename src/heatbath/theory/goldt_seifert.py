"""Thermodynamic efficiency of learning: Goldt and Seifert, PRL 118, 010601 (2017).

The weights of a perceptron relax by dw = (-w + f) dt + sqrt(2) dW while the field f of the training data
rises linearly from 0 over ``duration``. Information and entropies in nats, heat in kT. Their bound: what is
learnt is at most entropy change plus heat. The heat per nat learnt can go to 0: no Landauer floor of kT ln 2
stands there.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.integrate import quad
from scipy.special import entr, expit, hyp1f1
from scipy.stats import norm

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
    return hyp1f1(1.0, 3.0, -_checks.nonnegative("duration", duration)) / 2


def single_weight(field: float, duration: float) -> Learning:
    """One weight that learns one label (their eqs. 10 to 13).

    Args:
        field: nu, positive, height of the ramp.
        duration: tau, zero or more, length of the ramp.
    """
    field = float(_checks.positive("field", field))

    def entropy_density(x: float) -> float:
        # By symmetry over x > 0 only; entr(p) = -p ln p.
        return float(entr((norm.pdf(x, field) + norm.pdf(x, -field)) / 2))

    mixture = 2 * _integral(entropy_density, 0.0, field + 12.0, field)
    entropy_change = float(mixture - np.log(2 * np.pi * np.e) / 2)
    heat = field**2 * float(heat_factor(duration))
    return _learning(_correct(field, 1.0), 1.0, entropy_change, heat)


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
    return _learning(_correct(field, np.sqrt(1 + width)), load, float(np.log1p(width) / 2), heat)


def _correct(mean: float, width: float) -> float:
    """Mean of the logistic function over N(mean, width^2)."""

    def density(x: float) -> float:
        return float(expit(x) * norm.pdf(x, mean, width))

    return _integral(density, mean - 12 * width, mean + 12 * width, 0.0)


def _learning(correct: float, samples: float, entropy_change: float, heat: float) -> Learning:
    information = float(np.log(2) - entr(correct) - entr(1 - correct))
    return Learning(
        information, correct, entropy_change, heat, samples * information / (entropy_change + heat)
    )


def _integral(density, low: float, high: float, middle: float) -> float:
    points = [middle] if low < middle < high else None
    return float(quad(density, low, high, points=points, epsabs=1e-14, epsrel=1e-13, limit=500)[0])
