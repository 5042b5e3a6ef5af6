"""Minimum entropy production: I. Prigogine, Etude thermodynamique des phenomenes irreversibles (1947).

Three levels exchange heat with two baths. Close to equilibrium the stationary state is, of all distributions,
the one that produces the least entropy; a second bath that is twice as hot is too far away for that. The
production of the stationary state is also measured on simulated jumps.
"""

import numpy as np
from matplotlib.figure import Figure
from scipy.linalg import expm

from heatbath.estimate import Estimate
from heatbath.papers.claims import Claim, exactly
from heatbath.papers.replicas import mean
from heatbath.papers.reproduction import Job, Reproduction
from heatbath.plotting.style import BLUE, GREY, ORANGE, WIDTH, legend_above, styled
from heatbath.relaxation import DrivenNetwork, relative_entropy

ENERGIES = np.array([0.0, 1.0, 2.0])
CLOSE, FAR = 0.01, 1.0
TIMES = np.linspace(0, 20, 401)


def reproduce(job: Job) -> Reproduction:
    claims = [*close_to_equilibrium(), *far_away(), *jumps(job)]
    return Reproduction(claims, {"excess": excess_figure()}, "none: three levels, exactly and simulated")


def network(difference: float) -> DrivenNetwork:
    """Levels 0, 1, 2; the pair (0, 2) sees a bath at 1 + difference, the others one at 1."""
    hot = 1 + difference
    return DrivenNetwork(ENERGIES, np.array([[0, 1, hot], [1, 0, 1], [hot, 1, 0.0]]))


def excess(difference: float) -> float:
    """By what share the stationary state produces more than the least."""
    levels = network(difference)
    return levels.entropy_production(levels.stationary) / levels.entropy_production(levels.least) - 1


def largest_rise(difference: float, start: np.ndarray) -> float:
    """Of the entropy production on the way from ``start`` to the stationary state; 0 or less if it falls."""
    levels = network(difference)
    generator = levels.rates - np.diag(levels.rates.sum(axis=1))
    production = [levels.entropy_production(start @ expm(generator * t)) for t in TIMES]
    return float(np.max(np.diff(production)))


def close_to_equilibrium() -> list[Claim]:
    """What is missed is of second order in the difference of the temperatures."""
    text = (
        f"Close to equilibrium (dT = {CLOSE:g}) the stationary state produces least: its share of the least"
    )
    falls = (
        "On the way to it from a start nearby the production never rises: largest rise (nats per unit time)"
    )
    order = "The share by which that is missed vanishes as dT^2: exponent between dT = 0.01 and 0.02"
    levels = network(CLOSE)
    nearby = levels.stationary * np.array([1.02, 0.98, 1.0])
    missed = levels.entropy_production(levels.stationary) - levels.entropy_production(levels.least)
    exponent = np.log2(excess(0.02) / excess(0.01))
    return [
        Claim(text, 1.0, exactly(1 + excess(CLOSE)), allowed=CLOSE**2, source="stated"),
        Claim(
            falls,
            0.0,
            exactly(largest_rise(CLOSE, nearby / nearby.sum())),
            "at most",
            allowed=missed,  # it can rise from the least to the stationary value
            source="stated",
        ),
        Claim(order, 2.0, exactly(exponent), allowed=0.05),  # the next order, about 2 dT of the exponent
    ]


def far_away() -> list[Claim]:
    """The theorem is one of the linear regime."""
    levels = network(FAR)
    fails = f"Far from it (dT = {FAR:g}) it does not: share by which the stationary state is above the least"
    apart = "The distribution of least production is another one: its divergence from the stationary (nats)"
    rises = "Started there the production rises on the way to the stationary state (nats per unit time)"
    apart_by = relative_entropy(levels.stationary, levels.least)
    return [
        Claim(fails, 0.0, exactly(excess(FAR)), "at least", source="stated"),
        Claim(apart, 0.0, exactly(apart_by), "at least", source="stated"),
        Claim(rises, 0.0, exactly(largest_rise(FAR, levels.least)), "at least", source="stated"),
    ]


def jumps(job: Job) -> list[Claim]:
    """Entropy given to the baths by simulated jumps, in the stationary state all that is produced."""
    claims = []
    for part, difference in enumerate((FAR, 4.0)):
        levels = network(difference)
        job.say(f"jumps between three levels, dT = {difference:g}")
        text = f"Entropy produced in the stationary state, dT = {difference:g}, on simulated jumps"
        exact = levels.entropy_production(levels.stationary)
        claims.append(Claim(text, exact, simulated(job, levels, part)))
    return claims


def simulated(job: Job, levels: DrivenNetwork, part: int) -> Estimate:
    """Rate of ln(w_ij/w_ji) along jumps, by uniformisation: exact in law."""
    replicas, steps = job.either((4_000, 4_000), (1_000, 2_000))
    rng = np.random.default_rng(job.key(part))
    rates = levels.rates
    fastest = rates.sum(axis=1).max()
    chances = np.cumsum(rates / fastest + np.diag(1 - rates.sum(axis=1) / fastest), axis=1)
    flow = np.log(np.where(rates > 0, rates, 1.0))
    flow = flow - flow.T
    state = rng.choice(3, replicas, p=levels.stationary)
    made = np.zeros(replicas)
    for _ in range(steps):
        new = np.minimum((rng.random(replicas)[:, None] > chances[state]).sum(axis=1), 2)
        made += flow[state, new]
        state = new
    return mean(made * fastest / steps)


@styled
def excess_figure() -> Figure:
    """Production of the stationary state and the least, and by what share they differ."""
    differences = np.geomspace(0.01, 8, 40)
    shares = [excess(d) for d in differences]
    figure = Figure(figsize=(WIDTH, 3.4))
    left, right = figure.subplots(1, 2)
    for name, color in (("stationary", BLUE), ("least", ORANGE)):
        made = [network(d).entropy_production(getattr(network(d), name)) for d in differences]
        left.plot(differences, made, color=color, label=name, linestyle="-" if name == "stationary" else "--")
    left.set(title="Entropy production", ylabel="nats per unit time")
    right.plot(differences, shares, color=BLUE)
    right.plot(
        differences, shares[0] * (differences / differences[0]) ** 2, color=GREY, linestyle=":", label="dT^2"
    )
    right.set(title="Stationary above least", ylabel="share of the least")
    for axes in (left, right):
        axes.set(xlabel="dT/T of the baths", xscale="log", yscale="log")
        legend_above(axes)
    right.set_ylim(shares[0] / 2, 10 * max(shares))
    return figure
