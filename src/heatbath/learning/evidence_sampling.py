"""The evidence for a model: annealing from the prior, and importance sampling from a fitted reference."""

import math
import time
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from rich.console import Console

from heatbath.core import run_key
from heatbath.core.numeric import x64
from heatbath.errors import Refused
from heatbath.estimate import Estimate
from heatbath.free_energy import annealed_importance_sampling
from heatbath.free_energy.log_domain import log_mean_exp
from heatbath.free_energy.sandwich import WIDEST_GAP
from heatbath.learning.evidence_density import Model, check_draws
from heatbath.learning.evidence_fit import component_logs, log_mass, reference
from heatbath.learning.evidence_mixture import BLOCK, CHUNK, Mixture, Weights
from heatbath.learning.evidence_modes import log_posterior
from heatbath.learning.evidence_path import Path, population_annealed
from heatbath.learning.evidence_prior import prior_draws, prior_gradients
from heatbath.learning.evidence_result import Evidence
from heatbath.systems import Posterior

GROUPS = 8  # independent populations: the error of the path is their spread
PILOT, PRODUCTION = 64, 512  # replicas in each
LEAST, FEWEST = 0.005, 200  # effective size a draw, and in all, below which the weights are not trusted
WIDEST_SPREAD = 0.3  # nats: standard error from independent populations above which it is not trusted
DISAGREE = 5.0  # joint standard errors (7 degrees of freedom: one false alarm in 1300)


class _Answer(NamedTuple):
    value: float
    std_error: float
    ess: float
    name: str
    batches: np.ndarray  # ln Z by each of them


def evidence(posterior: Posterior, *, seed: int = 0, draws: int = 32_768, progress: bool = False) -> Evidence:
    """ln of the integral of prior x likelihood, in nats, with its error and bounds.

    1. Population annealing from the prior to the posterior, in 8 independent populations. 2. A mixture of t
    densities fitted to where it ended, to Laplace's approximation at the modes that Newton ascents find, and
    to the prior itself. 3. ``draws`` importance samples from the mixture.

    The first and the last must agree. Where annealing finds more than the mixture holds, or its population
    lies outside, the mixture lacks a mode and a larger population is annealed from the prior. Where the
    effective size is too small, another one is annealed from the mixture, and both must agree: else
    ``reliable`` is False, with the reason. What only the ascents find (a narrow mode) counts, because each
    answer is unbiased for Z and so more likely too small than too large. A narrow mode that nothing comes
    near is seen by no method.

    ``posterior``: a log prior that is not normalised is taken as it is (where its mass can be measured). With
    ``sample_prior`` the prior is a component of the mixture, which bounds the weights; without it draws from
    the prior are the ends of Markov chains. Bounds: ``lower`` holds in expectation (Jensen), ``upper`` too
    where the population annealed from the prior is in equilibrium (Grosse, Ghahramani and Adams 2015).
    ``gradient_evaluations`` counts a Hessian as d gradients, and no likelihoods of importance samples.
    ``progress``: shows the stages on standard error. Raises `Refused` without 64-bit numbers, for an improper
    prior, for energies that are not numbers and for a likelihood that is 0 at all draws from the prior.
    """
    if not x64():
        raise Refused('evidence needs 64-bit numbers: call jax.config.update("jax_enable_x64", True) first')
    if not progress:
        return _computed(posterior, seed, draws, lambda stage: None)
    with Console(stderr=True).status("evidence") as status:
        return _computed(posterior, seed, draws, lambda stage: status.update(f"evidence: {stage}"))


def _computed(posterior: Posterior, seed: int, draws: int, show: Callable[[str], None]) -> Evidence:
    began = time.monotonic()
    model = Model.of(posterior)
    keys = jax.random.split(run_key(seed), 7)
    show("annealing from the prior")
    prior = prior_draws(model, GROUPS, PILOT, keys[0])
    check_draws(model, prior.reshape(-1, model.d))
    path = population_annealed(model, None, prior, keys[1])
    population = np.asarray(path.xs).reshape(-1, model.d)
    show("fitting a reference")
    start = np.asarray(prior).reshape(-1, model.d)
    mass = log_mass(model, start, keys[6])
    exact = posterior.sample_prior is not None and not _not_zero(mass)
    mixture, gradients = reference(model, start, population, exact, keys[2])
    show("importance sampling")
    weights = Weights(model, mixture, max(round(draws / (BLOCK * CHUNK)), 1), keys[3])
    gradients += path.gradients + prior_gradients(model, prior.size // model.d)
    ratios = _log_ratios(model, weights.mixture, population)
    answer, annealed = _of_weights(weights), _of_path(path, mass)
    outside = float(ratios.mean()) - answer.value
    lacking = bool(_disagreement(annealed, answer)) or not outside < WIDEST_GAP
    enough = answer.ess >= max(LEAST * weights.log_weights.size, FEWEST)
    reason = ""
    if lacking or not enough:
        show("a larger population")
        prior = prior_draws(model, GROUPS, PRODUCTION, keys[5])
        path = population_annealed(model, None, prior, keys[5])
        gradients += path.gradients + prior_gradients(model, prior.size // model.d)
        annealed = _of_path(path, mass)
        if enough:
            reason = _disagreement(answer, annealed)
            answer = annealed if math.isfinite(annealed.std_error) else answer
        elif lacking:
            answer = annealed
        else:
            bridge = _bridge(model, mixture, keys[4])
            gradients += bridge.gradients
            bridged = _of_path(bridge, None)
            reason = _disagreement(annealed, bridged) or _disagreement(bridged, annealed)
            answer = min(annealed, bridged, key=lambda x: x.std_error)
        if not answer.std_error < WIDEST_SPREAD:
            differ = f"independent populations differ: ln Z is known to {answer.std_error:.2g} nats only"
            reason = _not_reached(answer) or differ
    return Evidence(
        Estimate(answer.value, answer.std_error, answer.ess, not reason, reason, f"ln Z by {answer.name}"),
        _lower(answer),
        _upper(ratios),
        gradients,
        time.monotonic() - began,
    )


def _of_weights(weights: Weights) -> _Answer:
    batches = np.array([log_mean_exp(weights.log_weights.ravel()[i::16]) for i in range(16)])
    return _Answer(weights.log_mean, weights.std_error, weights.ess, "importance sampling", batches)


def _not_zero(mass: Estimate) -> bool:
    return mass.reliable and abs(mass.value) > max(DISAGREE * mass.std_error, 0.01)


def _of_path(path: Path, mass: Estimate | None) -> _Answer:
    """``mass``: ln of that of the prior, where the path starts there: annealing finds Z over it."""
    batches = np.asarray(path.log_z)
    name = "annealing from the prior" if mass is not None else "annealing from the reference"
    found = annealed_importance_sampling(batches)
    value, error = found.value, found.std_error
    if float(path.coupling) < 1:
        error = math.inf
    if mass is not None and _not_zero(mass):
        batches, value, error = batches + mass.value, value + mass.value, math.hypot(error, mass.std_error)
    return _Answer(value, error, float(len(batches)), name, batches)


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


def _lower(answer: _Answer) -> Estimate:
    """From ln of the estimates of Z by independent batches or populations (Jensen's inequality)."""
    batches = answer.batches
    return Estimate(
        float(batches.mean()),
        float(batches.std(ddof=1) / math.sqrt(len(batches))),
        meaning="in expectation not above ln Z (Jensen); by Markov's inequality ln Z is above "
        f"{answer.value - math.log(100):.4f} with probability 0.99",
    )


def _upper(log_ratios: np.ndarray) -> Estimate:
    """Mean of ln posterior/reference over the populations from the prior: ln Z + KL."""
    found = log_ratios.mean(axis=1)
    return Estimate(
        float(found.mean()),
        float(found.std(ddof=1) / math.sqrt(len(found))),
        meaning="in expectation not below ln Z, if the population annealed from the prior is in equilibrium",
    )


def _not_reached(answer: _Answer) -> str:
    return "" if math.isfinite(answer.std_error) else f"{answer.name} did not reach the posterior"


def _disagreement(more: _Answer, less: _Answer) -> str:
    """Why ``more`` contradicts ``less``, which missed a mode then, or why they cannot be compared; "" where
    both agree."""
    if reason := _not_reached(more) or _not_reached(less):
        return reason
    joint = math.hypot(more.std_error, less.std_error)
    if not more.value - less.value > DISAGREE * joint:
        return ""
    return (
        f"{more.name} gives {more.value:.3f} +- {more.std_error:.2g}, more than {less.name}, which gives "
        f"{less.value:.3f} +- {less.std_error:.2g}"
    )
