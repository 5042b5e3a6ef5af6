"""The books of a run: work, heat, shadow work, and whether they balance."""

import numpy as np
from matplotlib.figure import Figure

from heatbath.plotting.style import (
    ORANGE,
    WIDTH,
    Trace,
    draw_replicas,
    legend_above,
    replica_mean,
    span,
    styled,
    thin,
)

LEAST = 1e-16


@styled
def work_and_heat(work: Trace, heat: Trace, driven_until: int | None) -> Figure:
    """Work and heat received so far, in kT, side by side; ``driven_until``: the drive's last step, if any."""
    figure = Figure(figsize=(WIDTH, 3.1))
    for axes, trace in zip(figure.subplots(1, 2), (work, heat), strict=True):
        draw_replicas(axes, trace)
        axes.set_ylim(*span(trace.values, 0.0))
        axes.set(xlabel="step", ylabel="received so far (kT)")
        if driven_until is not None:
            axes.axvline(
                driven_until, color=ORANGE, linewidth=1.2, linestyle="--", label="the drive ends here"
            )
            legend_above(axes)
    return figure


@styled
def first_law(residual: Trace, rounding: np.ndarray, shadow: Trace) -> Figure:
    """|residual of the first law| on a logarithmic axis (nothing below 1e-16) with the size ``rounding``
    (saves,) expected of float64, and shadow work per step, both in kT."""
    figure = Figure(figsize=(WIDTH, 3.1))
    left, right = figure.subplots(1, 2)
    size = np.maximum(np.abs(residual.values), LEAST)
    draw_replicas(left, residual._replace(values=size))
    at = thin(len(residual.steps))
    left.plot(residual.steps[at], rounding[at], color=ORANGE, linestyle="--", label="float64 rounding")
    left.set(
        yscale="log",
        xlabel="step",
        ylabel="|residual| (kT)",
        ylim=(LEAST / 2, 100 * max(np.nanmax(size), rounding[-1])),
    )
    legend_above(left)
    draw_replicas(right, shadow)
    mean = float(np.nanmean(replica_mean(shadow.values)))
    right.axhline(mean, color=ORANGE, linewidth=1.2, linestyle="--", label=f"mean {mean:.2g} kT a step")
    right.set(xlabel="step", ylabel="shadow work (kT a step)")
    right.set_ylim(*span(shadow.values, 0.0, mean, cut=0.002))
    legend_above(right)
    return figure
