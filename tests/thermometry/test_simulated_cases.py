"""The exact cases simulated with heatbath's own dynamics and read with its own instruments.

Each number is compared at level 1e-5: 4.42 of its standard errors, which are below 2 % (of the standard
deviations, for a covariance). So a fault of 5.4 errors, 11 % at worst and mostly below 5 %, is missed once in
six; what each test catches is planted in the tests marked `teeth`.
"""

import json

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from heatbath.core import Constant, Control, Draw, System, numeric, simulate, take
from heatbath.dynamics import SGD, SGLD, FixedOrder, Langevin, Reshuffled, WithReplacement
from heatbath.theory import least_squares, mandt, stationary, thermostats
from heatbath.thermometry import (
    configurational_temperature,
    equipartition,
    fluctuation_dissipation_of_positions,
    kinetic_temperature,
    mode_temperatures,
    series,
    variance_flatness,
)
from thermometry.quadratic import assert_close

ONE = Constant(Control(1.0, {}))


class NoisyQuadratic(System):
    """theta.H.theta/2, whose 2 d items pull so that the gradient of one of them has the covariance C."""

    hessian: jax.Array = eqx.field(converter=numeric)
    pulls: jax.Array = eqx.field(converter=numeric)

    @classmethod
    def with_noise(cls, hessian, noise):
        d = len(hessian)
        root = np.linalg.cholesky(noise).T * np.sqrt(d) / (2 * d)
        return cls(np.asarray(hessian), np.concatenate([root, -root]))

    def energy(self, position, couplings, items=None):
        rows = self.pulls if items is None else take(self.pulls, items)[0]
        return position @ self.hessian @ position / 2 + self.n_items * jnp.mean(rows, axis=0) @ position

    def init(self, key, control):
        return jnp.zeros(len(self.hessian))

    @property
    def n_items(self):
        return len(self.pulls)


class LeastSquares(System):
    """Half the sum of the squared errors of X theta - y."""

    inputs: jax.Array = eqx.field(converter=numeric)
    targets: jax.Array = eqx.field(converter=numeric)

    def energy(self, position, couplings, items=None):
        x, y = (self.inputs, self.targets) if items is None else take((self.inputs, self.targets), items)[0]
        return self.n_items * jnp.mean((x @ position - y) ** 2) / 2

    def init(self, key, control):
        return jnp.zeros(self.inputs.shape[1])

    @property
    def n_items(self):
        return len(self.targets)


@pytest.fixture(scope="module")
def cases(shared):
    known = json.loads((shared / "physics" / "sgd_cases.json").read_text())["cases"]
    return {case["id"]: (case["inputs"], case["expected"]) for case in known}


def trajectory(system, dynamics, *, steps, replicas=256, start=None, every=1, burn_in=0, seed=0):
    """Positions (replicas, saves, d) of the stationary part."""
    run = simulate(
        system,
        dynamics,
        ONE,
        key=seed,
        replicas=replicas,
        steps=burn_in + steps,
        every=every,
        ledger="off",
        positions=start,
        progress=False,
    )
    return run.records["position"][:, burn_in // every :]


def drawn(covariance, replicas, seed=0):
    root = np.linalg.cholesky(covariance).T
    return jnp.asarray(np.random.default_rng(seed).standard_normal((replicas, len(covariance))) @ root)


def second_moments(x, exact, allowed=0.02):
    """How many of their standard errors the second moments are from ``exact``, of largest size."""
    exact, worst = np.asarray(exact), 0.0
    for i in range(len(exact)):
        for j in range(i + 1):
            found = series.mean(x[..., i] * x[..., j])
            assert found.reliable, found.reason
            assert found.std_error < allowed * np.sqrt(exact[i, i] * exact[j, j])
            worst = max(worst, abs(found.value - exact[i, j]) / found.std_error)
    return worst


LIMIT, CAUGHT = 4.42, 9.5  # of standard errors: level 1e-5, and 5 more


def sgd_run(inputs, dynamics=None):
    h, c, eta = np.array(inputs["H"]), np.array(inputs["C"]), inputs["eta"]
    options = {k: inputs[k] for k in ("momentum", "dampening", "nesterov") if k in inputs}
    exact = stationary.sgd_state(h, c, eta, **options)
    x = trajectory(
        NoisyQuadratic.with_noise(h, c),
        dynamics or SGD(eta, WithReplacement(1), **options),
        steps=16_000 if eta < 0.1 else 4_000,
        burn_in=400 if options else 0,  # the velocity begins at 0
        start=drawn(exact.position, 256),
    )
    return x, h, eta


SGD_CASES = ("d2-small", "d2-big", "d5")


@pytest.mark.slow
@pytest.mark.parametrize("name", SGD_CASES)
def test_sgd_on_quadratics(name, cases):
    """Covariance, temperatures and both fluctuation-dissipation relations of A, C and D."""
    inputs, expected = cases[f"A.cov.sgd.{name}"]
    x, h, eta = sgd_run(inputs)
    thin = x[:, :: len(x[0]) // 2_000]
    assert second_moments(thin, expected["Sigma"]) < LIMIT
    gradient = thin @ h
    _, temperatures = cases[f"C.temperature.{name}"]
    found = configurational_temperature(thin, gradient)
    assert_close(found, temperatures["T_conf"])
    assert found.std_error < 0.02 * found.value
    modes = mode_temperatures(thin, gradient, np.linalg.eigh(h)[1])
    for mode, exact in zip(modes, temperatures["T_mode"], strict=True):
        assert_close(mode, exact)
        assert mode.std_error < 0.02 * exact
    _, sides = cases[f"D.fdr.{name}"]
    relation = fluctuation_dissipation_of_positions(x, eta)
    assert relation.p_value > 1e-5
    for found, exact in ((relation.left, sides["OL"]), (relation.right, sides["OR"]), (relation.ratio, 1.0)):
        assert_close(found, exact)
        assert found.std_error < 0.02 * exact


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mu0.9", "nesterov"])
def test_sgd_with_momentum(name, cases):
    inputs, expected = cases[f"A.cov.momentum.{name}"]
    x, _, eta = sgd_run(inputs)
    assert second_moments(x[:, ::4], expected["Sigma"]) < LIMIT
    options = {k: inputs[k] for k in ("momentum", "dampening", "nesterov")}
    left, _ = stationary.fluctuation_dissipation(inputs["H"], inputs["C"], eta, **options)
    relation = fluctuation_dissipation_of_positions(x, eta)
    assert_close(relation.right, left.sum())
    assert_close(relation.ratio, 1.0)
    assert relation.right.std_error < 0.02 * left.sum()


@pytest.mark.slow
@pytest.mark.teeth
def test_faults_of_sgd_are_caught(cases):
    """The formula of continuous time in place of the exact one; a step 5 % too long."""
    inputs, expected = cases["A.cov.sgd.d2-big"]
    x = sgd_run(inputs)[0][:, ::2]
    assert second_moments(x, expected["Sigma_sde"], allowed=1) > CAUGHT
    x = sgd_run(inputs, SGD(1.05 * inputs["eta"], WithReplacement(1)))[0][:, ::2]
    assert second_moments(x, expected["Sigma"]) > CAUGHT


@pytest.mark.slow
@pytest.mark.parametrize("name", ["B.lsq.N20d3B1", "B.lsq.N20d3B5", "B.lsq.N8d2B4"])
def test_least_squares_in_real_minibatches(name, cases):
    """Noise that depends on the position. The additive noise alone, 4 to 40 % off, is caught."""
    inputs, expected = cases[name]
    system, exact = LeastSquares(inputs["X"], inputs["y"]), np.array(expected["with"]["Sigma"])
    dynamics = SGD(inputs["eta"] / system.n_items, WithReplacement(inputs["B"]))
    minimum = np.array(expected["theta_star"])
    x = trajectory(system, dynamics, steps=8_000, burn_in=400, every=4) - minimum
    assert second_moments(x, exact) < LIMIT
    assert second_moments(x, expected["Sigma_additive_noise_only"], allowed=1) > CAUGHT


@pytest.mark.slow
@pytest.mark.parametrize("name", ["B.reshuffle.N4", "B.reshuffle.N6"])
def test_reshuffled_and_fixed_orders(name, cases):
    """At the ends of epochs reshuffled SGD is far colder than with fresh minibatches, which is caught."""
    inputs, expected = cases[name]
    system = LeastSquares(inputs["X"], inputs["y"])
    n, eta = system.n_items, inputs["eta"] / len(inputs["y"])
    minimum = np.asarray(least_squares.least_squares(inputs["X"], inputs["y"]).minimum)
    x = trajectory(system, SGD(eta, Reshuffled(1)), steps=500 * n, burn_in=100 * n, replicas=512) - minimum
    ends = x[:, n - 1 :: n]
    assert second_moments(ends, expected["second_moment_epoch_end"]) < LIMIT
    assert second_moments(ends, expected["second_moment_iid"], allowed=1) > CAUGHT
    whole = x.reshape(len(x), -1, n, 2)
    for i in range(2):
        found = series.mean(np.mean(whole[..., i] ** 2, axis=2))
        assert_close(found, expected["second_moment_epoch_avg"][i][i])
        assert_close(series.mean(ends[..., i]), expected["mean_epoch_end"][i])
    cycle = trajectory(system, SGD(eta, FixedOrder(1)), steps=1_000 * n, replicas=2)[0, -n:] - minimum
    np.testing.assert_allclose(cycle, expected["fixed_order_cycle"], rtol=0, atol=1e-12)


@pytest.mark.slow
def test_mandts_optimal_step(cases):
    """The divergence from the posterior at his step; 5 % of it would be seen."""
    inputs, expected = cases["E.mandt.d2"]
    noise, eta = np.array(inputs["C_example"]) / inputs["B"], expected["eta_sde"]
    assert mandt.optimal_step(inputs["C_example"], inputs["N"], inputs["B"]) == pytest.approx(eta)
    start = drawn(stationary.sgd_state(inputs["A"], noise, eta).position, 1024)
    system = NoisyQuadratic.with_noise(np.array(inputs["A"]), noise)
    x = trajectory(
        system, SGD(eta, WithReplacement(1)), steps=8_000, every=8, replicas=1024, start=start, seed=3
    )
    groups = x.reshape(32, -1, 2)
    found = np.array([mandt.posterior_divergence(inputs["A"], g.T @ g / len(g), inputs["N"]) for g in groups])
    error = found.std(ddof=1) / np.sqrt(len(found))
    assert error < 0.01 * expected["kl_sde"]
    # Over 32 groups Student's law has its 1e-5 at 5.3 errors.
    assert abs(found.mean() - expected["kl_at_eta_sde_exact"]) < 5.3 * error


@pytest.mark.slow
@pytest.mark.parametrize("power", range(4))
def test_variance_flatness(power, cases):
    """psi of SGD whose noise goes like H^p; p is told from p + 0.1."""
    inputs, expected = cases[f"J.varflat.p{power}.eta0.1"]
    h = np.array(inputs["h"])
    start = drawn(np.diag(expected["sigma2"]), 64)
    system = NoisyQuadratic.with_noise(np.diag(h), np.diag(h**power / 2))
    x = trajectory(system, SGD(0.1, WithReplacement(1)), steps=40_000, every=20, replicas=64, start=start)
    found = variance_flatness(x, np.eye(12), stationary.flatness(h, 1.0))
    assert_close(found, expected["psi"])
    assert found.std_error < 0.02


@pytest.mark.slow
@pytest.mark.parametrize("step", [0.1, 1.0])
def test_sgld_on_a_mode(step, cases):
    """The hot positions of a finite step, and the equipartition that takes it out: exactly 1 at any step."""
    _, expected = cases[f"N.thermostat.sgld.h{step}.mu0.9.c0"]
    system = NoisyQuadratic(np.eye(2), np.zeros((2, 2)))
    start = drawn(expected["T_conf"] * np.eye(2), 512)
    x = trajectory(system, SGLD(step, None), steps=2_000, replicas=512, start=start)
    found = configurational_temperature(x, x)
    assert_close(found, expected["T_conf"])
    assert found.std_error < 0.02 * found.value
    corrected = equipartition({"mode": x}, {"mode": x}, 1.0, step, level=1e-5)
    assert corrected.holds
    assert corrected.temperatures["mode"].std_error < 0.02
    assert not equipartition({"mode": x}, {"mode": x}, 1.05, step, level=1e-5).holds


@pytest.mark.slow
@pytest.mark.parametrize("step", [0.1, 1.0])
def test_baoab_on_a_mode(step, cases):
    """The momentum right after O is the one at the end less the last half kick, both of which the state
    has. At the end itself it is 25 % colder at the long step, which is caught."""
    _, expected = cases[f"N.thermostat.baoab.h{step}.mu0.9.c0"]
    dynamics, system = Langevin(step, -np.log(0.9) / step), NoisyQuadratic(np.eye(2), np.zeros((2, 2)))
    x, at_end, gradient = by_hand(system, dynamics, steps=2_000, replicas=512)
    found = configurational_temperature(x, gradient)
    assert_close(found, expected["T_conf"])
    kinetic = kinetic_temperature(at_end + step / 2 * gradient, 1.0)
    assert_close(kinetic.temperature, expected["T_kin"])
    assert_close(kinetic.inside, kinetic.level)
    assert max(found.std_error, kinetic.temperature.std_error) < 0.02
    cold = kinetic_temperature(at_end, 1.0).temperature
    assert_close(cold, 1 - step**2 / 4)
    assert step < 1 or abs(cold.value - 1) > CAUGHT * cold.std_error
    exact = thermostats.thermostat_temperatures("baoab", 1.0, step, friction_factor=0.9)
    assert exact == pytest.approx((expected["T_kin"], expected["T_conf"]))


def by_hand(system, dynamics, steps, replicas):
    """Positions, momenta and gradients, (replicas, steps, d), of a dynamics stepped without `simulate`."""
    control = Control(1.0, {})

    def one(key, position):
        def step(state, t):
            state, _ = dynamics.step(system, state, control, Draw(key, t))
            return state, (state.point.position, state.momentum, state.point.gradient)

        state = dynamics.init(system, position, control, Draw(key, jnp.uint32(2**31)))
        return jax.lax.scan(step, state, jnp.arange(steps, dtype=jnp.uint32))[1]

    keys = jax.random.split(jax.random.key(0), replicas)
    return map(np.asarray, jax.jit(jax.vmap(one))(keys, drawn(np.eye(2), replicas)))
