"""The host's side of a run: chunks of the compiled loop, blocks, progress, interrupts."""

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from heatbath.core import loop, minibatch_loop
from heatbath.core.numeric import from_arrays, to_arrays
from heatbath.core.progress import Progress
from heatbath.core.sink import Sink
from heatbath.core.stream import Feed, Stream
from heatbath.errors import Interrupted

CHUNK_SECONDS = 0.35
BLOCK_STEPS = 1_000
BLOCK_BYTES = 64 * 2**20
MEMORY_BYTES = 16 * 2**20  # of a block that is not stored: fresh memory costs more than what is written to it


class Driver:
    """The host's side: chunks of the compiled loop, blocks, progress, interrupts."""

    failure = ""  # why the run cannot go on

    def __init__(
        self,
        task: loop.Task,
        steps: int,
        replicas: int,
        sink: Sink | None,
        bar: Progress | None,
        stream: Stream | None,
    ):
        self.task, self.steps, self.replicas, self.sink, self.bar = task, steps, replicas, sink, bar
        self.stream = stream
        self.kept: dict[str, np.ndarray] = {}
        self.saved = self.reached = 0

    def close(self) -> None:
        """Whatever runs beside the run ends."""

    def run(self, carry: loop.Carry) -> tuple[loop.Carry, dict[str, np.ndarray]]:
        shapes = loop.record_shapes(self.task, carry)
        block_steps, every = self._block_steps(shapes), self.task.every
        steps = block_steps if self.sink is not None else min(block_steps, self.steps)
        empty = self._empty(shapes, -(-steps // every))
        step, block, carry, buffer = self._restore(carry, empty)
        chunk = 1
        with _interruptible(self.sink is not None) as stop:
            while step < self.steps:
                block_end = (block // block_steps + 1) * block_steps
                end = self._end(step, min(step + chunk, block_end, self.steps))
                if end > step:
                    began = time.perf_counter()
                    carry, buffer = self._advance(carry, buffer, step, end, block)
                    jax.block_until_ready(carry)
                    seconds_a_step = (time.perf_counter() - began) / (end - step)
                    step = end
                    chunk = max(1, min(8 * chunk, int(CHUNK_SECONDS / seconds_a_step)))
                    self._show(step, carry)
                over = bool(self.failure) or not np.asarray(carry.alive).any()
                if over or step in (block_end, self.steps):
                    carry, buffer = self._close(carry, buffer, step, block, over)
                    self._finish(step, (step - block) // every, buffer, carry)
                    block, buffer = step, self._emptied(buffer, empty)
                if over:
                    break
                if stop.is_set():
                    self._interrupt(step, (step - block) // every, block < step, buffer, carry)
        self.reached = step
        return carry, {name: records[: self.saved] for name, records in self.kept.items()}

    def _empty(self, shapes: Any, saves: int) -> Any:
        """A block's buffer: a row for each save and a scratch row."""
        return jax.tree.map(lambda x: jnp.zeros((saves + 1, *x.shape), x.dtype), shapes)

    def _emptied(self, buffer: Any, empty: Any) -> Any:
        """The buffer for the next block."""
        return empty

    def _end(self, step: int, end: int) -> int:
        """Where the chunk that begins at ``step`` ends at the latest."""
        return end

    def _advance(self, carry: loop.Carry, buffer: Any, step: int, end: int, block: int):
        return loop.advance(self.task, carry, buffer, jnp.asarray(step), jnp.asarray(end), jnp.asarray(block))

    def _close(
        self, carry: loop.Carry, buffer: Any, step: int, block: int, over: bool
    ) -> tuple[loop.Carry, Any]:
        """What is due at the end of a block, where the run may be ``over`` before its time."""
        return carry, buffer

    def _block_steps(self, shapes: Any) -> int:
        """Steps of a block, from counts alone: where stored at most 1,000 and 64 MB of records."""
        every = self.task.every
        size = sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(shapes))
        saves = max(1, (MEMORY_BYTES if self.sink is None else BLOCK_BYTES) // max(size, 1))
        if self.sink is not None:
            saves = min(saves, max(1, BLOCK_STEPS // every))
        return saves * every

    def _restore(self, carry: loop.Carry, empty: Any) -> tuple[int, int, loop.Carry, Any]:
        """Where to go on: (step, first step of the block, carry, records of the block so far)."""
        found = self.sink.restore() if self.sink is not None else None
        if found is None or self.sink is None:
            return 0, 0, carry, empty
        step, arrays = found
        if not arrays:
            return step, step, carry, empty
        carry = from_arrays(carry, arrays)
        block, records = step - step % self.task.every, self.sink.partial_records()
        if not records:
            return step, block, carry, empty
        rows = from_arrays(jax.tree.map(lambda x: x[0], empty), records, extra_axis=True)
        filled = jax.tree.map(lambda e, r: e.at[: r.shape[0]].set(r), empty, rows)
        return step, block - len(jax.tree.leaves(rows)[0]) * self.task.every, carry, filled

    def _finish(self, step: int, saves: int, buffer: Any, carry: loop.Carry) -> None:
        if self.sink is not None:
            self.sink.block(step, to_arrays(jax.tree.map(lambda b: b[:saves], buffer)), to_arrays(carry))
            return
        for name, x in to_arrays(buffer).items():
            if saves == self.steps // self.task.every:
                self.kept[name] = x[:saves]
                continue
            if name not in self.kept:
                self.kept[name] = np.empty((self.steps // self.task.every, *x.shape[1:]), x.dtype)
            self.kept[name][self.saved : self.saved + saves] = x[:saves]
        self.saved += saves

    def _interrupt(self, step: int, saves: int, unfinished: bool, buffer: Any, carry: loop.Carry) -> None:
        assert self.sink is not None
        if unfinished:
            self.sink.partial(step, to_arrays(jax.tree.map(lambda b: b[:saves], buffer)), to_arrays(carry))
        raise Interrupted(f"interrupted at step {step:,} of {self.steps:,}")

    def _show(self, step: int, carry: loop.Carry) -> None:
        if self.bar is None:
            return
        alive = np.asarray(carry.alive)[: self.replicas]
        potential = np.asarray(loop.potentials(self.task, carry))[: self.replicas]
        temperature = np.asarray(self.task.controls(jnp.asarray(step - 1)).temperature)[: self.replicas]
        energy = float(potential[alive].mean()) if alive.any() else float("nan")
        self.bar.update(step, self.steps, energy, float(temperature.mean()), int(alive.sum()), self.replicas)


class MinibatchDriver(Driver):
    """The same for minibatch dynamics: shuffles the data, or feeds a stream of them, and measures the energy
    at the end of a block."""

    epoch = -1
    shuffled: loop.Task
    feed: Feed | None = None
    batches: list[Any]

    def close(self) -> None:
        if self.feed is not None:
            self.feed.close()

    def _empty(self, shapes: Any, saves: int) -> Any:
        return self._unknown(super()._empty(shapes, saves))

    def _emptied(self, buffer: Any, empty: Any) -> Any:
        """What the observers store is written over, and so are energies that nothing measures on the way."""
        measures = self.sink is not None or self.task.energy_every is not None
        return self._unknown(buffer) if measures else buffer

    def _unknown(self, buffer: Any) -> Any:
        """``buffer`` without energies and ledger."""
        books = {name: x for name, x in buffer.items() if name not in self.task.observers}
        return buffer | jax.tree.map(lambda x: jnp.full_like(x, jnp.nan), books)

    def _end(self, step: int, end: int) -> int:
        if self.stream is not None:
            self.feed = self.feed or Feed(self.stream, step)
            self.batches = self.feed.take(min(end - step, self.feed.steps))
            self.failure = self.feed.failure
            return step + len(self.batches)
        every, _ = minibatch_loop.method(self.task).shuffling(self.task.system)
        return min(end, (step // every + 1) * every) if every else end

    def _advance(self, carry: loop.Carry, buffer: Any, step: int, end: int, block: int):
        stream = self.feed.stacked(self.batches) if self.feed else None
        first, stop, begun = (jnp.asarray(n) for n in (step, end, block))
        chunk = minibatch_loop.Chunk(self._in_order(step), carry, first, stop, begun, stream)
        return minibatch_loop.advance(chunk, buffer)

    def _in_order(self, step: int) -> loop.Task:
        """The task with the data in the order of ``step``."""
        every, repeated = minibatch_loop.method(self.task).shuffling(self.task.system)
        if not every:
            return self.task
        if step // every != self.epoch:
            self.epoch = step // every
            self.shuffled = minibatch_loop.shuffled(self.task, jnp.asarray(self.epoch), repeated)
        return self.shuffled

    def _close(
        self, carry: loop.Carry, buffer: Any, step: int, block: int, over: bool
    ) -> tuple[loop.Carry, Any]:
        on_the_way = self.sink is None and step < self.steps and not over  # blocks in memory are short
        if self.task.ledger == "off" or on_the_way or not step:
            return carry, buffer
        return minibatch_loop.closed(self.task, carry, buffer, jnp.asarray(step), jnp.asarray(block))


@contextmanager
def _interruptible(active: bool) -> Iterator[threading.Event]:
    """Ctrl-C and SIGTERM set the event (main thread only, where the run can be saved)."""
    event = threading.Event()
    if not active or threading.current_thread() is not threading.main_thread():
        yield event
        return
    old = {
        number: signal.signal(number, lambda *_: event.set()) for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield event
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)
