"""Ensemble moves: what acts on all replicas together, at fixed steps (exchange, resampling)."""

from typing import Any

import equinox as eqx
from jax import Array

from heatbath.core.control import Control
from heatbath.core.dynamics import Dynamics
from heatbath.core.ledger import Ledger
from heatbath.core.numeric import integer, traced
from heatbath.core.system import System


class EnsembleMove(eqx.Module):
    """Acts after the dynamics of every ``every``-th step, outside the vmap over replicas.

    An exchange books the energy change of each slot as heat, and only the product over slots satisfies
    the work identity; a resampling gives every lineage the reduced work -ln mean exp(-reduced work).
    """

    every: Array = eqx.field(converter=integer, kw_only=True, default=1)

    def __check_init__(self):
        if not traced(self.every) and int(self.every) < 1:
            raise ValueError(f"every is {self.every}: give a number of steps, 1 or more")

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
        """New states and ledgers; every argument but the first two and the last two has a leading replica
        axis. The reduced work of a replica that is not alive is infinite."""
        raise NotImplementedError
