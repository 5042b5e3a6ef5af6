"""The path from a reference to a network's posterior: its ends, and its conditional laws."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import gamma

from heatbath.core import Control
from heatbath.learning.reference import FromReference
from heatbath.systems import ClassificationNetwork, RegressionNetwork


def regression() -> tuple[FromReference, dict]:
    rng = np.random.default_rng(0)
    network = RegressionNetwork(rng.normal(size=(7, 2)), rng.normal(size=(7, 2)), (3,))
    laws = {
        "log_precision": (np.arange(1.0, 6.0), np.linspace(0.5, 2, 5)),
        "log_noise": (np.array([4.0, 3.0]), np.array([0.1, 2.0])),
    }
    return FromReference.of(network, laws), laws


def classification() -> tuple[FromReference, dict]:
    rng = np.random.default_rng(0)
    network = ClassificationNetwork(rng.normal(size=(7, 2)), rng.integers(0, 3, 7), 3, (3,))
    laws = {"log_precision": (np.arange(1.0, 6.0), np.linspace(0.5, 2, 5))}
    return FromReference.of(network, laws), laws


@pytest.mark.parametrize("made", [regression, classification])
def test_its_start_is_normalised_and_its_end_is_the_posterior(made):
    """At coupling 0 the energy is minus the log density of what `init` draws, written out with SciPy; at 1
    that of the network. Deterministic: rounding in single precision only."""
    path, laws = made()
    position = path.init(jax.random.key(0), Control(1.0))
    density = 0.0
    for name, (shape, rate) in laws.items():
        x = np.asarray(position[name], float)
        density += np.sum(gamma.logpdf(np.exp(x), shape, scale=1 / rate) + x)
    widths = np.asarray(path.network.prior_precisions(position), float) ** -0.5
    weights = np.concatenate([np.ravel(x) for x in jax.tree.leaves(position["weights"])])
    density += np.sum(-((weights / widths) ** 2) / 2 - np.log(widths) - np.log(2 * np.pi) / 2)
    assert abs(float(path.energy(position, {"likelihood": jnp.asarray(0.0)})) + density) < 1e-4
    end = path.energy(position, {"likelihood": jnp.asarray(1.0)})
    assert abs(float(end - path.network.energy(position, {}))) < 1e-9 * (1 + abs(float(end)))


@pytest.mark.parametrize("made", [regression, classification])
def test_precisions_are_drawn_from_their_conditional_law(made):
    """Between the ends the mean of each precision over 4,000 draws is that of the density exp(-energy) on a
    grid, all else fixed: 5 standard errors (6e-7 each). The network's own law, as if the reference were not
    there, is the planted fault: it is off by over 20 somewhere."""
    path, laws = made()
    control = Control(1.0, {"likelihood": jnp.asarray(0.3)})
    position = path.init(jax.random.key(1), control)
    weights, precisions = path.parts(position)
    flat = np.concatenate([precisions[name] for name in laws])
    ends = np.cumsum([precisions[name].size for name in laws])[:-1]

    def energy(values):
        drawn = dict(zip(laws, jnp.split(values, ends), strict=True))
        return path.energy(path.whole(weights, drawn), control.couplings)

    grid = np.linspace(-12, 12, 2_001).astype("float32")
    points = np.broadcast_to(flat, (flat.size, grid.size, flat.size)).copy()
    for i in range(flat.size):
        points[i, :, i] = grid
    energies = np.asarray(jax.jit(jax.vmap(jax.vmap(energy)))(points))
    density = np.exp(energies.min(axis=1, keepdims=True) - energies)
    means = (density @ np.exp(grid)) / density.sum(axis=1)

    def off(system):
        keys = jax.random.split(jax.random.key(2), 4_000)
        drawn = jax.jit(jax.vmap(lambda key: system.draw(key, weights, control)))(keys)
        values = np.exp(np.concatenate([drawn[name] for name in laws], axis=1).astype(float))
        return np.abs(values.mean(axis=0) - means) / (values.std(axis=0) / np.sqrt(len(values)))

    assert np.all(off(path) < 5)
    assert off(path.network).max() > 20
