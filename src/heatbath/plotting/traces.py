"""What the replicas do as the steps go by: energy and temperatures."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from scipy.special import gammaincinv

from heatbath.plotting.style import (
    BLACK,
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    WIDTH,
    Trace,
    draw_replicas,
    replica_mean,
    span,
    styled,
    thin,
)

BAND: dict[str, Any] = {"facecolor": GREEN, "alpha": 0.25, "linewidth": 0}


@styled
def energy_trace(
    phases: Sequence[Trace], couplings: Sequence[np.ndarray], band: tuple[float, float], reached: int | None
) -> Figure:
    """Energy of the phases, one panel each, above the coupling to the data (saves, replicas) of each.

    ``band``: where the mean lies at late times; ``reached``: the step from which it is there, if any. The
    last panel has the scale of the last phase's second half: what came before may lie outside.
    """
    figure = Figure(figsize=(WIDTH, 4.4))
    grid = figure.subplots(2, len(phases), sharex="col", squeeze=False, height_ratios=[4, 1])
    lowest = min(c[c > 0].min(initial=1.0) for c in couplings)
    for column, (phase, coupling) in enumerate(zip(phases, couplings, strict=True)):
        axes, below = grid[0, column], grid[1, column]
        draw_replicas(axes, phase)
        axes.axhspan(*band, **BAND)
        values = phase.values
        if column == len(phases) - 1:
            values = values[len(values) // 2 :]
        axes.set_ylim(*span(values, *band))
        at = thin(len(phase.steps))
        below.plot(phase.steps[at], replica_mean(coupling)[at], color=ORANGE)
        below.set(yscale="log", xlabel="step", ylim=(lowest / 2, 2))
        if reached is not None and phase.steps[0] <= reached <= phase.steps[-1]:
            _mark(axes, reached)
    grid[0, 0].set_ylabel("energy U (nats)")
    grid[1, 0].set_ylabel("coupling\nto the data")
    return figure


def _mark(axes: Axes, step: int) -> None:
    axes.axvline(step, color=GREEN, linewidth=1.3, linestyle="--")
    left, right = axes.get_xlim()
    early = step < (left + right) / 2
    axes.annotate(
        f"mean energy level\nfrom step {step:,}",
        (step, 0.97),
        xycoords=axes.get_xaxis_transform(),
        xytext=(6 if early else -6, 0),
        textcoords="offset points",
        ha="left" if early else "right",
        va="top",
        color="#00694D",
        bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1.5},
    )


@styled
def temperature_trace(
    kinetic: Sequence[Trace], configurational: Sequence[Trace], bath: Sequence[np.ndarray], momenta: int
) -> Figure:
    """Kinetic (above) and configurational temperature (below) of the phases, one column each.

    ``bath``: the bath's temperature (saves, replicas) in each phase. The band holds the kinetic temperature
    of ``momenta`` momenta in equilibrium 90 % of the time. A phase without kinetic energy says so.
    """
    figure = Figure(figsize=(WIDTH, 5.2))
    grid = figure.subplots(2, len(kinetic), sharex="col", squeeze=False)
    low, high = 2 * gammaincinv(momenta / 2, [0.05, 0.95]) / momenta  # quantiles of chi squared
    for column, temperature in enumerate(bath):
        steps, set_to = kinetic[column].steps, replica_mean(temperature)
        moving = bool(np.any(kinetic[column].values))
        rows = [(grid[0, column], kinetic[column])] if moving else []
        for axes, trace in [*rows, (grid[1, column], configurational[column])]:
            draw_replicas(axes, trace)
            axes.plot(steps, set_to, color=ORANGE, linewidth=1.3, linestyle="--", zorder=3)
            axes.set_ylim(*span(trace.values, float(set_to.min()), float(set_to.max()), cut=0.002))
        if moving:
            grid[0, column].fill_between(steps, low * set_to, high * set_to, **BAND)
        else:
            _no_kinetic(grid[0, column], kinetic[column].title)
        grid[1, column].set_xlabel("step")
    grid[0, 0].set_ylabel("kinetic temperature")
    grid[1, 0].set_ylabel("configurational temperature")
    figure.legend(handles=_legend(), loc="outside upper right", ncols=4)
    return figure


def _no_kinetic(axes: Axes, title: str) -> None:
    axes.set_title(title)
    axes.grid(False)
    axes.set_yticks([])
    text = "this dynamics has no kinetic energy:\nno kinetic thermometer here"
    axes.text(0.5, 0.5, text, transform=axes.transAxes, ha="center", va="center", color=GREY)


def _legend() -> list[Line2D | Patch]:
    return [
        Line2D([], [], color=BLUE, linewidth=0.8, label="a replica"),
        Line2D([], [], color=BLACK, linewidth=1.5, label="mean of the replicas"),
        Line2D([], [], color=ORANGE, linewidth=1.3, linestyle="--", label="the bath"),
        Patch(label="90 % band", **BAND),
    ]
