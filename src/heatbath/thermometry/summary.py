"""What a thermometer has found: temperatures, ratios and verdicts with errors, and the table they print
as."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from heatbath.errors import Refused
from heatbath.estimate import Estimate, with_error

FEWEST_BLOCKS = 16
LARGEST_ERROR = 0.1  # of a ratio that is said to be 1
MOST_CORRELATED = 0.5  # neighbouring blocks
SAME_RATE = 0.01

STATIONARY, RELAXING, TOO_FEW = "stationary", "still relaxing", "too few samples"
RATE_MOVES, STILL, BROKEN = "learning rate changes", "does not move", "NaN or infinite"
INVARIANT = "scale-invariant: T undefined"
UNDEFINED = {
    INVARIANT: "the loss does not depend on the scale of these parameters",
    STILL: "nothing moved these parameters in the steps in use",
    BROKEN: "parameters became NaN or infinite: the loop diverged, or a batch held NaN",
}


@dataclass(frozen=True)
class Row:
    """One layer (or all of them).

    ``temperature`` = eta <|u|^2>/(2 d), ``virial_temperature`` = <theta.g>/d, both in units of the loss as
    the loop computes it; ``ratio`` = <theta.u>/(eta/2 <|u|^2>), 1 in a stationary state; ``noise_scale``: the
    batch size at which the gradient's noise equals the gradient, in examples.
    """

    layer: str
    size: int
    temperature: Estimate
    virial_temperature: Estimate
    ratio: Estimate
    noise_scale: Estimate
    verdict: str

    def estimates(self) -> dict[str, Estimate]:
        names = ("temperature", "virial_temperature", "ratio", "noise_scale")
        return {name: getattr(self, name) for name in names}


@dataclass(frozen=True)
class Summary:
    """A row for each layer and one, ``total``, for all of them; ``skipped``: what is not measured, and
    why."""

    rows: tuple[Row, ...]
    total: Row
    observations: int
    skipped: Mapping[str, str]

    def _all(self) -> tuple[Row, ...]:
        """The rows and the total, which a single row is already."""
        return self.rows if len(self.rows) == 1 else (*self.rows, self.total)

    def __getitem__(self, layer: str) -> Row:
        for row in self._all():
            if row.layer == layer:
                return row
        raise Refused(f"no layer {layer!r:.60}: there are {', '.join(row.layer for row in self.rows)}")

    def scalars(self) -> dict[str, float]:
        """Numbers for a logger: ``thermometer/temperature/LAYER`` and so on; what is not finite is left
        out."""
        named = {
            f"thermometer/{name}/{row.layer}": estimate.value
            for row in self._all()
            for name, estimate in row.estimates().items()
        }
        return {name: value for name, value in named.items() if math.isfinite(value)}

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        rows = [
            {"layer": row.layer, "size": row.size, "verdict": row.verdict}
            | {name: estimate.to_dict() for name, estimate in row.estimates().items()}
            for row in self._all()
        ]
        return {"rows": rows, "observations": self.observations, "skipped": dict(self.skipped)}

    def __str__(self) -> str:
        from rich import box
        from rich.console import Console
        from rich.table import Table

        table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
        for heading in ("layer", "size", "T (updates)", "T (virial)", "FDR ratio", "noise scale"):
            table.add_column(heading, justify="left" if heading == "layer" else "right", no_wrap=True)
        table.add_column("verdict", no_wrap=True)
        for row in self._all():
            if row is self.total:
                table.add_section()
            cells = [_cell(estimate) for estimate in row.estimates().values()]
            table.add_row(row.layer, f"{row.size:,}", *cells, row.verdict)
        console = Console(width=1_000, color_system=None, markup=False, emoji=False, highlight=False)
        with console.capture() as captured:
            console.print(table)
        cells = [e for row in self._all() for e in row.estimates().values() if e.reason]
        marked = {("-" if math.isnan(e.value) else "?", e.reason) for e in cells}
        notes = [f"{mark}: {reason}" for mark, reason in sorted(marked)]
        notes += [f"not measured: {name} ({why})" for name, why in self.skipped.items()]
        lines = [line.rstrip() for line in captured.get().strip("\n").splitlines()]
        seen = f"{self.observations:,} observed step{'' if self.observations == 1 else 's'} in use"
        return "\n".join([*lines, seen, *notes])


def _cell(estimate: Estimate) -> str:
    if math.isnan(estimate.value):
        return "-"
    small = 0 < abs(estimate.value) < 1e-3 and math.isfinite(estimate.std_error)
    shift = -math.floor(math.log10(abs(estimate.value))) if small else 0
    text = with_error(estimate.value * 10**shift, estimate.std_error * 10**shift)
    text = f"{text}e-{shift:02d}" if shift else text
    return text if estimate.reliable else text + "?"


def summarise(
    layers: Sequence[str],
    sizes: Sequence[int],
    quantities: Sequence[str],
    late: Sequence[np.ndarray],
    clipped: str,
    level: float,
    skipped: Mapping[str, str],
) -> Summary:
    """From sums over blocks, one array (blocks, layers, quantities) a run; ``clipped``: why
    gradients are not to be trusted, or ""."""
    several = len(layers) > 1

    def row(layer: str, size: int, chosen: slice, rows: int) -> Row:
        sums = {name: [run[:, chosen, i].sum(axis=1) for run in late] for i, name in enumerate(quantities)}
        if chosen == slice(None):  # counts are of steps, not of layers
            for name in ("updates", "gradients", "micro_batches"):
                sums[name] = [run[:, :, quantities.index(name)].max(axis=1) for run in late]
        return _row(layer, size, sums, clipped, level / rows)

    rows = [row(name, sizes[i], slice(i, i + 1), len(layers)) for i, name in enumerate(layers)]
    total = row("all", sum(sizes), slice(None), 1) if several else rows[0]
    seen = np.concatenate(late)[:, :, quantities.index("updates")]
    return Summary(tuple(rows), total, round(float(seen.sum(axis=0).max())), skipped)


@dataclass(frozen=True)
class _Ratio:
    """Ratio of two sums over ``blocks``, its standard error (delta method, blocks as batch means) and the
    number of independent blocks; ``correlation`` between neighbouring ones enters the error where it is
    positive."""

    value: float
    std_error: float
    ess: float
    correlation: float
    blocks: int


def _ratio(numerator: Sequence[np.ndarray], denominator: Sequence[np.ndarray]) -> _Ratio:
    used = [(n[d != 0], d[d != 0]) for n, d in zip(numerator, denominator, strict=True)]
    blocks, below = sum(len(d) for _, d in used), sum(float(d.sum()) for _, d in used)
    if blocks == 0 or below == 0:
        return _Ratio(math.nan, math.nan, 0.0, 0.0, 0)
    value = sum(float(n.sum()) for n, _ in used) / below
    left_over = [n - value * d for n, d in used]
    variance = sum(float((r**2).sum()) for r in left_over)
    if blocks < 2 or variance == 0:
        return _Ratio(value, math.nan if blocks < 2 else 0.0, float(blocks), 0.0, blocks)
    correlation = sum(float((r[1:] * r[:-1]).sum()) for r in left_over) / variance
    positive = min(max(correlation, 0.0), 0.99)
    inflation = (1 + positive) / (1 - positive)
    error = math.sqrt(variance * blocks / (blocks - 1) * inflation) / abs(below)
    return _Ratio(value, error, max(blocks / inflation, 2.0), correlation, blocks)


def _row(layer: str, size: int, sums: Mapping[str, Sequence[np.ndarray]], clipped: str, level: float) -> Row:
    updates, gradients = sums["updates"], sums["gradients"]
    temperature = _ratio(sums["right"], [size * n for n in updates])
    virial = _ratio(sums["virial"], [size * n for n in gradients])
    ratio = _ratio(sums["left"], sums["right"])
    verdict = _verdict(sums, ratio, size, level)
    unclear = _unclear(ratio)
    not_yet = "" if verdict == STATIONARY else f"{verdict}: not the average of a stationary state"
    doubt = unclear if verdict == TOO_FEW else not_yet
    undefined = UNDEFINED.get(verdict, "")
    return Row(
        layer,
        size,
        _estimate(
            temperature, doubt, undefined, f"its updates shake {layer} like a bath of this temperature"
        ),
        _estimate(
            virial,
            doubt,
            undefined * (verdict != STILL) or clipped,
            f"{layer} spreads in the loss as at this temperature",
        ),
        _estimate(
            ratio,
            unclear,
            undefined if verdict in (STILL, BROKEN) else "",
            "1 where what the gradient takes, the noise gives back",
        ),
        _noise_scale(sums),
        verdict,
    )


def _verdict(sums: Mapping[str, Sequence[np.ndarray]], ratio: _Ratio, size: int, level: float) -> str:
    if not sum(len(n) for n in sums["updates"]):
        return TOO_FEW
    if sum(float(n.sum()) for n in sums["broken"]):
        return BROKEN
    if not sum(float(n.sum()) for n in sums["right"]):
        return STILL
    runs = zip(sums["learning_rate"], sums["updates"], strict=True)
    rates = np.concatenate([r[n > 0] / n[n > 0] for r, n in runs])
    if rates.max() > (1 + SAME_RATE) * rates.min():
        return RATE_MOVES
    cosine_squared = _ratio(sums["cosine_squared"], sums["gradients"]).value
    if cosine_squared < min(0.01 / size, 1e-8):
        return INVARIANT
    if ratio.blocks < FEWEST_BLOCKS:
        return TOO_FEW
    if abs(ratio.value - 1) > _quantile(level, ratio.ess) * ratio.std_error:
        return RELAXING
    return TOO_FEW if _unclear(ratio) else STATIONARY


def _unclear(ratio: _Ratio) -> str:
    """Why the ratio cannot be said to be 1, or "" if it can."""
    if ratio.blocks < FEWEST_BLOCKS:
        return f"too few samples: at least {FEWEST_BLOCKS} observed steps in use are needed"
    if ratio.correlation > MOST_CORRELATED or ratio.ess < FEWEST_BLOCKS:
        return "the samples are still correlated: train on"
    return "" if ratio.std_error <= LARGEST_ERROR else f"the ratio's error is above {LARGEST_ERROR}: train on"


def _quantile(level: float, blocks: float) -> float:
    """Student's t beyond which, on either side, lies ``level``."""
    from scipy.special import stdtrit

    return float(-stdtrit(blocks - 1, level / 2))


def _noise_scale(sums: Mapping[str, Sequence[np.ndarray]]) -> Estimate:
    scale = _ratio(sums["noise"], sums["signal"])
    signal = _ratio(sums["signal"], sums["micro_batches"])
    missing = "" if signal.ess else "no micro-batches were seen, so no noise scale"
    lost = not signal.value > 2 * signal.std_error
    faint = "the mean gradient is lost in the noise: take more steps" if lost else ""
    return _estimate(scale, faint, missing, "batches of this many examples are half signal, half noise")


def _estimate(found: _Ratio, doubtful: str, undefined: str, meaning: str) -> Estimate:
    """``undefined``: why there is no number at all; ``doubtful``: why it should not be relied on."""
    reason = undefined or ("" if found.ess else "never observed") or doubtful
    value, error = (math.nan, math.nan) if undefined else (found.value, found.std_error)
    return Estimate(value, error, found.ess, not reason, reason, meaning)
