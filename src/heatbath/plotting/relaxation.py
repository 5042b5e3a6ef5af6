"""How far the replicas are from equilibrium as the steps go by."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from heatbath.plotting.style import BLACK, BLUE, GREEN, WIDTH, plain_log_axis, styled

LOWEST = 1 / 8  # of the axis, in units of the noise
MOST = 150


@styled
def relaxation(
    phases: Sequence[tuple[str, np.ndarray, np.ndarray, np.ndarray]],
    noise: float,
    scales: Mapping[str, float],
) -> Figure:
    """Divergence from equilibrium in nats over the steps of each phase, both on logarithmic axes.

    ``phases``: title, steps from its start (saves,), divergence and its standard error (saves,);
    ``noise``: what cannot be told from 0; ``scales``: time scales in steps, marked in the last phase.
    """
    figure = Figure(figsize=(WIDTH, 3.6))
    panels = figure.subplots(1, len(phases), sharey=True, squeeze=False)[0]
    highest = max(
        float(np.max(divergence[np.isfinite(divergence)], initial=noise)) for _, _, divergence, _ in phases
    )
    bottom = LOWEST * noise
    for axes, (title, steps, divergence, error) in zip(panels, phases, strict=True):
        at = _spread_out(steps)
        reach = np.where(np.isfinite(divergence) & np.isfinite(error), 2 * error, 0.0)
        low = np.maximum(divergence - reach, bottom)[at]
        high = np.maximum(divergence + reach, bottom)[at]
        axes.fill_between(steps[at], low, high, color=BLUE, alpha=0.2, linewidth=0)
        axes.plot(steps[at], np.maximum(divergence, bottom)[at], color=BLUE, linewidth=1.2)
        axes.axhspan(bottom, noise, facecolor=GREEN, alpha=0.2, linewidth=0)
        axes.set(title=title, xscale="log", yscale="log", xlabel="steps")
        axes.set_ylim(bottom, 2 * highest)
        axes.margins(x=0.02)
        plain_log_axis(axes.xaxis, float(steps[0]), float(steps[-1]))
    first, last = panels[0], panels[-1]
    first.set_ylabel("distance to the late law (nats),\nat least")
    first.text(
        0.02,
        0.85 * noise,
        "not told from equilibrium",
        transform=first.get_yaxis_transform(),
        va="top",
        color="#00694D",
        fontsize=8,
    )
    for (name, steps), style in zip(scales.items(), ("-", ":"), strict=False):
        last.axvline(steps, color=BLACK, linewidth=1.2, linestyle=style, label=f"{name} {steps:,.0f} steps")
    if scales:
        last.legend(loc="upper right", frameon=True, framealpha=1.0, edgecolor="none")
    return figure


def _spread_out(steps: np.ndarray) -> np.ndarray:
    """At most 150 indices, evenly spaced on a logarithmic axis."""
    wanted = np.geomspace(steps[0], steps[-1], MOST)
    return np.unique(np.searchsorted(steps, wanted).clip(max=len(steps) - 1))
