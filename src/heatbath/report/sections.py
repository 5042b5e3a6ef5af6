"""The figures of a report, each with one sentence that says how it should look, and what was measured."""

from collections.abc import Iterator

import numpy as np

from heatbath import plotting
from heatbath.learning.diagnose import ESS_LIMIT, RHAT_LIMIT
from heatbath.learning.predict import predict
from heatbath.plotting import Trace, label
from heatbath.report.classes import class_sections, familiarity
from heatbath.report.records import equilibrium_step, late_band
from heatbath.report.relaxation import relaxation
from heatbath.report.story import Section, Story

MOST_TARGETS = 9
MOST_INPUTS = 9
MOST_DOTS = 1_200


def sections(story: Story) -> Iterator[Section]:
    """All figures that the data allow, in the order of the report."""
    phases = story.phases
    if phases:
        yield energy(story)
        if (curve := relaxation(story)) is not None:
            yield curve
    if phases and phases[0].thermometer:
        yield temperature(story)
    if phases and phases[0].driven_until is not None:
        yield work_and_heat(story)
    if phases and phases[-1].has_heat and len(phases[-1].steps) > 1:
        yield books(story)
    if story.draws.classes:
        yield from class_sections(story)
    else:
        yield predictions(story)
        if story.outliers is not None:
            yield familiarity(story)
    yield hyperparameters(story)
    yield convergence(story)


def energy(story: Story) -> Section:
    phases = story.phases
    band = late_band(phases[-1].records["potential"])
    reached = equilibrium_step(phases, band)
    traces = [phase.trace("potential") for phase in phases]
    couplings = [phase.records["thermometer/likelihood"] for phase in phases]
    seldom = (
        " With minibatches the energy of all the data is measured only now and then, to save time: between "
        "those steps the curves are straight lines."
        if story.minibatches
        else ""
    )
    when = f"Level from step {reached:,}:" if reached else "The mean energy is not level yet; sought is"
    return Section(
        "energy",
        "Energy: relaxation to equilibrium",
        "The energy moves far while the coupling to the data rises; then every replica fluctuates about "
        "one common level (green); a replica that stays on a level of its own, or a mean that still drifts "
        "at the right edge, means that the run was too short.",
        f"{when} the first saved step at which the replicas' mean energy lies in the green band and from "
        "which on it does so at nine of ten saved steps; the band is its mean and two standard deviations "
        f"over the last quarter of the sampling ({band[0]:.1f} to {band[1]:.1f}). The last panel has the "
        "scale of its second half; steps of equilibration are not counted. A level mean is necessary for "
        f"equilibrium, not enough: the verdict above asks whether all replicas predict the same.{seldom}",
        plotting.energy_trace(traces, couplings, band, reached),
    )


def temperature(story: Story) -> Section:
    phases, draws = story.phases, story.draws
    momenta = sum(int(np.prod(array.shape[2:])) for layer in draws.weights for array in layer.values())
    kinetic = [Trace(phase.title, phase.steps, 2 * phase.records["kinetic"] / momenta) for phase in phases]
    configurational = [phase.trace("thermometer/configurational") for phase in phases[:-1]]
    configurational.append(phases[-1].running_mean)
    final = phases[-1].running_mean.values[-1]
    final = final[np.isfinite(final)]
    ends = f"{final.mean():.2f}"
    if final.size > 1:
        ends += f" ± {final.std(ddof=1) / np.sqrt(final.size):.2f} (standard error over the replicas)"
    missing = [phase.title for phase in phases if not phase.momenta]
    silent = (
        f" While {' and '.join(missing)}, the dynamics moves at constant speed and its kinetic energy is "
        "recorded as 0: it has no kinetic thermometer, and the configurational one is the only witness."
        if missing
        else ""
    )
    return Section(
        "temperature",
        "Temperature: do the replicas have that of the bath?",
        "Both thermometers settle on the temperature of the bath (dashed), the kinetic one inside its "
        "green 90 % band and the configurational one as a funnel that narrows onto the line; a mean that "
        "stays off the line means a step size that is too large or a replica that is not at equilibrium.",
        f"Kinetic: twice the kinetic energy over the {momenta} momenta; the band is chi-squared with as "
        "many degrees of freedom. Configurational: the mean of x dU/dx over the weights (virial theorem), "
        "a single value of which scatters widely; in sampling it is averaged since the phase began and "
        f"ends at {ends} for a bath of "
        f"{phases[-1].records['temperature'][-1].mean():g}.{silent}",
        plotting.temperature_trace(
            kinetic, configurational, [phase.records["temperature"] for phase in phases], momenta
        ),
    )


def work_and_heat(story: Story) -> Section:
    phase = story.phases[0]
    work, heat = phase.in_kt("work"), phase.heat
    what, how = "heat", "Heat is booked step by step."
    if story.minibatches:
        what = "heat and shadow work"
        how = (
            "The ledger is one of energies: minibatches do not tell heat from shadow work, the energy that "
            "comes from steps that are not small, so their sum is drawn, the energy change minus the work."
        )
    elif not phase.has_heat:
        how = (
            "The warm-up adapts to its own path, so heat was not booked step by step; its steps are "
            "Metropolised and have no shadow work, so heat is the energy change minus the work."
        )
    return Section(
        "work_and_heat",
        "Annealing: work done, heat given to the bath",
        "Work is done only while the coupling to the data rises and is level after the dashed line, and "
        "heat falls (the replicas give it to the bath) until it is level too; heat that still falls at the "
        "right edge means that annealing ended before the replicas had cooled.",
        f"At the end, mean and standard deviation over the replicas: work {_spread(work[-1])} kT, {what} "
        f"{_spread(heat[-1])} kT, both counted as received by the replica. {how}",
        plotting.work_and_heat(
            Trace("work", phase.steps, work), Trace(what, phase.steps, heat), phase.driven_until
        ),
    )


def books(story: Story) -> Section:
    phase = story.phases[-1]
    residual, shadow = phase.residual, phase.shadow_per_step
    return Section(
        "first_law",
        "The books: first law and shadow work",
        "The residual stays below the rounding of numbers (dashed) and the shadow work per step far below "
        "1 kT for each weight; a residual above the dashed line is an error in the books, and shadow work "
        "that goes on growing means a step size that is too large.",
        "The residual, energy change minus work, heat and shadow work, is at most "
        f"{np.nanmax(np.abs(residual)):.1e} kT; what is below 1e-16, zero above all, is drawn there. Shadow "
        f"work is energy that comes from the discretisation of time, here {np.nanmean(shadow.values):.2g} "
        "kT a step, averaged over stretches of steps. It is smallest at first, near where the metric of each "
        "replica was measured, and levels off as the replicas move on.",
        plotting.first_law(
            Trace("first law: what is left over", phase.steps, residual), phase.rounding, shadow
        ),
    )


def predictions(story: Story) -> Section:
    names = story.names[:MOST_TARGETS]
    rows = min(len(story.inputs), max(50, MOST_DOTS // len(names)))
    at = np.linspace(0, len(story.inputs) - 1, rows).astype(int)
    found, targets = predict(story.draws, story.inputs[at]), story.targets[at]
    coverage = ((targets >= found.q05) & (targets <= found.q95)).mean()
    shown = (
        f"; the first {len(names)} of {len(story.names)} targets are drawn"
        if len(story.names) > len(names)
        else ""
    )
    parts = [array[:, : len(names)] for array in (targets, found.mean, found.q05, found.q95)]
    return Section(
        "predictions",
        "Predictions at the training points",
        "Points lie on the diagonal and about nine in ten inside their 90 % interval, with residuals that "
        "scatter evenly about zero; a bend in the residuals means that the network is too small or not at "
        "equilibrium, and far fewer points inside that the uncertainty is not to be trusted.",
        f"{100 * coverage:.1f} % of the targets lie inside their intervals, at {rows} of "
        f"{len(story.inputs)} rows{shown}. These rows were learned from, so a little more than 90 % is "
        "usual; for an honest test, predict rows that the run has not seen.",
        plotting.parity(names, *parts),
    )


def hyperparameters(story: Story) -> Section:
    draws = story.draws
    noise = draws.noise * draws.standardisation.target_scale
    named = [
        (f"noise of {label(name, 20)}", noise[..., i])
        for i, name in enumerate(story.names[: min(MOST_TARGETS, noise.shape[-1])])
    ]
    named_groups = list(enumerate(groups(story.input_names, len(draws.weights))))
    inputs = range(1, 1 + len(story.input_names))
    weakest = sorted(inputs, key=lambda i: np.median(draws.scale[..., i]))[
        : max(0, len(inputs) - MOST_INPUTS)
    ]
    scales = [(f"prior sd, {name}", draws.scale[..., i]) for i, name in named_groups if i not in weakest]
    left = f" Left out are the {len(weakest)} inputs of the smallest." if weakest else ""
    return Section(
        "hyperparameters",
        f"Hyperparameters: {'noise and ' if named else ''}priors, learned with the weights",
        "Each histogram is one smooth hill on which all replicas (thin lines) agree; replicas with hills "
        "of their own have not mixed.",
        f"Standard deviations: {'of the noise in the units of the table, ' if named else ''}of the weights' "
        "priors in standardised units (weights out of a hidden layer: before division by the root of its "
        "width). Each input has one of its own: where it is small, the input matters little. The line is "
        "the median."
        f"{left}",
        plotting.hyperparameters(named, scales),
    )


def convergence(story: Story) -> Section:
    rhat, ess = story.diagnosis.rhat, story.diagnosis.ess
    what = "classes' probabilities" if story.draws.classes else "noiseless predictions"
    return Section(
        "convergence",
        "Convergence of the predictions",
        f"R-hat lies left of {RHAT_LIMIT:g} and the effective sample size right of {ESS_LIMIT}; what lies "
        "on the wrong side of a dashed line needs more steps.",
        f"Of the {what} at {len(rhat)} training points (rank-normalised split R-hat and bulk "
        "effective size, Vehtari et al. 2021).",
        plotting.convergence(rhat, ess, RHAT_LIMIT, ESS_LIMIT),
    )


def groups(inputs: list[str], layers: int) -> list[str]:
    """Names of the groups of weights in the order of their precisions."""
    names = [f"layer {i + 2}" for i in range(layers - 2)] + ["output"]
    later = [f"{name} {what}" for name in names for what in ("biases", "weights")]
    return ["layer 1 biases", *(f"weights from {label(name, 12)}" for name in inputs), *later]


def _spread(values: np.ndarray) -> str:
    return f"{np.nanmean(values):.1f} ± {np.nanstd(values):.1f}"
