"""The relaxation curve of a report: shake the bottle and put it down."""

from typing import NamedTuple

import numpy as np

from heatbath import plotting
from heatbath.learning.diagnose import RHAT_LIMIT
from heatbath.relaxation import Curve, relaxation_curve
from heatbath.relaxation.curve import FEWEST
from heatbath.report.records import TITLES, Phase
from heatbath.report.story import Section, Story

SAMPLING = TITLES["sample"]
LEAST_LATE = 20


def relaxation(story: Story) -> Section | None:
    """None where there are too few replicas, or values at rest, for a law of the energy."""
    found = map(at_rest, story.phases, _starts(story.phases))
    rests = [rest for rest in found if rest is not None]
    if not rests or rests[-1].title != SAMPLING:
        return None
    kept = moving([rest.energy for rest in rests])
    late = rests[-1].energy[len(rests[-1].energy) // 2 :, kept]
    if kept.sum() < FEWEST or late.size < LEAST_LATE or not late.var() > 0:
        return None
    curves = [relaxation_curve(rest.energy[:, kept], late) for rest in rests]
    scales = _time_scales(story, rests[-1].energy[:, kept], rests[-1].steps)
    return Section(
        "relaxation",
        "Relaxation: shake the bottle and put it down",
        "Once the drive has ended, the distance to equilibrium falls into the green band and stays there, "
        "where chance alone would keep it; a curve that is still above the band at the right edge means that "
        "the run was too short.",
        f"{_fall(curves)} Drawn is the Kullback-Leibler divergence of the law of the energy over "
        f"{kept.sum()} replicas from its law over the second half of the sampling, both as Gaussians, with "
        "two standard errors (jackknife), from where the coupling to the data no longer moves. It is a lower "
        "bound, by data processing: the weights may be further away than their energy shows. An upper bound, "
        "the dissipated work, would need the free energy and an anneal that does not adapt to its own path. "
        f"{_slowest(story, scales, float(rests[-1].steps[-1]))}",
        plotting.relaxation(
            [
                (rest.title, rest.steps, curve.divergence, curve.std_error)
                for rest, curve in zip(rests, curves, strict=True)
            ],
            curves[-1].noise,
            scales,
        ),
    )


class Rest(NamedTuple):
    """Energies (saves, replicas) of a phase at full coupling to the data, and the steps (saves,) there."""

    title: str
    steps: np.ndarray
    energy: np.ndarray


def at_rest(phase: Phase, before: int) -> Rest | None:
    """The saves at full coupling, steps counted from the end of the drive or, without one, from ``before``.
    While the coupling is another, so is the energy as a function of the weights: its laws do not compare."""
    full = np.flatnonzero(np.all(phase.records["thermometer/likelihood"] == 1, axis=1))
    if not full.size:
        return None
    end = phase.driven_until
    title = phase.title if end is None else f"{phase.title}, after the drive"
    since = before if end is None else int(phase.steps[full[0] - 1])
    return Rest(title, phase.steps[full] - since, phase.records["potential"][full])


def moving(energies: list[np.ndarray]) -> np.ndarray:
    """Which replicas (replicas,) have a finite energy throughout and were not frozen when they broke."""
    finite = np.all([np.isfinite(potential).all(axis=0) for potential in energies], axis=0)
    last = energies[-1][-2:]
    return finite & (np.ptp(last, axis=0) > 0) if len(last) > 1 else finite


def _starts(phases: list[Phase]) -> list[int]:
    """The step at which each phase starts."""
    return [0, *(int(phase.steps[-1]) for phase in phases[:-1])]


def _time_scales(story: Story, energy: np.ndarray, steps: np.ndarray) -> dict[str, float]:
    """Steps between two independent values of the energy, and of the slowest prediction, at the end."""
    from arviz_stats.base.array import array_stats

    ran = float(steps[-1]) * energy.shape[1]
    scales = {}
    if len(energy) >= 8:
        ess = array_stats.ess(energy.T, chain_axis=0, draw_axis=1, method="mean")
        scales["energy forgets in"] = ran / float(np.asarray(ess))
    slowest = float(np.min(story.diagnosis.ess))
    if slowest > 1:
        scales["slowest prediction in"] = ran / slowest
    return scales


def _fall(curves: list[Curve]) -> str:
    first, last = curves[0], curves[-1]
    start = f"{first.divergence[0]:,.0f}" if first.divergence[0] > 100 else f"{first.divergence[0]:.2g}"
    end = np.median(last.divergence[len(last.divergence) // 2 :])
    return (
        f"From at least {start} nats at first to {max(end, 0):.2g} (median "
        f"of the last half). Below {last.noise:.2g} so few replicas cannot be told from equilibrium."
    )


def _slowest(story: Story, scales: dict[str, float], lasted: float) -> str:
    if not scales:
        return ""
    times = " and ".join(f"{name} {steps:,.0f} steps" for name, steps in scales.items())
    rhat = story.diagnosis.rhat
    apart = float(np.mean(~(rhat <= RHAT_LIMIT)))
    basins = (
        f"at {100 * apart:.1f} % of the points the replicas disagree (R-hat above {RHAT_LIMIT:g}): they may "
        "sit in basins that the run is too short to leave, which a curve of the energy does not show"
        if apart > 0
        else "the replicas agree at all points (R-hat): none is shut in a basin that predicts otherwise"
    )
    ratio = lasted / max(scales.values())
    length = f"the sampling lasted {ratio:,.{1 if ratio < 10 else 0}f} times the longest"
    return f"Time scales, of integrated autocorrelation: {times}; {length}. Escape from basins: {basins}."
