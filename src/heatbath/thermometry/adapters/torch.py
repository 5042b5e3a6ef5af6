"""A thermometer for PyTorch training loops: two hooks on the optimizer."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Self

import numpy as np
import torch
from torch import Tensor

from heatbath.errors import Refused
from heatbath.thermometry.adapters.sinks import as_sink
from heatbath.thermometry.statistics import (
    GRADIENTS_EVERY,
    RESOLUTION,
    Statistics,
    micro_batch_estimates,
    observation,
)
from heatbath.thermometry.summary import Summary

FETCH = 640  # steps from one fetch of the observations that wait on the device to the next
MOST_CLIPPED = 1_000  # a gradient that shrank more was scaled, not only clipped
ALIGNED = 16  # numbers: 64 bytes
HALF = (torch.float16, torch.bfloat16)
DECOUPLED = {"AdamW", "Adafactor", "Muon", "Lion"}  # optimizers whose groups need not say so


class _Waiting(NamedTuple):
    """An observation: ``numbers`` on the device, and what is known without asking it. Of each parameter
    theta.(theta - theta') and |theta - theta'|^2, interleaved; |theta|^2 where it is needed; then what
    `_read_gradients` gives, where it was called; then two numbers of the micro-batches, where there were
    some."""

    numbers: Tensor
    settings: tuple[list[float], ...]  # of each group of the optimizer: learning rate, weight decay, sign
    has_squares: bool
    has_gradients: bool
    micro_batches: int
    examples: int


@dataclass
class _MicroBatches:
    """The accumulated gradients so far: the last ones, how often PyTorch had written to each, the sum of
    squares of their steps, the batches' sizes."""

    last: list[Tensor]
    written: list[int]
    sum_of_squares: Tensor
    sizes: list[int] = field(default_factory=list)


class Thermometer:
    """Measures the temperature of a training loop, layer by layer, without touching it.

    ``model``: its trainable parameters that ``optimizer`` moves are measured; frozen ones and others are
    skipped and named. ``every``: steps from one observed step to the next. ``groups``: from a parameter's
    name to the row it is counted in; one row a parameter tensor by default. ``sink``: gets the numbers as
    they come (see `as_sink`): every 640 steps or so, at `summary` and at `close`. Keeps two copies of the
    parameters. Closed with `close` or as a context manager.

    Raises `Refused` where there is nothing to measure.
    """

    def __init__(
        self,
        model: torch.nn.Module,
        optimizer: torch.optim.Optimizer,
        *,
        every: int = 20,
        groups: Callable[[str], str] | None = None,
        sink: Any = None,
    ):
        if isinstance(every, bool) or not isinstance(every, int) or every < 1:
            raise Refused(f"every is {every!r:.40}: give a whole number of steps, 1 or more")
        if groups is not None and not callable(groups):
            raise Refused(f"groups is {groups!r:.60}: give a function from a parameter's name to its row")
        if not isinstance(model, torch.nn.Module):
            raise Refused(f"model is a {type(model).__name__}: give a torch.nn.Module")
        optimizer = unwrapped(optimizer)
        self.every, self.steps, self._written = every, 0, 0
        self._optimizer = optimizer
        self._sink = None if sink is None else as_sink(sink)
        found, skipped = _measurable(model, optimizer)
        self._parameters = [parameter for _, parameter, _ in found]
        self._group = np.array([group for _, _, group in found])
        self._decoupled = not DECOUPLED.isdisjoint(kind.__name__ for kind in type(optimizer).__mro__)
        self._resolution = max(RESOLUTION, *(torch.finfo(p.dtype).eps for p in self._parameters))
        labels = [str(groups(name)) if groups else name for name, _, _ in found]
        layers = tuple(dict.fromkeys(labels))
        self._layer = np.array([layers.index(label) for label in labels], int)
        self._by_layers = np.argsort(self._layer, kind="stable")
        self._starts = np.searchsorted(self._layer[self._by_layers], np.arange(len(layers)))
        sizes = np.bincount(self._layer, [p.numel() for p in self._parameters]).astype(int)
        self._statistics = Statistics(layers, tuple(sizes.tolist()), skipped)
        self._rows = Rows(self._parameters)
        self._gradients: list[Tensor] | None = None
        self._micro: _MicroBatches | None = None
        self._waiting: list[_Waiting] = []
        self._last_squared = np.full(len(found), np.nan)  # |theta|^2 after the last observed step
        self._handles = [
            optimizer.register_step_pre_hook(self._before_step),
            optimizer.register_step_post_hook(self._after_step),
        ]

    @property
    def due(self) -> bool:
        """Whether the next (or present) step is observed."""
        return (self.steps + 1) % self.every == 0

    @property
    def _gradients_due(self) -> bool:
        stride = -(-GRADIENTS_EVERY // self.every)
        return self.due and self._gradients is None and (self.steps + 1) // self.every % stride == 0

    @torch.no_grad()
    def before_clipping(self) -> None:
        """Read the gradients now. Call it before gradients are clipped or changed by hand, and after
        ``scaler.unscale_`` where that is called; otherwise they are read when the optimizer steps."""
        if self._gradients_due:
            self._rows.before(self._parameters)
            self._gradients = self._read_gradients()

    def clip_grad_norm_(self, max_norm: float, norm_type: float = 2.0) -> Tensor:
        """``torch.nn.utils.clip_grad_norm_`` of the optimizer's parameters, read before they are clipped."""
        self.before_clipping()
        parameters = [p for group in self._optimizer.param_groups for p in group["params"]]
        return torch.nn.utils.clip_grad_norm_(parameters, max_norm, norm_type)

    @torch.no_grad()
    def micro_batch(self, examples: int) -> None:
        """Call it after each ``backward()`` of a step that accumulates the gradients of several equal
        micro-batches of ``examples``: gives the noise scale."""
        if isinstance(examples, bool) or not isinstance(examples, int) or examples < 1:
            raise Refused(f"micro_batch({examples!r:.40}): give the number of its examples, 1 or more")
        if not self.due:
            return
        gradients = [p.grad for p in self._parameters]
        pairs = zip(self._parameters, gradients, strict=True)
        now = [torch.zeros_like(p) if g is None else _dense(g.clone()) for p, g in pairs]
        written = [-1 if g is None else g._version for g in gradients]
        if self._micro is None or all(a <= b for a, b in zip(written, self._micro.written, strict=True)):
            # Nothing was added to what is there: these gradients are new, and the step before was skipped.
            self._micro = _MicroBatches(now, written, _squares(now))
        else:
            added = [a - b for a, b in zip(now, self._micro.last, strict=True)]
            self._micro.sum_of_squares += _squares(added)
            self._micro.last, self._micro.written = now, written
        self._micro.sizes.append(examples)

    def statistics(self) -> Statistics:
        """The sums so far: to merge with those of other runs, or to ask for more than `summary` does."""
        self._drain()
        return self._statistics

    def summary(self) -> Summary:
        """Temperatures, fluctuation-dissipation ratio, noise scale and verdict of each layer; prints as a
        table."""
        summary = self.statistics().summary()
        self._write(summary)
        return summary

    def _write(self, summary: Summary) -> None:
        """To the sink, at most once a step."""
        if self._sink is not None and self.steps > self._written and (scalars := summary.scalars()):
            self._written = self.steps
            self._sink(scalars, self.steps)

    def state_dict(self) -> dict[str, Any]:
        """Plain numbers and lists, for a checkpoint."""
        statistics = self.statistics().state_dict()
        squares = self._last_squared.tolist()
        return {"steps": self.steps, "statistics": statistics, "last_squared": squares}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a checkpoint. Raises `Refused` for that of another model."""
        if not isinstance(state, Mapping) or not {"steps", "statistics", "last_squared"} <= state.keys():
            raise Refused("this is not the state of a thermometer: give what its state_dict() returned")
        last_squared = np.array(state["last_squared"], float)
        if last_squared.shape != self._last_squared.shape:
            raise Refused("this state is of another model or version of heatbath: start it afresh")
        self._statistics.load_state_dict(state["statistics"])
        self.steps = self._written = int(state["steps"])
        self._last_squared = last_squared
        self._waiting.clear()

    def close(self) -> None:
        """Remove the hooks, and tell the sink the last numbers; what was measured stays."""
        for handle in self._handles:
            handle.remove()
        if self._sink is not None:
            self.summary()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _before_step(self, optimizer: torch.optim.Optimizer, args: tuple, kwargs: dict) -> None:
        if self.due:
            self._begin((len(args) > 1 and args[1] is not None) or kwargs.get("closure") is not None)

    def _after_step(self, optimizer: torch.optim.Optimizer, args: tuple, kwargs: dict) -> None:
        due = self.due
        if due:
            self._end(isinstance(optimizer, torch.optim.LBFGS))
        self.steps += 1
        if due and len(self._waiting) * self.every >= FETCH:
            self._drain()
            if self._sink is not None:
                self.summary()

    @torch.no_grad()
    def _begin(self, with_closure: bool) -> None:
        self._rows.before(self._parameters)
        if self._gradients is not None:
            self._gradients[3] = self._scale_inside() * self._scale_since(self._gradients[1])
        if self._gradients_due and not with_closure:
            self._gradients = self._read_gradients()

    @torch.no_grad()
    def _end(self, several_gradients: bool) -> None:
        if self._gradients_due and not several_gradients:  # a closure made them where the position was before
            self._gradients = self._read_gradients()
        self._observe()
        self._gradients = self._micro = None

    def _read_gradients(self) -> list[Tensor]:
        """Of each parameter theta.g, |g|^2, max |g|; last the factor by which a GradScaler
        multiplied g. The position is the one before the step, here and where a closure has made the
        gradients."""
        gradients = self._present_gradients()
        return [
            _dots(self._rows.position, gradients),
            _squares(gradients),
            torch.stack([torch.stack(g.aminmax()).abs().max() for g in _single(gradients)]),
            self._scale_inside(),
        ]

    def _present_gradients(self) -> list[Tensor]:
        return [torch.zeros_like(p) if p.grad is None else _dense(p.grad) for p in self._parameters]

    def _scale_inside(self) -> Tensor:
        """By which a GradScaler multiplied g, and fused optimizers divide inside their step."""
        scale, one = getattr(self._optimizer, "grad_scale", None), self._rows.position[0].new_ones(1)
        return one if scale is None else scale.reshape(1).to(one)

    def _scale_since(self, squares: Tensor) -> Tensor:
        """What unscaling has divided g by since its ``squares`` were read: a power of two to the last bit,
        which clipping would never give. Any factor above that of clipping alone is undone too: it leaves
        the clipped gradients, whose norms betray them."""
        ratio = (squares.sum() / _squares(self._present_gradients()).sum()).sqrt().reshape(1)
        unscaled = (torch.frexp(ratio).mantissa == 0.5) & (ratio >= 2)
        and_clipped = (ratio > MOST_CLIPPED) & ratio.isfinite()
        return torch.where(unscaled | and_clipped, ratio, torch.ones_like(ratio))

    def _observe(self) -> None:
        micro = self._micro
        equal = micro is not None and len(micro.sizes) > 1 and len(set(micro.sizes)) == 1
        # At every step theta.change itself tells what |theta|^2 does.
        with_squares = self.every > 1 or self._gradients is not None
        numbers = self._rows.after(self._parameters)
        numbers += [_squares(self._rows.position)] if with_squares else []
        numbers += self._gradients or []
        if micro is not None and equal:
            numbers += [_squares(micro.last), micro.sum_of_squares]
        settings = self._optimizer.param_groups
        self._waiting.append(
            _Waiting(
                torch.cat(numbers),
                (
                    [float(s["lr"]) for s in settings],
                    [
                        0.0
                        if self._decoupled or s.get("decoupled_weight_decay")
                        else s.get("weight_decay", 0.0)
                        for s in settings
                    ],
                    [-1.0 if s.get("maximize") else 1.0 for s in settings],
                ),
                with_squares,
                self._gradients is not None,
                len(micro.sizes) if micro is not None and equal else 0,
                micro.sizes[0] if micro is not None else 0,
            )
        )

    def _drain(self) -> None:
        """Fetch what waits on the device, and add it up."""
        if not self._waiting:
            return
        numbers = _unpacked(self._waiting, len(self._parameters))
        settings = np.array([w.settings for w in self._waiting])[..., self._group]
        rate, decay, sign = np.moveaxis(settings, 1, 0)
        square, largest = numbers[:, 4], numbers[:, 5]
        numbers[:, 3] *= sign
        count = np.bincount(self._layer)
        mean_rate = self._by_layer(rate) / count
        # A row may join parameters of several rates and decays: each counts with its own.
        weight = mean_rate[:, self._layer] / np.where(rate > 0, rate, np.inf)
        with np.errstate(invalid="ignore", over="ignore"):  # a loop that diverges
            along, change, position = np.moveaxis(numbers[:, :3], 1, 0)
            after = position - 2 * along + change
            before = np.concatenate([self._last_squared[None], after[:-1]])
            self._last_squared = after[-1]
            decayed = self._by_layer(decay * position)
            along, change, decrease = (
                self._by_layer(weight * x) for x in (along, change, (before - after) / self.every)
            )
            position, pull, squares, _, signal, noise = np.moveaxis(self._by_layer(numbers[:, 2:]), 1, 0)
            rows = observation(
                along,
                change,
                pull,
                squares,
                position,
                signal,
                noise,
                mean_rate,
                decayed / np.where(position > 0, position, 1),
                decrease,
            )
        read = np.array([w.has_gradients for w in self._waiting])
        norms = np.sqrt(square[read].sum(axis=1))
        self._statistics.add(rows, norms.tolist(), largest[read].max(axis=1).tolist(), self._resolution)
        self._waiting.clear()

    def _by_layer(self, values: np.ndarray) -> np.ndarray:
        """Sums over the parameters (the last axis) of each layer."""
        return np.add.reduceat(values[..., self._by_layers], self._starts, axis=-1)


def unwrapped(optimizer: Any) -> torch.optim.Optimizer:
    """The optimizer itself, where Accelerate or Fabric has put a wrapper around it."""
    inner = getattr(optimizer, "optimizer", optimizer)
    if not isinstance(inner, torch.optim.Optimizer):
        raise Refused(f"optimizer is a {type(optimizer).__name__}: give a torch.optim.Optimizer")
    return inner


class Rows:
    """Two rows of numbers as long as all parameters together: the position before the step, and what the step
    took from it. Side by side, so that one product of a matrix and a vector reads the change once."""

    def __init__(self, parameters: Sequence[Tensor]):
        starts = np.cumsum([0, *(-(-p.numel() // ALIGNED) * ALIGNED for p in parameters)])
        wide = any(p.dtype == torch.float64 for p in parameters)
        dtype = torch.float64 if wide else torch.float32
        rows = torch.zeros((2, int(starts[-1])), dtype=dtype, device=parameters[0].device)
        parts = [rows[:, i : i + p.numel()] for i, p in zip(starts[:-1].tolist(), parameters, strict=True)]
        self._both = parts
        self._change = [part[1] for part in parts]
        self.position, self._taken = (
            [part[row].view(p.shape) for part, p in zip(parts, parameters, strict=True)] for row in (0, 1)
        )

    def before(self, parameters: list[Tensor]) -> None:
        torch._foreach_copy_(self.position, parameters)  # pyright: ignore[reportPrivateImportUsage]

    def after(self, parameters: list[Tensor]) -> list[Tensor]:
        """Of each parameter theta.(theta - theta') and |theta - theta'|^2."""
        for position, parameter, taken in zip(self.position, parameters, self._taken, strict=True):
            torch.sub(position, parameter, out=taken)
        return [torch.mv(both, change) for both, change in zip(self._both, self._change, strict=True)]


def _unpacked(waiting: list[_Waiting], n: int) -> np.ndarray:
    """(observations, 8, n): theta.change, |change|^2, |theta|^2, theta.g, |g|^2, max |g|, signal and noise of
    each parameter; NaN where they were not observed."""
    fetched = torch.cat([w.numbers for w in waiting]).cpu().numpy().astype(float)
    ends = np.cumsum([w.numbers.numel() for w in waiting])
    starts = np.array([0, *ends[:-1]])
    found = np.full((len(waiting), 8, n), np.nan)
    found[:, :2] = fetched[starts[:, None] + np.arange(2 * n)].reshape(-1, n, 2).swapaxes(1, 2)
    for i in np.flatnonzero(ends - starts > 2 * n):
        _unpack_more(fetched[starts[i] + 2 * n : ends[i]], waiting[i], found[i])
    return found


def _unpack_more(rest: np.ndarray, waiting: _Waiting, row: np.ndarray) -> None:
    n = row.shape[1]
    if waiting.has_squares:
        row[2], rest = rest[:n], rest[n:]
    if waiting.has_gradients:
        scale = rest[3 * n]
        row[3:6] = rest[: 3 * n].reshape(3, n) / np.array([scale, scale**2, scale])[:, None]
        rest = rest[3 * n + 1 :]
    if waiting.micro_batches:
        row[6:] = micro_batch_estimates(rest[:n], rest[n:], waiting.micro_batches, waiting.examples)


def _measurable(
    model: torch.nn.Module, optimizer: torch.optim.Optimizer
) -> tuple[list[tuple[str, Tensor, int]], dict[str, str]]:
    """Name, tensor and number of the optimizer's group of each parameter that can be measured; why others
    cannot. Tied parameters are one."""
    numbers = {id(p): i for i, group in enumerate(optimizer.param_groups) for p in group["params"]}
    found, skipped = [], {}
    for name, parameter in model.named_parameters():
        name = name.replace("_orig_mod.", "").replace("_forward_module.", "")  # torch.compile, Fabric
        if not parameter.is_floating_point():
            skipped[name] = "not floating-point numbers"
        elif not parameter.requires_grad:
            skipped[name] = "frozen"
        elif id(parameter) not in numbers:
            skipped[name] = "not in the optimizer"
        elif parameter.numel() == 0:
            skipped[name] = "empty"
        else:
            found.append((name, parameter, numbers[id(parameter)]))
    if not found:
        why = f" ({', '.join(sorted(set(skipped.values())))})" if skipped else ""
        raise Refused(f"the optimizer moves no trainable parameter of this model{why}: nothing to measure")
    if len({parameter.device for _, parameter, _ in found}) > 1 or any(
        hasattr(p, "full_tensor") for _, p, _ in found
    ):
        raise Refused("the model is spread over devices: give the thermometer one that is on a single device")
    for _, _, number in found:
        if not isinstance(optimizer.param_groups[number].get("lr"), float | int | Tensor):
            raise Refused(f"{type(optimizer).__name__} has no learning rate: its updates have no temperature")
    return found, skipped


def _single(tensors: list[Tensor]) -> list[Tensor]:
    """Half precision widened: its sums of squares overflow."""
    return [t.float() if t.dtype in HALF else t for t in tensors]


def _dense(gradient: Tensor) -> Tensor:
    return gradient.to_dense() if gradient.is_sparse else gradient


def _squares(tensors: list[Tensor]) -> Tensor:
    norms = torch._foreach_norm(_single(tensors))  # pyright: ignore[reportPrivateImportUsage]
    return torch.stack(norms) ** 2


def _dots(a: list[Tensor], b: list[Tensor]) -> Tensor:
    """In the precision of ``a``."""
    pairs = zip(a, b, strict=True)
    return torch.stack([torch.dot(x.reshape(-1), y.reshape(-1).to(x.dtype)) for x, y in pairs])
