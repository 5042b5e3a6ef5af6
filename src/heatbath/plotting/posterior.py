"""What was learned, and how well it is known: predictions, hyperparameters, convergence."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from heatbath.plotting.style import (
    BLACK,
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    WIDTH,
    draw_lines,
    label,
    legend_above,
    plain_log_axis,
    span,
    styled,
)

COLUMNS = 3
HIGHEST_RHAT = 2.0  # of the axis


@styled
def parity(
    names: Sequence[str], targets: np.ndarray, mean: np.ndarray, low: np.ndarray, high: np.ndarray
) -> Figure:
    """Targets against predictions (n, outputs) with intervals from ``low`` to ``high``, and below them the
    residuals; targets outside their interval stand out."""
    columns = min(COLUMNS, len(names))
    rows = -(-len(names) // columns)
    figure = Figure(figsize=(WIDTH, 5.6 * rows))
    grid = figure.subplots(2 * rows, columns, squeeze=False, height_ratios=[3, 2] * rows)
    for unused in grid.reshape(rows, 2, columns).swapaxes(1, 2).reshape(-1, 2)[len(names) :].flat:
        unused.set_axis_off()
    for i, name in enumerate(names):
        top, bottom = grid[2 * (i // columns) : 2 * (i // columns) + 2, i % columns]
        top.sharex(bottom)
        columns_of_i = (targets[:, i], mean[:, i], low[:, i], high[:, i])
        _parity(top, *columns_of_i, residual=False)
        _parity(bottom, *columns_of_i, residual=True)
        top.set(title=label(name), ylabel="target")
        bottom.set(xlabel="prediction", ylabel="target - prediction")
    return figure


def _parity(
    axes: Axes, target: np.ndarray, mean: np.ndarray, low: np.ndarray, high: np.ndarray, *, residual: bool
) -> None:
    shift = mean if residual else np.zeros_like(mean)
    outside = (target < low) | (target > high)
    axes.vlines(mean, low - shift, high - shift, color=GREY, linewidth=1, alpha=0.35)
    inside_name, outside_name = f"inside its interval ({(~outside).sum()})", f"outside ({outside.sum()})"
    for chosen, color, name in [(~outside, BLUE, inside_name), (outside, ORANGE, outside_name)]:
        y = (target - shift)[chosen]
        axes.plot(mean[chosen], y, ".", color=color, markersize=4.5, markeredgewidth=0, label=name)
    axes.locator_params(axis="x", nbins=4)
    if residual:
        axes.axhline(0, color=BLACK, linewidth=0.8)
    else:
        axes.plot(span(mean), span(mean), color=BLACK, linewidth=0.8)
        axes.legend(loc="upper left")


@styled
def hyperparameters(
    noise: Sequence[tuple[str, np.ndarray]], scales: Sequence[tuple[str, np.ndarray]]
) -> Figure:
    """Posteriors of the standard deviations of the noise (linear axis) and of the groups of weights
    (logarithmic axis): (name, draws (replicas, saves)). Filled: all replicas; thin lines: each by itself."""
    count = len(noise) + len(scales)
    columns = min((3, 4), key=lambda c: -count % c)  # fewest empty places
    rows = -(-count // columns)
    figure = Figure(figsize=(WIDTH, 2.2 * rows))
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    for unused in grid[count:]:
        unused.set_axis_off()
    for i, (axes, (name, draws)) in enumerate(zip(grid, [*noise, *scales], strict=False)):
        _histogram(axes, draws, logarithmic=i >= len(noise))
        axes.set(xlabel=name, yticks=[])
        axes.grid(False)
        axes.spines["left"].set_visible(False)
    return figure


def _histogram(axes: Axes, draws: np.ndarray, *, logarithmic: bool) -> None:
    """A bin's share of the draws; the axis shows the central 99.8 %."""
    low, high = span(np.log(draws) if logarithmic else draws, cut=0.001)
    edges = np.linspace(low, high, 41)
    if logarithmic:
        edges = np.exp(edges)
        axes.set_xscale("log")
        plain_log_axis(axes.xaxis, edges[0], edges[-1])
    else:
        axes.locator_params(axis="x", nbins=4)
    shares = np.stack([np.histogram(replica, edges)[0] / replica.size for replica in draws])
    axes.stairs(shares.mean(axis=0), edges, fill=True, color=BLUE, alpha=0.3)
    outlines = np.stack(np.broadcast_arrays(edges.repeat(2)[1:-1], shares.repeat(2, axis=1)), axis=-1)
    draw_lines(axes, outlines, 0.5)
    axes.set(xlim=(edges[0], edges[-1]), ylim=(0, 1.05 * shares.max()))
    axes.axvline(float(np.median(draws)), color=BLACK, linewidth=1.2)


@styled
def convergence(rhat: np.ndarray, ess: np.ndarray, rhat_limit: float, ess_limit: float) -> Figure:
    """Histograms of R-hat and of the effective sample size, any shapes, with the limits that judge them."""
    figure = Figure(figsize=(WIDTH, 2.9))
    left, right = figure.subplots(1, 2)
    finite = np.clip(rhat[np.isfinite(rhat)], 1, HIGHEST_RHAT)
    edges = np.linspace(min(finite, default=1.0), max([rhat_limit + 0.01, *finite]), 41)
    left.stairs(np.histogram(finite, edges)[0], edges, fill=True, color=BLUE, alpha=0.8)
    left.axvline(rhat_limit, color=ORANGE, linestyle="--", label=f"limit {rhat_limit:g}")
    if beyond := int((finite == HIGHEST_RHAT).sum()):
        left.plot([], [], " ", label=f"{beyond} at {HIGHEST_RHAT:g} or more")
    if finite.size < rhat.size:
        left.plot([], [], " ", label=f"{rhat.size - finite.size} points without a value")
    left.set(xlabel="R-hat of a prediction", ylabel="points")
    low, high = np.log(min(ess_limit, ess.min())) - 0.2, np.log(max(ess_limit, ess.max())) + 0.2
    sizes = np.exp(np.linspace(low, high, 41))
    right.stairs(np.histogram(ess, sizes)[0], sizes, fill=True, color=BLUE, alpha=0.8)
    right.set_xscale("log")
    plain_log_axis(right.xaxis, np.exp(low), np.exp(high))
    right.axvline(ess_limit, color=ORANGE, linestyle="--", label=f"limit {ess_limit:g}")
    median = float(np.median(ess))
    right.axvline(median, color=GREEN, label=f"median {median:,.0f}")
    right.set(xlabel="effective sample size of a prediction", ylabel="points")
    legend_above(left)
    legend_above(right)
    return figure
