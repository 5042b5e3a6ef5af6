"""The Occam hill: log evidence of models against their size."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from heatbath.plotting.style import BLACK, BLUE, GREEN, ORANGE, WIDTH, label, legend_above, styled

COLOURS = {"annealing": BLACK, "Laplace": ORANGE, "mean field": BLUE}
MARKERS = {"annealing": "o", "Laplace": "s", "mean field": "^"}


@styled
def occam_hill(names: Sequence[str], methods: Mapping[str, np.ndarray]) -> Figure:
    """``methods``: of each, (models, 4): log evidence, standard error, lower and upper bound, in nats; what
    does not exist is NaN. Bounds are drawn as bars."""
    figure = Figure(figsize=(WIDTH, 4.0))
    axes = figure.subplots()
    places = np.arange(len(names), dtype=float)
    for method, table in methods.items():
        value, error, lower, upper = table.T
        colour = COLOURS.get(method, GREEN)
        both = np.isfinite(lower) & np.isfinite(upper)
        axes.vlines(places[both], lower[both], upper[both], color=colour, linewidth=5, alpha=0.25)
        known = np.isfinite(value)
        axes.errorbar(
            places[known],
            value[known],
            np.where(np.isfinite(error[known]), error[known], 0.0),
            color=colour,
            marker=MARKERS.get(method, "o"),
            linestyle="-" if method == "annealing" else ":",
            linewidth=1.2,
            capsize=3,
            label=method,
        )
    axes.set_xticks(places, [label(name) for name in names])
    axes.set_xlim(-0.5, len(names) - 0.5)
    axes.set_xlabel("hidden units")
    axes.set_ylabel("log evidence (nats)")
    axes.set_title("Occam hill")
    legend_above(axes)
    return figure
