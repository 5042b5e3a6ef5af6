"""The relaxation curve of a report: shake the bottle and put it down."""

import numpy as np

from heatbath import plotting
from heatbath.learning.diagnose import RHAT_LIMIT
from heatbath.relaxation import Curve, relaxation_curve
from heatbath.relaxation.curve import FEWEST
from heatbath.report.records import Phase
from heatbath.report.story import Section, Story

LEAST_LATE = 20


def relaxation(story: Story) -> Section | None:
    """None where there are too few replicas, or values at rest, for a law of the energy."""
    phases = story.phases
    energies = [phase.records["potential"] for phase in phases]
    kept = moving(energies)
    energies = [potential[:, kept] for potential in energies]
    late = energies[-1][len(energies[-1]) // 2 :]
    if kept.sum() < FEWEST or late.size < LEAST_LATE or not late.var() > 0:
        return None
    curves = [relaxation_curve(potential, late) for potential in energies]
    counted = [phase.steps - before for phase, before in zip(phases, _starts(phases), strict=True)]
    scales = _time_scales(story, energies[-1], counted[-1])
    return Section(
        "relaxation",
        "Relaxation: shake the bottle and put it down",
        "The distance to equilibrium falls while the replicas anneal and then stays inside the green band, "
        "where chance alone would keep it; a curve that is still above the band at the right edge means that "
        "the run was too short.",
        f"{_fall(curves)} Drawn is the Kullback-Leibler divergence of the law of the energy over "
        f"{kept.sum()} replicas from its law over the second half of the sampling, both as Gaussians, with "
        "two standard errors (jackknife). It is a lower bound, by data processing: the weights may be "
        "further away than their energy shows. An upper bound, the dissipated work, would need the free "
        f"energy and an anneal that does not adapt to its own path. {_slowest(story, scales)}",
        plotting.relaxation(
            [
                (phase.title, steps, curve.divergence, curve.std_error)
                for phase, steps, curve in zip(phases, counted, curves, strict=True)
            ],
            curves[-1].noise,
            phases[0].driven_until,
            scales,
        ),
    )


def moving(energies: list[np.ndarray]) -> np.ndarray:
    """Which replicas (replicas,) have a finite energy throughout and were not frozen when they broke."""
    finite = np.all([np.isfinite(potential).all(axis=0) for potential in energies], axis=0)
    last = energies[-1][-2:]
    return finite & (np.ptp(last, axis=0) > 0) if len(last) > 1 else finite


def _starts(phases: list[Phase]) -> list[int]:
    """The step before each phase."""
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
    end = np.median(last.divergence[len(last.divergence) // 2 :])
    return (
        f"From at least {first.divergence[0]:,.3g} nats at the first saved step to {max(end, 0):.2g} (median "
        f"of the last half). Below {last.noise:.2g} so few replicas cannot be told from equilibrium."
    )


def _slowest(story: Story, scales: dict[str, float]) -> str:
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
    return f"Time scales, of integrated autocorrelation: {times}; {basins}."
