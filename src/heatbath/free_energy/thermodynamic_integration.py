"""Free energy along a ladder of couplings sampled in equilibrium: by integration, and stone by stone.

The energy is linear in the coupling, U = U_0 + lambda V, as it is for the inverse temperature of a posterior
(V = -log likelihood). Samples are independent of one another: thin or block a chain first.
"""

import math

import numpy as np
from numpy.typing import ArrayLike

from heatbath.estimate import Estimate
from heatbath.free_energy._checks import FEWEST, check_ladder
from heatbath.free_energy.jarzynski import jarzynski

WIDEST_STEP = 1.0
"""Symmetrised KL divergence of neighbours (nats) up to which the rule's own error is small."""


def thermodynamic_integration(couplings: ArrayLike, energies) -> Estimate:
    """Free-energy difference f_K - f_1 in kT: the integral of <dU/dlambda>/T by the corrected trapezoid.

    ``couplings``: shape (K,), strictly rising or falling; ``energies``: K arrays of dU/dlambda/T (kT per unit
    of the coupling), samples in equilibrium at each coupling. To the trapezoid is added
    sum h^2/12 (Var_{k+1} - Var_k), as d<V>/dlambda = -Var V for an energy linear in the coupling. With
    lambda the inverse temperature and V = -log likelihood, -f is the log evidence.

    The standard error is that of the means and variances, without the error of the rule; ``meaning`` gives
    the difference from the plain trapezoid. Not reliable where leaving out every second coupling says that
    the rule's error exceeds the standard error, where neighbours are over 1 nat apart (symmetrised KL,
    h (<V>_k - <V>_{k+1})), where <V> rises with the coupling, or below 20 samples at one of them.
    Raises `Refused` for couplings out of order, and energies that are not finite.
    Source: Friel, Hurn and Wyse, Statistics and Computing 24, 709 (2014).
    """
    ladder, samples = check_ladder(couplings, energies)
    means = np.array([u.mean() for u in samples])
    of_means, of_variances = _weights(ladder)
    trapezoid = float(of_means @ means)
    fewest = min(u.size for u in samples)
    if fewest < 2:
        reason = "a single sample at a coupling has no variance and no error bar"
        return Estimate(trapezoid, math.inf, reliable=False, reason=reason)
    variances = np.array([u.var(ddof=1) for u in samples])
    value = trapezoid + float(of_variances @ variances)
    terms = zip(of_means, of_variances, samples, means, strict=True)
    error = math.sqrt(sum(np.var(a * u + b * (u - m) ** 2, ddof=1) / u.size for a, b, u, m in terms))
    reason = _why_not(np.diff(ladder), means, variances / [u.size for u in samples], fewest)
    if not reason and ladder.size > 2:
        half = np.unique(np.r_[0 : ladder.size : 2, ladder.size - 1])
        of_means, of_variances = _weights(ladder[half])
        # A rule of fourth order: half the couplings make 16 times the error.
        rule = abs(float(of_means @ means[half] + of_variances @ variances[half]) - value) / 15
        if rule > error:
            reason = (
                f"the integration rule is off by about {rule:.2g} kT, above the standard error {error:.2g}: "
                "put couplings between"
            )
    meaning = f"the plain trapezoid gives {trapezoid:.6g}, a difference of {trapezoid - value:.2g} kT"
    return Estimate(value, error, reliable=not reason, reason=reason, meaning=meaning)


def _weights(ladder: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What the corrected trapezoid multiplies means and variances with."""
    steps = np.concatenate([[0.0], np.diff(ladder), [0.0]])
    return (steps[:-1] + steps[1:]) / 2, (steps[:-1] ** 2 - steps[1:] ** 2) / 12


def _why_not(steps: np.ndarray, means: np.ndarray, errors2: np.ndarray, fewest: int) -> str:
    if fewest < FEWEST:
        return f"{fewest} samples at one coupling: an error bar needs at least {FEWEST} at each"
    apart, error = -steps * np.diff(means), np.abs(steps) * np.sqrt(errors2[:-1] + errors2[1:])
    if reason := _why_rising(steps, means, errors2):
        return reason
    k = int(np.argmax(apart))
    if apart[k] - 3 * error[k] > WIDEST_STEP:
        return (
            f"couplings {k} and {k + 1} are {apart[k]:.3g} nats apart in symmetrised KL: "
            "the error of the integration rule is not in the error bar; put couplings between"
        )
    return ""


def _why_rising(steps: np.ndarray, means: np.ndarray, errors2: np.ndarray) -> str:
    """Between neighbours, or from end to end, by over 5 standard errors."""
    last = len(steps)
    for i, j in [*((k, k + 1) for k in range(last)), (0, last)]:
        if np.sign(steps[0]) * (means[j] - means[i]) > 5 * math.sqrt(errors2[i] + errors2[j]):
            return (
                f"<dU/dlambda> rises with lambda between couplings {i} and {j}, against equilibrium: check "
                "the sign of the energies, and that the samples are in equilibrium"
            )
    return ""


def stepping_stones(couplings: ArrayLike, energies) -> Estimate:
    """Free-energy difference f_K - f_1 in kT as a sum of one-step Jarzynski averages, free of discretisation.

    sum over k of -ln < exp(-(lambda_{k+1} - lambda_k) V) >_k. Arguments as `thermodynamic_integration` (the
    last samples only show whether <V> rises). Standard errors add in quadrature. Reliable where every stone
    is, by the rules of `jarzynski`, and <V> does not rise with the coupling. Raises `Refused` as
    `thermodynamic_integration`.
    Source: Xie, Lewis, Fan, Kuo and Chen, Systematic Biology 60, 150 (2011).
    """
    ladder, samples = check_ladder(couplings, energies)
    stones = [jarzynski(h * u) for h, u in zip(np.diff(ladder), samples[:-1], strict=True)]
    value = sum(stone.value for stone in stones)
    error = math.sqrt(sum(stone.std_error**2 for stone in stones))
    reasons = [f"stone {k}: {stone.reason}" for k, stone in enumerate(stones) if stone.reason]
    if min(u.size for u in samples) > 1:
        means, variances = (np.array([f(u) for u in samples]) for f in (np.mean, np.var))
        reasons.insert(0, _why_rising(np.diff(ladder), means, variances / [u.size for u in samples]))
    reason = next(filter(None, reasons), "")
    ess = min(stone.ess for stone in stones)
    meaning = f"biased upwards by about {error**2 / 2:.2g} kT" if math.isfinite(error) else ""
    return Estimate(value, error, ess, not reason, reason, meaning)
