"""The thermometer's core: mergeable sums of dot products, layer by layer. NumPy only, no framework.

theta is the position, theta' the position one step later, eta the learning rate and u = (theta - theta')/eta
the update, whatever the optimizer made of the gradient g. In a stationary state <|theta'|^2> = <|theta|^2>,
hence

    <theta.u> = eta/2 <|u|^2>        for every optimizer and every layer,

the fluctuation-dissipation relation (Yaida 2018, in the form that momentum, Nesterov and Adam do not break).
The difference of its sides, summed over consecutive steps, is (|theta|^2 before - |theta|^2 after)/(2 eta).
So between two observed steps the unobserved ones are counted in, for one norm, and do not add any noise.
"""

import math
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np

from heatbath.errors import Refused
from heatbath.thermometry.summary import Summary, summarise

MOST_BLOCKS = 128
RESOLUTION = 1e-5  # relative, of clipped norms: clip_grad_norm_ itself leaves them 1e-6/norm apart
GRADIENTS_EVERY = 20  # steps at least between readings of the gradients: they cost more than the updates
QUANTITIES = (
    "updates",  # observed updates: 1, or 0 where this observation has none
    "learning_rate",
    "left",  # theta.u, mean over the steps since the last observation
    "right",  # eta |u|^2/2
    "gradients",  # observed gradients
    "virial",  # theta.(g + weight decay theta)
    "cosine_squared",  # (theta.g)^2/(|theta|^2 |g|^2), without weight decay
    "micro_batches",  # observations with micro-batches
    "signal",  # unbiased estimate of |mean gradient|^2
    "noise",  # unbiased estimate of the trace of the covariance of one example's gradient
    "broken",  # steps to or from a position that is not finite
)
FORMAT = 2


def observation(
    position_change: Any,
    change_squared: Any,
    position_gradient: Any,
    gradient_squared: Any,
    position_squared: Any,
    signal: Any,
    noise: Any,
    learning_rate: Any,
    weight_decay: Any,
    decrease: Any = np.nan,
    xp: Any = np,
) -> Any:
    """The `QUANTITIES` of one step, shape (..., layers, quantities), from dot products, each (..., layers).

    ``position_change`` theta.(theta - theta'), ``change_squared`` |theta - theta'|^2; ``position_gradient``
    theta.g, ``gradient_squared`` |g|^2, ``position_squared`` |theta|^2; ``signal`` and ``noise`` as
    `micro_batch_estimates` gives them; ``decrease``: of |theta|^2 since the last observed step, over the
    number of steps. What is NaN or infinite was not observed, and a step that moved nothing (a skipped one)
    does not count, but steps whose change is not finite are counted as broken. ``xp``: numpy or jax.numpy.
    """
    change = position_change + change_squared
    distance = xp.sum(xp.where(xp.isfinite(change), change_squared, 0), axis=-1, keepdims=True)
    moved = xp.isfinite(change) & (distance > 0) & (learning_rate > 0)
    rate = xp.where(moved, learning_rate, 1)
    along = xp.where(xp.isfinite(decrease), (change_squared + decrease) / 2, position_change)
    pulled = xp.isfinite(position_gradient + gradient_squared + position_squared)
    squares = xp.where(pulled, position_squared * gradient_squared, 0)
    cosine_squared = position_gradient**2 / xp.where(squares > 0, squares, 1)
    split = xp.isfinite(signal + noise)
    columns = [
        (moved, xp.ones_like(change)),
        (moved, rate),
        (moved, along / rate),
        (moved, change_squared / (2 * rate)),
        (pulled, xp.ones_like(change)),
        (pulled, position_gradient + weight_decay * position_squared),
        (pulled & (squares > 0), cosine_squared),
        (split, xp.ones_like(change)),
        (split, signal),
        (split, noise),
        (~xp.isfinite(change), xp.ones_like(change)),
    ]
    return xp.stack([xp.where(seen, value, 0) for seen, value in columns], axis=-1)


def micro_batch_estimates(square_of_sum: Any, sum_of_squares: Any, k: int, examples: int) -> tuple[Any, Any]:
    """Unbiased |mean gradient|^2 and trace of the covariance of one example's gradient (McCandlish et al.
    2018).

    From the mean gradients m_j of ``k`` >= 2 micro-batches of ``examples`` each: |sum m_j|^2 and sum |m_j|^2.
    """
    signal = (square_of_sum - sum_of_squares) / (k * (k - 1))
    noise = examples * (sum_of_squares - square_of_sum / k) / (k - 1)
    return signal, noise


@dataclass
class Ceiling:
    """How often a size of the gradient touched its maximum: clipped ones pile up there."""

    highest: float = 0.0
    touched: int = 0
    seen: int = 0

    FEWEST, SHARE = 3, 0.02

    def add(self, size: float, resolution: float) -> None:
        ceiling = (self.highest, self.touched, self.seen)
        highest, touched, seen = touch(ceiling, size, resolution=resolution)
        self.highest, self.touched, self.seen = float(highest), int(touched), int(seen)

    @property
    def reached(self) -> bool:
        return self.touched >= max(self.FEWEST, self.SHARE * self.seen)


def touch(ceiling: Any, size: Any, xp: Any = np, resolution: float = RESOLUTION) -> Any:
    """The three numbers of a `Ceiling` after one more ``size``; only finite and positive ones count."""
    highest, touched, seen = ceiling
    above, there = size > highest * (1 + resolution), size >= highest * (1 - resolution)
    now = (xp.where(above, size, highest), xp.where(above, 1, touched + there), seen + 1)
    counts = xp.isfinite(size) & (size > 0)
    return [xp.where(counts, new, old) for new, old in zip(now, ceiling, strict=True)]


@dataclass
class Series:
    """Sums of one run over consecutive blocks of ``length`` observations; never more than `MOST_BLOCKS`.

    ``blocks`` (blocks, layers, quantities): the full ones; ``open`` (layers, quantities): the ``filled``
    observations of the one that is being filled. ``norm`` and ``largest``: of the gradients.
    """

    blocks: np.ndarray
    open: np.ndarray
    length: int = 1
    filled: int = 0
    norm: Ceiling = field(default_factory=Ceiling)
    largest: Ceiling = field(default_factory=Ceiling)

    @staticmethod
    def empty(layers: int) -> "Series":
        shape = (layers, len(QUANTITIES))
        return Series(np.zeros((0, *shape)), np.zeros(shape))

    def add(self, rows: np.ndarray) -> None:
        """``rows`` (observations, layers, quantities), one after the other."""
        while len(rows):
            part, rows = np.split(rows, [self.length - self.filled])
            self.open = np.concatenate([self.open[None], part]).sum(axis=0)
            self.filled += len(part)
            if self.filled == self.length:
                self.blocks = np.concatenate([self.blocks, self.open[None]])
                self.open, self.filled = np.zeros_like(self.open), 0
            if len(self.blocks) == MOST_BLOCKS:
                self.blocks = self.blocks[::2] + self.blocks[1::2]
                self.length *= 2

    def late(self, discard: float) -> np.ndarray:
        """The blocks without the first share ``discard`` of them; the open block last."""
        blocks = self.blocks[math.ceil(discard * len(self.blocks)) :]
        return np.concatenate([blocks, self.open[None]]) if self.filled else blocks

    def clipped(self) -> str:
        """Why the gradients do not look like those of the loss; "" if they do."""
        for what, ceiling in (("norms", self.norm), ("components", self.largest)):
            if ceiling.reached:
                return (
                    f"gradient {what} pile up at {ceiling.highest:.4g}: they were clipped before they were "
                    "read; let the thermometer read them first (docs/thermometer.md)"
                )
        return ""

    def state_dict(self) -> dict[str, Any]:
        plain = {"blocks": self.blocks.tolist(), "open": self.open.tolist()}
        ceilings = {"norm": dict(vars(self.norm)), "largest": dict(vars(self.largest))}
        return plain | {"length": self.length, "filled": self.filled} | ceilings

    @staticmethod
    def from_state(state: Mapping[str, Any], layers: int) -> "Series":
        shape = (layers, len(QUANTITIES))
        return Series(
            np.asarray(state["blocks"], float).reshape(-1, *shape),
            np.asarray(state["open"], float).reshape(shape),
            int(state["length"]),
            int(state["filled"]),
            Ceiling(**state["norm"]),
            Ceiling(**state["largest"]),
        )


@dataclass
class Statistics:
    """Everything a thermometer remembers of one or several runs of the same model.

    ``layers``: names; ``sizes``: parameters in each. Memory does not grow with the number of observations.
    ``skipped``: what is not measured, and why.
    """

    layers: tuple[str, ...]
    sizes: tuple[int, ...]
    skipped: Mapping[str, str] = field(default_factory=dict)
    series: list[Series] = field(default_factory=list)

    def __post_init__(self):
        if not self.layers:
            raise Refused("no parameters to measure: give a model with trainable floating-point parameters")
        if not self.series:
            self.series.append(Series.empty(len(self.layers)))

    def add(
        self,
        rows: np.ndarray,
        norms: Sequence[float] = (),
        largest: Sequence[float] = (),
        resolution: float = RESOLUTION,
    ) -> None:
        """Observations (see `observation`), (observations, layers, quantities) or one of them alone; of the
        gradients that were read, over all layers: their norms and their largest components, which clipping
        leaves within the relative ``resolution`` of each other."""
        latest = self.series[-1]
        latest.add(np.asarray(rows, float).reshape(-1, len(self.layers), len(QUANTITIES)))
        for norm in norms:
            latest.norm.add(norm, resolution)
        for component in largest:
            latest.largest.add(component, resolution)

    @property
    def observations(self) -> int:
        return sum(s.length * len(s.blocks) + s.filled for s in self.series)

    def merge(self, other: "Statistics") -> "Statistics":
        """Both together; associative. For independent runs (replicas) and parts of one run. Not for the ranks
        of data-parallel training, which all see the same steps: ask one of them.

        Raises `Refused` for another model.
        """
        self._check(other.layers, other.sizes)
        series = [deepcopy(s) for s in (*self.series, *other.series) if len(s.blocks) or s.filled]
        return Statistics(self.layers, self.sizes, self.skipped, series)

    def summary(self, *, discard: float = 0.5, level: float = 0.01) -> Summary:
        """Temperatures, fluctuation-dissipation ratio, noise scale and a verdict for each layer.

        ``discard``: share of the oldest blocks left out, the way to the stationary state. ``level``: chance
        that any layer of a stationary run is called "still relaxing".
        """
        if not 0 <= discard < 1 or not 0 < level < 1:
            raise Refused(f"discard is {discard}, level {level}: both are shares between 0 and 1")
        late = [s.late(discard) for s in self.series]
        clipped = next(filter(None, (s.clipped() for s in self.series)), "")
        return summarise(self.layers, self.sizes, QUANTITIES, late, clipped, level, self.skipped)

    def state_dict(self) -> dict[str, Any]:
        """Plain numbers, lists and texts: fit for JSON, torch.save and a checkpoint."""
        return {
            "format": FORMAT,
            "layers": list(self.layers),
            "sizes": list(self.sizes),
            "series": [s.state_dict() for s in self.series],
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> Self:
        """Go on from ``state``. Raises `Refused` for that of another model or version."""
        if not isinstance(state, Mapping) or "format" not in state:
            raise Refused("this is not the state of a thermometer: give what its state_dict() returned")
        if state["format"] != FORMAT:
            raise Refused("the thermometer's state is of another version of heatbath: start it afresh")
        self._check(state["layers"], state["sizes"])
        self.series = [Series.from_state(s, len(self.layers)) for s in state["series"]]
        return self

    def _check(self, layers: Sequence[str], sizes: Sequence[int]) -> None:
        if (tuple(layers), tuple(sizes)) != (self.layers, self.sizes):
            raise Refused("these statistics are of another model: its layers or their sizes differ")
