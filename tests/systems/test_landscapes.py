"""Every exact answer by a second route: quadrature for ln Z, moments of the samples by quadrature."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import quad

from heatbath import systems
from heatbath.core import Control, Solvable
from heatbath.core.numeric import all_finite
from heatbath.systems import DoubleWell, Funnel, GaussianMixture, HarmonicTrap

EXAMPLES = {
    name: example
    for item in vars(systems).values()
    if isinstance(item, type) and issubclass(item, Solvable)
    for name, example in item.examples().items()
}
Z_LIMIT = 4.9  # false-alarm rate 1e-6 a comparison


def test_log_partition_of_the_trap_by_quadrature():
    control = Control(0.7, {"stiffness": 1.5, "centre": 0.4})
    trap = HarmonicTrap(1)
    z, _ = quad(lambda x: np.exp(-float(trap.energy(jnp.asarray([x]), control.couplings)) / 0.7), -12, 12)
    assert float(HarmonicTrap(3).log_partition(control)) == pytest.approx(3 * np.log(z), abs=1e-8)


@pytest.mark.parametrize("temperature", [0.1, 0.5, 3.0])
def test_log_partition_of_the_double_well_by_quadrature(temperature):
    control = Control(temperature, {"barrier": 0.8, "tilt": 0.2})
    z, _ = quad(
        lambda x: np.exp(-(0.8 * (x * x - 1) ** 2 - 0.2 * x) / temperature), -4, 4, epsabs=0, epsrel=1e-11
    )
    assert float(DoubleWell().log_partition(control)) == pytest.approx(np.log(z), abs=1e-9)


@pytest.mark.parametrize("temperature", [0.6, 1.0, 1.7])
def test_log_partition_of_the_funnel_by_quadrature(temperature):
    funnel = Funnel(2, 0.6)
    t = temperature
    inner = lambda v: quad(lambda x: np.exp(-x * x * np.exp(-v) / 2 / t), -60, 60, limit=200)[0]  # noqa: E731
    density = lambda v: (  # noqa: E731
        np.exp(-(v * v / (2 * 0.36) + np.log(2 * np.pi * 0.36) / 2 + v + np.log(2 * np.pi)) / t)
        * inner(v) ** 2
    )
    z, _ = quad(density, -6, 6, limit=200)
    assert float(funnel.log_partition(Control(t))) == pytest.approx(np.log(z), abs=1e-6)


def test_the_mixture_is_normalised_and_says_where_it_is_exact():
    mixture, control = GaussianMixture.examples()["mixture"]
    x = np.linspace(-8, 8, 801)
    grid = jnp.asarray(np.stack(np.meshgrid(x, x, indexing="ij"), -1).reshape(-1, 2))
    density = jnp.exp(-jax.vmap(lambda y: mixture.energy(y, {}))(grid))
    assert float(density.sum() * (x[1] - x[0]) ** 2) == pytest.approx(1.0, abs=1e-9)
    assert float(mixture.log_partition(control)) == 0.0
    with pytest.raises(Exception, match="temperature 1 only"):
        mixture.log_partition(Control(2.0))


@pytest.mark.parametrize("name", EXAMPLES)
def test_samples_have_the_mean_energy_that_ln_z_implies(name):
    """<U> = T^2 d ln Z/dT, by a central difference of the exact ln Z (mixture: its mean, T = 1)."""
    system, control = EXAMPLES[name]
    keys = jax.random.split(jax.random.key(3), 100_000)
    x = jax.vmap(lambda k: system.sample(k, control))(keys)
    energy = np.asarray(jax.vmap(lambda y: system.energy(y, control.couplings))(x))
    if isinstance(system, GaussianMixture):
        draws = np.asarray(x)
        mean = np.asarray(system.weights / system.weights.sum()) @ np.asarray(system.means)
        assert (np.abs(draws.mean(0) - mean) < Z_LIMIT * draws.std(0) / np.sqrt(len(draws))).all()
        return
    t, dt = float(control.temperature), 1e-4
    up, down = (float(system.log_partition(Control(t + s * dt, control.couplings))) for s in (1, -1))
    expected = t**2 * (up - down) / (2 * dt)
    assert abs(energy.mean() - expected) < Z_LIMIT * energy.std() / np.sqrt(energy.size) + 1e-6


@pytest.mark.parametrize("name", EXAMPLES)
def test_gradients_against_finite_differences(name):
    system, control = EXAMPLES[name]
    x = system.sample(jax.random.key(1), control)
    leaves, tree = jax.tree.flatten(x)
    gradient = jax.tree.leaves(jax.grad(system.energy)(x, control.couplings))
    assert bool(all_finite(x))
    for i, leaf in enumerate(leaves):
        direction = jnp.ones_like(leaf)
        at = lambda e, i=i, d=direction: system.energy(  # noqa: E731
            jax.tree.unflatten(tree, [y + e * d if j == i else y for j, y in enumerate(leaves)]),
            control.couplings,
        )
        slope = (at(1e-5) - at(-1e-5)) / 2e-5
        assert float(slope) == pytest.approx(float(jnp.sum(gradient[i])), rel=1e-6, abs=1e-6)
