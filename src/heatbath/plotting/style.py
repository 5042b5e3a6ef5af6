"""What all figures share: colours that the colour-blind can tell apart (Okabe and Ito), fonts, thin lines."""

import io
import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any, NamedTuple, ParamSpec

import numpy as np
from matplotlib import rc_context, rcParamsDefault
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

BLUE, ORANGE, GREEN, GREY, BLACK = "#0072B2", "#D55E00", "#009E73", "#8A8F98", "#1B2430"
MOST_POINTS = 500
MOST_REPLICAS = 200
VECTOR_REPLICAS = 24  # more are drawn as pixels: a file's size does not grow with them
WIDTH = 9.2  # inches

STYLE = {
    "font.family": ["DejaVu Sans"],
    "font.size": 9,
    "axes.titlesize": 9.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelsize": 9,
    "axes.labelcolor": BLACK,
    "axes.edgecolor": GREY,
    "axes.linewidth": 0.7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.color": "#E6E8EB",
    "grid.linewidth": 0.6,
    "xtick.color": GREY,
    "ytick.color": GREY,
    "xtick.labelcolor": BLACK,
    "ytick.labelcolor": BLACK,
    "text.color": BLACK,
    "legend.frameon": False,
    "legend.fontsize": 8,
    "axes.formatter.useoffset": False,
    "figure.constrained_layout.use": True,
    "figure.dpi": 100,
    "savefig.dpi": 144,
    "svg.fonttype": "path",
}

P = ParamSpec("P")


class Trace(NamedTuple):
    """A quantity in one phase of a run: ``values`` (saves, replicas) at ``steps`` (saves,)."""

    title: str
    steps: np.ndarray
    values: np.ndarray


def styled(draw: Callable[P, Figure]) -> Callable[P, Figure]:
    """The figure drawn in our style; matplotlib's own settings stay as they are."""

    @wraps(draw)
    def inner(*args: P.args, **kwargs: P.kwargs) -> Figure:
        with _settings():
            return draw(*args, **kwargs)

    return inner


def svg(figure: Figure, salt: str) -> str:
    """The figure as an SVG element. The same figure and salt give the same text; every id starts with
    ``salt``, so that figures of different salts can stand in one page."""
    file = io.StringIO()
    with _settings({"svg.hashsalt": salt}):
        figure.savefig(file, format="svg", metadata={"Date": None})
    text = file.getvalue()
    text = re.sub(
        "<!--.*?-->\n?| *<metadata>.*?</metadata>\n?", "", text[text.index("<svg") :], flags=re.DOTALL
    )
    text = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{salt}-", text)
    return re.sub(r' d="[^"]*"', _hundredths, text)


def png(figure: Figure) -> bytes:
    """The figure as a PNG file without a date."""
    file = io.BytesIO()
    with _settings():
        figure.savefig(file, format="png", metadata={"Software": None})
    return file.getvalue()


@contextmanager
def _settings(more: dict[str, str] | None = None) -> Iterator[None]:
    """Characters that the font lacks are drawn as boxes, without a warning each."""
    settings: dict[Any, Any] = {k: v for k, v in rcParamsDefault.items() if k != "backend"}
    settings |= STYLE | (more or {})
    with rc_context(settings), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from", UserWarning)
        warnings.filterwarnings("ignore", "Matplotlib currently does not support", UserWarning)
        yield


def _hundredths(path: re.Match[str]) -> str:
    """Coordinates of a path in hundredths of a point: a third less to store."""
    return re.sub(r"(\.\d\d)\d+", r"\1", path[0])


def label(name: str, most: int = 28) -> str:
    """A user's name as text of a figure: one line, no mathematics, at most ``most`` characters."""
    text = "".join(c if c.isprintable() else " " for c in name)
    text = text if len(text) <= most else text[: most - 3] + "..."
    return text.replace("$", r"\$")


def replica_mean(values: np.ndarray) -> np.ndarray:
    """Mean over the replicas that are finite, (saves,) of (saves, replicas); NaN where there are none."""
    good = np.isfinite(values)
    total = np.where(good, values, 0).sum(axis=1)
    return np.divide(total, good.sum(axis=1), out=np.full(len(values), np.nan), where=good.any(axis=1))


def thin(count: int) -> np.ndarray:
    """At most 500 evenly spaced indices out of ``count``, the last one among them."""
    return np.linspace(0, count - 1, min(count, MOST_POINTS)).astype(int)


def draw_replicas(axes: Axes, trace: Trace) -> None:
    """One thin line a replica (200 of them at most) and their mean as a thick one."""
    at = thin(len(trace.steps))
    lines = np.stack(np.broadcast_arrays(trace.steps[at], trace.values[at].T), axis=-1)
    draw_lines(axes, lines, 0.6)
    axes.plot(trace.steps[at], replica_mean(trace.values)[at], color=BLACK, linewidth=1.5)
    axes.set_title(trace.title)
    axes.margins(x=0.01)
    axes.autoscale_view()


def draw_lines(axes: Axes, lines: np.ndarray, width: float) -> None:
    """Thin ``lines`` (replicas, points, 2), 200 of them at most; as pixels where they are many."""
    many = len(lines) > VECTOR_REPLICAS
    chosen = lines[np.linspace(0, len(lines) - 1, min(len(lines), MOST_REPLICAS)).astype(int)]
    alpha = 0.15 if many else 0.35
    axes.add_collection(
        LineCollection(list(chosen), colors=BLUE, linewidths=width, alpha=alpha, rasterized=many)
    )


def legend_above(axes: Axes) -> None:
    """The legend in the line of the title, where it hides no data."""
    axes.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=3, borderpad=0, borderaxespad=0.3)


def plain_log_axis(axis: Axis, low: float, high: float) -> None:
    """Ticks of a logarithmic axis written as plain numbers: 1, 2, 5 of every decade, or decades if many."""
    axis.set_major_locator(LogLocator(subs=(1.0,) if high > 30 * low else (1.0, 2.0, 5.0)))
    axis.set_major_formatter(lambda x, _: f"{x:g}")
    axis.set_minor_formatter(NullFormatter())


def span(values: np.ndarray, *others: float, cut: float = 0.0) -> tuple[float, float]:
    """Limits of an axis: the finite ``values`` without a share ``cut`` at each end, and ``others``."""
    finite = values[np.isfinite(values)]
    ends = np.quantile(finite, [cut, 1 - cut]).tolist() if finite.size else [0.0, 1.0]
    low, high = min(ends + list(others)), max(ends + list(others))
    margin = 0.06 * (high - low) or 0.5
    return low - margin, high + margin
