"""Minibatches that come from the host: the next ones are read while the device works on the present ones."""

import threading
from collections.abc import Callable, Iterator
from queue import Empty, Queue
from typing import Any

import jax
import numpy as np

from heatbath.errors import Refused

CHUNK_BYTES = 16 * 2**20
CHUNK_STEPS = 64

Stream = Callable[[int], Iterator[Any]]
"""From a step to the minibatches of this step and those after it: pytrees of NumPy arrays, items leading."""


class Feed:
    """Minibatches from ``stream``, in order from ``step`` on, read ahead by a thread.

    ``failure`` says what is wrong with the first minibatch that cannot be used: NaN or infinite numbers,
    another shape than the first one's, the stream's end, or an error of its own.
    """

    def __init__(self, stream: Stream, step: int):
        self.failure = ""
        self._first = self._checked_first(stream, step)
        size = sum(x.nbytes for x in jax.tree.leaves(self._first))
        self.steps = max(1, min(CHUNK_STEPS, CHUNK_BYTES // max(size, 1)))
        self._queue: Queue = Queue(2 * self.steps)
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._read, args=(stream, step), daemon=True)
        self._thread.start()

    def take(self, count: int) -> list[Any]:
        """The next minibatches: ``count``, or fewer where the stream fails."""
        taken: list[Any] = []
        while len(taken) < count and not self.failure:
            item = self._queue.get()
            if isinstance(item, str):
                self.failure = item
            else:
                taken.append(item)
        return taken

    def stacked(self, batches: list[Any]) -> Any:
        """As one pytree with a leading axis of `steps`, always of the same shape."""
        filled = batches + [batches[-1]] * (self.steps - len(batches))
        return jax.tree.map(lambda *x: np.stack(x), *filled)

    def close(self) -> None:
        self._closed.set()
        while self._thread.is_alive():
            try:
                self._queue.get(timeout=0.05)
            except Empty:
                pass

    def _checked_first(self, stream: Stream, step: int) -> Any:
        try:
            first = next(iter(stream(step)), None)
        except Refused:
            raise
        except Exception as error:  # whatever a user's stream raises
            raise Refused(f"the stream fails at once: {type(error).__name__}: {error!s:.150}") from error
        if first is None:
            raise Refused("the stream gives no minibatch: it is empty")
        first = jax.tree.map(np.asarray, first)
        leaves = jax.tree.leaves(first)
        if not leaves or any(x.ndim == 0 or x.dtype.kind not in "biuf" for x in leaves):
            raise Refused("the stream gives no arrays of numbers: give minibatches with the items leading")
        if len(lengths := {len(x) for x in leaves}) > 1 or 0 in lengths:
            raise Refused(f"the stream's minibatches have {sorted(lengths)} items: give one number above 0")
        return first

    def _read(self, stream: Stream, step: int) -> None:
        try:
            for batch in stream(step):
                batch = jax.tree.map(np.asarray, batch)
                problem = self._problem(batch)
                self._queue.put(f"minibatch of step {step:,}: {problem}" if problem else batch)
                if problem or self._closed.is_set():
                    return
                step += 1
            self._queue.put(f"the stream ended before step {step:,}: give one that does not end")
        except Exception as error:  # whatever a user's stream raises
            self._queue.put(f"minibatch of step {step:,}: {type(error).__name__}: {error!s:.150}")

    def _problem(self, batch: Any) -> str:
        leaves, first = jax.tree.leaves(batch), jax.tree.leaves(self._first)
        if [x.shape for x in leaves] != [x.shape for x in first]:
            shapes = ", ".join(str(x.shape) for x in leaves)
            return f"shapes {shapes} differ from the first one's: give minibatches of one size"
        if [x.dtype for x in leaves] != [x.dtype for x in first]:
            types = ", ".join(str(x.dtype) for x in leaves)
            return f"types {types} differ from the first one's: give the same numbers in each"
        if not all(np.isfinite(x).all() for x in leaves if np.issubdtype(x.dtype, np.floating)):
            return "it holds NaN or infinite numbers: clean the data"
        return ""
