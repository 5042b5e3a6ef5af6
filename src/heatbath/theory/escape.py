"""Escape over barriers: overdamped Langevin dynamics dx = -U'(x) dt + sqrt(2 T) dW, mobility 1."""

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import minimize_scalar

from heatbath.errors import Refused
from heatbath.theory import _checks

NODES = 8


def mean_first_passage_time(
    potential: Callable[[np.ndarray], np.ndarray],
    start: float,
    target: float,
    wall: float,
    temperature: float,
) -> float:
    """Mean time from ``start`` to ``target`` with a reflecting wall behind the start, by quadrature.

    (1/T) int_start^target dy e^(U(y)/T) int_wall^y dz e^(-U(z)/T) (Gardiner's Handbook, chapter 5).
    For a particle on the whole line put the wall where e^(-U/T) no longer counts. Relative accuracy 1e-10.

    Args:
        potential: U of an array of positions.
        start, target, wall: start lies between wall and target, or on the wall.
        temperature: T, positive.
    """
    temperature = float(_checks.positive("temperature", temperature))
    start, target, wall = (
        _checks.number(name, value) for name, value in (("start", start), ("target", target), ("wall", wall))
    )
    if not (wall <= start < target or target < start <= wall):
        raise Refused(f"start {start:.6g} must lie between wall {wall:.6g} and target {target:.6g}")
    previous = np.nan
    for panels in 2 ** np.arange(6, 16):
        time = _passage_time(potential, start, target, wall, temperature, int(panels))
        if np.isfinite(time) and abs(time - previous) <= 1e-10 * time:
            return time
        previous = time
    raise Refused(
        "the passage time did not converge: is the potential finite and smooth between wall and target?"
    )


def kramers_time(
    well: ArrayLike, saddle: ArrayLike, barrier: ArrayLike, temperature: ArrayLike
) -> np.ndarray:
    """Kramers' time 2 pi e^(barrier/T) / sqrt(U''(well) |U''(saddle)|) of large barriers (Kramers 1940).

    Arguments broadcast; ``well`` and ``saddle`` are the curvatures, the saddle's counted positive.
    """
    product = _checks.positive("well", well) * _checks.positive("saddle", saddle)
    exponent = _checks.nonnegative("barrier", barrier) / _checks.positive("temperature", temperature)
    return 2 * np.pi * np.exp(exponent) / np.sqrt(product)


def linear_barrier(
    loss: Callable[[np.ndarray], float], start: ArrayLike, end: ArrayLike, *, points: int = 1001
) -> float:
    """Highest loss on the straight segment above the mean loss of its ends (Frankle et al. 2020).

    The highest of ``points`` evenly spaced values, made precise between its neighbours. Two ends of zero
    loss that a path of zero loss joins may still have a barrier here.

    Args:
        loss: of a position (d,).
        start, end: (d,).
        points: values looked at, at least 3.
    """
    start = _checks.vector("start", start)
    end = _checks.vector("end", end, start.size)

    def along(share: float) -> float:
        return float(loss((1 - share) * start + share * end))

    shares = np.linspace(0.0, 1.0, _checks.count("points", points, 3))
    losses = np.array([along(share) for share in shares])
    if not np.isfinite(losses).all():
        raise Refused("the loss is not finite on the segment")
    top = int(np.argmax(losses))
    around = (shares[max(top - 1, 0)], shares[min(top + 1, len(shares) - 1)])
    refined = minimize_scalar(
        lambda share: -along(share), bounds=around, method="bounded", options={"xatol": 1e-9}
    )
    return max(float(losses[top]), -float(refined.fun)) - float(losses[0] + losses[-1]) / 2  # pyright: ignore[reportAttributeAccessIssue]


def _passage_time(
    potential: Callable, start: float, target: float, wall: float, temperature: float, panels: int
) -> float:
    """The double integral on ``panels`` Gauss-Legendre panels on either side of the start."""
    nodes, weights = np.polynomial.legendre.leggauss(NODES)
    edges = np.append(np.linspace(wall, start, panels + 1)[:-1], np.linspace(start, target, panels + 1))
    half = np.abs(np.diff(edges)) / 2
    energy = np.asarray(
        potential((edges[:-1, None] + edges[1:, None] + np.diff(edges)[:, None] * nodes) / 2), float
    )
    energy = energy / temperature
    climb = energy[panels:]
    low, high = energy.min(), climb.max()
    density = np.exp(low - energy)
    total = half * (density @ weights)
    inner = (np.cumsum(total) - total)[:, None] + half[:, None] * (density @ _running_integral(nodes).T)
    outer = half[panels:] * ((np.exp(climb - high) * inner[panels:]) @ weights)
    with np.errstate(over="ignore"):
        return float(outer.sum() * np.exp(high - low) / temperature)


def _running_integral(nodes: np.ndarray) -> np.ndarray:
    """Matrix that takes values at the nodes to integrals from -1 up to each node."""
    polynomials = np.polynomial.legendre.legvander(nodes, len(nodes) - 1)
    antiderivatives = np.polynomial.legendre.legint(np.eye(len(nodes)), lbnd=-1, axis=0)
    return np.polynomial.legendre.legval(nodes, antiderivatives).T @ np.linalg.inv(polynomials)
