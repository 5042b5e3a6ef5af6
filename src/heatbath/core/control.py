"""What the experimenter holds in hand: the temperature and the couplings."""

from collections.abc import Mapping
from typing import Any

import equinox as eqx
from jax import Array

from heatbath.core.numeric import numeric


class Control(eqx.Module):
    """Temperature and couplings at one step.

    ``temperature``: scalar, k_B = 1, the unit of energy; dynamics aim at exp(-U/T). ``couplings``: the
    numbers of the energy that can be moved from outside (a stiffness, a centre, the coupling to the
    data), by name; scalars or arrays.
    """

    temperature: Array = eqx.field(converter=numeric, default=1.0)
    couplings: Mapping[str, Any] = eqx.field(converter=numeric, default_factory=dict)
