"""Population annealing, and protocols at constant thermodynamic speed."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from heatbath.core import Constant, Control, Linear, Piecewise, simulate
from heatbath.dynamics import HMC, OverdampedLangevin, Resampling, constant_speed, staircase
from heatbath.dynamics.resampling import systematic
from heatbath.systems import HarmonicTrap

D, SOFT, STIFF = 4, 1.0, 8.0
EXACT = (STIFF / SOFT) ** (-D / 2)
Z_LIMIT = 4.9  # two-sided level 1e-6


def trap(stiffness):
    return Control(1.0, {"stiffness": stiffness, "centre": 0.0})


def annealed(move, dynamics, key, replicas=1_000):
    start = jax.random.normal(jax.random.key(key), (replicas, D))
    return simulate(
        HarmonicTrap(D),
        dynamics,
        Linear(trap(SOFT), trap(STIFF), 6),
        key=key,
        replicas=replicas,
        steps=7,
        moves=(move,),
        positions=start,
        progress=False,
    )


def ratios(move, dynamics, populations=50):
    """exp(-reduced work), averaged over each of several independent populations."""
    runs = [annealed(move, dynamics, key) for key in range(populations)]
    return np.array([np.exp(-np.asarray(run.ledger.reduced_work)).mean() for run in runs])


def z(found):
    return (found.mean() - EXACT) / (found.std(ddof=1) / len(found) ** 0.5)


class Upside(Resampling):
    """A planted fault: the replicas that work the most are copied."""

    def apply(self, system, dynamics, states, controls, ledgers, key, step):
        wrong = eqx.tree_at(lambda b: b.reduced_work, ledgers, -ledgers.reduced_work)
        states, _ = super().apply(system, dynamics, states, controls, wrong, key, step)
        _, right = super().apply(system, dynamics, states, controls, ledgers, key, step)
        return states, right


@pytest.mark.parametrize("dynamics", [HMC(0.4, 3), OverdampedLangevin(0.1)], ids=["HMC", "Euler-Maruyama"])
@pytest.mark.parametrize("threshold", [1.0, 0.7])
def test_the_average_is_the_ratio_of_partition_functions(dynamics, threshold):
    """Without bias, shadow work counted. Populations of 1,000 share ancestors, so the error is from 50
    independent ones; sees 12 % of the ratio. Euler-Maruyama: k h < 1, where the variance is finite."""
    found = ratios(Resampling(threshold=threshold), dynamics)
    assert abs(z(found)) < Z_LIMIT
    assert found.std(ddof=1) / len(found) ** 0.5 < 0.025 * EXACT


@pytest.mark.teeth
def test_a_reversed_resampling_is_seen():
    assert abs(z(ratios(Upside(), HMC(0.4, 3)))) > 5


def test_books_and_lineages():
    run = annealed(Resampling(), HMC(0.4, 3), 0)
    work = np.asarray(run.ledger.reduced_work)
    assert np.unique(work).size == 1  # all share -ln mean exp(-work) after the last resampling
    assert np.abs(np.asarray(run.ledger.residual())).max() < 1e-10


def test_systematic_gives_floor_or_ceil_of_the_weight_to_slots_that_live():
    weights = jnp.asarray([0.5, 0.0, 0.3, 0.2, 0.0])
    alive = jnp.asarray([True, False, True, True, True])
    for seed in range(50):
        parents = np.asarray(systematic(jax.random.uniform(jax.random.key(seed)), weights, alive))[
            np.asarray(alive)
        ]
        children = np.bincount(parents, minlength=5)
        assert np.all(np.abs(children - 4 * np.asarray(weights)) < 1)


def test_resampling_needs_work():
    with pytest.raises(ValueError, match="path"):
        simulate(
            HarmonicTrap(D),
            HMC(0.4, 3),
            Constant(trap(1.0)),
            key=0,
            replicas=4,
            steps=2,
            ledger="off",
            moves=(Resampling(),),
            progress=False,
        )


def test_constant_speed_of_a_heated_trap_is_geometric():
    """Stiffness 1 to 20 at constant T: Var U grows as 1/stiffness^2, so equal lengths are equal factors. The
    pilot's standard deviations have relative errors of 1/sqrt(2 x 4000): 1.1 %; knots within 5 % (4.5 of
    them)."""
    d, k = 6, np.geomspace(1, 20, 41)
    controls = [trap(x) for x in np.linspace(1, 20, 200)]
    rng = np.random.default_rng(0)
    stiffness = np.linspace(1, 20, 200)
    squares = rng.gamma(d / 2, 2 / stiffness[:-1, None], (199, 4_000))
    protocol = constant_speed(controls, np.diff(stiffness)[:, None] * squares / 2, 40)
    found = np.array(
        [float(protocol(jnp.asarray(i), jnp.asarray(0)).couplings["stiffness"]) for i in range(41)]
    )
    assert found[0] == 1
    assert found[-1] == pytest.approx(20)
    np.testing.assert_allclose(found, k, rtol=0.05)


def test_a_pilot_is_an_ordinary_run():
    controls = [trap(x) for x in np.linspace(1, 8, 8)]
    pilot = staircase(controls, 5)
    assert isinstance(pilot, Piecewise)
    run = simulate(
        HarmonicTrap(D), HMC(0.5, 4), pilot, key=1, replicas=400, steps=40, every=5, progress=False
    )
    work = np.diff(np.asarray(run.records["ledger/reduced_work"]), axis=1).T
    protocol = constant_speed(controls, work, 20)
    first, last = (float(protocol(jnp.asarray(i), jnp.asarray(0)).couplings["stiffness"]) for i in (1, 19))
    assert first - 1 < 0.35 * (8 - last)


@pytest.mark.parametrize(
    ("work", "message"),
    [(np.zeros((2, 5)), "no length"), (np.ones((3, 5)), "one more"), (np.full((2, 5), np.nan), "finite")],
)
def test_pilots_that_tell_nothing(work, message):
    with pytest.raises(ValueError, match=message):
        constant_speed([trap(1), trap(2), trap(3)], work, 5)
