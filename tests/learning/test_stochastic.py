"""Warm-up with minibatches: stairs of the coupling, when energies are measured, the frozen units."""

from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from heatbath.core import Diverged, Geometric
from heatbath.learning import stochastic
from heatbath.learning.phases import POSTERIOR, START
from heatbath.learning.settings import Settings
from heatbath.systems import ClassificationNetwork

RNG = np.random.default_rng(0)
INPUTS = RNG.normal(size=(60, 3)) @ np.array([[1, 0.95, 0], [0, 0.3, 0], [0, 0, 1]]) + 1
NETWORK = ClassificationNetwork(INPUTS, RNG.integers(0, 3, 60), 3, (4,))


def test_stairs_move_seldom_and_arrive():
    stairs = stochastic.Stairs(Geometric(START, POSTERIOR, 12), 4)
    found = [float(stairs(jnp.asarray(t), jnp.asarray(0)).couplings["likelihood"]) for t in range(16)]
    assert found == pytest.approx([0.001] * 4 + [0.01] * 4 + [0.1] * 4 + [1.0] * 4)
    moves = [t for t in range(16) if bool(stairs.moves(jnp.asarray(t)))]
    assert moves == [4, 8, 12]


@pytest.mark.parametrize(
    ("passes", "batch", "every", "steps"), [(1, 60, 1, 1), (5, 7, 20, 60), (1, 7, 20, 20)]
)
def test_energies_are_measured_every_few_passes_and_at_saves(passes, batch, every, steps):
    settings = Settings().with_minibatches("sgld", batch, 60)
    assert stochastic.measured_every(passes, NETWORK, settings, every) == steps


def test_in_the_frozen_units_the_stiffest_direction_has_curvature_1():
    """Against the largest eigenvalue of the dense matrix of the weights, mean over the replicas. It may be
    less than 1 by what the precisions add, which move too; in the network's own units it is above 30."""
    keys = jax.random.split(jax.random.key(3), 4)
    position = jax.vmap(lambda key: NETWORK.init(key, POSTERIOR))(keys)
    position["weights"] = jax.tree.map(lambda x: 4 * x, position["weights"])
    whitening = stochastic._whitened(
        NETWORK, stochastic._tuned(NETWORK, position, np.ones(4, bool))
    ).whitening
    largest, plain = [], []
    for r in range(4):
        one = jax.tree.map(lambda x, r=r: x[r], position)
        matrix = np.asarray(NETWORK.curvature(one, POSTERIOR.couplings), float)

        def weights(vector, one=one):
            z = one | {"weights": stochastic.unravel(vector, one["weights"])}
            return stochastic.ravel(whitening.original(z)["weights"])

        to = np.asarray(jax.jacfwd(weights)(jnp.zeros(len(matrix), jnp.float32)), float)
        largest.append(np.linalg.eigvalsh(to.T @ matrix @ to)[-1])
        plain.append(np.linalg.eigvalsh(matrix)[-1])
    assert 0.5 < np.mean(largest) < 1.02
    assert np.mean(plain) > 30


def test_replicas_without_a_curvature_have_diverged():
    """Far out, single precision holds none."""
    near = NETWORK.init(jax.random.key(0), POSTERIOR)
    position = jax.tree.map(lambda x: jnp.full((2, *x.shape), 1e30, x.dtype), near)
    run: Any = SimpleNamespace(position=position, alive=np.ones(2, bool), first_bad_step=np.full(2, -1))
    with pytest.raises(Diverged, match="no finite curvature after the warm-up; try a smaller step size"):
        stochastic._frozen(NETWORK, run)
