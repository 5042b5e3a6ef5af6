"""Random numbers of many steps at once: JAX's bits, an accurate inverse normal, however many are drawn."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from heatbath.dynamics.counter import BATCH_STREAM, below, inverse_normal, normals, words

KEY = jax.random.key(11)
Z_LIMIT = float(stats.norm.isf(5e-7))


def test_the_words_are_threefry_as_jax_has_it():
    """Step 0: `jax.random.bits`, whose counter is the place in the array."""
    with jax.threefry_partitionable(True):
        expected = jax.random.bits(KEY, (1000,), jnp.uint32)
    assert (words(KEY, jnp.asarray([0]), 1000)[0] == expected).all()


def test_a_steps_numbers_do_not_depend_on_how_many_are_drawn():
    together = normals(KEY, jnp.arange(100, 164), 37)
    alone = jnp.stack([normals(KEY, jnp.asarray([step]), 37)[0] for step in (100, 131, 163)])
    assert (together[jnp.asarray([0, 31, 63])] == alone).all()
    streams = [words(KEY, jnp.arange(5), 20, stream) for stream in (0, BATCH_STREAM)]
    assert (streams[0] != streams[1]).all()


def test_the_inverse_normal_is_accurate():
    rng = np.random.default_rng(0)
    word = np.concatenate([rng.integers(0, 2**32, 200_000), [0, 1, 2**31 - 1, 2**31, 2**32 - 1]]).astype(
        np.uint32
    )
    tail = ((word & 0x7FFFFFFF) + 0.5) / 2**32
    expected = np.where(word >> 31, 1, -1) * stats.norm.ppf(tail)
    found = np.asarray(inverse_normal(jnp.asarray(word)), float)
    assert np.abs(found - expected).max() < 3e-6
    assert np.abs(found).max() < 6.4


def assert_standard_normal(z):
    """At level 1e-6 each: Kolmogorov-Smirnov, mean, variance, and the correlation of neighbours."""
    assert stats.kstest(np.ravel(z), "norm").pvalue > 1e-6
    z = np.asarray(z, float)
    assert abs(z.mean()) * np.sqrt(z.size) < Z_LIMIT
    assert abs((z**2).mean() - 1) * np.sqrt(z.size / 2) < Z_LIMIT
    for a, b in ((z[1:], z[:-1]), (z[:, 1:], z[:, :-1])):  # from step to step, and within a step
        correlation = (a * b).sum() / np.sqrt(a.size)
        assert abs(correlation) < Z_LIMIT


def test_normals_are_standard_normal_and_uncorrelated():
    assert_standard_normal(normals(KEY, jnp.arange(4_000), 50))


@pytest.mark.teeth
def test_one_and_a_half_percent_of_width_or_of_correlation_are_caught():
    z = np.asarray(normals(KEY, jnp.arange(4_000), 50), float)
    with pytest.raises(AssertionError):
        assert_standard_normal(1.015 * z)
    with pytest.raises(AssertionError):
        assert_standard_normal(z + 0.015 * np.roll(z, 1, axis=0))


@pytest.mark.parametrize("n", [1, 7, 512, 32_561, 2**31 - 1])
def test_below_is_the_high_half_of_the_product(n):
    word = np.random.default_rng(1).integers(0, 2**32, 1000).astype(np.uint32)
    expected = [int(w) * n >> 32 for w in word]
    assert (np.asarray(below(jnp.asarray(word), n)) == expected).all()
