"""The runner: chunks, blocks, seeds, refusals, ensemble moves, and use by hand."""

import sys

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from heatbath.core import (
    Average,
    Constant,
    Control,
    Draw,
    FromFunction,
    Linear,
    PerReplica,
    Record,
    simulate,
)
from heatbath.dynamics import HMC, MALA, Langevin, OverdampedLangevin, ReplicaExchange
from heatbath.errors import Refused
from heatbath.systems import DoubleWell, HarmonicTrap

TRAP = HarmonicTrap(2)
REST = Control(1.0, {"stiffness": 1.0, "centre": 0.0})


def run(dynamics=None, **changes):
    arguments = {"key": 1, "replicas": 3, "steps": 12, "progress": False, **changes}
    system, protocol = arguments.pop("system", TRAP), arguments.pop("protocol", Constant(REST))
    return simulate(system, dynamics or Langevin(0.3), protocol, **arguments)


def test_results_do_not_depend_on_chunks_or_number_of_saves(monkeypatch):
    whole = run(steps=30)
    monkeypatch.setattr(sys.modules["heatbath.core.driver"], "CHUNK_SECONDS", 1e-9)
    steps = run(steps=30)
    thinned = run(steps=30, every=5)
    assert (whole.records["position"] == steps.records["position"]).all()
    assert (whole.records["position"][:, 4::5] == thinned.records["position"]).all()
    assert thinned.records["position"].shape == (3, 6, 2)


def test_one_replica_is_padded_and_equals_the_first_of_two():
    assert (run(replicas=1).records["position"][0] == run(replicas=2).records["position"][0]).all()


def test_by_hand_equals_the_runner():
    """The runner is a convenience: `init` and `step` with the same draws give the same numbers."""
    dynamics, steps = OverdampedLangevin(0.2), 5
    x0 = jnp.asarray([[0.3, -0.1], [0.5, 0.2]])
    got = run(dynamics, replicas=2, steps=steps, positions=x0)
    key = jax.random.fold_in(jax.random.key(1), 1)  # of replica 1
    step = eqx.filter_jit(dynamics.step)
    state = dynamics.init(TRAP, x0[1], REST, Draw(key, jnp.asarray(0)))
    for t in range(steps):
        state, _ = step(TRAP, state, REST, Draw(key, jnp.asarray(t)))
    np.testing.assert_allclose(state.position, got.position[1], rtol=1e-12)


def test_each_replica_its_own_protocol_and_step_size():
    protocols = [
        Linear(Control(t, REST.couplings), Control(2 * t, REST.couplings), 4) for t in (1.0, 2.0, 3.0)
    ]
    dynamics = PerReplica.of([OverdampedLangevin(h) for h in (0.1, 0.2, 0.3)])
    got = run(dynamics, protocol=PerReplica.of(protocols), steps=5)
    np.testing.assert_allclose(got.records["temperature"][:, -1], [2.0, 4.0, 6.0])
    alone = run(OverdampedLangevin(0.1), protocol=protocols[0], steps=5)
    np.testing.assert_allclose(got.records["position"][0], alone.records["position"][0], rtol=1e-12)


def test_observers_fold_inside_the_loop():
    second = Average(lambda seen, _: seen.position**2, lambda x: x)
    norm = Record(lambda seen, p: p * jnp.sum(seen.position**2), jnp.asarray(2.0))
    got = run(
        steps=20, observers={"second": second, "norm": norm, "position": Record(lambda s, _: s.position)}
    )
    count, mean = got.observers["second"]
    assert (np.asarray(count) == 20).all()
    np.testing.assert_allclose(mean, (got.records["position"] ** 2).mean(axis=1), rtol=1e-12)
    np.testing.assert_allclose(
        got.records["norm"], 2 * (got.records["position"] ** 2).sum(axis=2), rtol=1e-12
    )


def test_replica_exchange_mixes_a_ladder_and_keeps_the_first_law():
    """Double well at low temperature: with exchange the cold slot crosses; its occupation is right."""
    well, couplings = DoubleWell(), {"barrier": 4.0, "tilt": 0.0}
    ladder = [Control(t, couplings) for t in (0.3, 0.6, 1.2, 2.4)]
    copies = 50
    protocol = PerReplica.of([Constant(c) for c in ladder] * copies)
    x0 = jnp.ones((len(ladder) * copies, 1))

    def cold(moves):
        result = simulate(
            well,
            HMC(0.15, 5, 0.2),
            protocol,
            key=2,
            replicas=len(ladder) * copies,
            steps=600,
            every=20,
            moves=moves,
            positions=x0,
            progress=False,
        )
        assert np.abs(np.asarray(result.ledger.residual())).max() < 1e-10
        return result.records["position"][:: len(ladder), 15:, 0]

    left = (cold((ReplicaExchange(every=2),)) < 0).mean(axis=1)
    assert abs(left.mean() - 0.5) < 4.9 * left.std() / np.sqrt(copies)
    assert (cold(()) < 0).mean() < 0.2


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"steps": 0}, "steps is 0"),
        ({"replicas": 0}, "replicas is 0"),
        ({"every": 0}, "every is 0"),
        ({"steps": 2**32}, "steps is 4294967296"),
        ({"key": -1}, "seed -1"),
        ({"key": 2**32}, "seed 4294967296"),
        ({"ledger": "full"}, "ledger 'full'"),
        ({"steps": "many"}, "steps is 'many'"),
        ({"replicas": None}, "replicas is None"),
        ({"key": 1.5}, r"key is 1\.5"),
        ({"system": lambda x: x}, "system is .*: give a System"),
        ({"dynamics": OverdampedLangevin}, "dynamics is .*: give a Dynamics"),
        ({"protocol": REST}, r"protocol is .*like Constant\(control\)"),
        ({"moves": ReplicaExchange()}, "give a list"),
        ({"protocol": Constant(Control(1.0, {**REST.couplings, "center": 0.0}))}, "coupling 'center'"),
        ({"protocol": Constant(Control(1.0, {"stiffness": 1.0}))}, "finds no 'centre': is it a coupling"),
        ({"positions": jnp.zeros((2, 2))}, "replica axis of 3"),
        ({"positions": jnp.full((3, 2), jnp.nan)}, "not finite at the start of replica 0"),
        ({"protocol": Constant(Control(-1.0, REST.couplings))}, "temperature -1.0 is not positive"),
    ],
)
def test_bad_requests_are_refused(changes, word):
    with pytest.raises(Refused, match=word):
        run(**changes)


def test_couplings_have_names():
    with pytest.raises(Refused, match="give numbers by name"):
        Control(1.0, 2.0)


def test_an_energy_that_is_no_scalar_is_refused():
    class Vector(HarmonicTrap):
        def energy(self, position, couplings, items=None):
            return position

    with pytest.raises(Refused, match="energy cannot be used"):
        simulate(Vector(2), MALA(0.1), Constant(REST), key=0, replicas=2, steps=2, progress=False)


def test_step_sizes_must_be_positive():
    for make in (OverdampedLangevin, MALA, Langevin, HMC):
        with pytest.raises(ValueError, match=r"step_size is -0\.1"):
            make(-0.1)
    with pytest.raises(ValueError, match="splitting 'BXB'"):
        Langevin(0.1, splitting="BXB")


def test_the_ledger_needs_x64():
    jax.config.update("jax_enable_x64", False)
    try:
        trap, rest = HarmonicTrap(2, "float32"), Control(1.0, {"stiffness": 1.0, "centre": 0.0})
        arguments = {"key": 1, "replicas": 3, "steps": 12, "progress": False}
        with pytest.raises(Refused, match="jax_enable_x64"):
            simulate(trap, Langevin(0.3), Constant(rest), **arguments)
        got = simulate(trap, Langevin(0.3), Constant(rest), ledger="off", **arguments)
        assert got.ledger is None
        assert got.records["position"].dtype == np.float32
    finally:
        jax.config.update("jax_enable_x64", True)


def test_a_function_of_the_user_is_a_protocol():
    def pulse(step, replica, height):
        return Control(1.0 + height * (step == 3), REST.couplings)

    got = run(protocol=FromFunction(pulse, 0.5), steps=6)
    assert got.records["temperature"][0].tolist() == [1.0, 1.0, 1.0, 1.5, 1.0, 1.0]
