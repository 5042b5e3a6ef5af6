"""Chains made from the dynamics themselves. Exact: no random numbers, no false alarms."""

import jax.numpy as jnp
import numpy as np
import pytest

from heatbath.core import Control, Draw
from heatbath.dynamics import HMC, MALA, Langevin, OverdampedLangevin
from heatbath.errors import Refused
from heatbath.relaxation import grid_chain, linear_chain, relative_entropy
from heatbath.systems import DoubleWell, HarmonicTrap
from heatbath.theory.gaussian import divergence

TRAP = HarmonicTrap(1)
CONTROL = Control(0.7, {"stiffness": 2.0, "centre": 0.4})
WELL = Control(0.5, {"barrier": 1.0, "tilt": -0.2})
GRID = np.linspace(-3, 3, 301)
NARROW = np.linspace(-2.5, 2.5, 251)  # no density of a step of 0.02 underflows on it


def test_euler_maruyama_relaxes_to_its_own_law():
    """x' = (1 - hk) x + ...: its variance is T/k/(1 - hk/2), not T/k, and D falls by (1 - hk)^2 at last."""
    chain = linear_chain(OverdampedLangevin(0.3), TRAP, CONTROL, np.zeros(1))
    mean, covariance = chain.stationary
    np.testing.assert_allclose(mean, [0.4], rtol=1e-12)
    np.testing.assert_allclose(covariance, [[0.35 / 0.7]], rtol=1e-12)
    d = chain.divergences(12, [3.0], [[0.1]])
    assert np.all(np.diff(d) < 0)
    assert d[12] / d[11] == pytest.approx(0.4**2, rel=1e-3)
    by_hand, mean, variance = [], 3.0, 0.1
    for _ in range(13):
        by_hand.append(divergence([mean], [[variance]], [0.4], [[0.5]]))
        mean, variance = 0.4 + 0.4 * (mean - 0.4), 0.16 * variance + 0.42
    np.testing.assert_allclose(d, by_hand, rtol=1e-10)


def test_to_the_boltzmann_law_the_unadjusted_kernel_stays_at_a_distance():
    """Started in exp(-U/T), D to exp(-U/T) rises: the H-theorem is one of the kernel's own law."""
    chain = linear_chain(OverdampedLangevin(0.3), TRAP, CONTROL, np.zeros(1))
    away = divergence(*chain.after(5, [0.4], [[0.35]]), [0.4], [[0.35]])
    assert away > 0.02


@pytest.mark.parametrize("splitting", ["BAOAB", "OBABO", "BAO"])
@pytest.mark.parametrize("step", [0.5, 1.6])
def test_h_theorem_of_langevin_dynamics_in_full_phase_space(splitting, step):
    """D of (x, p) from the splitting's own law never rises, up to 80 % of the stability limit, though that of
    x alone does."""
    dynamics = Langevin(step / np.sqrt(2), 0.3, splitting)
    chain = linear_chain(dynamics, TRAP, CONTROL, np.zeros(1))
    d = chain.divergences(60, [2.0, 0.0], 0.05 * np.eye(2))
    assert np.all(np.diff(d) <= 1e-12)
    assert d[-1] < 0.02 * d[0]
    rest_mean, rest = chain.stationary
    laws = [chain.after(n, [2.0, 0.0], 0.05 * np.eye(2)) for n in range(20)]
    positions = [divergence(m[:1], s[:1, :1], rest_mean[:1], rest[:1, :1]) for m, s in laws]
    assert max(np.diff(positions)) > 0.01


def test_baoab_has_the_exact_law_of_positions():
    """Leimkuhler and Matthews 2013: exact for a harmonic trap at any step, and the momenta are not."""
    chain = linear_chain(Langevin(0.9, 1.2), HarmonicTrap(2), CONTROL, np.zeros(2))
    covariance = chain.stationary[1]
    np.testing.assert_allclose(covariance[:2, :2], 0.35 * np.eye(2), rtol=1e-10, atol=1e-14)
    np.testing.assert_allclose(
        covariance[2:, 2:], 0.7 * (1 - 0.81 * 2 / 4) * np.eye(2), rtol=1e-10, atol=1e-14
    )


def test_linear_chain_is_what_the_dynamics_does():
    """Many steps by hand with noise 0 end where the chain's mean does."""
    dynamics = OverdampedLangevin(0.3)
    chain = linear_chain(dynamics, TRAP, CONTROL, np.zeros(1))
    state = dynamics.init(TRAP, jnp.array([3.0]), CONTROL, Draw(jnp.zeros(2, jnp.uint32), jnp.array(0)))
    for _ in range(4):
        state, _ = dynamics.step_given(TRAP, state, CONTROL, jnp.zeros((1, 1)))
    np.testing.assert_allclose(chain.after(4, [3.0], [[0.1]])[0], state.position, rtol=1e-12)


@pytest.mark.parametrize(
    ("dynamics", "system", "control"),
    [
        (MALA(0.3), TRAP, CONTROL),
        (HMC(0.1, 3), TRAP, CONTROL),
        (OverdampedLangevin(0.02), DoubleWell(), WELL),
    ],
)
def test_what_is_not_linear_is_refused(dynamics, system, control):
    with pytest.raises(Refused, match="not linear"):
        linear_chain(dynamics, system, control, np.zeros(1))


def start(grid: np.ndarray = GRID) -> np.ndarray:
    weights = np.exp(-((grid + 1) ** 2) / 0.2)
    return weights / weights.sum()


def test_mala_in_a_double_well_keeps_detailed_balance_and_the_h_theorem():
    chain, target = grid_chain(MALA(0.05), DoubleWell(), WELL, GRID)
    flow = target[:, None] * chain.transition
    assert np.abs(flow - flow.T).max() < 1e-15
    d = chain.divergences(start(), 40)
    assert np.all(np.diff(d) < 0)
    made = chain.entropy_production(start(), 40)
    assert made.total == pytest.approx(d[0] - d[-1], rel=1e-9)
    np.testing.assert_allclose(chain.fluctuation_averages(start(), 5), 1, rtol=1e-9)


def test_euler_maruyama_in_a_double_well_makes_housekeeping_heat_and_has_a_law_of_its_own():
    """At a finite step it breaks detailed balance, even in one dimension, and that shrinks with the step. The
    law's error is of order h, so its distance in nats of order h^2: at half the step 4 + O(h) times less."""
    made, distances = [], []
    for step in (0.04, 0.02, 0.01):
        chain, target = grid_chain(OverdampedLangevin(step), DoubleWell(), WELL, NARROW)
        assert np.all(np.diff(chain.divergences(start(NARROW), 40)) < 0)
        made.append(chain.entropy_production(chain.stationary).housekeeping / step)
        distances.append(relative_entropy(chain.stationary, target))
    assert made[0] > 2 * made[1] > 0
    coarse, fine = distances[0] / distances[1], distances[1] / distances[2]
    assert fine == pytest.approx(4, abs=0.5)
    assert (coarse - 4) / (fine - 4) == pytest.approx(2, rel=0.25)


@pytest.mark.teeth
def test_a_kernel_with_the_wrong_temperature_is_seen():
    """MALA run 1 % too hot misses detailed balance with the target by far more than rounding."""
    _, target = grid_chain(MALA(0.05), DoubleWell(), WELL, GRID)
    hot, _ = grid_chain(MALA(0.05), DoubleWell(), Control(0.505, WELL.couplings), GRID)
    flow = target[:, None] * hot.transition
    assert np.abs(flow - flow.T).max() > 1e-7


def test_grids_that_do_not_fit_are_refused():
    with pytest.raises(Refused, match="finer"):
        grid_chain(MALA(1e-5), DoubleWell(), WELL, GRID)
    with pytest.raises(Refused, match="wider"):
        grid_chain(OverdampedLangevin(0.02), DoubleWell(), WELL, np.linspace(-1, 1, 101))
    for dynamics in (HMC(0.1, 3), Langevin(0.1)):
        with pytest.raises(Refused, match="no normal proposals"):
            grid_chain(dynamics, DoubleWell(), WELL, GRID)
    with pytest.raises(Refused, match="equal steps"):
        grid_chain(MALA(0.05), DoubleWell(), WELL, [0.0])
