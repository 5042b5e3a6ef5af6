"""The ledger in float64: replayed, split, and reversed."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from heatbath.core import Constant, Control, Draw, Linear, Piecewise, simulate
from heatbath.core.numeric import ravel
from heatbath.dynamics import HMC, Langevin, OverdampedLangevin
from heatbath.systems import DoubleWell, HarmonicTrap


def replay(path, centres, stiffness, h):
    """Work, heat and shadow work of an overdamped path in extended precision, from the stored positions.

    path: (steps + 1, d), positions before the first and after every step; centres: (steps,) in force.
    Returns (sum of the increments, sum of their magnitudes) of each; a few thousand steps at a time.
    """
    k, h = np.longdouble(stiffness), np.longdouble(h)
    sums = {name: np.zeros(2, np.longdouble) for name in ("work", "heat", "shadow_work")}

    def energy(x, centre):
        return k * ((x - centre) ** 2).sum(axis=1) / 2

    for first in range(0, len(centres), 5_000):
        x = path[first : first + 5_001].astype(np.longdouble)
        before, after = x[:-1], x[1:]
        c = centres[first : first + 5_000].astype(np.longdouble)[:, None]
        old = centres[max(first - 1, 0) : first + len(c) - 1].astype(np.longdouble)[:, None]
        moved = before[-len(old) :]  # the control does not move into the first step
        f0, f1 = -k * (before - c), -k * (after - c)
        heat = -((after - before) * (f0 + f1)).sum(axis=1) / 2 - h / 4 * ((f1**2).sum(1) - (f0**2).sum(1))
        parts = {
            "work": energy(moved, c[-len(old) :]) - energy(moved, old),
            "heat": heat,
            "shadow_work": energy(after, c) - energy(before, c) - heat,
        }
        for name, part in parts.items():
            sums[name] += [part.sum(), np.abs(part).sum()]
    return sums


@pytest.mark.parametrize(("d", "steps"), [(10, 20_000), (100, 5_000)])
def test_float32_positions_keep_a_float64_ledger(d, steps):
    compare_with_replay(d, steps)


@pytest.mark.slow
@pytest.mark.parametrize("d", [10, 100])
def test_float32_positions_keep_a_float64_ledger_for_a_million_steps(d):
    compare_with_replay(d, 1_000_000)


def compare_with_replay(d, steps):
    """A trap dragged at constant speed; the naive float32 ledger was 17 and 106 kT off after 1e6 steps."""
    h, stiffness, speed = 0.01, 1.0, 0.02
    trap = HarmonicTrap(d, "float32")
    start = Control(1.0, {"stiffness": stiffness, "centre": 0.0})
    end = Control(1.0, {"stiffness": stiffness, "centre": speed * (steps - 1)})
    protocol = Linear(start, end, steps - 1)
    x0 = jnp.zeros((2, d), jnp.float32)
    run = simulate(
        trap, OverdampedLangevin(h), protocol, key=4, replicas=2, steps=steps, positions=x0, progress=False
    )
    path = np.concatenate([np.asarray(x0)[0][None], run.records["position"][0]])
    centres = np.asarray(
        jax.vmap(lambda t: protocol(t, 0).couplings["centre"])(jnp.arange(steps)), np.float64
    )
    for name, (exact, size) in replay(path, centres, stiffness, h).items():
        booked = np.longdouble(np.asarray(getattr(run.ledger, name))[0])
        assert abs(booked - exact) <= 1e-12 * size, name
    assert run.records["position"].dtype == np.float32


@pytest.mark.parametrize("splitting", ["BAOAB", "OBABO", "ABO", "OABAO"])
def test_shadow_work_is_the_change_of_energy_in_the_deterministic_letters(splitting):
    """The splitting done again by hand, letter by letter, on an anharmonic well."""
    well, control = DoubleWell(), Control(0.6, {"barrier": 1.1, "tilt": 0.3})
    dynamics = Langevin(0.2, 0.9, splitting)
    state = dynamics.init(well, jnp.asarray([0.7]), control, Draw(jax.random.key(0), jnp.asarray(0)))
    energy = lambda x, p: float(well.energy(jnp.asarray([x]), control.couplings)) + p * p / 2  # noqa: E731
    force = lambda x: -float(jax.grad(well.energy)(jnp.asarray([x]), control.couplings)[0])  # noqa: E731
    for number in range(20):
        noise = dynamics.noise(state, Draw(jax.random.key(1), jnp.asarray(number)))
        x, p, shadow, heat, bath = float(state.point.position[0]), float(state.momentum[0]), 0.0, 0.0, 0
        for letter in splitting:
            h, before = 0.2 / splitting.count(letter), energy(x, p)
            if letter == "A":
                x += h * p
            elif letter == "B":
                p += h * force(x)
            else:
                decay = np.exp(-0.9 * h)
                p = decay * p + np.sqrt(0.6 * (1 - decay**2)) * float(noise[bath, 0])
                bath += 1
            if letter == "O":
                heat += energy(x, p) - before
            else:
                shadow += energy(x, p) - before
        state, flow = dynamics.step_given(well, state, control, noise)
        assert abs(float(flow.shadow_work) - shadow) < 1e-12
        assert abs(float(flow.heat) - heat) < 1e-12


def test_rescaled_momenta_keep_kinetic_energy_over_temperature():
    """And the rescaling's entropy flow is -(d/2) ln of the ratio of temperatures, its energy heat."""
    trap = HarmonicTrap(3)
    cold, hot = (Control(t, {"stiffness": 1.0, "centre": 0.0}) for t in (1.0, 4.0))
    dynamics = HMC(1e-9, 1, 0.0, 1.0)  # momenta kept, hardly a move
    run = simulate(
        trap, dynamics, Linear(cold, hot, 1), key=0, replicas=4, steps=2, observers={}, progress=False
    )
    kinetic = run.records["kinetic"]
    np.testing.assert_allclose(kinetic[:, 1] / kinetic[:, 0], 4.0, rtol=1e-6)
    potential = run.records["potential"][:, 0]
    np.testing.assert_allclose(np.asarray(run.ledger.reduced_work), potential * (1 / 4 - 1), rtol=1e-6)
    np.testing.assert_allclose(np.asarray(run.ledger.work), 0.0, atol=1e-7)
    np.testing.assert_allclose(np.asarray(run.ledger.heat), 3 * kinetic[:, 0], rtol=1e-5)
    np.testing.assert_allclose(np.asarray(run.ledger.entropy_flow), -1.5 * np.log(4.0), atol=1e-6)


def test_energy_ledger_books_energies_only():
    trap = HarmonicTrap(2)
    start, end = (Control(1.0, {"stiffness": k, "centre": 0.0}) for k in (1.0, 2.0))
    run = simulate(
        trap,
        OverdampedLangevin(0.1),
        Linear(start, end, 4),
        key=0,
        replicas=3,
        steps=5,
        ledger="energy",
        progress=False,
    )
    assert np.isfinite(np.asarray(run.ledger.work)).all()
    assert np.isfinite(np.asarray(run.ledger.energy_change)).all()
    assert np.isnan(np.asarray(run.ledger.heat)).all()
    assert run.alive.all()


def test_first_law_residual_is_a_check_of_the_sums():
    """energy_change is a difference of two energies, the rest are sums over 3,000 steps."""
    trap = HarmonicTrap(2)
    controls = [
        Control(t, {"stiffness": k, "centre": c})
        for t, k, c in ((1.0, 1.0, 0.0), (2.0, 3.0, 1.0), (0.5, 1.5, -1.0))
    ]
    run = simulate(
        trap,
        Langevin(0.2),
        Piecewise(controls, [0, 1000, 2500]),
        key=0,
        replicas=8,
        steps=3000,
        observers={},
        progress=False,
    )
    assert np.abs(np.asarray(run.ledger.residual())).max() < 1e-10
    assert np.abs(np.asarray(run.ledger.heat)).min() > 0


def test_a_frozen_replica_keeps_its_place_with_weight_zero():
    """A replica that runs away is frozen at its last good state; the others go on."""

    class Trapdoor(HarmonicTrap):
        def energy(self, position, couplings, items=None):
            return jnp.where(jnp.abs(position[0]) > 50, jnp.nan, super().energy(position, couplings))

    control = Control(1.0, {"stiffness": 1.0, "centre": 0.0})
    x0 = jnp.asarray([[0.1], [49.0], [0.2]])
    run = simulate(
        Trapdoor(1),
        OverdampedLangevin(2.5),  # beyond the stability limit: every replica would leave in the end
        Constant(control),
        key=0,
        replicas=3,
        steps=3,
        positions=x0,
        progress=False,
    )
    assert list(run.alive) == [True, False, True]
    assert run.first_bad_step[1] == 0
    assert float(run.position[1, 0]) == 49.0
    assert np.isposinf(np.asarray(run.ledger.reduced_work)[1])
    assert np.isfinite(np.asarray(run.ledger.reduced_work)[[0, 2]]).all()


def test_numbers_are_strong_arrays_of_the_widest_float():
    control = Control(1, {"stiffness": 2})
    for leaf in jax.tree.leaves((control, OverdampedLangevin(0.1), Langevin(1))):
        assert leaf.dtype == jnp.float64
        assert not leaf.weak_type
    assert ravel({"b": jnp.ones(2), "a": jnp.zeros(1)}).tolist() == [0.0, 1.0, 1.0]
    assert eqx.tree_equal(control, Control(1.0, {"stiffness": 2.0}))
