"""Stochastic-gradient dynamics: work identity given the minibatches, schedules, anchors, preconditioners."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scipy import stats

from heatbath.core import Constant, Control, Diverged, Draw, Linear, PerReplica, simulate
from heatbath.dynamics import (
    SGD,
    SGHMC,
    SGLD,
    SGWORLD,
    ControlVariateSGLD,
    CyclicCosine,
    Optax,
    Polynomial,
    PreconditionedSGLD,
    ReplicaExchange,
    Reshuffled,
    Windows,
    WithReplacement,
)
from heatbath.errors import Refused
from heatbath.systems import HarmonicTrap, Posterior

Z_LIMIT = float(stats.norm.isf(5e-7))  # two-sided level 1e-6
RNG = np.random.default_rng(4)
INPUTS, NOISE = RNG.normal(size=(12, 2)), RNG.normal(size=12)
TARGETS = INPUTS @ [0.5, -0.3] + NOISE


def posterior():
    return Posterior(
        lambda w: -jnp.sum(w * w) / 2,
        lambda w, x, y: -((x @ w - y) ** 2) / 2,
        lambda key: jnp.zeros(2),
        (jnp.asarray(INPUTS), jnp.asarray(TARGETS)),
    )


def gaussian(coupling):
    """Mean, covariance and ln Z of the posterior at temperature 1."""
    precision = np.eye(2) + coupling * INPUTS.T @ INPUTS
    mean = np.linalg.solve(precision, coupling * INPUTS.T @ TARGETS)
    exponent = (mean @ precision @ mean - coupling * TARGETS @ TARGETS) / 2
    return mean, np.linalg.inv(precision), exponent - np.linalg.slogdet(precision)[1] / 2


def coupled(coupling):
    return Control(1.0, {"likelihood": coupling})


def work_identity(dynamics, replicas=40_000):
    """z of mean exp(-reduced work) of a run from coupling 0.5 to 1, against Z_1/Z_0.5."""
    mean, covariance, before = gaussian(0.5)
    start = mean + np.random.default_rng(1).normal(size=(replicas, 2)) @ np.linalg.cholesky(covariance).T
    run = simulate(
        posterior(),
        dynamics,
        Linear(coupled(0.5), coupled(1.0), 4),
        key=2,
        replicas=replicas,
        steps=5,
        ledger="path",
        observers={},
        positions=jnp.asarray(start),
        progress=False,
    )
    weights = np.exp(-np.asarray(run.ledger.reduced_work))
    expected = np.exp(gaussian(1.0)[2] - before)
    return (weights.mean() - expected) / (weights.std() / np.sqrt(replicas))


@pytest.mark.parametrize(
    "dynamics",
    [
        SGLD(0.01, WithReplacement(3)),
        SGLD(0.01, Windows(3)),
        SGWORLD(0.01, 3),
        SGLD(Polynomial(0.02, 2.0, 0.6), Reshuffled(4)),
        ControlVariateSGLD(0.01, WithReplacement(3), anchor=jnp.asarray([0.6, -0.2])),
        SGHMC(0.1, WithReplacement(3), friction=2.0),
    ],
    ids=["SGLD", "windows", "SGWORLD", "schedule", "SGLD-CV", "SGHMC"],
)
def test_work_identity_given_the_minibatches(dynamics):
    assert abs(work_identity(dynamics)) < Z_LIMIT


class Misbooked(SGLD):
    """The reverse step with the gradient of all the data instead of the same minibatch's."""

    def path_heat(self, system, old, new, control, drawn, items):
        return super().path_heat(system, old, new, control, drawn, None)


class AnchoredAtTheStart(ControlVariateSGLD):
    """Each replica's anchor is where it starts, as without ``anchor``."""

    def refusal(self):
        return None


@pytest.mark.teeth
def test_heat_of_other_minibatches_is_caught():
    assert abs(work_identity(Misbooked(0.01, WithReplacement(3)))) > 5


def resting(dynamics):
    """Mean exp(-reduced work) of a step at rest from equilibrium, exactly 1, and its error: two items."""
    inputs, targets = jnp.asarray([0.6, 1.2]), jnp.asarray([0.3, -0.2])
    system = Posterior(
        lambda w: -jnp.sum(w * w) / 2,
        lambda w, x, y: -((x * w[0] - y) ** 2) / 2,
        lambda key: jnp.zeros(1),
        (inputs, targets),
    )
    precision, replicas = 1 + float(inputs @ inputs), 200_000
    noise = np.random.default_rng(3).normal(size=(replicas, 1))
    run = simulate(
        system,
        dynamics,
        Constant(Control(1.0)),
        key=4,
        replicas=replicas,
        steps=1,
        ledger="path",
        observers={},
        positions=jnp.asarray(float(inputs @ targets) / precision + noise / precision**0.5),
        progress=False,
    )
    weights = np.exp(-np.asarray(run.ledger.reduced_work))
    return weights.mean(), weights.std() / np.sqrt(replicas)


def test_a_given_anchor_keeps_the_work_identity():
    mean, error = resting(ControlVariateSGLD(0.2, WithReplacement(1), anchor=jnp.asarray([0.1])))
    assert abs(mean - 1) < Z_LIMIT * error


@pytest.mark.teeth
def test_an_anchor_that_belongs_to_the_path_is_caught():
    """The mean is that of 1/|1 + h (k - k_B)| over the items, k the stiffness of all and k_B of one."""
    mean, error = resting(AnchoredAtTheStart(0.2, WithReplacement(1)))
    assert mean - 1 > 5 * error
    stiffness = 1 + 2 * np.asarray([0.6, 1.2]) ** 2
    expected = np.mean(1 / np.abs(1 + 0.2 * (stiffness.mean() - stiffness)))
    assert abs(mean - expected) < Z_LIMIT * error


def test_the_runner_and_the_steps_by_hand_agree():
    system, dynamics, control = posterior(), SGLD(0.01, WithReplacement(3)), coupled(1.0)
    run = simulate(
        system, dynamics, Constant(control), key=3, replicas=1, steps=70, ledger="path", progress=False
    )
    key = jax.random.fold_in(jax.random.key(3), 0)
    state = dynamics.init(system, jnp.zeros(2), control, Draw(key, jnp.asarray(0)))
    heat = shadow_work = 0.0
    step = jax.jit(lambda s, t: dynamics.step(system, s, control, Draw(key, t)))
    for t in range(70):
        state, flow = step(state, jnp.asarray(t))
        assert np.allclose(state.position, run.records["position"][0, t], rtol=0, atol=1e-12)
        heat, shadow_work = heat + float(flow.heat), shadow_work + float(flow.shadow_work)
    assert heat == pytest.approx(float(run.ledger.heat[0]), abs=1e-10)
    assert shadow_work == pytest.approx(float(run.ledger.shadow_work[0]), abs=1e-10)


def test_the_energy_is_measured_where_asked_and_unknown_elsewhere():
    run = simulate(
        posterior(),
        SGLD(0.01, Windows(3)),
        Constant(coupled(1.0)),
        key=3,
        replicas=2,
        steps=100,
        every=5,
        energy_every=20,
        progress=False,
    )
    measured = np.isfinite(run.records["potential"][0])
    assert (np.flatnonzero(measured) == [3, 7, 11, 15, 19]).all()
    energies = jax.vmap(lambda w: posterior().energy(w, {}))(
        jnp.asarray(run.records["position"][0, measured])
    )
    assert np.allclose(run.records["potential"][0, measured], energies, rtol=1e-12)
    assert np.isnan(np.asarray(run.ledger.heat)).all()


def test_schedules():
    steps = jnp.asarray([0, 1, 99, 100, 150])
    assert np.allclose(Polynomial(0.5, 10.0, 0.55)(steps), 0.5 * (1 + np.asarray(steps) / 10) ** -0.55)
    cyclic = np.asarray(CyclicCosine(0.2, 100)(steps))
    assert cyclic[[0, 3]] == pytest.approx(0.2)
    assert cyclic[4] == pytest.approx(0.1)
    assert 0 < cyclic[2] < 1e-4
    with pytest.raises(ValueError, match="must be positive"):
        SGLD(-1e-3)


def final_state(dynamics, steps, **options):
    options = {"system": posterior(), "replicas": 2, "key": 5} | options
    return simulate(
        options.pop("system"),
        dynamics,
        Constant(coupled(1.0)),
        steps=steps,
        positions=jnp.ones((2, 2)),
        progress=False,
        **options,
    )


def test_control_variates_have_no_noise_at_the_anchor_and_no_bias_elsewhere():
    system, control = posterior(), coupled(1.0)
    dynamics = ControlVariateSGLD(0.01, WithReplacement(1))
    anchored = dynamics.init(system, jnp.ones(2), control, Draw(jax.random.key(0), jnp.asarray(0)))
    full = jax.grad(system.energy)

    def estimates(at):
        each = [dynamics.force_at(system, anchored, at, control, jnp.asarray([i])) for i in range(12)]
        return np.asarray(jnp.stack(each))

    at, away = jnp.ones(2), jnp.asarray([1.1, 0.7])
    assert np.allclose(estimates(at), full(at, control.couplings), rtol=1e-12)
    assert np.allclose(estimates(away).mean(axis=0), full(away, control.couplings), rtol=1e-12)
    plain = [
        SGLD(0.01, WithReplacement(1)).gradient_at(system, away, control, jnp.asarray([i])) for i in range(12)
    ]
    assert estimates(away).std(axis=0).max() < np.asarray(jnp.stack(plain)).std(axis=0).min()


def test_the_anchor_moves_every_so_many_steps_in_the_runner_and_by_hand():
    dynamics = ControlVariateSGLD(0.01, WithReplacement(3), anchor_every=7)
    run = final_state(dynamics, 16)
    assert np.allclose(run.states.memory.position, run.records["position"][:, 13])
    gradient = jax.vmap(lambda w: jax.grad(posterior().energy)(w, {}))(run.states.memory.position)
    assert np.allclose(run.states.memory.gradient, gradient, rtol=1e-12)
    key = jax.random.fold_in(jax.random.key(5), 0)
    control = coupled(1.0)
    state = dynamics.init(posterior(), jnp.ones(2), control, Draw(key, jnp.asarray(0)))
    step = jax.jit(lambda s, t: dynamics.step(posterior(), s, control, Draw(key, t))[0])
    for t in range(16):
        state = step(state, jnp.asarray(t))
    assert np.allclose(state.position, run.position[0], rtol=0, atol=1e-12)
    with pytest.raises(Refused, match="the anchor moves with the path"):
        final_state(dynamics, 2, ledger="path")
    with pytest.raises(Refused, match="the anchor is where the path starts"):
        final_state(ControlVariateSGLD(0.01, WithReplacement(3)), 2, ledger="path")


def test_an_anchor_that_is_given_is_that_of_all_replicas():
    dynamics = ControlVariateSGLD(0.01, WithReplacement(3), anchor=jnp.asarray([0.6, -0.2]))
    run = final_state(dynamics, 2)
    assert np.allclose(run.states.memory.position, [0.6, -0.2])
    gradient = jax.grad(posterior().energy)(dynamics.anchor, {})
    assert np.allclose(run.states.memory.gradient, gradient, rtol=1e-12)
    with pytest.raises(Refused, match="anchor has shape"):
        final_state(ControlVariateSGLD(0.01, WithReplacement(3), anchor=jnp.zeros(3)), 2)


@pytest.mark.parametrize(
    "make",
    [
        lambda: ControlVariateSGLD(0.01, anchor_every=-3),
        lambda: ControlVariateSGLD(0.01, anchor_every=2.5),
        lambda: ReplicaExchange(every=0),
        lambda: SGLD(np.inf),
        lambda: SGLD([0.1, 0.2]),
        lambda: SGLD(None),
        lambda: SGLD(Polynomial(-0.001, 10.0)),
        lambda: CyclicCosine(0.001, 0),
        lambda: PreconditionedSGLD(0.01, decay=2.0),
        lambda: SGD(0.001, momentum=1.5),
        lambda: SGD(0.001, dampening=0.5),
    ],
)
def test_numbers_that_make_no_dynamics_are_refused_where_they_are_given(make):
    with pytest.raises(ValueError, match=r"every|step_size|first|period|decay|momentum"):
        make()


def test_sizes_of_minibatches_are_whole_numbers():
    assert Windows(np.int64(5)) == Windows(5)
    for make in (lambda: Windows(2.5), lambda: WithReplacement("3"), lambda: Windows(5, shuffle=0.5)):
        with pytest.raises(Refused, match=r"a minibatch of .*: give a whole number"):
            make()


def test_the_preconditioner_is_the_running_mean_of_squared_mean_gradients():
    """One step by hand, and the step's covariance: 2 h T G."""
    system, control, start = posterior(), coupled(1.0), jnp.asarray([1.0, 2.0])
    dynamics = PreconditionedSGLD(0.01, decay=0.9, damping=0.1)
    state = dynamics.init(system, start, control, Draw(jax.random.key(0), jnp.asarray(0)))
    drawn = jax.tree.map(lambda x: x[0], dynamics.draws(system, state, jax.random.key(1), jnp.asarray(0), 1))
    moved = dynamics.move(system, state, control, drawn, None)
    g = np.asarray(jax.grad(system.energy)(start, control.couplings))
    v = 0.1 * (g / 12) ** 2
    scale = 1 / (0.1 + np.sqrt(v))
    expected = np.asarray(start) - 0.01 * scale * g + np.sqrt(2 * 0.01 * scale) * np.asarray(drawn.noise)
    assert np.allclose(moved.position, expected, rtol=1e-6)
    assert np.allclose(moved.memory, v)
    with pytest.raises(Refused, match="the preconditioner adapts to the path"):
        final_state(dynamics, 2, ledger="path")


def test_optax_and_sgd_agree():
    momentum = final_state(SGD(0.02, Windows(3), momentum=0.7, nesterov=True), 50, key=9)
    through = final_state(Optax(optax.sgd(0.02, momentum=0.7, nesterov=True), Windows(3)), 50, key=9)
    assert np.allclose(momentum.position, through.position, rtol=1e-9)
    scaled = final_state(Optax(optax.sgd(0.02 * 12), Windows(3), scale=1 / 12), 50, key=9)
    assert np.allclose(scaled.position, final_state(SGD(0.02, Windows(3)), 50, key=9).position, rtol=1e-9)


def test_a_moving_control_and_exchange_need_no_ledger():
    controls = (
        Control(1.0, {"stiffness": 1.0, "centre": 0.0}),
        Control(2.0, {"stiffness": 3.0, "centre": 0.0}),
    )
    runs = [
        simulate(
            HarmonicTrap(2),
            SGHMC(0.1),
            Linear(*controls, 10),
            key=1,
            replicas=4,
            steps=20,
            ledger=ledger,
            moves=(ReplicaExchange(every=6),),
            progress=False,
        )
        for ledger in ("off", "energy")
    ]
    assert np.allclose(runs[0].position, runs[1].position, rtol=1e-12)


def test_replica_exchange_keeps_both_temperatures():
    """Swaps are decided with true energies: <x^2> of SGLD at T 1 and 3, at level 1e-6."""
    pairs, h = 4_000, 0.05
    temperature = jnp.tile(jnp.asarray([1.0, 3.0]), pairs)
    trap, couplings = HarmonicTrap(1), {"stiffness": 1.0, "centre": 0.0}
    start = jnp.sqrt(temperature / (1 - h / 2)) * jax.random.normal(jax.random.key(2), temperature.shape)
    run = simulate(
        trap,
        SGLD(h),
        PerReplica.of([Constant(Control(float(t), couplings)) for t in temperature[:2]] * pairs),
        key=1,
        replicas=2 * pairs,
        steps=300,
        every=300,
        moves=(ReplicaExchange(every=10),),
        positions=start[:, None],
        progress=False,
    )
    squares = run.position.reshape(pairs, 2) ** 2
    for slot, t in enumerate((1.0, 3.0)):
        sample = np.asarray(squares[:, slot])
        expected = t / (1 - h / 2)
        assert abs(sample.mean() - expected) < Z_LIMIT * sample.std() / np.sqrt(pairs)


def test_a_step_that_diverges_is_stopped_at_once_with_its_last_good_state():
    with pytest.raises(
        Diverged, match=r"not finite in any replica at step \d+; try a smaller step size"
    ) as stopped:
        final_state(SGD(1e3, Windows(3)), 1_000_000)
    run = stopped.value.run
    assert run.steps < 10_000
    assert np.isfinite(np.asarray(run.position)).all()
    assert (run.first_bad_step > 0).all()


def test_models_without_parameters_or_with_whole_numbers_are_refused():
    def system(initial, likelihood):
        data = jnp.asarray(INPUTS), jnp.asarray(TARGETS)
        return Posterior(lambda w: jnp.zeros(()), likelihood, lambda key: initial, data)

    def run(system):
        simulate(system, SGLD(0.1), Constant(Control(1.0)), key=0, replicas=2, steps=2, progress=False)

    with pytest.raises(Refused, match="no parameters"):
        run(system({}, lambda w, x, y: -(y**2)))
    with pytest.raises(Refused, match="the parameters hold int"):
        run(system(jnp.arange(2), lambda w, x, y: -((x @ w - y) ** 2)))


def test_an_energy_that_is_not_a_number_for_each_replica_is_refused():
    class Vector(HarmonicTrap):
        def energy(self, position, couplings, items=None):
            return position**2

    control = Control(1.0, {"stiffness": 1.0, "centre": 0.0})
    with pytest.raises(Refused, match="scalar"):
        simulate(Vector(2), SGLD(0.1), Constant(control), key=0, replicas=2, steps=2, progress=False)
