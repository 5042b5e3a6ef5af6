"""A thermometer as a Lightning callback."""

from collections.abc import Callable
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer  # pyright: ignore[reportMissingImports]

from heatbath.errors import Refused
from heatbath.thermometry.adapters.torch import Thermometer
from heatbath.thermometry.summary import Summary


class LightningThermometer(Callback):
    """``Trainer(callbacks=[LightningThermometer()])``: measures the trainer's one optimizer.

    Options as of `Thermometer`. Gradients are read before Lightning clips them. ``batch_size``: examples in a
    micro-batch, for the noise scale where gradients are accumulated. Saved and restored with checkpoints.
    Raises `Refused` when training starts with several optimizers.
    """

    def __init__(
        self,
        *,
        batch_size: int | None = None,
        every: int = 20,
        groups: Callable[[str], str] | None = None,
        sink: Any = None,
    ):
        self.batch_size = batch_size
        self.options = {"every": every, "groups": groups, "sink": sink}
        self.thermometer: Thermometer | None = None
        self._restored: dict[str, Any] | None = None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if len(trainer.optimizers) != 1:
            raise Refused(f"{len(trainer.optimizers)} optimizers: make one Thermometer for each by hand")
        self.thermometer = Thermometer(pl_module, trainer.optimizers[0], **self.options)
        if self._restored is not None:
            self.thermometer.load_state_dict(self._restored)
            self._restored = None  # a later fit starts afresh

    def on_after_backward(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self.thermometer is not None and self.batch_size is not None:
            self.thermometer.micro_batch(self.batch_size)

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Any) -> None:
        if self.thermometer is not None:
            self.thermometer.before_clipping()

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self.thermometer is not None:
            self.thermometer.close()

    def summary(self) -> Summary:
        if self.thermometer is None:
            raise Refused("training has not started: nothing was measured yet")
        return self.thermometer.summary()

    def state_dict(self) -> dict[str, Any]:
        return {} if self.thermometer is None else self.thermometer.state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._restored = state_dict or None
