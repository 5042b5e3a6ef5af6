"""A thermometer as a callback of the Hugging Face Trainer."""

from typing import Any

from transformers import TrainerCallback  # pyright: ignore[reportMissingImports]

from heatbath.errors import Refused
from heatbath.thermometry.adapters.torch import Thermometer
from heatbath.thermometry.summary import Summary


class TrainerThermometer(TrainerCallback):
    """``Trainer(..., callbacks=[TrainerThermometer()])``: measures the trainer's optimizer.

    Options as of `Thermometer`. The trainer clips gradients (``max_grad_norm``, 1.0 by default) before a
    callback can read them: where that happens, what needs the gradient itself is refused in the summary, and
    the rest stays exact. ``max_grad_norm=0`` switches the clipping off.
    """

    def __init__(self, **options: Any):
        self.options = options
        self.thermometer: Thermometer | None = None

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        optimizer = kwargs["optimizer"]
        optimizer = getattr(optimizer, "optimizer", optimizer)  # Accelerate wraps it
        self.thermometer = Thermometer(kwargs["model"], optimizer, **self.options)

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if self.thermometer is not None:
            self.thermometer.close()

    def summary(self) -> Summary:
        if self.thermometer is None:
            raise Refused("training has not started: nothing was measured yet")
        return self.thermometer.summary()
