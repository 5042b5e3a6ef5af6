"""Resampling of replicas by their work: population annealing, or sequential Monte Carlo."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import Array

from heatbath.core import Control, Dynamics, EnsembleMove, Ledger, System, numeric


class Resampling(EnsembleMove):
    """Replicas are copied or removed in proportion to exp(-reduced work).

    Population annealing (Hukushima and Iba 2003; Machta 2010), which is sequential Monte Carlo (Del Moral,
    Doucet, Jasra 2006); systematic resampling. Every replica's reduced work is set to -ln mean
    exp(-reduced work), so the average of exp(-reduced work) goes on to be the ratio of partition functions,
    without bias when the protocol is fixed; its error shows in independent populations only, for replicas
    share ancestors. ``threshold``: resample where the effective number of replicas (Kish) is below this
    share of all; 1 is always.

    All replicas must follow one protocol. The energy a slot gains is booked as heat. Needs the ledger
    "path": raises ValueError without.
    """

    threshold: Array = eqx.field(converter=numeric, default=1.0)

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
        if ledgers is None:
            raise ValueError('resampling weighs replicas by their work: it needs ledger="path"')
        alive = jnp.isfinite(ledgers.reduced_work)
        weights = jax.nn.softmax(-ledgers.reduced_work)
        effective = 1 / jnp.sum(weights**2)
        due = effective < self.threshold * jnp.sum(alive) * (1 + 1e-9)  # a threshold of 1: equal weights too
        return jax.lax.cond(
            due & jnp.any(alive),
            lambda s, b: self._resampled(
                dynamics, system, s, controls, b, systematic(jax.random.uniform(key), weights, alive)
            ),
            lambda s, b: (s, b),
            states,
            ledgers,
        )

    def _resampled(
        self,
        dynamics: Dynamics,
        system: System,
        states: Any,
        controls: Control,
        ledgers: Ledger,
        parents: Array,
    ) -> tuple[Any, Ledger]:
        def energy(state, control):
            return dynamics.energy(system, state, control)

        work = ledgers.reduced_work
        chosen = jax.tree.map(lambda x: x[parents], states)
        heat = jax.vmap(energy)(chosen, controls) - jax.vmap(energy)(states, controls)
        free_energy = jnp.log(jnp.sum(jnp.isfinite(work))) - jax.nn.logsumexp(-work)
        ledgers = jax.vmap(lambda b, c, q: b.stepped(c, q, 0.0, b.energy_change + q))(ledgers, controls, heat)
        return chosen, eqx.tree_at(lambda b: b.reduced_work, ledgers, jnp.full_like(work, free_energy))


def systematic(uniform: Array, weights: Array, alive: Array) -> Array:
    """Parents, shape (n,): one ``uniform`` number, then equal steps through the ``weights``, (n,), one for
    each slot that is ``alive``, m in all. The i-th has floor or ceil of m weights[i] children (Kitagawa
    1996)."""
    ends = jnp.cumsum(weights) / jnp.sum(weights)
    rank = jnp.cumsum(alive) - 1
    points = (rank + uniform) / jnp.sum(alive)
    return jnp.minimum(jnp.searchsorted(ends, points, side="right"), weights.size - 1)
