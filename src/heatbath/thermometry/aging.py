"""Effective temperature of training that never equilibrates: correlation against response. NumPy; no JAX."""

from dataclasses import dataclass

import numpy as np

from heatbath.errors import Refused
from heatbath.estimate import Estimate
from heatbath.thermometry import series


def two_time_correlation(positions) -> np.ndarray:
    """C(t, s) = <dx(t).dx(s)>/d over the replicas, dx the distance from their mean; shape (times, times).

    positions: (replicas, times, d), replicas started independently. It depends on t - s alone at equilibrium.
    """
    x = series.checked("positions", positions, trailing=1)
    if len(x) < 2:
        raise Refused("positions holds one replica: give 2 or more, started independently")
    away = x - x.mean(axis=0)
    return np.einsum("rtd,rsd->ts", away, away, optimize=True) / ((len(x) - 1) * x.shape[2])


@dataclass(frozen=True)
class Aging:
    """For each time t from the pulse's end: C(t, end) - C(t, start), the response at t, and their ratio."""

    correlation: tuple[Estimate, ...]
    response: tuple[Estimate, ...]
    temperature: tuple[Estimate, ...]


def effective_temperature(positions, perturbed, force, pulse: tuple[int, int]) -> Aging:
    """Fluctuation-dissipation temperature of the time between ``pulse`` = (start, end).

    positions: (replicas, times, d), time s before step s. perturbed: the same runs with the same random
    numbers, whose steps start, ..., end - 1 had ``force`` added to -grad U; force is small, (replicas, d),
    best with independent random signs. T(t) = [C(t, end) - C(t, start)]/R(t) with C from
    `two_time_correlation` and R(t) = <force.(perturbed - unperturbed)(t)>/<|force|^2>. At equilibrium, and
    for each mode of a stationary SGD, it is the temperature; for an overdamped mode of stiffness k and
    variance S(s) in a bath at T it is 2 T - k S(s) for a short pulse. Errors over the replicas. The response
    must be linear: with half the force the answer should stay. Source: Cugliandolo, Kurchan and Peliti 1997.
    """
    x, y = (
        series.checked(name, a, trailing=1)
        for name, a in (("positions", positions), ("perturbed", perturbed))
    )
    f, (start, end) = series.checked("force", force, "replicas", 1), _pulse(pulse)
    if x.shape != y.shape or f.shape != (len(x), x.shape[2]) or len(x) < 2:
        raise Refused(
            f"positions {x.shape}, perturbed {y.shape} and force {f.shape}: give the same 2 or more replicas"
        )
    if not (0 <= start < end < x.shape[1] and f.any()):
        raise Refused(
            f"pulse {pulse} of {x.shape[1]} times: give start < end < times, and a force that is not 0"
        )
    away = (x - x.mean(axis=0)) * np.sqrt(len(x) / (len(x) - 1))
    change = away[:, end] - away[:, start]
    square = np.mean(f**2)
    meaning = "Temperature that fluctuation and response agree on at this age; the bath's at equilibrium."
    rows = []
    for t in range(end, x.shape[1]):
        correlation = np.mean(away[:, t] * change, axis=1)[:, None]
        response = np.mean(f * (y[:, t] - x[:, t]), axis=1)[:, None] / square
        answer = _mean(response, "Shift at this time for a unit force during the pulse.")
        ratio = series.ratio(correlation, response, meaning, of="the response")
        rows.append((series.mean(correlation, "Gain of correlation over the pulse."), answer, ratio))
    return Aging(*(tuple(column) for column in zip(*rows, strict=True)))


def _pulse(pulse: tuple[int, int]) -> tuple[int, int]:
    if np.shape(pulse) != (2,):
        raise Refused(f"pulse = {pulse!r:.60}: give its start and its end")
    return series.whole("start of the pulse", pulse[0], 0), series.whole("end of the pulse", pulse[1], 0)


def _mean(response: np.ndarray, meaning: str) -> Estimate:
    """With the same noise a linear system answers without scatter: that is an exact response, not a fault."""
    estimate = series.mean(response, meaning)
    return estimate if np.ptp(response) > 0 else Estimate(estimate.value, 0.0, len(response), meaning=meaning)
