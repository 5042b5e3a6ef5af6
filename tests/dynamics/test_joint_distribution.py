"""Prior, simulated data and posterior fit together: a network's weights by hybrid Monte Carlo or MALA, its
precisions by Gibbs, as when learning.

Two independent harnesses of the optional folder ../shared. "Getting it right" (Geweke 2004, Gandy and Scott
2020): (position, data) from the joint law keep it under the kernel, sequential test, level 1e-5. Simulation-
based calibration (Talts et al. 2018): ranks of the truth among draws given its data are uniform,
simultaneous bands, level 1e-4. Each sees a temperature that is off (by 10 % and by 50 %) and conditional
shapes off by 1/2.
"""

import subprocess
import sys
from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from heatbath.core import Control, Draw
from heatbath.core.numeric import ravel, size, unravel
from heatbath.dynamics import HMC, MALA, Gibbs
from heatbath.systems import RegressionNetwork

pytestmark = pytest.mark.slow

INPUTS = np.array([[-1.0], [0.3], [1.2]])


class WrongShape(RegressionNetwork):
    """Planted: half a weight too many in the conditional of the precisions."""

    def conditionals(self, weights, coupling):
        right = super().conditionals(weights, coupling)
        return {name: (shape + 0.5, rate) for name, (shape, rate) in right.items()}


def network(kind=RegressionNetwork):
    return kind(
        INPUTS, np.zeros((3, 1)), (2,), weight_prior=(3.0, 3.0), noise_prior=(3.0, 1.0), dtype="float64"
    )


LIKE = network().sample_prior(jax.random.key(0))


def given(system, targets):
    return eqx.tree_at(lambda s: s.data.targets, system, targets)


@eqx.filter_jit
def drawn_from_prior(system, keys):
    """Positions as vectors, and data drawn given them, (n, d) and (n, 1, 3)."""

    def one(key):
        first, second = jax.random.split(key)
        position = system.sample_prior(first)
        noise = jnp.exp(-position["log_noise"] / 2)[:, None] * jax.random.normal(second, (1, 3))
        return ravel(position), system.outputs(position["weights"], system.inputs) + noise

    return jax.vmap(one)(keys)


def seen(system, vector, targets):
    """Bounded or light-tailed: weights through tanh, log precisions, the log of the joint density."""
    position = unravel(vector, LIKE)
    weights = jnp.tanh(ravel(position["weights"]))
    energy = given(system, targets).energy(position, {})
    return jnp.concatenate([weights, position["log_precision"], position["log_noise"], energy[None]])


@eqx.filter_jit
def moved(system, dynamics, temperature, vectors, targets, keys, steps):
    """Each position after ``steps`` steps given its own data."""
    control = Control(temperature)

    def one(vector, targets, key):
        posterior = given(system, targets)

        def step(t, state):
            return dynamics.step(posterior, state, control, Draw(key, t))[0]

        start = dynamics.init(posterior, unravel(vector, LIKE), control, Draw(key, jnp.asarray(0)))
        return ravel(dynamics.position(jax.lax.fori_loop(1, steps + 1, step, start)))

    return jax.vmap(one)(vectors, targets, keys)


def keys(rng, n):
    return jax.random.split(jax.random.key(int(rng.integers(2**32))), n)


def joint_test(shared, monkeypatch, dynamics, system, temperature, n):
    monkeypatch.syspath_prepend(shared / "checks" / "stats")
    import joint_test as harness

    right = network()

    def prior(rng, n):
        vectors, prior.targets = drawn_from_prior(right, keys(rng, n))
        return np.asarray(vectors)

    model = {
        "prior": prior,
        "data": lambda rng, theta: prior.targets,
        "step": lambda rng, theta, y: np.asarray(
            moved(system, dynamics, temperature, jnp.asarray(theta), y, keys(rng, len(theta)), jnp.asarray(5))
        ),
        "test": lambda theta, y: np.asarray(
            jax.vmap(partial(seen, right))(jnp.asarray(theta), jnp.asarray(y))
        ),
    }
    return harness.run(model, "paired", n=n)


KERNELS = {"HMC": Gibbs(HMC(0.25, 4, 0.2)), "MALA": Gibbs(MALA(0.03))}


@pytest.mark.parametrize("name", KERNELS)
def test_the_joint_law_is_kept(shared, monkeypatch, name):
    ok, log = joint_test(shared, monkeypatch, KERNELS[name], network(), 1.0, 4_000)
    assert ok, log


@pytest.mark.teeth
@pytest.mark.parametrize(("kind", "temperature"), [(RegressionNetwork, 1.1), (WrongShape, 1.0)])
def test_a_planted_fault_breaks_the_joint_law(shared, monkeypatch, kind, temperature):
    ok, log = joint_test(shared, monkeypatch, KERNELS["HMC"], network(kind), temperature, 4_000)
    assert not ok, log


def calibrated(shared, folder, system, temperature) -> int:
    """Exit code of the harness on 300 data sets with 99 draws each, 10 steps apart, from a start in the
    prior."""
    rng, right, fits, draws = np.random.default_rng(1), network(), 300, 99
    truth, targets = drawn_from_prior(right, keys(rng, fits))
    vectors, _ = drawn_from_prior(right, keys(rng, fits))
    look = jax.jit(jax.vmap(partial(seen, right)))
    run = partial(moved, system, KERNELS["HMC"], temperature)
    vectors = run(vectors, targets, keys(rng, fits), jnp.asarray(500))
    found = []
    for _ in range(draws):
        vectors = run(vectors, targets, keys(rng, fits), jnp.asarray(10))
        found.append(look(vectors, targets))
    names = [f"q{i}" for i in range(size(LIKE) + 1)]
    post = np.moveaxis(np.asarray(found), 0, 1)
    np.savez(folder / "prior.npz", **dict(zip(names, np.asarray(look(truth, targets)).T, strict=True)))
    np.savez(folder / "post.npz", **dict(zip(names, np.moveaxis(post, 2, 0), strict=True)))
    script = shared / "checks" / "stats" / "sbc.py"
    files = ["--prior", str(folder / "prior.npz"), "--posterior", str(folder / "post.npz")]
    command = [sys.executable, str(script), *files, "--alpha", "1e-4"]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    print(answer.stdout, answer.stderr)
    return answer.returncode


def test_ranks_of_the_truth_are_uniform(shared, tmp_path):
    assert calibrated(shared, tmp_path, network(), 1.0) == 0


@pytest.mark.teeth
@pytest.mark.parametrize(("kind", "temperature"), [(RegressionNetwork, 1.5), (WrongShape, 1.0)])
def test_a_planted_fault_bends_the_ranks(shared, tmp_path, kind, temperature):
    assert calibrated(shared, tmp_path, network(kind), temperature) == 1
