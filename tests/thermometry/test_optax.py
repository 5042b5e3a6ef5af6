"""The thermometer as a gradient transformation: nothing changes, in jit, scan and vmap; the sums are the
core's."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from heatbath.errors import Refused
from heatbath.optax import read, relation, statistics, thermometer
from heatbath.thermometry import Schedule
from heatbath.thermometry.statistics import MOST_BLOCKS, QUANTITIES, Series, Statistics
from heatbath.thermometry.summary import BROKEN, STATIONARY

STEPS = 60
INPUTS = jax.random.normal(jax.random.key(1), (STEPS, 16, 6), jnp.float32)
OPTIMIZERS = {
    "sgd": lambda: optax.sgd(0.05),
    "nesterov": lambda: optax.sgd(0.02, momentum=0.9, nesterov=True),
    "adamw": lambda: optax.adamw(1e-2),
    "clipped": lambda: optax.chain(optax.clip_by_global_norm(0.1), optax.sgd(0.05)),
}


def start():
    a, b = jax.random.split(jax.random.key(0))
    first = {"w": jax.random.normal(a, (6, 8), jnp.float32) / 3, "b": jnp.zeros(8, jnp.float32)}
    return {"first": first, "second": {"w": jax.random.normal(b, (8,), jnp.float32)}}


def loss(params, x):
    hidden = jnp.tanh(x @ params["first"]["w"] + params["first"]["b"][None])
    return jnp.mean((hidden @ params["second"]["w"] - jnp.sin(x.sum(axis=1))) ** 2)


def train(optimizer, params, inputs=INPUTS, *, state=None, scan=True):
    def step(carry, x):
        params, state = carry
        updates, state = optimizer.update(jax.grad(loss)(params, x), state, params)
        return (optax.apply_updates(params, updates), state), None

    carry = (params, optimizer.init(params) if state is None else state)
    if scan:
        return jax.jit(lambda carry: jax.lax.scan(step, carry, inputs)[0])(carry)
    step = jax.jit(step)
    for x in inputs:
        carry, _ = step(carry, x)
    return carry


@pytest.mark.parametrize(("every", "scan"), [(1, False), (7, True)])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_the_parameters_are_bit_identical(name, every, scan):
    bare, _ = train(OPTIMIZERS[name](), start(), scan=scan)
    watched, state = train(
        thermometer(OPTIMIZERS[name](), learning_rate=0.05, every=every), start(), scan=scan
    )
    assert all(bool((a == b).all()) for a, b in zip(*map(jax.tree.leaves, (bare, watched)), strict=True))
    assert statistics(state).observations == STEPS // every


def test_it_sees_what_copies_of_the_parameters_see():
    name, eta = "nesterov", 0.02
    _, state = train(thermometer(OPTIMIZERS[name](), learning_rate=eta, every=1), start())
    params, inner, rows = start(), OPTIMIZERS[name]().init(start()), []
    for x in INPUTS:
        gradients = jax.grad(loss)(params, x)
        updates, inner = OPTIMIZERS[name]().update(gradients, inner, params)
        theta, change, g = (np.asarray(tree["first"]["w"], float) for tree in (params, updates, gradients))
        u = -change / eta
        rows.append([(theta * u).sum(), eta * (u**2).sum() / 2, (theta * g).sum()])
        params = optax.apply_updates(params, updates)
    row = statistics(state).summary(discard=0)["first/w"]
    left, right, _ = np.mean(rows, axis=0)
    assert row.size == 48
    assert row.ratio.value == pytest.approx(left / right, rel=1e-4)
    assert row.temperature.value == pytest.approx(right / 48, rel=1e-4)
    virial = np.mean(np.array(rows)[19::20, 2]) / 48
    assert row.virial_temperature.value == pytest.approx(virial, rel=1e-4)


def quadratic(steps: int, replicas: int, every: int = 1):
    """U = |theta|^2/2, gradient noise 1, d = 100, plain SGD with step 0.5: T = 1/3."""
    optimizer = thermometer(optax.sgd(0.5), learning_rate=0.5, every=every)

    def run(key):
        def step(carry, key):
            theta, state = carry
            updates, state = optimizer.update(theta + jax.random.normal(key, theta.shape), state, theta)
            return (optax.apply_updates(theta, updates), state), None

        theta = jnp.zeros(100)
        return jax.lax.scan(step, (theta, optimizer.init(theta)), jax.random.split(key, steps))[0][1]

    return jax.jit(jax.vmap(run))(jax.random.split(jax.random.key(2), replicas))


def test_replicas_under_vmap():
    """Level 1e-5; errors under 2 %."""
    summary = read(quadratic(1_000, 4))
    for found, exact in ((summary.total.temperature, 1 / 3), (summary.total.ratio, 1.0)):
        assert abs(found.value - exact) < 4.5 * found.std_error < 4.5 * 0.02 * exact
    assert summary.total.verdict == STATIONARY
    assert summary.observations == 4 * 496  # half of each replica's blocks


def test_the_steps_between_observations_are_counted_in():
    """At every tenth step the ratio is 1 as sharply as at every one: theta.u of the observed steps alone
    has an error of 0.012, nine times this one. Level 1e-5."""
    found = read(quadratic(1_000, 4, every=10)).total.ratio
    assert abs(found.value - 1) < 4.5 * found.std_error < 4.5 * 0.005


def test_blocks_are_those_of_the_core():
    optimizer = thermometer(optax.sgd(1.0), learning_rate=1.0, every=1)
    theta, core = jnp.ones(1), Series.empty(1)
    state = optimizer.init(theta)
    update = jax.jit(optimizer.update)
    for i in range(3 * MOST_BLOCKS + 5):
        step = jnp.array([0.5 - i % 2])
        updates, state = update(step, state, theta)
        row = np.zeros((1, len(QUANTITIES)))
        row[0, :4] = 1, 1, theta[0] * step[0], step[0] ** 2 / 2
        theta = theta + updates
        core.add(row[None])
    (found,) = statistics(state).series
    assert (found.length, found.filled) == (core.length, core.filled)
    np.testing.assert_allclose(found.blocks[..., :4], core.blocks[..., :4])
    np.testing.assert_allclose(found.open[..., :4], core.open[..., :4])


@pytest.mark.parametrize("clip", [optax.clip_by_global_norm(0.1), optax.clip(0.05)])
def test_gradients_clipped_before_it_reads_them_are_noticed(clip):
    inputs = jnp.concatenate([INPUTS] * 3)
    reasons = [
        read(train(optimizer, start(), inputs)[1]).total.virial_temperature.reason
        for optimizer in (
            optax.chain(clip, thermometer(optax.sgd(0.05), learning_rate=0.05, every=1)),
            thermometer(optax.chain(clip, optax.sgd(0.05)), learning_rate=0.05, every=1),
        )
    ]
    assert ["pile up" in reason for reason in reasons] == [True, False]


def test_micro_gradients_give_the_noise_scale():
    """Gradients (3, 0, ...) + noise of covariance 1 in 20 dimensions: scale 20/9; level 1e-5."""
    optimizer = thermometer(optax.sgd(1e-6), learning_rate=1e-6, every=1)
    theta = {"a": jnp.zeros(20)}

    def step(state, key):
        micro = jax.random.normal(key, (4, 20)) / 8**0.5 + 3.0 * jnp.eye(1, 20)
        gradient = {"a": micro.mean(axis=0)}
        _, state = optimizer.update(gradient, state, theta, micro_gradients={"a": micro}, micro_batch_size=8)
        return state, None

    state, _ = jax.lax.scan(step, optimizer.init(theta), jax.random.split(jax.random.key(0), 2_000))
    found = read(state)["a"].noise_scale
    assert found.reliable
    assert abs(found.value - 20 / 9) < 4.5 * found.std_error < 4.5 * 0.03 * 20 / 9


def test_schedules_labels_and_injected_rates():
    def rate(step):
        return jnp.where(step < 30, 0.05, 0.02)

    scheduled = thermometer(
        optax.sgd(rate), learning_rate=rate, every=1, labels=lambda path: path.split("/")[0]
    )
    _, state = train(scheduled, start())
    sums = statistics(state).series[0].blocks.sum(axis=0)
    assert read(state).rows[0].layer == "first"
    assert [row.size for row in read(state).rows] == [56, 8]
    np.testing.assert_allclose(sums[:, 1] / sums[:, 0], 0.035, rtol=1e-6)
    injected = thermometer(optax.inject_hyperparams(optax.sgd)(learning_rate=rate), every=1)
    _, other = train(injected, start())
    np.testing.assert_allclose(statistics(other).series[0].blocks.sum(axis=0)[0, 1], 60 * 0.035, rtol=0.02)


def test_inside_a_chain_it_is_found():
    chain = optax.chain(optax.zero_nans(), thermometer(optax.sgd(0.1), learning_rate=0.1))
    assert read(train(chain, start())[1]).observations == STEPS // 20 // 2  # of the later half


def test_state_survives_a_stop():
    optimizer = thermometer(OPTIMIZERS["nesterov"](), learning_rate=0.02, every=3)
    whole = train(optimizer, start())
    params, state = train(optimizer, start(), INPUTS[:25])
    rest = train(optimizer, params, INPUTS[25:], state=state)
    assert statistics(whole[1]).state_dict() == statistics(rest[1]).state_dict()


def test_refusals():
    params = {"a": jnp.ones(3)}
    with pytest.raises(Refused, match="whole number"):
        thermometer(optax.sgd(0.1), every=0)
    with pytest.raises(Refused, match="give an optax transformation"):
        thermometer(optax.sgd, learning_rate=0.1)
    for rate in (-0.1, "fast"):
        with pytest.raises(Refused, match="learning_rate is"):
            thermometer(optax.sgd(0.1), learning_rate=rate)
    with pytest.raises(Refused, match="labels is 'layer'"):
        thermometer(optax.sgd(0.1), learning_rate=0.1, labels="layer")
    with pytest.raises(Refused, match="learning rate is not known"):
        thermometer(optax.sgd(0.1)).init(params)
    optimizer = thermometer(optax.sgd(0.1), learning_rate=0.1)
    with pytest.raises(Refused, match="no parameters"):
        optimizer.init({"n": jnp.arange(3)})
    with pytest.raises(Refused, match="needs the parameters"):
        optimizer.update(params, optimizer.init(params))
    with pytest.raises(Refused, match="together"):
        optimizer.update(params, optimizer.init(params), params, micro_batch_size=3)
    with pytest.raises(Refused, match="micro_batch_size is 0"):
        optimizer.update(params, optimizer.init(params), params, micro_gradients=params, micro_batch_size=0)
    four = jnp.ones((4, 3))
    for micro, says in (
        ([four], "is not like params"),
        ({"a": four, "b": four[:2]}, "as many micro-batches"),
    ):
        both = {"a": jnp.ones(3), "b": jnp.ones(3)}
        with pytest.raises(Refused, match=says):
            thermometer(optax.sgd(0.1), learning_rate=0.1, every=1).update(
                both, optimizer.init(both), both, micro_gradients=micro, micro_batch_size=3
            )
    parts = {name: optax.inject_hyperparams(optax.sgd)(learning_rate=0.1) for name in "ab"}
    with pytest.raises(Refused, match="has 2 learning rates"):
        thermometer(optax.multi_transform(parts, {"a": "a", "b": "b"})).init({"a": four, "b": four})
    with pytest.raises(Refused, match="0 thermometers"):
        read(optax.sgd(0.1).init(params))
    with pytest.raises(Refused, match="another model"):
        statistics(optimizer.init(params)).merge(Statistics(("a",), (2,)))


def test_a_loop_that_breaks_is_told():
    optimizer = thermometer(optax.sgd(0.05), learning_rate=0.05, every=1)
    _, state = train(optimizer, start(), INPUTS.at[STEPS // 2].set(jnp.nan))
    assert read(state).total.verdict == BROKEN


def test_the_rate_is_lowered_once_training_is_stationary():
    """`relation` feeds a `Schedule`, whose rate goes into the optimizer's state."""
    optimizer = optax.inject_hyperparams(optax.sgd)(learning_rate=0.2)
    curvature = jnp.linspace(0.1, 1, 20)
    params = {"a": jnp.full(10, 30.0), "b": jnp.full(10, 30.0), "n": jnp.array(3)}

    @jax.jit
    def step(params, state, key):
        noise = jax.random.normal(key, (20,))
        pull = curvature * jnp.concatenate([params["a"], params["b"]]) + noise
        gradients = {"a": pull[:10], "b": pull[10:], "n": jnp.array(0.0)}
        rate = state.hyperparams["learning_rate"]
        updates, state = optimizer.update(gradients, state, params)
        return optax.apply_updates(params, updates), state, relation(params, updates, rate)

    schedule, state, rates = Schedule(0.2, factor=0.5, window=200), optimizer.init(params), []
    for key in jax.random.split(jax.random.key(0), 6_000):
        before = params
        params, state, sides = step(params, state, key)
        state.hyperparams["learning_rate"] = jnp.asarray(schedule.update(*sides))
        rates.append(schedule.step_size)
    u = jnp.concatenate([(before[k] - params[k]) / rates[-2] for k in "ab"])
    theta = jnp.concatenate([before[k] for k in "ab"])
    np.testing.assert_allclose(sides, (theta @ u, u @ u), rtol=1e-6)
    assert np.argmax(np.array(rates) < 0.2) > np.log(30) / (0.2 * 0.1)
    assert rates[-1] <= 0.1
