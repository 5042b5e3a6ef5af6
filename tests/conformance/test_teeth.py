"""Planted faults of stated size: each check must catch the faults it is there for, at z above 5."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from conformance import checks
from heatbath.core import Control, Flow, Linear, Reversed, simulate
from heatbath.dynamics import HMC, Langevin, OverdampedLangevin
from heatbath.dynamics.underdamped import Phase
from heatbath.systems import HarmonicTrap

pytestmark = pytest.mark.teeth
CAUGHT = 5.0


class HotBath(Langevin):
    """A bath 5 % too hot, its heat booked as if it were right."""

    def step_given(self, system, state, control, noise):
        return super().step_given(system, state, control, noise * jnp.sqrt(1.05))


class Misbooked(Langevin):
    """A share of the heat booked as shadow work."""

    share: float = eqx.field(static=True, default=0.1)

    def step_given(self, system, state, control, noise):
        new, flow = super().step_given(system, state, control, noise)
        moved = self.share * flow.heat
        return new, Flow(flow.heat - moved, flow.shadow_work + moved)


class Unbooked(Langevin):
    """Shadow work forgotten."""

    def step_given(self, system, state, control, noise):
        new, flow = super().step_given(system, state, control, noise)
        return new, Flow(flow.heat, 0.0)


class NoFlip(HMC):
    """Momenta kept, not flipped, when a trajectory is rejected."""

    def step_given(self, system, state, control, noise):
        new, flow = super().step_given(system, state, control, noise)
        stayed = jnp.all(new.point.position == state.point.position)
        momentum = jnp.where(stayed, -new.momentum, new.momentum)
        return Phase(new.point, momentum, new.temperature), flow


def test_a_bath_five_percent_too_hot_is_seen_by_work_identity_and_moments():
    run = checks.at_rest(HotBath(0.4, 1.2))
    factors = np.exp(-np.asarray(run.ledger.shadow_work) / float(checks.REST.temperature))
    assert abs(checks.z_score(factors, 1.0)) > CAUGHT
    assert abs(checks.second_moment(run)) > CAUGHT
    checks.first_law(run)  # blind to it


def test_heat_booked_as_shadow_work_is_seen_by_the_work_identity_only():
    run = checks.at_rest(Misbooked(0.4, 1.2), replicas=64_000)
    factors = np.exp(-np.asarray(run.ledger.shadow_work) / float(checks.REST.temperature))
    assert abs(checks.z_score(factors, 1.0)) > CAUGHT
    checks.first_law(run)  # blind to it


def test_forgotten_shadow_work_is_seen_by_the_first_law():
    with pytest.raises(AssertionError):
        checks.first_law(checks.at_rest(Unbooked(0.4, 1.2)))


def test_a_missing_flip_is_seen_by_the_moments():
    """Persistent momenta and many rejections (step 90 % of the stability limit)."""
    right = HMC(1.45, 2, 0.0, 0.95)
    wrong = NoFlip(1.45, 2, 0.0, 0.95)
    assert abs(checks.second_moment(checks.at_rest(right, steps=100))) < checks.Z_LIMIT
    assert abs(checks.second_moment(checks.at_rest(wrong, steps=100, replicas=80_000))) > CAUGHT


def crooks_bias(with_first_step: bool, replicas=400_000) -> float:
    """z of Bennett's identity for a breathing trap, stiffness 1 to 2 in four jumps, Euler-Maruyama at 80 % of
    the stability limit of the stiff end; a dragged trap is blind to a wrong order. Both averages lie in
    [0, 1], so they have errors even where exp(-work) has no variance."""
    trap = HarmonicTrap(1)
    soft = Control(1.0, {"stiffness": 1.0, "centre": 0.0})
    stiff = Control(1.0, {"stiffness": 2.0, "centre": 0.0})
    dynamics = OverdampedLangevin(0.8)  # k h = 1.6 at the stiff end, stable below 2
    forward, moves = Linear(soft, stiff, 4), 4
    works = []
    for protocol, start, seed in ((forward, soft, 1), (Reversed(forward, moves), stiff, 2)):
        chosen = protocol if with_first_step else Late(protocol)
        run = simulate(
            trap,
            dynamics,
            chosen,
            key=seed,
            replicas=replicas,
            steps=moves + 1 if with_first_step else moves,
            observers={},
            positions=checks.equilibrium(trap, start, replicas, seed + 10),
            progress=False,
        )
        ledger = np.asarray(run.ledger.reduced_work)
        if not with_first_step:
            ledger = ledger + first_jump(trap, protocol, start, replicas, seed + 10)
        works.append(ledger)
    free_energy = float(trap.log_partition(soft) - trap.log_partition(stiff))
    left = 1 / (1 + np.exp(works[0] - free_energy))
    right = 1 / (1 + np.exp(works[1] + free_energy))
    error = np.sqrt(left.var() / replicas + right.var() / replicas)
    return float((left.mean() - right.mean()) / error)


class Late(eqx.Module):
    """The protocol without its first control: a run that starts at c1."""

    protocol: Any

    def __call__(self, step, replica):
        return self.protocol(step + 1, replica)

    def moves(self, step):
        return self.protocol.moves(step + 1)


def first_jump(trap, protocol, start, replicas, seed):
    """The work of the jump c0 -> c1, which the late run does not book."""
    x = checks.equilibrium(trap, start, replicas, seed)
    after = protocol(jnp.asarray(1), 0)
    energy = jax.vmap(lambda y, c: trap.energy(y, c.couplings), in_axes=(0, None))
    return np.asarray(energy(x, after) - energy(x, start))


def test_forward_and_reversed_runs_agree_on_a_breathing_trap():
    assert abs(crooks_bias(True)) < checks.Z_LIMIT


def test_a_missing_first_step_is_seen():
    assert abs(crooks_bias(False)) > CAUGHT
