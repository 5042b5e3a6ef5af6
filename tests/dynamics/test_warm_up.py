"""What acts through another dynamics: Gibbs, the warm-ups, the metrics; and the guard on JAX itself."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from heatbath.core import Constant, Control, Geometric, Linear, PerReplica, simulate
from heatbath.core.numeric import unravel
from heatbath.dynamics import (
    HMC,
    BlackJAX,
    CurvatureWarmUp,
    Dense,
    Diagonal,
    Gibbs,
    MicrocanonicalLangevin,
    WarmUp,
    tune,
)
from heatbath.dynamics.metric import covariance_factor
from heatbath.errors import Refused
from heatbath.systems import Funnel, HarmonicTrap, RegressionNetwork

RNG = np.random.default_rng(1)
REST = Control(1.0, {"stiffness": 1.0, "centre": 0.0})
NETWORK = RegressionNetwork(RNG.normal(size=(20, 1)), RNG.normal(size=(20, 1)), (2,), dtype="float64")
# Priors near 1 and a weak coupling: the weights of the work identity have a variance.
MILD = RegressionNetwork(
    RNG.normal(size=(20, 1)), RNG.normal(size=(20, 1)), (2,), "tanh", (20.0, 20.0), (20.0, 20.0), "float64"
)
PRIOR = (Control(1.0, {"likelihood": 0.0}), Control(1.0, {"likelihood": 0.05}))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("rows", [20_000, 32_769])
def test_this_jax_multiplies_matrices_right(rows, dtype):
    """jit(vmap(matrix @ vector -> sum)) is wrong in JAX 0.10.2 and 0.11.0 on CPU (jax issue 39103)."""
    matrix = np.asarray([[2.0, 0.5], [0.5, 1.0]], dtype)
    vectors = np.random.default_rng(0).normal(size=(rows, 2)).astype(dtype)
    got = jax.jit(jax.vmap(lambda v: jnp.sum(jnp.asarray(matrix) @ v)))(vectors)
    np.testing.assert_allclose(got, (vectors @ matrix).sum(axis=1), rtol=1e-4, atol=1e-5)


def test_metrics_displace_whiten_and_pull_back():
    a = np.tril(RNG.normal(size=(4, 4))) + 3 * np.eye(4)
    x, g = jnp.asarray(RNG.normal(size=4)), jnp.asarray(RNG.normal(size=4))
    for metric, matrix in ((Dense(a), a), (Diagonal(np.diag(a)), np.diag(np.diag(a)))):
        np.testing.assert_allclose(metric.displace(x), matrix @ x, rtol=1e-12)
        np.testing.assert_allclose(metric.pull_back(g), matrix.T @ g, rtol=1e-12)
        np.testing.assert_allclose(metric.whiten(metric.displace(x)), x, rtol=1e-12)
    factor = covariance_factor(jnp.asarray(a @ a.T))
    np.testing.assert_allclose(factor @ factor.T, np.linalg.inv(a @ a.T), rtol=1e-10, atol=1e-12)
    assert (np.triu(np.asarray(factor), 1) == 0).all()


@pytest.mark.parametrize(
    "inner", [HMC(0.3, 3), MicrocanonicalLangevin(0.6, 3.0)], ids=["HMC", "microcanonical"]
)
def test_gibbs_keeps_the_first_law_and_the_work_identity(inner):
    """From the prior (exact draws) the coupling rises to 0.05; the ratio of partition functions is estimated
    by the driven run, and by plain importance sampling from the same draws: level 1e-6."""
    replicas = 20_000
    start, end = PRIOR
    positions = jax.vmap(prior_draw)(jax.random.split(jax.random.key(5), replicas))
    run = simulate(
        MILD,
        Gibbs(inner, 2),
        Linear(start, end, 3),
        key=0,
        replicas=replicas,
        steps=4,
        observers={},
        positions=positions,
        progress=False,
    )
    size = np.abs(np.asarray(run.ledger.heat)) + np.abs(np.asarray(run.ledger.work))
    assert (np.abs(np.asarray(run.ledger.residual())) < 1e-10 + 1e-12 * size).all()
    energy = jax.vmap(lambda x, c: MILD.energy(x, c.couplings), in_axes=(0, None))
    driven = np.exp(-np.asarray(run.ledger.reduced_work))
    direct = np.exp(-np.asarray(energy(positions, end) - energy(positions, start)))
    assert 0.1 < direct.std() / direct.mean() < 2
    gap = driven - direct  # the same starts: paired
    assert abs(gap.mean()) < 4.9 * gap.std() / np.sqrt(replicas)


def prior_draw(key):
    """An exact draw from the prior of `MILD`: 7 weights in the order of the leaves."""
    position = MILD.init(key, PRIOR[0])
    k1, k2, k3 = jax.random.split(jax.random.fold_in(key, 1), 3)
    log_precision = jax.random.loggamma(k1, jnp.full(MILD.groups, 20.0)) - jnp.log(20.0)
    log_noise = jax.random.loggamma(k2, jnp.full(1, 20.0)) - jnp.log(20.0)
    widths = jnp.repeat(jnp.exp(-log_precision / 2), jnp.asarray([2, 2, 1, 2]), total_repeat_length=7)
    vector = widths * jnp.asarray([1, 1, 1, 1, 1, 0.5**0.5, 0.5**0.5]) * jax.random.normal(k3, (7,))
    weights = unravel(vector, position["weights"])
    return {"weights": weights, "log_precision": log_precision, "log_noise": log_noise}


def test_tuning_reaches_the_acceptance_and_freezes():
    """One leapfrog: more of them resonate on a quadratic, and the acceptance is no function of the step."""
    trap = HarmonicTrap(5)
    for mass, shape in (("diagonal", (5,)), ("group", (5,)), ("keep", ())):
        tuned, _ = tune(trap, HMC(0.01, 1), Constant(REST), key=1, replicas=16, steps=800, mass=mass)
        assert tuned.metric.scale.shape == shape
        run = simulate(trap, tuned, Constant(REST), key=2, replicas=16, steps=100, progress=False)
        assert abs(run.means["acceptance"].mean() - 0.8) < 0.15  # what dual averaging leaves after 400 steps


def test_adapting_dynamics_keep_no_path_ledger():
    trap = HarmonicTrap(2)
    with pytest.raises(Refused, match="adapts to its own path"):
        simulate(trap, WarmUp(HMC(0.1)), Constant(REST), key=0, replicas=2, steps=2, ledger="path")


def test_a_blackjax_kernel_of_unknown_heat_keeps_no_path_ledger():
    import blackjax

    dynamics = BlackJAX.of(
        blackjax.ghmc, step_size=0.1, momentum_inverse_scale=jnp.ones(2), alpha=0.5, delta=0.1
    )
    assert dynamics.target == "other"
    trap = HarmonicTrap(2)
    with pytest.raises(Refused, match="not known"):
        simulate(trap, dynamics, Constant(REST), key=0, replicas=2, steps=2, ledger="path")
    run = simulate(trap, dynamics, Constant(REST), key=0, replicas=2, steps=3, progress=False)
    assert np.isnan(np.asarray(run.ledger.heat)).all()


@pytest.mark.parametrize("name", ["nuts", "mala", "barker"])
def test_more_blackjax_kernels_sample_the_trap(name):
    """Means of x^2 over 4,000 replicas at level 1e-6; heat is the change of energy, shadow work 0."""
    import blackjax

    parameters = {"step_size": 0.5}
    if name == "nuts":
        parameters["inverse_mass_matrix"] = jnp.ones(2)
    trap = HarmonicTrap(2)
    dynamics = BlackJAX.of(getattr(blackjax, name), **parameters)
    run = simulate(trap, dynamics, Constant(REST), key=1, replicas=4_000, steps=10, progress=False)
    sample = (run.records["position"][:, -1] ** 2).mean(axis=1)
    assert abs(sample.mean() - 1) < 4.9 * sample.std() / np.sqrt(sample.size)
    assert (np.asarray(run.ledger.shadow_work) == 0).all()


def test_the_curvature_warm_up_finds_each_replica_its_metric():
    control = Control(1.0, {"likelihood": 1.0})
    start = Control(1.0, {"likelihood": 1e-2})
    run = simulate(
        NETWORK,
        CurvatureWarmUp(settled=20),
        Geometric(start, control, 20),
        key=0,
        replicas=4,
        steps=200,
        progress=False,
    )
    assert run.alive.all()
    assert abs(run.means["acceptance"].mean() - 0.8) < 0.15
    factors = np.asarray(run.states.metric.factor)
    assert (np.einsum("rii->ri", factors) > 0).all()
    assert not np.allclose(factors[0], factors[1])
    frozen = PerReplica.of([Gibbs(HMC(0.3, 3, metric=Dense(factor))) for factor in factors])
    after = simulate(
        NETWORK,
        frozen,
        Constant(control),
        key=1,
        replicas=4,
        steps=50,
        positions=run.position,
        progress=False,
    )
    assert after.means["acceptance"].mean() > 0.5


def test_a_frozen_chain_is_counted():
    """A step far too long: nothing moves, and the result says so instead of looking like success."""
    funnel, control = Funnel(9), Control()
    run = simulate(funnel, HMC(1e4, 3), Constant(control), key=0, replicas=4, steps=20, progress=False)
    assert run.means["acceptance"].max() < 1e-6
    assert (run.means["divergent"] > 0.9).all()
