"""Work of runs in both directions: histograms, where they cross, and Crooks' theorem as a straight line."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from heatbath.estimate import Estimate, with_error
from heatbath.plotting.style import BLACK, BLUE, GREEN, ORANGE, WIDTH, span, styled

MOST_BINS = 60
REACH = (
    50.0  # kT from the free energy: beyond, a run weighs nothing; more only where no sample is centred there
)


@styled
def work_histograms(
    forward: np.ndarray, reverse: np.ndarray, free_energy: Estimate, crossing: Estimate, slope: Estimate
) -> Figure:
    """Densities of the work ``forward`` (n,) and of minus ``reverse`` (m,), in kT, with the free energy and
    the crossing as lines. Where they share a bin, the logarithm of their ratio stands beside it, with the
    line of slope 1 that Crooks' theorem demands, and the fitted one. ``reverse`` may be empty; estimates
    without a finite error are left out.
    """
    samples = [forward, -reverse] if len(reverse) else [forward]
    edges = _edges(samples, free_energy.value)
    counts = [np.histogram(sample, edges)[0] for sample in samples]
    shared = np.all(counts, axis=0) & (len(samples) > 1)
    figure = Figure(figsize=(WIDTH, 3.4))
    left, *right = np.atleast_1d(figure.subplots(1, 1 + bool(shared.any())))
    _densities(left, samples, counts, edges)
    for estimate, name, color, dashes in (
        (free_energy, "free energy", BLACK, "-"),
        (crossing, "crossing", GREEN, "--"),
    ):
        if np.isfinite(estimate.std_error):
            text = f"{name} {with_error(estimate.value, estimate.std_error)}"
            left.axvline(estimate.value, color=color, linewidth=1.3, linestyle=dashes, ymax=0.7, label=text)
    left.set_ylim(0, 1.45 * left.get_ylim()[1])
    left.legend(loc="upper left", ncols=2)
    for axes in right:
        at = ((edges[1:] + edges[:-1]) / 2)[shared]
        (f, n), (r, m) = ((count[shared], len(sample)) for count, sample in zip(counts, samples, strict=True))
        bars = 2 * np.sqrt(1 / f + 1 / r)
        ratio = np.log(f / n) - np.log(r / m)
        axes.errorbar(at, ratio, bars, fmt="o", color=BLUE, markersize=4, label="2 standard errors")
        _lines(axes, np.array(span(at)), free_energy, crossing, slope)
    return figure


def _edges(samples: list[np.ndarray], centre: float) -> np.ndarray:
    """Bins for all samples, not far from ``centre``; their width is that of Freedman and Diaconis for the
    narrowest sample."""
    reach = max(REACH, 2 * min(abs(float(np.median(sample)) - centre) for sample in samples))
    low = max(min(sample.min() for sample in samples), centre - reach)
    high = min(max(sample.max() for sample in samples), centre + reach)
    size = max(abs(low), abs(high))
    if high - low <= 1e-9 * size:  # one value, or no more than rounding
        return np.linspace(low - 0.5 - 1e-6 * size, high + 0.5 + 1e-6 * size, 4)
    width = min(2 * np.subtract(*np.quantile(x, [0.75, 0.25])) / len(x) ** (1 / 3) for x in samples)
    few = width * MOST_BINS > high - low
    return np.linspace(low, high, (int(np.ceil((high - low) / width)) if few else MOST_BINS) + 1)


def _densities(axes: Axes, samples: list[np.ndarray], counts: list[np.ndarray], edges: np.ndarray) -> None:
    drawn = zip(samples, counts, (BLUE, ORANGE), ("forward", "minus reverse"), strict=False)
    for sample, count, color, name in drawn:
        far = len(sample) - count.sum()
        text = f"{name} ({far:,} far away)" if far else name
        density = count / len(sample) / np.diff(edges)
        axes.stairs(density, edges, fill=True, color=color, alpha=0.45, label=text)
    axes.set(title="Work", xlabel="work (kT)", ylabel="density (1/kT)")


def _lines(axes: Axes, ends: np.ndarray, free_energy: Estimate, crossing: Estimate, slope: Estimate) -> None:
    axes.plot(ends, ends - free_energy.value, color=BLACK, linewidth=1.3, label="slope 1")
    if np.isfinite(slope.std_error):
        text = f"fit, slope {with_error(slope.value, slope.std_error)}"
        fitted = slope.value * (ends - crossing.value)
        axes.plot(ends, fitted, color=GREEN, linewidth=1.3, linestyle="--", label=text)
    axes.set(title="Crooks' theorem", xlabel="work (kT)", ylabel="ln of the ratio of densities")
    axes.legend(loc="upper left")  # where nothing lies: the ratio rises, and "best" does not see error bars
