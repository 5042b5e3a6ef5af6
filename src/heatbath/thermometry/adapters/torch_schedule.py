"""The learning-rate schedule built on the test of stationarity, for PyTorch optimizers."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from heatbath.errors import Refused
from heatbath.thermometry.adapters.torch import Rows, unwrapped
from heatbath.thermometry.fluctuation_dissipation import FluctuationDissipation, Schedule

FETCH = 32  # steps that wait on the device


class ReduceLROnStationarity:
    """Multiplies the learning rates of ``optimizer`` by ``factor`` whenever training has become stationary.

    Two hooks look at every step; there is no ``step()`` to call. ``window``, ``level``: as of
    `heatbath.thermometry.Schedule`. Groups keep the quotients of their rates. Keeps two copies of the
    parameters. Raises `Refused` where the optimizer moves nothing.
    """

    def __init__(
        self,
        optimizer: torch.optim.Optimizer,
        *,
        factor: float = 0.1,
        window: int = 1_000,
        level: float = 0.05,
    ):
        optimizer = unwrapped(optimizer)
        all_ = [p for group in optimizer.param_groups for p in group["params"]]
        self._parameters = [p for p in all_ if p.requires_grad and p.is_floating_point() and p.numel()]
        if not self._parameters:
            raise Refused("the optimizer moves no trainable parameter: there is no rate to lower")
        self._optimizer, self._rows = optimizer, Rows(self._parameters)
        rate = float(optimizer.param_groups[0]["lr"])
        self._schedule = Schedule(rate, factor=factor, window=window, level=level)
        self._waiting: list[Tensor] = []
        self._handles = [
            optimizer.register_step_pre_hook(self._before_step),
            optimizer.register_step_post_hook(self._after_step),
        ]

    @property
    def last_test(self) -> FluctuationDissipation | None:
        """The latest test of stationarity."""
        return self._schedule.last_test

    def close(self) -> None:
        """Remove the hooks."""
        for handle in self._handles:
            handle.remove()

    def state_dict(self) -> dict[str, Any]:
        """Plain numbers and lists, for a checkpoint. What waits is not tested: saving changes no rate."""
        waiting = torch.stack(self._waiting).tolist() if self._waiting else []
        return self._schedule.state_dict() | {"waiting": waiting}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a checkpoint. Raises `Refused` for anything else."""
        self._schedule.load_state_dict(state)
        number = self._rows.position[0].new_tensor
        self._waiting = [number(row) for row in state.get("waiting", [])]

    @torch.no_grad()
    def _before_step(self, optimizer: torch.optim.Optimizer, args: tuple, kwargs: dict) -> None:
        self._rows.before(self._parameters)

    @torch.no_grad()
    def _after_step(self, optimizer: torch.optim.Optimizer, args: tuple, kwargs: dict) -> None:
        self._waiting.append(torch.stack(self._rows.after(self._parameters)).sum(dim=0))
        if len(self._waiting) == FETCH:
            self._drain()

    def _drain(self) -> None:
        """Fetch what waits on the device, and lower the rates where the schedule does. All groups are booked
        at the rate of the first: the changes of |theta|^2, which are tested, are exact all the same."""
        if not self._waiting:
            return
        for along, squared in torch.stack(self._waiting).cpu().tolist():
            rate = self._schedule.step_size
            if self._schedule.update(along / rate, squared / rate**2) < rate:
                for group in self._optimizer.param_groups:
                    group["lr"] = group["lr"] * self._schedule.factor
                break  # the others were made at the rate before
        self._waiting.clear()
