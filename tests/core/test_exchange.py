"""Replica exchange in a driven run: only the product over the slots satisfies the work identity."""

import jax
import jax.numpy as jnp
import numpy as np

from heatbath.core import Control, FromFunction, simulate
from heatbath.dynamics import OverdampedLangevin, ReplicaExchange
from heatbath.systems import HarmonicTrap

PAIRS, STEPS, Z_LIMIT = 20_000, 5, 4.9  # two-sided level 1e-6


def ladder(step, replica, hot):
    """Slots in turn: one at rest at temperature 1, one at ``hot`` whose stiffness goes from 1 to 4."""
    driven = replica % 2 == 1
    stiffness = 1.0 + driven * 3.0 * step / (STEPS - 1)
    return Control(jnp.where(driven, hot, 1.0), {"stiffness": stiffness, "centre": 0.0})


def test_the_product_over_the_slots_satisfies_the_identity_and_one_slot_does_not():
    """One attempt, at the third of five steps, between the members of each pair: the pairs are independent.
    The slot at rest alone is off by more than five standard errors: its partner is not in equilibrium."""
    temperature = jnp.tile(jnp.asarray([1.0, 2.0]), PAIRS)
    start = jnp.sqrt(temperature) * jax.random.normal(jax.random.key(3), (2 * PAIRS,))
    run = simulate(
        HarmonicTrap(1),
        OverdampedLangevin(0.1),
        FromFunction(ladder, 2.0),
        key=1,
        replicas=2 * PAIRS,
        steps=STEPS,
        observers={},
        moves=(ReplicaExchange(every=3),),
        positions=start[:, None],
        progress=False,
    )
    ledger = run.ledger
    assert ledger is not None
    assert np.abs(np.asarray(ledger.residual())).max() < 1e-10
    exponent = np.asarray(ledger.energy_change / temperature + ledger.entropy_flow).reshape(PAIRS, 2)

    def z(exponent, expected):
        sample = np.exp(-exponent)
        return (sample.mean() - expected) / (sample.std() / len(sample) ** 0.5)

    assert abs(z(exponent.sum(axis=1), 4**-0.5)) < Z_LIMIT
    assert abs(z(exponent[:, 0], 1.0)) > 5
