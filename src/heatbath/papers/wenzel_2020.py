"""How good is the Bayes posterior in deep neural networks really? F. Wenzel et al., Proc. 37th ICML (2020).

Kinetic and configurational temperature as checks of a sampler: on harmonic modes, where they are known
exactly, and on a network of digits, where they catch a step that is too large. Then the posterior is cooled:
do colder ones predict better? The paper's networks are residual and recurrent; ours has one hidden layer.
"""

from dataclasses import dataclass
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.figure import Figure
from scipy.stats import chi2

from heatbath.core import (
    Constant,
    Control,
    PerReplica,
    Positions,
    Record,
    Run,
    Snapshot,
    numeric,
    simulate,
)
from heatbath.dynamics import SGHMC, Windows
from heatbath.estimate import Estimate
from heatbath.papers.claims import Claim
from heatbath.papers.digits import UNTRAINED, Digits, cooled, digits, log_likelihood, predictive
from heatbath.papers.replicas import decided, doubted, mean, paired, share
from heatbath.papers.reproduction import Job, Reproduction
from heatbath.plotting.style import BLACK, BLUE, GREY, ORANGE, WIDTH, plain_log_axis, styled
from heatbath.systems import HarmonicTrap
from heatbath.theory.thermostats import Temperatures, thermostat_temperatures
from heatbath.thermometry import series

FRICTION, STEP, BATCH = 20.0, 0.02, 200  # for 6,000 images
TEMPERATURES = (0.01, 0.03, 0.1, 0.3, 1.0)
LADDER = (0.02, 0.04, 0.06, 0.09, 0.12)  # step sizes at temperature 1
COPIES = 4  # of each
LEVEL = 0.99
MEASURED = 2_000  # images whose gradients tell the noise of minibatches
KEPT = 0.9  # of its momentum, in a step on the harmonic mode


def reproduce(job: Job) -> Reproduction:
    data = digits()
    cold = ensembles(job, data)
    ladder = step_ladder(job, data, cold.chains)
    claims = [*table(job), *diagnostics(job, data, ladder), *cold_posteriors(job, cold)]
    figures = {"figure-1": cold_curve(cold), "figure-2": step_curve(ladder)}
    return Reproduction(claims, figures, data.source)


def table(job: Job) -> list[Claim]:
    """Temperatures of 8,000 harmonic modes under SGHMC, read at the end of a step."""
    claims, dimension = [], 1_000
    for part, h in enumerate((0.1, 1.0)):
        run = simulate(
            HarmonicTrap(dimension),
            SGHMC(h, friction=-np.log(KEPT) / h),
            Constant(Control(1.0, {"stiffness": 1.0, "centre": 0.0})),
            key=job.key(part),
            replicas=8,
            steps=job.either(4_000, 800),
            every=20,
            observers={"read": Record(energies_of_modes)},
            ledger="off",
            progress=job.progress(f"harmonic modes, step {h:g}"),
        )
        read = run.records["read"][:, 10:].mean(axis=1) / dimension
        exact = thermostat_temperatures("aboba", 1.0, h, friction_factor=KEPT)
        for kind, which in (("kinetic", 0), ("configurational", 1)):
            text = f"Harmonic mode, SGHMC, step {h:g}, at the end of a step: {kind} temperature"
            claims.append(Claim(text, getattr(exact, kind), mean(read[:, which])))
    return claims


def energies_of_modes(seen: Snapshot, _: Any) -> jax.Array:
    """p^2 and x^2."""
    return jnp.stack([2 * seen.kinetic, jnp.sum(seen.position**2)])


@dataclass(frozen=True)
class Chains:
    """Readings over the bath's temperature, (settings, copies, saves), of a network with ``dimension``
    parameters, and the final positions."""

    kinetic: np.ndarray
    configurational: np.ndarray
    dimension: int
    ends: Any


@dataclass(frozen=True)
class Ensembles:
    """The chains at each temperature; the log likelihood of each test image, in nats, and whether it is
    recognised, by the ensemble of each chain (temperatures, copies, images)."""

    chains: Chains
    log_likelihood: np.ndarray
    right: np.ndarray


def run_network(job: Job, data: Digits, part: int, step_sizes: Any, temperatures: Any, start: Any) -> Run:
    """SGHMC with a step size, in `time_unit`, and a temperature for each replica."""
    steps, looks = job.either((20_000, 60), (600, 24))
    unit = time_unit(data)
    ladder = PerReplica.of(
        [SGHMC(unit * h, Windows(BATCH), friction=FRICTION / unit) for h in np.repeat(LADDER, COPIES)]
    )
    return simulate(
        data.system,
        eqx.tree_at(lambda d: d.stacked.step_size.value, ladder, numeric(unit * step_sizes)),
        PerReplica.of([Constant(Control(t)) for t in temperatures]),
        key=job.key(part),
        replicas=len(temperatures),
        steps=steps,
        every=steps // looks,
        observers={"position": Positions(), "read": Record(temperatures_of, data.system)},
        positions=start,
        ledger="off",
        progress=job.progress("network of digits by SGHMC"),
    )


def time_unit(data: Digits) -> float:
    """1 for 6,000 images: the curvature of U grows with their number, and steps shrink with its root."""
    return float(np.sqrt(6_000 / data.system.n_items))


def temperatures_of(seen: Snapshot, system: Any) -> jax.Array:
    """|p|^2/d over T, and x.grad U/d over T with the gradient of all the data."""
    gradient = jax.grad(system.energy)(seen.position, {})
    pairs = zip(jax.tree.leaves(seen.position), jax.tree.leaves(gradient), strict=True)
    virial = sum(jnp.sum(x * g, dtype=float) for x, g in pairs)
    d = sum(x.size for x in jax.tree.leaves(seen.position))
    return jnp.stack([2 * seen.kinetic, virial]) / (d * seen.control.temperature)


def chains_of(run: Run, settled: float) -> Chains:
    """The readings after the share ``settled`` of a run."""
    read = run.records["read"].reshape(-1, COPIES, run.records["read"].shape[1], 2)
    read = read[:, :, round(settled * read.shape[2]) :]
    dimension = sum(x[0].size for x in jax.tree.leaves(run.position))
    return Chains(read[..., 0], read[..., 1], dimension, run.position)


def ensembles(job: Job, data: Digits) -> Ensembles:
    """Chains at each temperature, and what they predict of the test images."""
    temperatures = np.repeat(TEMPERATURES, COPIES)
    start = cooled(data.system, job.key(10), temperatures)
    run = run_network(job, data, 11, np.full(len(temperatures), STEP), temperatures, start)
    job.say("predictions of the ensembles")
    inputs, places = data.inputs(data.test_images), np.arange(len(data.test_labels))
    found = [predictive(run.records, r, inputs) for r in range(len(temperatures))]
    likelihood = np.array([f.log_probabilities[places, data.test_labels] for f in found])
    right = np.array([f.predicted == data.test_labels for f in found], float)
    shape = (len(TEMPERATURES), COPIES, len(places))
    return Ensembles(chains_of(run, 1 / 2), likelihood.reshape(shape), right.reshape(shape))


def step_ladder(job: Job, data: Digits, cold: Chains) -> Chains:
    """On from the chains at temperature 1, with each step size of `LADDER`."""
    which = np.tile(COPIES * TEMPERATURES.index(1.0) + np.arange(COPIES), len(LADDER))
    start = jax.tree.map(lambda x: x[which], cold.ends)
    run = run_network(job, data, 12, np.repeat(LADDER, COPIES), np.ones(len(which)), start)
    return chains_of(run, 1 / 6)


def interval(dimension: int) -> tuple[float, float]:
    """Where a kinetic temperature over T lies with probability 0.99."""
    low, high = chi2.interval(LEVEL, dimension)
    return float(low) / dimension, float(high) / dimension


def inside(chains: Chains, step: int) -> Estimate:
    """Share of the kinetic readings in their interval; the error is that of as many independent readings."""
    low, high = interval(chains.dimension)
    readings = chains.kinetic[step]
    return share((readings > low) & (readings < high))


def heated(data: Digits, ladder: Chains) -> Temperatures:
    """What the noise of minibatches makes of temperature 1 at the smallest step of the ladder, on a mode
    that only the prior holds. The noise is measured at the end of a chain."""
    position = jax.tree.map(lambda x: x[0], ladder.ends)
    inputs, ones = (x[:MEASURED] for x in data.system.data)
    of_item = jax.grad(lambda p, x, y: log_likelihood(p, x[None], y[None])[0])
    gradients = jax.vmap(of_item, (None, 0, 0))(position, inputs, ones)
    variance = sum(float(jnp.sum(jnp.var(g, axis=0))) for g in jax.tree.leaves(gradients)) / ladder.dimension
    unit, n = time_unit(data), data.system.n_items
    return thermostat_temperatures(
        "aboba",
        1.0,
        unit * LADDER[0],
        friction_factor=float(np.exp(-FRICTION * LADDER[0])),
        gradient_noise=n**2 / BATCH * variance,
    )


def diagnostics(job: Job, data: Digits, ladder: Chains) -> list[Claim]:
    """The smallest step keeps both temperatures, the heat of the minibatches forgiven; a large one shows."""
    smallest, large = (time_unit(data) * h for h in (LADDER[0], LADDER[-2]))
    expected = heated(data, ladder)
    name = f"Network of digits, SGHMC with step {smallest:.3g}: "
    return [
        Claim(
            f"{name}kinetic temperature over the bath's",
            1.0,
            series.mean(ladder.kinetic[0]),
            allowed=expected.kinetic - 1,
            source="stated",
        ),
        Claim(
            f"{name}share of its readings inside their 99 % interval",
            LEVEL,
            inside(ladder, 0),
            allowed=LEVEL - coverage(ladder.dimension, expected.kinetic),
            source="stated",
        ),
        Claim(
            f"{name}configurational temperature over the bath's",
            1.0,
            series.mean(ladder.configurational[0]),
            allowed=expected.configurational - 1,
            source="stated",
        ),
        Claim(
            f"A step of {large:.3g} is caught: share of readings inside their 99 % interval",
            0.5,
            doubted(decided(inside(ladder, len(LADDER) - 2), 0.5), job.either("", UNTRAINED)),
            "at most",
            source="stated",
        ),
    ]


def coverage(dimension: int, temperature: float) -> float:
    """Probability of the interval at a kinetic temperature that is not the bath's."""
    low, high = (dimension * x / temperature for x in interval(dimension))
    return float(chi2.cdf(high, dimension) - chi2.cdf(low, dimension))


def cold_posteriors(job: Job, cold: Ensembles) -> list[Claim]:
    chilled, bayes = TEMPERATURES.index(0.1), TEMPERATURES.index(1.0)
    named = (("mean test log likelihood in nats", cold.log_likelihood), ("test accuracy", cold.right))
    return [
        Claim(
            f"Cold posteriors predict better than Bayes: {name}, T = 0.1 less T = 1",
            0.0,
            doubted(decided(paired(values[chilled], values[bayes]), 0.0), job.either("", UNTRAINED)),
            "at least",
            source="stated",
        )
        for name, values in named
    ]


@styled
def cold_curve(cold: Ensembles) -> Figure:
    """As the paper's figure 1: accuracy and cross-entropy over the temperature, here the one that is read."""
    figure = Figure(figsize=(WIDTH, 3.5))
    left, right = figure.subplots(1, 2)
    read = np.asarray(TEMPERATURES) * cold.chains.kinetic.mean(axis=(1, 2))
    panels = ((left, cold.right, "test accuracy"), (right, -cold.log_likelihood, "test cross-entropy, nats"))
    for axes, values, title in panels:
        found = [mean(v.mean(axis=1)) for v in values]
        axes.errorbar(read, [f.value for f in found], [2 * f.std_error for f in found], color=BLUE, fmt="o-")
        axes.axvline(1, color=GREY, linewidth=1, linestyle=":")
        axes.set(xscale="log", title=title, xlabel="kinetic temperature (Bayes: 1)")
        plain_log_axis(axes.xaxis, read.min(), read.max())
    return figure


@styled
def step_curve(ladder: Chains) -> Figure:
    """The two thermometers over the step size, at temperature 1; the band is the kinetic one's interval."""
    figure = Figure(figsize=(WIDTH, 3.5))
    axes = figure.subplots()
    axes.axhspan(*interval(ladder.dimension), color=GREY, alpha=0.25, linewidth=0, label="99 % of readings")
    named = (("kinetic", ladder.kinetic, BLUE), ("configurational", ladder.configurational, ORANGE))
    for name, values, color in named:
        found = [mean(v.mean(axis=1)) for v in values]
        errors = [2 * f.std_error for f in found]
        axes.errorbar(
            LADDER, [f.value for f in found], errors, color=color, fmt="o-", markersize=4, label=name
        )
    axes.axhline(1, color=BLACK, linewidth=0.8)
    axes.set(
        xscale="log",
        yscale="log",
        xlabel="step size (for 6,000 images)",
        ylabel="temperature over that of the bath",
    )
    plain_log_axis(axes.xaxis, LADDER[0], LADDER[-1])
    plain_log_axis(axes.yaxis, 0.9, 10)
    axes.set_title("temperatures of the network catch a step that is too large")
    axes.legend(loc="upper left")
    return figure
