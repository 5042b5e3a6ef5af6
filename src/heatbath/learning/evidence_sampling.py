"""The evidence for a model: annealing from the prior, and importance sampling from a fitted reference."""

import math
import time
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from heatbath.core.numeric import x64
from heatbath.errors import Refused
from heatbath.estimate import Estimate
from heatbath.free_energy.sandwich import WIDEST_GAP
from heatbath.learning.evidence_density import Model, check_draws
from heatbath.learning.evidence_fit import component_logs, log_mass, reference
from heatbath.learning.evidence_mixture import BLOCK, CHUNK, Mixture, Weights, log_of_mean
from heatbath.learning.evidence_modes import log_posterior
from heatbath.learning.evidence_path import Path, log_mean, population_annealed
from heatbath.learning.evidence_prior import prior_draws, prior_gradients
from heatbath.learning.evidence_result import Evidence
from heatbath.systems import Posterior

GROUPS = 8  # independent populations: the error of the path is their spread
PILOT, PRODUCTION = 64, 512  # replicas in each
LEAST = 0.005  # effective size a draw below which the weights are not trusted
DISAGREE = 5.0  # joint standard errors (7 degrees of freedom: one false alarm in 1300)


class _Answer(NamedTuple):
    value: float
    std_error: float
    ess: float
    name: str


def evidence(posterior: Posterior, *, seed: int = 0, draws: int = 32_768) -> Evidence:
    """ln of the integral of prior x likelihood, in nats, with its error and bounds.

    1. Population annealing from the prior to the posterior, in 8 independent populations. 2. A mixture of t
    densities fitted to where it ended, to Laplace's approximation at the modes that Newton ascents find, and
    to the prior itself. 3. ``draws`` importance samples from the mixture. Where their
    effective size is too small, a bridge: annealing from the mixture, and a larger population from the prior.

    The answers must agree: `reliable` is False, with the reason, where annealing from the prior finds more
    than the reference holds, or its population lies outside of it. A narrow mode that neither annealing nor
    ascents come near is seen by no method.

    ``posterior``: a log prior that is not normalised is taken as it is (where its mass can be measured). With
    ``sample_prior`` the prior is a component of the mixture, which bounds the weights; without it draws from
    the prior are the ends of Markov chains. Bounds: ``lower`` holds in expectation (Jensen), ``upper`` too
    where the population annealed from the prior is in equilibrium (Grosse, Ghahramani and Adams 2015).
    ``gradient_evaluations`` counts a Hessian as d gradients, and no likelihoods of importance samples. Raises
    `Refused` without 64-bit numbers, for an improper prior and for energies that are not numbers.
    """
    if not x64():
        raise Refused('evidence needs 64-bit numbers: call jax.config.update("jax_enable_x64", True) first')
    began = time.monotonic()
    model = Model.of(posterior)
    keys = jax.random.split(jax.random.key(seed), 7)
    prior = prior_draws(model, GROUPS, PILOT, keys[0])
    check_draws(model, prior.reshape(-1, model.d))
    path = population_annealed(model, None, prior, keys[1])
    population = np.asarray(path.xs).reshape(-1, model.d)
    start = np.asarray(prior).reshape(-1, model.d)
    mass = log_mass(model, start, keys[6])
    exact = posterior.sample_prior is not None and not _not_zero(mass)
    mixture, gradients = reference(model, start, population, exact, keys[2])
    weights = Weights(model, mixture, max(round(draws / (BLOCK * CHUNK)), 1), keys[3])
    gradients += path.gradients + prior_gradients(model, prior.size // model.d)
    answer, others = _of_weights(weights), [_of_path(path, "annealing from the prior", mass)]
    if weights.ess < max(LEAST * weights.log_weights.size, 200):
        bridge = _bridge(model, mixture, keys[4])
        prior = prior_draws(model, GROUPS, PRODUCTION, keys[5])
        path = population_annealed(model, None, prior, keys[5])
        gradients += bridge.gradients + path.gradients + prior_gradients(model, prior.size // model.d)
        both = [
            _of_path(bridge, "a bridge from the reference"),
            _of_path(path, "annealing from the prior", mass),
        ]
        answer, *others = sorted(both, key=lambda x: x.std_error)
    ratios = _log_ratios(model, weights.mixture, population)
    return Evidence(
        _estimate(answer, others, float(ratios.mean())),
        _lower(weights),
        _upper(ratios),
        gradients,
        time.monotonic() - began,
    )


def _of_weights(weights: Weights) -> _Answer:
    return _Answer(weights.log_mean, weights.std_error, weights.ess, "importance sampling")


def _not_zero(mass: Estimate) -> bool:
    return mass.reliable and abs(mass.value) > max(DISAGREE * mass.std_error, 0.01)


def _of_path(path: Path, name: str, mass: Estimate | None = None) -> _Answer:
    """Annealing finds Z over the ``mass`` of the prior (ln), which is known to be 1 or measured."""
    value, error = log_mean(np.asarray(path.log_z))
    if mass is not None and _not_zero(mass):
        value, error = value + mass.value, math.hypot(error, mass.std_error)
    return _Answer(value, error, float(len(path.log_z)), name)


def _bridge(model: Model, mixture: Mixture, key: Array) -> Path:
    drawing, order, annealing = jax.random.split(key, 3)
    drawn = Weights(model, mixture, GROUPS * PRODUCTION // (BLOCK * CHUNK), drawing, keep=True)
    assert drawn.block is not None
    xs = jax.random.permutation(order, jnp.asarray(drawn.block.xs).reshape(-1, model.d))
    return population_annealed(model, drawn.mixture, xs.reshape(GROUPS, PRODUCTION, -1), annealing)


def _log_ratios(model: Model, mixture: Mixture, population: np.ndarray) -> np.ndarray:
    """ln of posterior (not normalised) over reference at the population, (groups, replicas)."""
    xs = jnp.asarray(population)
    with np.errstate(divide="ignore"):
        logs = np.asarray(component_logs(model, mixture, xs)[1]) + np.log(np.asarray(mixture.shares))[:, None]
    found = np.asarray(log_posterior(model, xs)) - np.logaddexp.reduce(logs, axis=0)
    return found.reshape(GROUPS, -1)


def _lower(weights: Weights) -> Estimate:
    """Mean of ln of the mean weight of 16 batches, each with its share of every component."""
    rows = weights.log_weights.ravel()
    batches = np.array([log_of_mean(rows[i::16]) for i in range(16)])
    value, error = float(batches.mean()), float(batches.std(ddof=1) / 4)
    sure = weights.log_mean - math.log(100)
    return Estimate(
        value, error, meaning=f"in expectation not above ln Z; ln Z is above {sure:.4f} with probability 0.99"
    )


def _upper(log_ratios: np.ndarray) -> Estimate:
    """Mean of ln posterior/reference over the populations from the prior: ln Z + KL."""
    found = log_ratios.mean(axis=1)
    return Estimate(
        float(found.mean()),
        float(found.std(ddof=1) / math.sqrt(len(found))),
        meaning="in expectation not below ln Z, if the population annealed from the prior is in equilibrium",
    )


def _estimate(answer: _Answer, others: list[_Answer], outside: float) -> Estimate:
    """``outside``: mean of ln posterior/reference over the population; less ln Z it is KL."""
    reason = ""
    for other in others:
        joint = math.hypot(answer.std_error, other.std_error)
        if other.value - answer.value > DISAGREE * joint:
            reason = (
                f"{other.name} gives {other.value:.3f} +- {other.std_error:.2g}, more than {answer.name} "
                f"({answer.value:.3f} +- {answer.std_error:.2g}): a mode is missing"
            )
    importance = answer.name == "importance sampling"
    if importance and not outside - answer.value < WIDEST_GAP:
        reason = f"the annealed population lies {outside - answer.value:.1f} nats outside the reference"
    if not importance and not answer.std_error < 0.5:
        reason = f"independent populations differ: their mean is known to {answer.std_error:.2g} nats only"
    return Estimate(answer.value, answer.std_error, answer.ess, not reason, reason, f"ln Z by {answer.name}")
