"""heatbath: learning as relaxation in a heat bath."""

import importlib
from typing import TYPE_CHECKING, Any

from heatbath._version import __version__

_CORE = ("Constant", "Control", "Cyclic", "Exponential", "Geometric", "Linear", "PerReplica", "Piecewise")
_CORE += ("Quench", "Reversed", "Run", "simulate")
_WHERE = {name: "heatbath.core" for name in _CORE} | {"Estimate": "heatbath.estimate"}
_PACKAGES = ("core", "data", "dynamics", "learning", "papers", "plotting", "report", "store", "systems")
_PACKAGES += ("optax", "theory", "thermometry", "torch")

__all__ = ["__version__", *_WHERE, *_PACKAGES]

if TYPE_CHECKING:
    from heatbath.core import (
        Constant,
        Control,
        Cyclic,
        Exponential,
        Geometric,
        Linear,
        PerReplica,
        Piecewise,
        Quench,
        Reversed,
        Run,
        simulate,
    )
    from heatbath.estimate import Estimate


def __getattr__(name: str) -> Any:
    """Public names are imported when first used: `heatbath --help` needs no JAX."""
    if name in _WHERE:
        return getattr(importlib.import_module(_WHERE[name]), name)
    if name in _PACKAGES:
        return importlib.import_module(f"heatbath.{name}")
    raise AttributeError(f"module 'heatbath' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
