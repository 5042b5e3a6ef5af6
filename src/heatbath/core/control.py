"""What the experimenter holds in hand: the temperature and the couplings."""

from collections.abc import Mapping
from typing import Any

import equinox as eqx
from jax import Array

from heatbath.core.numeric import numeric
from heatbath.errors import Refused


def _by_name(couplings: Any) -> Mapping[str, Any]:
    if not isinstance(couplings, Mapping):
        raise Refused(f"couplings are {couplings!r:.40}: give numbers by name, like {{'stiffness': 2.0}}")
    return numeric(couplings)


class Control(eqx.Module):
    """Temperature and couplings at one step.

    ``temperature``: scalar, k_B = 1, the unit of energy; dynamics aim at exp(-U/T). ``couplings``: the
    numbers of the energy that can be moved from outside (a stiffness, a centre, the coupling to the
    data), by name; scalars or arrays.
    """

    temperature: Array = eqx.field(converter=numeric, default=1.0)
    couplings: Mapping[str, Any] = eqx.field(converter=_by_name, default_factory=dict)
