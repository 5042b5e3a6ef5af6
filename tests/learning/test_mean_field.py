"""Mean field: exact where coordinates are independent, below where they are not; magnets by the same code."""

import itertools
import math

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import pytest

from heatbath.learning.mean_field import Normals, Spins, bound, mean_field, minimised
from heatbath.systems import Posterior


class Quadratic(eqx.Module):
    """U = x.A x/2 - b.x"""

    a: jnp.ndarray
    b: jnp.ndarray

    def __call__(self, x):
        return x @ self.a @ x / 2 - self.b @ x


class Magnet(eqx.Module):
    """Spins on a periodic square lattice: U = -K sum of neighbours s s' - h sum s."""

    size: int = eqx.field(static=True)
    coupling: jnp.ndarray
    field: jnp.ndarray

    def __call__(self, spins):
        s = spins.reshape(self.size, self.size)
        return -jnp.sum(self.coupling * s * (jnp.roll(s, 1, 0) + jnp.roll(s, 1, 1)) + self.field * s)


def test_independent_gaussian_is_exact():
    """q of least free energy is the law itself, so hardly any scatter is left (5 standard errors, 6e-7; they
    come from where the optimiser stopped). Without its entropy it would be off by nats."""
    stiffness = jnp.array([0.3, 1.0, 20.0])
    energy = Quadratic(jnp.diag(stiffness), jnp.array([1.0, -2.0, 3.0]))
    law = minimised(energy, Normals(jnp.zeros(3), jnp.zeros(3)))
    exact = float(jnp.sum(energy.b**2 / stiffness / 2 + jnp.log(2 * math.pi / stiffness) / 2))
    found = bound(energy, law)
    assert abs(found.value - exact) < 5 * found.std_error
    assert found.std_error < 2e-3
    assert np.all(np.abs(law.mean - energy.b / stiffness) * np.sqrt(stiffness) < 0.05)  # of a width


@pytest.mark.parametrize("correlation", [0.5, 0.9])
def test_correlations_are_what_the_bound_misses(correlation):
    """The gap of the best factorised normal is -ln(1 - rho^2)/2 (MacKay 2003, section 33.5). z-test, 5
    standard errors (6e-7); a law whose entropy lacked one log_std would be off by 30."""
    precision = np.linalg.inv([[1.0, correlation], [correlation, 1.0]])
    energy = Quadratic(jnp.asarray(precision), jnp.zeros(2))
    found = bound(energy, minimised(energy, Normals(jnp.ones(2), jnp.zeros(2))), draws=20_000)
    exact = math.log(2 * math.pi) + math.log(1 - correlation**2) / 2
    missing = -math.log(1 - correlation**2) / 2
    assert found.value < exact
    assert abs(exact - missing - found.value) < 5 * found.std_error + 2e-3


@pytest.mark.parametrize("coupling", [0.1, 0.3, 0.6])
@pytest.mark.parametrize("field", [0.0, 0.2])
def test_bound_on_a_magnet(coupling, field):
    """3 x 3 spins, against the sum over all 512 states: below it, and as low as the equation of state
    says."""
    energy = Magnet(3, numeric(coupling), numeric(field))
    states = jnp.array(list(itertools.product([-1.0, 1.0], repeat=9)))
    exact = float(jnp.log(jnp.sum(jnp.exp(-jnp.stack([energy(s) for s in states])))))
    law = minimised(energy, Spins(jnp.full(9, 0.5)))
    found = bound(energy, law)
    assert found.std_error == 0.0
    assert found.value < exact
    h = 2.0
    for _ in range(10_000):  # h = 4 K tanh h + field
        h = 4 * coupling * math.tanh(h) + field
    m = math.tanh(h)
    entropy = math.log(2 * math.cosh(h)) - h * m
    assert abs(found.value - 9 * (2 * coupling * m**2 + field * m + entropy)) < 1e-4


def numeric(x):
    return jnp.asarray(x, float)


def test_mean_field_of_a_posterior():
    """Linear regression with independent inputs: the bound is the evidence (5 standard errors, 6e-7)."""
    rng = np.random.default_rng(0)
    x = np.linalg.qr(rng.normal(size=(20, 2)))[0]
    y = x @ [3.0, -1.0] + 0.5 * rng.normal(size=20)

    def log_prior(w):
        return -jnp.sum(w**2) / 8 - 2 * math.log(2) - math.log(2 * math.pi)

    def log_likelihood(w, inputs, targets):
        return -((targets - inputs @ w) ** 2) * 2 - math.log(0.5) - math.log(2 * math.pi) / 2

    posterior = Posterior(
        log_prior, log_likelihood, lambda key: jnp.zeros(2), (jnp.asarray(x), jnp.asarray(y))
    )
    covariance = 0.25 * np.eye(20) + 4 * x @ x.T
    exact = -(y @ np.linalg.solve(covariance, y) + np.linalg.slogdet(2 * math.pi * covariance)[1]) / 2
    found = mean_field(posterior, starts=1, steps=1_000)
    assert abs(found.lower.value - exact) < 5 * found.lower.std_error + 2e-3
    assert not found.log_evidence.reliable
    assert math.isnan(found.upper.value)
    assert found.to_dict("x")["upper"] is None
