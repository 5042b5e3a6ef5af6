"""Momenta right after the bath's move are at its temperature, whatever the step; at the step's end they are
not."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from heatbath.core import Constant, Control, Draw, Record, simulate
from heatbath.dynamics import SGHMC, SGNHT, Langevin
from heatbath.systems import HarmonicTrap
from heatbath.thermometry import kinetic_temperature

T, STIFFNESS = 0.7, 1.0
Z_LIMIT = float(stats.norm.isf(5e-6))  # two-sided level 1e-5
STEP = 1.2  # k h^2/4 = 0.36: what the end of a BAOAB step is too cold by


def momenta(dynamics, what):
    run = simulate(
        HarmonicTrap(2),
        dynamics,
        Constant(Control(T, {"stiffness": STIFFNESS, "centre": 0.0})),
        key=1,
        replicas=400,
        steps=400,
        every=5,
        observers={"p": Record(what)},
        ledger="off",
        progress=False,
    )
    return run.records["p"][:, 20:]


@pytest.mark.parametrize(
    "dynamics",
    [Langevin(STEP, 1.0), SGHMC(STEP, friction=1.0), SGNHT(0.1, friction=1.0)],
    ids=["BAOAB", "SGHMC", "SGNHT"],
)
def test_momenta_after_the_bath_are_at_its_temperature(dynamics):
    """The smallest fault seen is 4.4 %: 4.4 errors of at most 1 %."""
    found = kinetic_temperature(momenta(dynamics, lambda seen, _: seen.momentum), T).temperature
    assert found.std_error < 0.01 * T
    assert abs(found.value - T) < Z_LIMIT * found.std_error


def test_a_splitting_that_forgets_them_says_so():
    trap, control = HarmonicTrap(2), Control(T, {"stiffness": STIFFNESS, "centre": 0.0})
    for splitting, known in (("BAOAB", True), ("BAO", True), ("ABOBA", False), ("OBABO", True)):
        dynamics = Langevin(STEP, 1.0, splitting)
        state = dynamics.init(trap, jnp.ones(2), control, Draw(jax.random.key(0), jnp.asarray(0)))
        assert (dynamics.bath_momentum(state) is not None) == known


@pytest.mark.teeth
@pytest.mark.parametrize("dynamics", [Langevin(STEP, 1.0), SGHMC(STEP, friction=1.0)], ids=["BAOAB", "SGHMC"])
def test_the_momenta_at_the_end_of_a_step_are_not(dynamics):
    kinetic = momenta(dynamics, lambda seen, _: seen.kinetic)  # |p|^2/2 of two momenta: its mean is T
    means = kinetic.mean(axis=1)
    assert abs(means.mean() - T) > 5 * means.std() / np.sqrt(len(means))
