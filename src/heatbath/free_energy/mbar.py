"""Multistate Bennett acceptance ratio: all free energies at once, from samples of several states."""

import math
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import logsumexp

from heatbath.errors import Refused
from heatbath.estimate import Estimate
from heatbath.free_energy._checks import FEWEST, LEAST_OVERLAP, check_energies

DISCONNECTED = 1e-9
"""Gap of the overlap matrix below which states share no samples, and their difference is not determined."""


@dataclass(frozen=True, eq=False)
class MBAR:
    """Free energies of K states, in kT, up to a constant: the first is 0.

    ``covariance`` (K, K) of the free energies, its first row and column 0. ``overlap`` (K, K): element (i, j)
    is the mean over state i of the probability that a sample came from j; rows add up to 1. ``samples`` (K,):
    their number in each state. ``ess`` (K,): effective number of samples of each state.
    """

    free_energies: np.ndarray
    covariance: np.ndarray
    overlap: np.ndarray
    samples: np.ndarray
    ess: np.ndarray

    def difference(self, i: int, j: int) -> Estimate:
        """f_j - f_i, in kT, with its asymptotic standard error.

        Not reliable where the smallest overlap of neighbours (states in the order given) between i and j is
        below 0.03, or a state has fewer than 20 samples. Raises `Refused` for a state that is not there.
        """
        count = self.samples.size
        for k in (i, j):
            if not 0 <= k < count:
                raise Refused(f"state {k}: there are {count}, counted from 0")
        c = self.covariance
        reason = self._why_not(i, j) if i != j else ""
        error = math.inf
        if np.isfinite(c).all():
            error = math.sqrt(max(float(c[i, i] + c[j, j] - 2 * c[i, j]), 0.0))
        value = float(self.free_energies[j] - self.free_energies[i])
        return Estimate(value, error, float(min(self.ess[i], self.ess[j])), not reason, reason)

    def _why_not(self, i: int, j: int) -> str:
        if not np.isfinite(self.covariance).all():
            return "the states fall into groups that share no samples: put states between"
        low, high = min(i, j), max(i, j)
        sampled = np.flatnonzero(self.samples)
        path = sampled[(sampled >= low) & (sampled <= high)]
        fewest = min(*self.samples[path], self.ess[i], self.ess[j]) if path.size else 0
        if fewest < FEWEST:
            return f"a state between {low} and {high} has {fewest:.3g} samples: give at least {FEWEST}"
        least = min((min(self.overlap[a, b], self.overlap[b, a]) for a, b in pairwise(path)), default=1.0)
        if least < LEAST_OVERLAP:
            return (
                f"the smallest overlap of neighbours between states {low} and {high} is {least:.2g}, below "
                f"{LEAST_OVERLAP}: put states between, or sample them longer"
            )
        return ""


def mbar(energies: ArrayLike, states: ArrayLike) -> MBAR:
    """Free energies of K states from independent samples of some or all of them.

    ``energies``: shape (N, K), reduced energy U/T (nats) of every sample in every state, up to a constant of
    the sample (the difference from its own state will do); +inf is legal except in a sample's own state.
    ``states``: shape (N,), whole numbers, the state each sample was drawn from; a state may have none.

    Solves f_i = -ln sum_n exp(-u_in) / sum_k N_k exp(f_k - u_kn), in the log domain, by self-consistent steps
    and then Newton's method. Raises `Refused` for NaN, -inf, shapes that do not fit, and no convergence.
    Source: Shirts and Chodera, J. Chem. Phys. 129, 124105 (2008), eqs. 11 (free energies) and 8 (covariance).
    """
    u, samples = _checked(energies, states)
    used = np.flatnonzero(samples)
    f_used = _solve(u[:, used], samples[used])
    log_mixture = np.asarray(logsumexp(np.log(samples[used]) + f_used - u[:, used], axis=1))
    f = -np.asarray(logsumexp(-u - log_mixture[:, None], axis=0))
    weights = np.exp(f - u - log_mixture[:, None])
    gram = weights.T @ weights
    return MBAR(f - f[0], _covariance(gram, samples), gram * samples, samples, 1 / np.diag(gram))


def _checked(energies: ArrayLike, states: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    u = check_energies(energies, "energies")
    if u.ndim != 2 or u.shape[1] < 2:
        raise Refused(f"energies have shape {u.shape}: give (samples, states), two states or more")
    state = np.asarray(states)
    if state.shape != u.shape[:1] or not np.issubdtype(state.dtype, np.integer):
        kind = f"shape {state.shape} and type {state.dtype}"
        raise Refused(f"states have {kind}: give one whole number to each of {len(u)} samples")
    if state.min() < 0 or state.max() >= u.shape[1]:
        raise Refused(
            f"states run from {state.min()} to {state.max()}: there are {u.shape[1]}, counted from 0"
        )
    own = u[np.arange(len(u)), state]
    if np.isinf(own).any():
        where = int(np.argmax(np.isinf(own)))
        raise Refused(
            f"energies[{where}] is infinite in its own state, {state[where]}: it cannot have been drawn"
        )
    if np.isinf(u).all(axis=0).any():
        where = int(np.argmax(np.isinf(u).all(axis=0)))
        raise Refused(f"no sample has a finite energy in state {where}: leave the state out")
    return u - own[:, None], np.bincount(state, minlength=u.shape[1])


def _solve(u: np.ndarray, samples: np.ndarray) -> np.ndarray:
    """Maximum of the concave sum_k N_k f_k - sum_n ln sum_k N_k exp(f_k - u_kn), with f_0 = 0."""
    logs = np.log(samples) - u

    def shares(f: np.ndarray) -> tuple[np.ndarray, float]:
        """Probability of each sample to have come from each state; and the function to be maximised."""
        log_mixture = np.asarray(logsumexp(logs + f, axis=1))
        return np.exp(logs + f - log_mixture[:, None]), float(samples @ f - log_mixture.sum())

    f = np.zeros(samples.size)
    for _ in range(20):
        f = -np.asarray(logsumexp(-u - np.asarray(logsumexp(logs + f, axis=1))[:, None], axis=0))
        f = f - f[0]
    p, value = shares(f)
    for _ in range(200):
        gradient = (samples - p.sum(axis=0))[1:]
        curvature = (np.diag(p.sum(axis=0)) - p.T @ p)[1:, 1:]
        step = np.concatenate([[0.0], np.linalg.lstsq(curvature, gradient, rcond=1e-14)[0]])
        new_p, new_value = shares(f + step)
        while not new_value >= value - 1e-12 * abs(value) and np.abs(step).max() > 1e-12:
            step = step / 2
            new_p, new_value = shares(f + step)
        f, p, value = f + step, new_p, new_value
        if np.abs(step).max() < 1e-10:
            return f
    raise Refused(
        "MBAR did not converge in 200 steps: neighbouring states share no samples; put states between"
    )


def _covariance(gram: np.ndarray, samples: np.ndarray) -> np.ndarray:
    """Covariance of f - f_0 from the weights' Gram matrix; infinite where the states fall into groups."""
    squares, vectors = np.linalg.eigh(gram)
    root = vectors * np.sqrt(np.maximum(squares, 0.0))
    values, modes = np.linalg.eigh(np.eye(len(gram)) - root.T @ (samples[:, None] * root))
    # The smallest eigenvalue is the 0 of a common constant; a second one is a second group of states.
    if values[1] < DISCONNECTED:
        return np.full(gram.shape, math.inf)
    half = root @ (modes[:, 1:] / np.sqrt(values[1:]))
    theta = half @ half.T
    return theta - theta[:1] - theta[:, :1] + theta[0, 0]
