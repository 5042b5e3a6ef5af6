"""Temperatures of the layers beside that of the bath."""

from collections.abc import Mapping

from matplotlib.figure import Figure

from heatbath.estimate import Estimate
from heatbath.plotting.style import BLUE, GREY, ORANGE, WIDTH, label, legend_above, styled


@styled
def layer_temperatures(layers: Mapping[str, tuple[Estimate, Estimate]], bath: float) -> Figure:
    """Configurational and virial temperature of each layer, with two standard errors; the first at the
    top."""
    figure = Figure(figsize=(WIDTH, 1.3 + 0.4 * len(layers)))
    axes = figure.subplots()
    for i, (name, color) in enumerate((("configurational", BLUE), ("virial", GREY))):
        chosen = [pair[i] for pair in layers.values()]
        rows = [row + 0.24 * i - 0.12 for row in range(len(layers))]
        errors = [2 * estimate.std_error for estimate in chosen]
        values = [estimate.value for estimate in chosen]
        axes.errorbar(values, rows, xerr=errors, fmt="o", color=color, markersize=4, capsize=2.5, label=name)
    axes.axvline(bath, color=ORANGE, linewidth=1.3, linestyle="--", label="the bath")
    axes.set_yticks(range(len(layers)), [label(name) for name in layers])
    axes.set_ylim(len(layers) - 0.5, -0.5)
    axes.set(title="Temperature of each layer", xlabel="temperature, with two standard errors")
    legend_above(axes)
    return figure
