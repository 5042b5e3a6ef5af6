"""Posteriors: sums, couplings, minibatches, and the three ways to build one."""

from dataclasses import replace

import equinox as eqx
import flax.linen
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from heatbath.core import Constant, Control, simulate
from heatbath.core.numeric import ravel
from heatbath.dynamics import HMC, tune
from heatbath.errors import Refused
from heatbath.systems import Posterior, RegressionNetwork, from_equinox, from_flax

RNG = np.random.default_rng(0)
INPUTS, NOISE = RNG.normal(size=(40, 3)), 0.5
TARGETS = INPUTS @ np.asarray([1.0, -0.5, 0.2]) + NOISE * RNG.normal(size=40)
DATA = (jnp.asarray(INPUTS), jnp.asarray(TARGETS))


def linear(precise=True):
    return Posterior(
        lambda w: -jnp.sum(w**2) / 2,
        lambda w, x, y: -((y - x @ w) ** 2) / (2 * NOISE**2),
        lambda key: 0.1 * jax.random.normal(key, (3,)),
        DATA,
        precise,
    )


def test_energy_is_a_sum_and_the_coupling_multiplies_the_likelihood():
    w = jnp.asarray([0.3, 0.1, -0.2])
    prior, residual = float(jnp.sum(w**2) / 2), TARGETS - INPUTS @ np.asarray(w)
    misfit = float((residual**2).sum() / (2 * NOISE**2))
    for coupling in (0.0, 0.3, 1.0):
        got = float(linear().energy(w, {"likelihood": coupling}))
        assert got == pytest.approx(prior + coupling * misfit, rel=1e-12)
    assert float(linear().energy(w, {})) == pytest.approx(prior + misfit, rel=1e-12)


def test_a_likelihood_that_broadcasts_and_data_without_items_are_refused():
    wrong = replace(linear(), log_likelihood=lambda w, x, y: -((y[:, None] - (x @ w)[None]) ** 2))
    with pytest.raises(Refused, match=r"shape \(40, 40\) for 40 items"):
        wrong.energy(jnp.zeros(3), {})
    wrong = replace(linear(), log_likelihood=lambda w, x, y: -(((y - x @ w) ** 2)[:2]))
    with pytest.raises(Refused, match=r"shape \(2,\) for 40 items"):
        wrong.energy(jnp.zeros(3), {})
    with pytest.raises(Refused, match="no data items"):
        replace(linear(), data=(jnp.zeros((0, 3)), jnp.zeros(0))).energy(jnp.zeros(3), {})


def test_minibatches_are_unbiased():
    w, system = jnp.asarray([0.3, 0.1, -0.2]), linear()
    halves = [float(system.energy(w, {}, jnp.arange(40)[part::2])) for part in (0, 1)]
    assert np.mean(halves) == pytest.approx(float(system.energy(w, {})), rel=1e-12)


def test_single_precision_positions_double_precision_sums():
    w = jnp.asarray([0.3, 0.1, -0.2], jnp.float32)
    assert linear(False).energy(w, {}).dtype == jnp.float64


def test_the_posterior_of_a_linear_model_is_sampled_right():
    """Mean against the normal equations; 64 independent replicas, false-alarm rate 1e-6 a coordinate."""
    precision = INPUTS.T @ INPUTS / NOISE**2 + np.eye(3)
    exact = np.linalg.solve(precision, INPUTS.T @ TARGETS / NOISE**2)
    control = Constant(Control(1.0, {"likelihood": 1.0}))
    tuned, pilot = tune(linear(), HMC(0.05, 5), control, key=1, replicas=64, steps=300)
    run = simulate(
        linear(), tuned, control, key=2, replicas=64, steps=100, positions=pilot.position, progress=False
    )
    means = run.records["position"].mean(axis=1)
    error = means.std(axis=0, ddof=1) / np.sqrt(64)
    assert (np.abs(means.mean(axis=0) - exact) < 5.6 * error).all()  # Student's t, 63 degrees of freedom
    assert 0.6 < run.means["acceptance"].mean() < 0.95
    assert run.means["divergent"].sum() == 0
    np.testing.assert_allclose(tuned.metric.scale, np.sqrt(np.diag(np.linalg.inv(precision))), rtol=0.15)


def test_equinox_and_flax_modules_give_the_same_posterior_as_plain_functions():
    prior = lambda p: -sum(jnp.sum(x**2) for x in jax.tree.leaves(p)) / 2  # noqa: E731
    likelihood = lambda out, y: -((y - out[:, 0]) ** 2) / 2  # noqa: E731
    module = eqx.nn.Linear(3, 1, key=jax.random.key(0))
    ours = from_equinox(module, prior, likelihood, DATA)
    arrays = eqx.filter(module, eqx.is_inexact_array)
    flax_module = flax.linen.Dense(1)
    variables = {"params": {"kernel": module.weight.T, "bias": module.bias}}
    theirs = from_flax(flax_module, variables, prior, likelihood, DATA)
    residual = TARGETS - np.asarray(INPUTS @ module.weight[0] + module.bias)
    weights = np.concatenate([np.ravel(module.weight), module.bias])
    expected = (residual**2).sum() / 2 + (weights**2).sum() / 2
    assert float(ours.energy(arrays, {})) == pytest.approx(expected, rel=1e-5)
    assert float(theirs.energy(variables, {})) == pytest.approx(expected, rel=1e-5)
    start = ours.init(jax.random.key(1), Control())
    assert not (ravel(start) == ravel(arrays)).any()


def test_only_the_parameters_of_a_flax_module_move():
    """The running averages of batch normalisation stay as they are."""

    class Normed(flax.linen.Module):
        @flax.linen.compact
        def __call__(self, x):
            return flax.linen.Dense(1)(flax.linen.BatchNorm(use_running_average=True)(x))

    module = Normed()
    variables = module.init(jax.random.key(0), jnp.asarray(INPUTS))
    assert "batch_stats" in variables
    flat = lambda p: jnp.zeros(())  # noqa: E731
    squares = lambda out, y: -((y - out[:, 0]) ** 2) / 2  # noqa: E731
    system = from_flax(module, variables, flat, squares, DATA)
    position = system.init(jax.random.key(1), Control())
    assert set(position) == {"params"}
    assert np.isfinite(float(system.energy(position, {})))
    with pytest.raises(Refused, match=r"give what module\.init returned"):
        from_flax(module, {"batch_stats": {}}, flat, squares, DATA)


NETWORK = RegressionNetwork(RNG.normal(size=(30, 3)), RNG.normal(size=(30, 2)), (5, 4), dtype="float64")
CONTROL = Control(1.3, {"likelihood": 0.7})


def test_network_energy_is_minus_the_log_density_written_out():
    """Normal weights by group, gamma precisions in the coordinate ln tau, normal targets: with SciPy."""
    from scipy.stats import gamma, norm

    x = NETWORK.init(jax.random.key(2), CONTROL)
    tau = np.exp(np.asarray(x["log_precision"]))
    noise = np.exp(np.asarray(x["log_noise"]))
    (l0, l1, l2), log_prior = x["weights"], 0.0
    groups = [l0["b"], *l0["w"], l1["b"], l1["w"] * 5**0.5, l2["b"], l2["w"] * 4**0.5]
    scales = [1] * 5 + [5**0.5, 1, 4**0.5]
    for t, group, scale in zip(tau, groups, scales, strict=True):
        log_prior += (norm.logpdf(np.asarray(group), scale=t**-0.5) + np.log(scale)).sum()
    for t, (shape, rate) in [(t, (0.5, 0.005)) for t in tau] + [(t, (0.5, 5e-5)) for t in noise]:
        log_prior += gamma.logpdf(t, shape, scale=1 / rate) + np.log(t)
    signal = np.asarray(NETWORK.inputs).T
    signal = np.tanh(signal @ np.asarray(l0["w"]) + np.asarray(l0["b"]))
    signal = np.tanh(signal @ np.asarray(l1["w"]) + np.asarray(l1["b"]))
    outputs = signal @ np.asarray(l2["w"]) + np.asarray(l2["b"])
    log_likelihood = norm.logpdf(np.asarray(NETWORK.targets).T, outputs, noise**-0.5).sum()
    got = float(NETWORK.energy(x, CONTROL.couplings))
    assert got == pytest.approx(-(log_prior + 0.7 * log_likelihood), rel=1e-12)


def test_gibbs_draws_follow_the_conditional():
    """Mean of each log precision against quadrature of exp(-U/T) along it; 20,000 draws, level 1e-6 each."""
    x = NETWORK.init(jax.random.key(2), CONTROL)
    weights, rest = NETWORK.parts(x)
    keys = jax.random.split(jax.random.key(1), 20_000)
    draws = jax.vmap(lambda k: NETWORK.draw(k, weights, CONTROL))(keys)
    grid = jnp.linspace(-12, 14, 4001)
    for name, values in rest.items():
        for i in range(values.size):
            along = lambda v, i=i, n=name: NETWORK.energy(  # noqa: E731
                NETWORK.whole(weights, {**rest, n: rest[n].at[i].set(v)}), CONTROL.couplings
            )
            energy = np.asarray(jax.vmap(along)(grid))
            density = np.exp(-(energy - energy.min()) / 1.3)
            mean = (density * np.asarray(grid)).sum() / density.sum()
            sample = np.asarray(draws[name][:, i])
            assert abs(sample.mean() - mean) < 4.9 * sample.std() / np.sqrt(sample.size), (name, i)


def test_curvature_is_the_gauss_newton_matrix():
    """Against finite differences of the outputs, with the prior precisions on the diagonal."""
    x = NETWORK.init(jax.random.key(2), CONTROL)
    got = np.asarray(NETWORK.curvature(x, {"likelihood": 0.0}))
    assert (got == np.diag(np.diag(got))).all()
    hessian = jax.hessian(
        lambda v: NETWORK.energy(NETWORK.whole(_unravel(v, x), NETWORK.parts(x)[1]), {"likelihood": 0.0})
    )
    np.testing.assert_allclose(got, hessian(ravel(x["weights"])), rtol=1e-9, atol=1e-9)
    residual = jax.jacfwd(lambda v: NETWORK.outputs(_unravel(v, x), NETWORK.inputs))(ravel(x["weights"]))
    weighted = np.asarray(residual * jnp.exp(x["log_noise"] / 2)[:, None, None]).reshape(60, -1)
    full = np.asarray(NETWORK.curvature(x, {"likelihood": 0.5}))
    np.testing.assert_allclose(full, 0.5 * weighted.T @ weighted + got, rtol=1e-9, atol=1e-12)


def _unravel(vector, like):
    from heatbath.core.numeric import unravel

    return unravel(vector, like["weights"])
