"""Where a thermometer's numbers go while training runs."""

from collections.abc import Callable
from typing import Any

from heatbath.errors import Refused

Sink = Callable[[dict[str, float], int], Any]


def as_sink(target: Any) -> Sink:
    """A function of (numbers by name, step) from a TensorBoard ``SummaryWriter``, a Weights & Biases run (or
    the module ``wandb``), or such a function itself. Raises `Refused` for anything else."""
    if callable(getattr(target, "add_scalar", None)):

        def write(scalars: dict[str, float], step: int) -> None:
            for name, value in scalars.items():
                target.add_scalar(name, value, step)

        return write
    if callable(getattr(target, "log", None)):
        define = getattr(target, "define_metric", None)
        if define is not None:  # W&B drops what comes with a step behind its own counter of log calls
            define("thermometer/*", step_metric="thermometer/step")
        return lambda scalars, step: target.log(scalars | {"thermometer/step": step})
    if callable(target):
        return target
    raise Refused(
        f"sink is a {type(target).__name__}: give a SummaryWriter, a W&B run or a function of (dict, step)"
    )
