"""Forward and reversed runs of a breathing trap: Bennett's acceptance ratio, slope of Crooks' relation.

Stiffness 1 to 2 and back in four jumps, every dynamics at 80 % of its stability limit at the stiff end.
Crooks: ln p_forward(w)/p_reverse(-w) = w - dF, so a logistic regression of the direction on w has slope 1
and intercept -dF (Shirts, Bair, Hooker and Pande 2003); its standard errors are those of maximum likelihood.
False alarms: 1e-6 a comparison. With 100,000 runs each way the error of the slope is 0.003 to 0.007.
"""

from functools import cache

import numpy as np
import pytest
from scipy.special import expit

from conformance import checks
from heatbath.core import Control, Linear, Reversed, simulate
from heatbath.dynamics import Langevin, OverdampedLangevin
from heatbath.systems import HarmonicTrap

MOVES, REPLICAS = 4, 100_000
TRAP = HarmonicTrap(1)
SOFT, STIFF = (Control(1.0, {"stiffness": k, "centre": 0.0}) for k in (1.0, 2.0))
FREE_ENERGY = float(TRAP.log_partition(SOFT) - TRAP.log_partition(STIFF))
LIMIT = 2 / 2**0.5  # of the leapfrog at stiffness 2
DYNAMICS = {
    "Euler-Maruyama": OverdampedLangevin(0.8),
    "BAOAB": Langevin(0.8 * LIMIT, 0.3),
    "BAO": Langevin(0.8 * LIMIT, 0.3, "BAO"),  # no palindrome: its reverse has the letters reversed
}


@cache
def works(name: str, forward: bool, letters_reversed: bool = True) -> np.ndarray:
    """Reduced work of runs from equilibrium at the soft end, or of the reversed ones from the stiff end."""
    dynamics, protocol, start, seed = DYNAMICS[name], Linear(SOFT, STIFF, MOVES), SOFT, 1
    if not forward:
        protocol, start, seed = Reversed(protocol, MOVES), STIFF, 2
        dynamics = dynamics.reversed() if letters_reversed else dynamics
    run = simulate(
        TRAP,
        dynamics,
        protocol,
        key=seed,
        replicas=REPLICAS,
        steps=MOVES + 1,
        observers={},
        positions=checks.equilibrium(TRAP, start, REPLICAS, seed + 10),
        progress=False,
    )
    assert run.alive.all()
    return np.asarray(run.ledger.reduced_work)


def crooks(forward: np.ndarray, reverse: np.ndarray) -> tuple[float, float]:
    """z of the slope against 1, and of the intercept at slope 1, which is Bennett's estimate, against -dF."""
    x = np.concatenate([forward, -reverse])
    y = np.concatenate([np.ones(forward.size), np.zeros(reverse.size)])
    design = np.stack([x, np.ones_like(x)], axis=1)

    def fitted(design, offset):
        found = np.zeros(design.shape[1])
        for _ in range(25):  # Newton's method: the likelihood is concave
            p = expit(design @ found + offset)
            information = design.T @ (design * (p * (1 - p))[:, None])
            found = found + np.linalg.solve(information, design.T @ (y - p))
        return found, np.sqrt(np.diag(np.linalg.inv(information)))

    (slope, _), (slope_error, _) = fitted(design, 0.0)
    (intercept,), _ = fitted(design[:, 1:], x)
    left, right = expit(-(forward + intercept)), expit(-(reverse - intercept))  # their means agree
    error = np.hypot(left.std(), right.std()) / np.sqrt(REPLICAS)
    error /= np.mean(np.concatenate([left * (1 - left), right * (1 - right)])) * 2
    assert np.isfinite([slope, slope_error, intercept, error]).all()
    return float((slope - 1) / slope_error), float((intercept + FREE_ENERGY) / error)


@pytest.mark.parametrize("name", DYNAMICS)
def test_bennett_and_crooks_slope_at_80_per_cent_of_the_stability_limit(name):
    slope, free_energy = crooks(works(name, True), works(name, False))
    assert abs(slope) < checks.Z_LIMIT
    assert abs(free_energy) < checks.Z_LIMIT


@pytest.mark.teeth
def test_letters_that_are_not_reversed_are_seen():
    slope, _ = crooks(works("BAO", True), works("BAO", False, letters_reversed=False))
    assert abs(slope) > 5


@pytest.mark.teeth
def test_work_booked_four_per_cent_too_small_is_seen():
    slope, _ = crooks(0.96 * works("Euler-Maruyama", True), 0.96 * works("Euler-Maruyama", False))
    assert abs(slope) > 5
