"""Stochastic thermodynamics of learning: S. Goldt and U. Seifert, Phys. Rev. Lett. 118, 010601 (2017).

The weights of a perceptron relax in a trap whose centre, the field of the training data, rises linearly.
They learn a label at the price of heat: information <= change of entropy + heat. Here the weights are
simulated, the heat is that of the ledger, and the paper's integrals stand beside it.
"""

import jax.numpy as jnp
import numpy as np
from matplotlib.figure import Figure
from scipy.special import expit

from heatbath.core import Control, FromFunction, Run, simulate
from heatbath.dynamics import OverdampedLangevin
from heatbath.estimate import Estimate
from heatbath.papers.claims import Claim, exactly
from heatbath.papers.replicas import mean
from heatbath.papers.reproduction import Job, Reproduction
from heatbath.plotting.style import BLACK, BLUE, GREEN, ORANGE, WIDTH, legend_above, plain_log_axis, styled
from heatbath.systems import HarmonicTrap
from heatbath.theory import goldt_seifert as theory

STEP = 0.01
RELAXED = 12.0  # relaxation times after the ramp: what is left of the lag is e^-12 of it
FIELD = 8.0
DURATIONS = (0.01, 1.0, 10.0, 100.0)
WEIGHTS = 200
FIELDS, TIMES = np.linspace(0.1, 10, 37), np.geomspace(1e-2, 1e5, 37)
LOADS = ((1.0, 1.0), (1.0, 3.0), (0.25, 3.0), (4.0, 1.0))  # (alpha, nu)


def reproduce(job: Job) -> Reproduction:
    durations = job.either(DURATIONS, DURATIONS[:3])
    singles = {tau: single_weight(job, FIELD, tau, i) for i, tau in enumerate(durations)}
    perceptrons = {pair: perceptron(job, *pair, 100 + i) for i, pair in enumerate(LOADS)}
    claims = [*limits(), *simulated(singles), *large(perceptrons), second_law()]
    figures = {"figure-2": efficiency_map(singles), "large-perceptron": efficiency_of_load(perceptrons)}
    return Reproduction(claims, figures)


class Learned:
    """A simulated weight or perceptron: heat to the bath, entropy change, information, efficiency."""

    def __init__(self, stability: np.ndarray, entropy_change: np.ndarray, heat: np.ndarray, load: float):
        """Each (replicas,): the mean of the logistic function of the stability; -ln p(w) less its start."""
        self.heat, self.entropy_change = mean(heat), mean(entropy_change)
        right = stability.mean()
        information = np.log(2) + right * np.log(right) + (1 - right) * np.log1p(-right)
        slope = np.log(right / (1 - right)) * (stability - right)  # of the information, for its error
        self.information = Estimate(float(information), mean(slope).std_error)
        cost = entropy_change + heat
        efficiency = load * information / cost.mean()
        change = load * slope / cost.mean() - efficiency * (cost - cost.mean()) / cost.mean()
        self.efficiency = Estimate(float(efficiency), mean(change).std_error)


def single_weight(job: Job, field: float, duration: float, part: int) -> Learned:
    """One weight of the perceptron learns one label, which is +1 or -1 for each replica."""
    replicas = job.either(10_000, 2_000)
    signs = np.random.default_rng(job.key(part)).choice([-1.0, 1.0], replicas)
    moves = max(1, round(duration / STEP))
    run = ramp(job, field * signs[:, None], moves, part)
    w = np.asarray(run.position)[:, 0]
    density = (np.exp(-((w - field) ** 2) / 2) + np.exp(-((w + field) ** 2) / 2)) / np.sqrt(8 * np.pi)
    entropy_change = -np.log(density) - np.log(2 * np.pi * np.e) / 2
    assert run.ledger is not None
    return Learned(expit(signs * w), entropy_change, -np.asarray(run.ledger.heat), 1.0)


def perceptron(job: Job, load: float, field: float, part: int) -> Learned:
    """A perceptron of 200 weights learns load x 200 labels, slowly: the paper's heat is 0, and so is ours."""
    replicas, samples = job.either(200, 40), round(load * WEIGHTS)
    rng = np.random.default_rng(job.key(part))
    inputs = rng.choice([-1.0, 1.0], (replicas, WEIGHTS, samples))  # times the true labels
    centres = field / np.sqrt(WEIGHTS) * inputs.sum(axis=2)
    w = np.asarray(ramp(job, centres, 1, part).position)
    stability = np.einsum("rn,rns->rs", w, inputs) / np.sqrt(WEIGHTS)
    variance = 1 + load * field**2  # the field is Gaussian in the limit of many samples
    entropy_change = (w**2).mean(axis=1) / (2 * variance) + np.log(variance) / 2 - 0.5
    return Learned(expit(stability).mean(axis=1), entropy_change, np.zeros(replicas), load)


def rising(step, replica, parameters):
    share = jnp.clip(step / parameters["moves"], 0.0, 1.0)
    return Control(1.0, {"stiffness": 1.0, "centre": share * parameters["centres"][replica]})


def ramp(job: Job, centres: np.ndarray, moves: int, part: int) -> Run:
    """The trap's centre rises from 0 to ``centres`` (replicas, d) in ``moves`` steps, then all relaxes."""

    replicas, dimension = centres.shape
    start = np.random.default_rng(job.key(part + 1_000)).normal(size=(replicas, dimension))
    start = start / np.sqrt(1 - STEP / 2)  # equilibrium of this step size
    return simulate(
        HarmonicTrap(dimension),
        OverdampedLangevin(STEP),
        FromFunction(rising, {"centres": centres, "moves": float(moves)}),
        key=job.key(part + 2_000),
        replicas=replicas,
        steps=moves + round(RELAXED / STEP),
        observers={},
        positions=jnp.asarray(start),
        progress=job.progress(f"weights that learn (part {part})"),
    )


def discrete_heat(field: float, duration: float) -> float:
    """Mean heat to the bath of the simulated ramp, exact at its step: (1 - h/2)^2 h times the sum of the
    squared distances of <w> from the centre before each step."""
    moves = max(1, round(duration / STEP))
    w = total = 0.0
    for step in range(moves + round(RELAXED / STEP)):
        away = field * min(1.0, step / moves) - w
        total += away**2
        w += STEP * away
    return (1 - STEP / 2) ** 2 * STEP * total


def limits() -> list[Claim]:
    """Corners of figure 2, by the paper's integrals (equations 10 to 13)."""
    slow, sudden = theory.single_weight(FIELD, 1e5), theory.single_weight(FIELD, 1e-6)
    entropy = (
        "A strong field that rises slowly (nu 8, tau 1e5) raises the weight's entropy by ln 2: one label"
    )
    waste = "A field that rises at once (nu 8, tau 1e-6) wastes nearly everything as heat: efficiency"
    return [
        Claim(entropy, float(np.log(2)), exactly(slow.entropy_change), allowed=1e-9),
        Claim(
            "There nearly all that is paid for is learnt: efficiency",
            0.992311,
            exactly(slow.efficiency),
            allowed=5e-7,
        ),
        Claim(waste, 0.021058, exactly(sudden.efficiency), allowed=5e-7),
    ]


def simulated(singles: dict[float, Learned]) -> list[Claim]:
    """One weight against the integrals, the discretisation forgiven, which is computed."""
    claims = []
    for duration, ours in singles.items():
        exact = theory.single_weight(FIELD, duration)
        missed = abs(discrete_heat(FIELD, duration) - exact.dissipated_heat)
        at = f"nu {FIELD:g}, tau {duration:g}"
        # The variance of w is 1/(1 - h/2): entropy and information move by less than h.
        error = exact.efficiency * (missed + STEP) / (exact.entropy_change + exact.dissipated_heat)
        claims += [
            Claim(f"Heat to the bath, {at} (kT)", exact.dissipated_heat, ours.heat, allowed=missed),
            Claim(f"Efficiency of learning, {at}", exact.efficiency, ours.efficiency, allowed=error),
        ]
    return claims


def large(perceptrons: dict[tuple[float, float], Learned]) -> list[Claim]:
    """Perceptrons against the limit of many weights; of order 1/N and of order h is forgiven."""
    claims = []
    for (load, field), ours in perceptrons.items():
        exact = theory.large_perceptron(load, field)
        fewer = theory.large_perceptron(load - 1 / WEIGHTS, field)  # a sample does not disturb itself
        error = abs(fewer.efficiency - exact.efficiency) + exact.efficiency * STEP / exact.entropy_change
        text = f"Efficiency of a large perceptron, alpha {load:g}, nu {field:g}, slow ramp"
        claims.append(Claim(text, exact.efficiency, ours.efficiency, allowed=error))
    return claims


def efficiencies(fields: np.ndarray, durations: np.ndarray) -> np.ndarray:
    """(fields, durations). Only the heat depends on the ramp's length."""
    known = [theory.single_weight(float(field), 0.0) for field in fields]
    gain = np.array([one.information for one in known])[:, None]
    entropy_change = np.array([one.entropy_change for one in known])[:, None]
    return gain / (entropy_change + fields[:, None] ** 2 * theory.heat_factor(durations)[None])


def second_law() -> Claim:
    """The bound itself, everywhere on the map."""
    return Claim(
        "What is learnt never exceeds entropy change plus heat: the largest efficiency on the map",
        1.0,
        exactly(float(efficiencies(FIELDS, TIMES).max())),
        "at most",
        source="stated",
    )


@styled
def efficiency_map(singles: dict[float, Learned]) -> Figure:
    """The paper's figure 2: efficiency over the ramp's length and the field; beside it our points."""
    values = efficiencies(FIELDS, TIMES)
    figure = Figure(figsize=(WIDTH, 3.6))
    left, right = figure.subplots(1, 2)
    drawn = left.contourf(TIMES, FIELDS, values, np.linspace(0, 1, 11), cmap="cividis")
    lines = left.contour(
        TIMES, FIELDS, values, [0.1, 0.3, 0.5, 0.7, 0.9], colors=["white"] * 3 + [BLACK] * 2, linewidths=0.7
    )
    left.clabel(lines, fmt="%g", fontsize=8)
    figure.colorbar(drawn, ax=left, label="efficiency")
    left.set(
        xscale="log", title="Efficiency of learning", xlabel="length of the ramp, tau", ylabel="field, nu"
    )
    left.grid(False)
    right.plot(
        TIMES, [theory.single_weight(FIELD, tau).efficiency for tau in TIMES], color=BLUE, label="integrals"
    )
    found = [ours.efficiency for ours in singles.values()]
    errors = [2 * one.std_error for one in found]
    right.errorbar(
        list(singles),
        [one.value for one in found],
        yerr=errors,
        fmt="o",
        color=ORANGE,
        markersize=5,
        label="simulated",
    )
    right.set(xscale="log", ylim=(0, 1.05), xlabel="length of the ramp, tau", ylabel="efficiency")
    right.set_title(f"At nu = {FIELD:g}")
    right.legend(loc="upper left")
    return figure


@styled
def efficiency_of_load(perceptrons: dict[tuple[float, float], Learned]) -> Figure:
    """Efficiency of a large perceptron over the number of samples a weight."""
    loads = np.geomspace(0.05, 10, 60)
    figure = Figure(figsize=(0.62 * WIDTH, 3.4))
    axes = figure.subplots()
    for field, color in ((1.0, BLUE), (2.0, GREEN), (3.0, ORANGE)):
        values = [theory.large_perceptron(load, field).efficiency for load in loads]
        axes.plot(loads, values, color=color, label=f"nu = {field:g}")
        for (load, nu), ours in perceptrons.items():
            if nu == field:
                found = ours.efficiency
                axes.errorbar(load, found.value, yerr=2 * found.std_error, fmt="o", color=color, markersize=5)
    axes.set(title="Large perceptron, slow ramp", xlabel="samples a weight, alpha", ylabel="efficiency")
    axes.set(xscale="log", ylim=(0, None))
    plain_log_axis(axes.xaxis, 0.05, 10)
    legend_above(axes)
    return figure
