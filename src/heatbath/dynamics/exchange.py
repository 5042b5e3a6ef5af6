"""Replica exchange: neighbours swap positions, outside the vmap over replicas."""

from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from heatbath.core import Control, Dynamics, EnsembleMove, Ledger, System


class ReplicaExchange(EnsembleMove):
    """Neighbouring replicas swap with probability min(1, exp(-sum of changes of E/T)).

    Parallel tempering (Swendsen and Wang 1986; Geyer 1991): at odd attempts pairs (0, 1), (2, 3), ..., at
    even ones (1, 2), (3, 4), ... The energy change of each slot is booked as heat; only the product over
    slots satisfies the work identity. The replicas' protocols give the ladder; swaps act on whole states,
    momenta included, rescaled to the new temperature.
    """

    def apply(
        self,
        system: System,
        dynamics: Dynamics,
        states: Any,
        controls: Control,
        ledgers: Ledger | None,
        key: Array,
        step: Array,
    ) -> tuple[Any, Ledger | None]:
        slots = jnp.arange(controls.temperature.shape[0])
        lower = (slots - ((step + 1) // self.every) % 2) % 2 == 0  # first member of its pair
        partner = jnp.where(lower, slots + 1, slots - 1)
        partner = jnp.where((partner < 0) | (partner >= slots.size), slots, partner)

        def refresh(state, control):
            return dynamics.refresh(system, state, control)

        def energy(state, control):
            return dynamics.energy(system, state, control)

        swapped = jax.vmap(refresh)(jax.tree.map(lambda x: x[partner], states), controls)
        change = jax.vmap(energy)(swapped, controls) - jax.vmap(energy)(states, controls)
        error = change / controls.temperature
        uniform = jax.random.uniform(key, slots.shape)[jnp.minimum(slots, partner)]  # one for each pair
        accepted = (partner != slots) & (jnp.log(uniform) < -(error + error[partner]))
        states = jax.vmap(lambda c, a, b: jax.tree.map(lambda x, y: jnp.where(c, x, y), a, b))(
            accepted, swapped, states
        )
        if ledgers is None:
            return states, None
        heat = jnp.where(accepted, change, 0.0)
        ledgers = jax.vmap(lambda b, c, q: b.stepped(c, q, 0.0, b.energy_change + q))(ledgers, controls, heat)
        return states, ledgers
