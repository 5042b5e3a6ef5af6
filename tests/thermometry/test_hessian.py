"""Curvature against dense linear algebra. Comparisons of random estimates: false alarm 1e-5."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

from heatbath.errors import Refused
from heatbath.thermometry import (
    hessian_trace,
    hessian_vector_product,
    spectral_density,
    top_eigenvalues,
)
from thermometry.quadratic import assert_close


def network(d_in=6, hidden=7):
    """A small network with a mean squared error; its dense Hessian is the reference."""
    rng = np.random.default_rng(0)
    x, y = jnp.asarray(rng.standard_normal((40, d_in))), jnp.asarray(rng.standard_normal((40, 2)))
    w = {
        "first": {"w": jnp.asarray(rng.standard_normal((d_in, hidden)) / 2), "b": jnp.zeros(hidden)},
        "second": {"w": jnp.asarray(rng.standard_normal((hidden, 2)) / 2)},
    }

    def loss(w):
        return jnp.mean((jnp.tanh(x @ w["first"]["w"] + w["first"]["b"][None]) @ w["second"]["w"] - y) ** 2)

    return loss, w


def dense(loss, w):
    flat, back = ravel_pytree(w)
    return np.asarray(jax.hessian(lambda v: loss(back(v)))(flat))


@pytest.fixture(scope="module")
def case():
    loss, w = network()
    return loss, w, dense(loss, w)


def test_products_and_top_eigenvalues(case):
    loss, w, matrix = case
    v = jax.tree.map(jnp.ones_like, w)
    product = ravel_pytree(hessian_vector_product(loss, w, v))[0]
    np.testing.assert_allclose(product, matrix @ np.ones(len(matrix)), rtol=1e-10, atol=1e-10)
    found = top_eigenvalues(loss, w, 3)
    np.testing.assert_allclose([e.value for e in found.values], np.linalg.eigvalsh(matrix)[:-4:-1], rtol=1e-8)
    np.testing.assert_allclose(
        matrix @ found.vectors[:, 0], found.values[0].value * found.vectors[:, 0], atol=1e-7
    )
    assert all(e.std_error < 1e-7 for e in found.values)


@pytest.mark.parametrize("group", ["first", "first/b", "second"])
def test_groups_are_diagonal_blocks(case, group):
    loss, w, matrix = case
    where = {"first": slice(0, 49), "first/b": slice(0, 7), "second": slice(49, 63)}[group]  # leaves: b, w, w
    block = matrix[where, where]
    found = top_eigenvalues(loss, w, 2, group=group)
    np.testing.assert_allclose([e.value for e in found.values], np.linalg.eigvalsh(block)[:-3:-1], rtol=1e-8)
    assert_close(hessian_trace(loss, w, probes=400, seed=1, group=group), np.trace(block))


def test_trace_and_spectral_density(case):
    loss, w, matrix = case
    values = np.linalg.eigvalsh(matrix)
    assert_close(hessian_trace(loss, w, probes=400, seed=0), values.sum())
    found = spectral_density(loss, w, iterations=30, probes=60, seed=0)
    np.testing.assert_allclose(found.weights.sum(axis=1), 1, rtol=1e-10)
    assert_close(found.sum_of(lambda h: h**2), np.sum(values**2))
    assert found.nodes.max() == pytest.approx(values.max(), rel=1e-8)
    at = np.linspace(-0.5, 2, 40)
    density, error = found.density(at, 0.2)
    exact = np.mean(np.exp(-(((at[:, None] - values) / 0.2) ** 2) / 2), axis=1) / (0.2 * np.sqrt(2 * np.pi))
    assert np.all(np.abs(density - exact) < 5 * error + 1e-6)


def test_quadrature_is_exact_when_the_krylov_space_ends():
    """Three distinct eigenvalues among 300: three iterations find them, with their weights."""
    h = jnp.repeat(jnp.asarray([0.5, 1.0, 4.0]), 100)
    found = spectral_density(lambda w: 0.5 * jnp.sum(h * w**2), jnp.zeros(300), probes=8, seed=0)
    for probe in range(8):
        kept = found.weights[probe] > 0
        np.testing.assert_allclose(np.sort(found.nodes[probe][kept]), [0.5, 1, 4], rtol=1e-8)
        np.testing.assert_allclose(found.weights[probe][kept], 1 / 3, rtol=1e-8)
    trace = hessian_trace(lambda w: 0.5 * jnp.sum(h * w**2), jnp.zeros(300), seed=0)
    assert trace.value == pytest.approx(550)


def test_bad_input_is_refused(case):
    loss, w, _ = case
    with pytest.raises(Refused, match="no parameters in group"):
        top_eigenvalues(loss, w, group="third")
    with pytest.raises(Refused, match="has no parameters"):
        top_eigenvalues(loss, {})
    with pytest.raises(Refused, match="must be one number"):
        hessian_trace(lambda w: w["second"]["w"], w, seed=0)
    with pytest.raises(Refused, match="int"):
        hessian_trace(lambda w: jnp.sum(w) * 1.0, jnp.arange(3), seed=0)
    with pytest.raises(Refused, match="63 parameters"):
        top_eigenvalues(loss, w, 64)
    with pytest.raises(Refused, match="not finite"):
        hessian_trace(lambda w: jnp.sum(jnp.sqrt(w)), jnp.zeros(3), seed=0)
    for wrong, says in (
        ({"probes": None}, "probes = None"),
        ({"probes": 1}, "2 or more"),
        ({"seed": -1}, "seed = -1"),
        ({"seed": 2**32}, "seed = 4294967296"),
        ({"group": 0}, "group = 0"),
    ):
        with pytest.raises(Refused, match=says):
            hessian_trace(loss, w, **{"seed": 0} | wrong)
    with pytest.raises(Refused, match="count = None"):
        top_eigenvalues(loss, w, None)
    with pytest.raises(Refused, match="iterations = None"):
        spectral_density(loss, w, iterations=None, seed=0)
