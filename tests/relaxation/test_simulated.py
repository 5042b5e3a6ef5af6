"""Replicas that really relax, against the exact chain of their own dynamics.

False alarms: 4.5 standard errors, 7e-6 each; fixed seeds. Smallest fault they must catch: the law of the
continuous-time process in the place of the dynamics' own, 36 standard errors away here.
"""

import jax.numpy as jnp
import numpy as np
import pytest

from heatbath.core import Constant, Control, simulate
from heatbath.dynamics import Langevin, OverdampedLangevin
from heatbath.relaxation import gaussian_fit, linear_chain, neighbour_divergence, ornstein_uhlenbeck
from heatbath.systems import HarmonicTrap
from heatbath.theory.gaussian import divergence

TRAP, CONTROL, REPLICAS = HarmonicTrap(1), Control(0.7, {"stiffness": 2.0, "centre": 0.4}), 4_000


def relaxed(dynamics, steps: int) -> np.ndarray:
    """Positions (replicas, 1) after ``steps`` steps from N(2, 0.1)."""
    start = 2 + np.sqrt(0.1) * np.random.default_rng(0).normal(size=(REPLICAS, 1))
    run = simulate(
        TRAP,
        dynamics,
        Constant(CONTROL),
        key=5,
        replicas=REPLICAS,
        steps=steps,
        observers={},
        positions=jnp.asarray(start),
    )
    return np.asarray(run.position)


@pytest.mark.parametrize("steps", [1, 2, 4])
def test_euler_maruyama_is_as_far_as_its_chain_says(steps):
    dynamics = OverdampedLangevin(0.3)
    chain = linear_chain(dynamics, TRAP, CONTROL, np.zeros(1))
    exact = chain.divergences(steps, [2.0], [[0.1]])[-1]
    found = gaussian_fit(relaxed(dynamics, steps), law=chain.stationary)
    assert abs(found.value - exact) < 4.5 * found.std_error


@pytest.mark.teeth
def test_the_continuous_process_is_told_from_it():
    continuous = ornstein_uhlenbeck([[2.0]], [[0.7]], 0.3)
    exact = continuous.divergences(1, [1.6], [[0.1]])[-1]
    found = gaussian_fit(relaxed(OverdampedLangevin(0.3), 1), law=([0.4], [[0.35]]))
    assert abs(found.value - exact) > 5 * found.std_error


def test_langevin_positions_relax_as_the_marginal_of_phase_space():
    """Momenta start from the bath; the fit and nearest neighbours against the known energy agree (its law of
    positions is exact), the latter with the bias that it states."""
    dynamics, steps = Langevin(0.5, 1.2), 3
    chain = linear_chain(dynamics, TRAP, CONTROL, np.zeros(1))
    mean, covariance = chain.after(steps, [2.0, 0.0], np.diag([0.1, 0.7]))
    exact = divergence(mean[:1], covariance[:1, :1], [0.4], [[0.35]])
    x = relaxed(dynamics, steps)
    fitted = gaussian_fit(x, law=([0.4], [[0.35]]))
    assert abs(fitted.value - exact) < 4.5 * fitted.std_error
    neighbours = neighbour_divergence(x, (x[:, 0] - 0.4) ** 2 / 0.7, np.log(2 * np.pi * 0.35) / 2)
    assert abs(neighbours.value - exact) < 4.5 * neighbours.std_error
