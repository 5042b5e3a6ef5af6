"""Classes: how often they are confused, whether the probabilities are honest, and what looks unfamiliar."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from heatbath.plotting.style import BLACK, BLUE, GREY, ORANGE, WIDTH, label, legend_above, styled

MOST_NUMBERS = 12  # classes whose counts are written into the table
MOST_NAMES = 30  # classes that are named on its axes
COLUMNS = 6


@styled
def confusion(
    classes: Sequence[str],
    counts: np.ndarray,
    rows: np.ndarray,
    confidence: np.ndarray,
    right: np.ndarray,
) -> Figure:
    """Left: ``counts`` (classes, classes) of rows by label and predicted class. Right, the reliability
    diagram: of each bin the number of ``rows``, their mean ``confidence`` and the share that is ``right``,
    with two standard errors of a share of so many rows."""
    figure = Figure(figsize=(WIDTH, 4.2))
    left, diagram = figure.subplots(1, 2)
    _confusion(left, [label(name, 12) for name in classes], counts)
    error = 2 * np.sqrt(np.maximum(right * (1 - right), 1 / (4 * rows)) / rows)
    diagram.plot([0, 1], [0, 1], color=BLACK, linewidth=0.8, label="honest")
    diagram.errorbar(confidence, right, error, fmt="none", ecolor=GREY, elinewidth=1)
    sizes = 10 + 90 * rows / rows.max()
    diagram.scatter(confidence, right, s=sizes, color=BLUE, linewidths=0, label="a bin", zorder=3)
    diagram.set(xlabel="probability of the predicted class", ylabel="share that is right")
    diagram.set(xlim=(0, 1.03), ylim=(-0.03, 1.05), title="reliability")
    diagram.legend(loc="upper left")
    return figure


def _confusion(axes: Axes, names: Sequence[str], counts: np.ndarray) -> None:
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    axes.pcolormesh(share, cmap="Blues", vmin=0, vmax=1)
    axes.grid(False)
    axes.invert_yaxis()
    axes.set_aspect("equal")
    places = np.arange(len(names)) + 0.5
    if len(names) <= MOST_NAMES:
        axes.set_xticks(places, names, rotation=90 if max(map(len, names)) > 3 else 0)
        axes.set_yticks(places, names)
    if len(names) <= MOST_NUMBERS:
        for (row, column), count in np.ndenumerate(counts):
            if count:
                color = "white" if share[row, column] > 0.5 else BLACK
                axes.text(column + 0.5, row + 0.5, str(count), color=color, ha="center", va="center")
    axes.set(xlabel="predicted class", ylabel="label", title="confusion")


@styled
def familiarity(panels: Sequence[tuple[str, np.ndarray, np.ndarray | None]]) -> Figure:
    """Histograms side by side: (name of the quantity, its values for the data (n,), and for rows known to be
    unlike them, or None)."""
    figure = Figure(figsize=(WIDTH, 2.9))
    for axes, (name, data, outliers) in zip(
        figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True
    ):
        every = data if outliers is None else np.concatenate([data, outliers])
        edges = np.linspace(0, max(float(every.max()), 1e-3), 41)
        groups = [(data, BLUE, "data")] + ([] if outliers is None else [(outliers, ORANGE, "outliers")])
        for values, color, title in groups:
            shares = np.histogram(values, edges)[0] / len(values)
            axes.stairs(shares, edges, fill=True, color=color, alpha=0.5, label=title)
        axes.set(xlabel=name, ylabel="share of the rows")
        if outliers is not None:
            legend_above(axes)
    return figure


@styled
def gallery(images: np.ndarray, titles: Sequence[str]) -> Figure:
    """``images`` (k, height, width) or (k, height, width, colours), each with its title; all on one scale."""
    rows = -(-len(images) // COLUMNS)
    figure = Figure(figsize=(WIDTH, 1.9 * rows))
    grid = figure.subplots(rows, COLUMNS, squeeze=False).ravel()
    low, high = float(images.min()), float(images.max())
    for axes in grid:
        axes.set_axis_off()
    for axes, image, title in zip(grid, images, titles, strict=False):
        scaled = (image - low) / ((high - low) or 1)
        axes.imshow(scaled, cmap="gray_r", vmin=0, vmax=1, interpolation="nearest")
        axes.set_title(title, fontsize=8, fontweight="normal")
    return figure
