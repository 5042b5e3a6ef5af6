"""What every dynamics must satisfy, as functions that return a z-score or raise; with exact answers.

False alarms: a z-test here fails a right dynamics with probability ALPHA (two-sided normal tail), with
20,000 replicas and finite variances (step sizes of the examples are below the limits at which
exp(-2 reduced work) has a mean). Planted faults in test_teeth.py state what each check sees.
"""

import jax
import jax.numpy as jnp
import numpy as np
from scipy.stats import norm

from heatbath.core import Constant, Control, Linear, simulate
from heatbath.systems import HarmonicTrap

ALPHA = 1e-6
Z_LIMIT = float(norm.isf(ALPHA / 2))  # 4.9
REPLICAS = 20_000
TRAP = HarmonicTrap(3)
REST = Control(0.7, {"stiffness": 1.5, "centre": 0.4})
DRIVEN = Control(1.0, {"stiffness": 2.0, "centre": 0.8})


def z_score(sample, expected: float) -> float:
    sample = np.asarray(sample, float)
    error = sample.std(ddof=1) / np.sqrt(sample.size)
    assert np.isfinite(sample).all(), "a sample is not finite"
    assert error > 0, "the sample does not vary: nothing is tested"
    return float((sample.mean() - expected) / error)


def assert_z(sample, expected: float) -> None:
    z = z_score(sample, expected)
    assert abs(z) < Z_LIMIT, f"off by {z:.1f} standard errors (limit {Z_LIMIT:.1f})"


def driven(dynamics, system=TRAP, start=REST, end=DRIVEN, moves=4, key=0, replicas=REPLICAS, ledger="path"):
    """From equilibrium at ``start``, every number moved to ``end`` in ``moves`` moves; N + 1 steps."""
    return simulate(
        system,
        dynamics,
        Linear(start, end, moves),
        key=key,
        replicas=replicas,
        steps=moves + 1,
        observers={},
        ledger=ledger,
        positions=equilibrium(system, start, replicas),
        progress=False,
    )


def equilibrium(system, control, replicas, seed=7):
    keys = jax.random.split(jax.random.key(seed), replicas)
    return jax.vmap(lambda k: system.sample(k, control))(keys)


def first_law(run) -> None:
    """Energy change = work + heat + shadow work, to rounding."""
    size = np.abs(np.asarray(run.ledger.work)) + np.abs(np.asarray(run.ledger.heat)) + 10
    assert (np.abs(np.asarray(run.ledger.residual())) < 1e-12 * size).all()


def configurational_ratio(run, system=TRAP, start=REST, end=DRIVEN) -> float:
    """z of mean exp(-reduced work) against the ratio of configurational partition functions."""
    expected = float(jnp.exp(system.log_partition(end) - system.log_partition(start)))
    return z_score(np.exp(-np.asarray(run.ledger.reduced_work)), expected)


def full_ratio(dynamics, run, system=TRAP, start=REST, end=DRIVEN) -> float:
    """z of mean exp(-(E_N/T_N - E_0/T_0 + entropy flow)) against Z_N/Z_0, momenta included."""
    ledger = run.ledger
    first, last = run.records["potential"], run.records["kinetic"]
    end_energy = np.asarray(first[:, -1] + last[:, -1])
    start_energy = end_energy - np.asarray(ledger.energy_change)
    exponent = end_energy / float(end.temperature) - start_energy / float(start.temperature)
    momenta = int(np.any(last[:, -1] != 0)) * system.dimension
    log_ratio = float(system.log_partition(end) - system.log_partition(start))
    log_ratio += momenta / 2 * float(jnp.log(end.temperature / start.temperature))
    return z_score(np.exp(-(exponent + np.asarray(ledger.entropy_flow))), float(np.exp(log_ratio)))


def at_rest(dynamics, system=TRAP, control=REST, steps=40, key=3, replicas=REPLICAS):
    """From equilibrium, at fixed control."""
    return simulate(
        system,
        dynamics,
        Constant(control),
        key=key,
        replicas=replicas,
        steps=steps,
        every=steps,
        ledger=None if dynamics.refusal() else "path",
        positions=equilibrium(system, control, replicas),
        progress=False,
    )


def second_moment(run, control=REST) -> float:
    """z of stiffness (x - centre)^2 against the temperature."""
    away = run.records["position"][:, -1] - float(control.couplings["centre"])
    sample = float(control.couplings["stiffness"]) * (away**2).mean(axis=1)
    return z_score(sample, float(control.temperature))
