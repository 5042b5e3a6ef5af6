"""Progress on standard error: a live line on a terminal, else a plain line every 10 seconds."""

import sys
import time
from typing import Any

QUIET_SECONDS = 2.0
PLAIN_SECONDS = 10.0


class Progress:
    """Shows step of steps, energy, temperature, replicas alive and seconds left.

    Nothing is shown in the first two seconds. ``label`` names what runs.
    """

    def __init__(self, label: str = "simulate"):
        self.label = label
        self._start = time.monotonic()
        self._first: tuple[float, int] | None = None
        self._shown = self._start - PLAIN_SECONDS + QUIET_SECONDS
        self._live: Any = None

    def update(
        self, step: int, steps: int, energy: float, temperature: float, alive: int, replicas: int
    ) -> None:
        now = time.monotonic()
        self._first = self._first or (now, step)
        began, first = self._first
        left = (now - began) / (step - first) * (steps - step) if step > first else float("nan")
        text = (
            f"{self.label}: step {step:,}/{steps:,} | energy {energy:.6g} | temperature {temperature:.4g}"
            f" | replicas {alive}/{replicas}" + (f" | {left:.0f} s left" if left == left else "")
        )
        if now - self._start < QUIET_SECONDS:
            return
        if sys.stderr.isatty():
            self._terminal(text, step, steps)
        elif now - self._shown >= PLAIN_SECONDS:
            self._shown = now
            print(text, file=sys.stderr, flush=True)

    def _terminal(self, text: str, step: int, steps: int) -> None:
        if self._live is None:
            from rich.console import Console
            from rich.progress import BarColumn, TextColumn
            from rich.progress import Progress as Bar

            self._live = Bar(
                BarColumn(bar_width=20), TextColumn("{task.description}"), console=Console(stderr=True)
            )
            self._live.start()
            self._live.add_task(text, total=steps)
        self._live.update(self._live.task_ids[0], description=text, completed=step, total=steps)

    def close(self) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None
