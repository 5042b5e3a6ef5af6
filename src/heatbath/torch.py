"""PyTorch: the thermometer for training loops, and its callbacks for Lightning and Hugging Face trainers."""

import importlib
from typing import TYPE_CHECKING, Any

try:
    from heatbath.thermometry.adapters.torch import Thermometer
    from heatbath.thermometry.adapters.torch_schedule import ReduceLROnStationarity
except ModuleNotFoundError as error:
    if error.name != "torch":
        raise
    from heatbath.errors import Refused

    raise Refused("heatbath.torch needs PyTorch: pip install 'heatbath[torch]'") from error

if TYPE_CHECKING:
    from heatbath.thermometry.adapters.lightning import LightningThermometer
    from heatbath.thermometry.adapters.transformers import TrainerThermometer

_CALLBACKS = {"LightningThermometer": "lightning", "TrainerThermometer": "transformers"}

__all__ = ["LightningThermometer", "ReduceLROnStationarity", "Thermometer", "TrainerThermometer"]


def __getattr__(name: str) -> Any:
    """The callbacks are imported when first used: their libraries are optional."""
    if name in _CALLBACKS:
        return getattr(importlib.import_module(f"heatbath.thermometry.adapters.{_CALLBACKS[name]}"), name)
    raise AttributeError(f"module 'heatbath.torch' has no attribute {name!r}")
