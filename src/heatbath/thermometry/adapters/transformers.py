"""A thermometer as a callback of the Hugging Face Trainer."""

from collections.abc import Callable
from typing import Any

from transformers import TrainerCallback  # pyright: ignore[reportMissingImports]

from heatbath.errors import Refused
from heatbath.thermometry.adapters.torch import Thermometer
from heatbath.thermometry.summary import Summary


class TrainerThermometer(TrainerCallback):
    """``Trainer(..., callbacks=[TrainerThermometer()])``: measures the trainer's optimizer.

    Options as of `Thermometer`. ``micro_batches=True`` gives the noise scale where the trainer accumulates
    gradients. The trainer clips gradients (``max_grad_norm``, 1.0 by default) before a callback can read
    them: where that happens, what needs the gradient itself is refused in the summary, and the rest stays
    exact. ``max_grad_norm=0`` switches the clipping off. Raises `Refused` when training starts with clipping
    and ``micro_batches``.
    """

    def __init__(
        self,
        *,
        micro_batches: bool = False,
        every: int = 20,
        groups: Callable[[str], str] | None = None,
        sink: Any = None,
    ):
        self.micro_batches = micro_batches
        self.options = {"every": every, "groups": groups, "sink": sink}
        self.thermometer: Thermometer | None = None

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if self.micro_batches and args.max_grad_norm:
            raise Refused("micro_batches needs gradients that are not clipped: set max_grad_norm=0")
        self.thermometer = Thermometer(kwargs["model"], kwargs["optimizer"], **self.options)

    def on_substep_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if self.thermometer is not None and self.micro_batches:
            self.thermometer.micro_batch(args.train_batch_size)

    on_pre_optimizer_step = on_substep_end  # the last micro-batch of a step

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if self.thermometer is not None:
            self.thermometer.close()

    def summary(self) -> Summary:
        if self.thermometer is None:
            raise Refused("training has not started: nothing was measured yet")
        return self.thermometer.summary()
