"""Every dynamics that `heatbath.dynamics` exports, through the same checks."""

import contextlib
import importlib.util
import sys

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import heatbath.dynamics
from conformance import checks
from heatbath.core import Constant, Control, Draw, Dynamics, simulate
from heatbath.core.numeric import ravel
from heatbath.errors import Interrupted, Refused
from heatbath.systems import HarmonicTrap

# These act through another dynamics or need a special system; test_gibbs.py and test_tune.py have them.
WRAPPERS = {"Gibbs", "WarmUp", "CurvatureWarmUp"}
CLASSES = {
    name: item
    for name, item in vars(heatbath.dynamics).items()
    if name in heatbath.dynamics.__all__ and isinstance(item, type) and issubclass(item, Dynamics)
}
EXAMPLES = {
    example: dynamics
    for name, item in CLASSES.items()
    if name not in WRAPPERS
    for example, dynamics in item.examples().items()
}
WITH_PATH = {name: dynamics for name, dynamics in EXAMPLES.items() if dynamics.refusal() is None}
WITH_TARGET = {name: dynamics for name, dynamics in EXAMPLES.items() if dynamics.target != "other"}


def over(examples):
    return pytest.mark.parametrize("dynamics", examples.values(), ids=examples.keys())


each = over(EXAMPLES)


def test_every_dynamics_is_tested():
    assert not [name for name in CLASSES if name not in WRAPPERS and not CLASSES[name].examples()]


@over(WITH_PATH)
def test_first_law_and_work_identity_when_everything_moves(dynamics):
    run = checks.driven(dynamics)
    checks.first_law(run)
    assert run.alive.all()
    assert abs(checks.configurational_ratio(run)) < checks.Z_LIMIT
    assert abs(checks.full_ratio(dynamics, run)) < checks.Z_LIMIT


@over(WITH_PATH)
def test_work_identity_at_fixed_control(dynamics):
    """Only shadow work is left: exp(-shadow work/T) averages to 1, and vanishes where it is exact."""
    run = checks.at_rest(dynamics, steps=5)
    shadow = np.asarray(run.ledger.shadow_work)
    if dynamics.target == "boltzmann":
        assert (shadow == 0).all()
    else:
        assert abs(shadow).max() > 1e-6
        checks.assert_z(np.exp(-shadow / float(checks.REST.temperature)), 1.0)


@over({name: dynamics for name, dynamics in EXAMPLES.items() if name not in WITH_PATH})
def test_what_has_no_path_says_so_and_keeps_energies(dynamics):
    with pytest.raises(Refused, match="ledger 'path' cannot be kept"):
        checks.driven(dynamics, replicas=2, ledger="path")
    run = checks.driven(dynamics, replicas=50, ledger="energy")
    end = run.records["potential"][:, -1] + run.records["kinetic"][:, -1]
    control = checks.DRIVEN
    potential = jax.vmap(lambda x: checks.TRAP.energy(x, control.couplings))(run.position)
    assert np.allclose(run.records["potential"][:, -1], potential, rtol=1e-12)
    assert np.isfinite(np.asarray(run.ledger.work)).all()
    assert np.isfinite(end).all()
    assert np.isnan(np.asarray(run.ledger.heat)).all()


@over(WITH_TARGET)
def test_moments(dynamics):
    """Exact where the target is exact; unadjusted ones at a tenth of their step, where a bias of 1 % of T,
    the largest of them all (Euler-Maruyama's k h/2), is allowed for."""
    if dynamics.target == "boltzmann":
        assert abs(checks.second_moment(checks.at_rest(dynamics))) < checks.Z_LIMIT
        return
    small = _with_step(dynamics, 0.1)
    sample = checks.at_rest(small, steps=100)
    away = sample.records["position"][:, -1] - float(checks.REST.couplings["centre"])
    values = float(checks.REST.couplings["stiffness"]) * (away**2).mean(axis=1)
    temperature = float(checks.REST.temperature)
    bias = 0.01 * temperature  # Euler-Maruyama, k h = 0.015: k h/2/(1 - k h/2) = 0.8 %
    error = checks.Z_LIMIT * values.std() / np.sqrt(values.size)
    assert abs(values.mean() - temperature) < bias + error


@each
def test_one_compilation_for_a_sweep(dynamics):
    traces = []

    class Counted(HarmonicTrap):
        def energy(self, position, couplings, items=None):
            traces.append(1)
            return super().energy(position, couplings, items)

    system, counts = Counted(3), []
    for temperature, factor in ((0.5, 1.0), (0.9, 0.7), (2.0, 0.3)):
        control = Control(temperature, {"stiffness": 1.5, "centre": 0.4})
        simulate(
            system,
            _with_step(dynamics, factor),
            Constant(control),
            key=1,
            replicas=3,
            steps=4,
            progress=False,
        )
        counts.append(len(traces))
    assert counts[0] > 0
    assert counts[1] == counts[2] == counts[0]


@each
def test_same_seed_same_bits(dynamics):
    one, two, other = (
        simulate(checks.TRAP, dynamics, Constant(checks.REST), key=key, replicas=4, steps=7, progress=False)
        for key in (5, 5, 6)
    )
    assert (one.records["position"] == two.records["position"]).all()
    assert np.array_equal(np.asarray(one.ledger.heat), np.asarray(two.ledger.heat), equal_nan=True)
    assert not (one.records["position"] == other.records["position"]).any()


class EveryThird:
    """A stop flag that is set after every third chunk."""

    looked = 0

    def is_set(self):
        EveryThird.looked += 1
        return EveryThird.looked % 3 == 0


class Memory:
    """A sink that remembers the state as it would be stored."""

    def __init__(self):
        self.saved, self.unfinished, self.rows = None, None, []

    def restore(self):
        return self.saved

    def partial_records(self):
        return self.unfinished

    def block(self, steps, records, state):
        self.saved, self.unfinished = (steps, state), None
        self.rows.append(records)

    def partial(self, steps, records, state):
        self.saved, self.unfinished = (steps, state), records


@each
def test_resume_equals_straight_run_bit_for_bit(dynamics, monkeypatch):

    runner = sys.modules["heatbath.core.driver"]
    straight = simulate(
        checks.TRAP, dynamics, Constant(checks.REST), key=5, replicas=4, steps=40, every=2, progress=False
    )
    sink = Memory()
    monkeypatch.setattr(runner, "_interruptible", lambda active: contextlib.nullcontext(EveryThird()))
    monkeypatch.setattr(runner, "CHUNK_SECONDS", 1e-9)
    monkeypatch.setattr(runner, "BLOCK_STEPS", 8)
    interruptions = 0
    while True:
        try:
            resumed = simulate(
                checks.TRAP,
                dynamics,
                Constant(checks.REST),
                key=5,
                replicas=4,
                steps=40,
                every=2,
                sink=sink,
                progress=False,
            )
            break
        except Interrupted:
            interruptions += 1
    assert interruptions > 5
    rows = np.concatenate([row["position"] for row in sink.rows])
    assert (np.moveaxis(rows, 0, 1) == straight.records["position"]).all()
    for name in ("heat", "shadow_work", "energy_change"):
        both = (np.asarray(getattr(run.ledger, name)) for run in (resumed, straight))
        assert np.array_equal(*both, equal_nan=True)


WEAK_ORDER = {"Euler-Maruyama": 1, "BAOAB": 2, "OBABO": 2, "BAO": 1}


@pytest.mark.parametrize("name", WEAK_ORDER)
def test_weak_order(name, shared):
    """Slope of the stationary covariance's error, deterministic: the step is affine on a quadratic."""
    spec = importlib.util.spec_from_file_location("weak_order", shared / "checks/stats/weak_order.py")
    harness = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(harness)
    trap = HarmonicTrap(1)
    control = Control(0.7, {"stiffness": 1.0, "centre": 0.0})
    dynamics = EXAMPLES[name]
    momenta = name != "Euler-Maruyama"

    def make_step(dt):
        method = eqx.tree_at(lambda d: d.step_size, dynamics, jnp.asarray(dt))
        state = method.init(trap, jnp.zeros(1), control, Draw(jax.random.key(0), jnp.asarray(0)))

        def step(s, xi):
            here = _placed(method, trap, state, control, jnp.asarray(s))
            new, _ = method.step_given(trap, here, control, jnp.asarray(xi).reshape(-1, 1))
            vector = [ravel(method.position(new))] + ([new.momentum] if momenta else [])
            return np.concatenate([np.asarray(v) for v in vector])

        return step

    noises = dynamics.splitting.count("O") if momenta else 1
    size = 2 if momenta else 1
    result = harness.order(make_step, size, noises, 0.7 * np.eye(size), dts=(0.2, 0.1, 0.05))
    assert abs(result["slopes"][-1] - WEAK_ORDER[name]) < 0.15
    if name == "BAOAB":  # positions of a quadratic are sampled exactly
        exact = harness.order(make_step, 2, noises, 0.7 * np.eye(2), dts=(0.2, 0.1), part=slice(0, 1))
        assert exact["exact"]


def _placed(method, trap, state, control, s):
    """The state with position s[0] (and momentum s[1])."""
    if s.size == 1:
        return method.init(trap, s, control, Draw(jax.random.key(0), jnp.asarray(0)))
    state = eqx.tree_at(lambda q: (q.point.position, q.momentum), state, (s[:1], s[1:]))
    return method.refresh(trap, state, control)


def _with_step(dynamics, factor):
    """The dynamics with its step size scaled."""
    if hasattr(dynamics, "parameters"):
        parameters = {**dynamics.parameters, "step_size": dynamics.parameters["step_size"] * factor}
        return eqx.tree_at(lambda d: d.parameters, dynamics, parameters)
    scaled = jax.tree.map(lambda h: h * factor, dynamics.step_size)
    return eqx.tree_at(lambda d: d.step_size, dynamics, scaled)
