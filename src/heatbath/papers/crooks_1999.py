"""Entropy production fluctuation theorem: G. E. Crooks, Phys. Rev. E 60, 2721 (1999).

P_F(W) / P_R(-W) = exp((W - dF)/T), W the work of a run from equilibrium and of its exact time reverse: both
distributions cross at dF, and the logarithm of their ratio has slope 1. Two states, all paths listed; a trap
that stiffens in a few jumps, at 80 % of the dynamics' stability limit; benzene in water; a DNA hairpin.
"""

from functools import reduce

import numpy as np
from matplotlib.figure import Figure

from heatbath.core import Dynamics
from heatbath.data import benzene, hairpin
from heatbath.dynamics import HMC, MALA, Langevin, OverdampedLangevin
from heatbath.errors import Refused
from heatbath.estimate import Estimate
from heatbath.free_energy import bar, crooks
from heatbath.papers.both_directions import fitted, histograms
from heatbath.papers.claims import Claim, exactly
from heatbath.papers.replicas import doubted, mean
from heatbath.papers.reproduction import Job, Reproduction
from heatbath.papers.traps import Trap, reduced_work
from heatbath.plotting.style import BLACK, BLUE, ORANGE, WIDTH, styled
from heatbath.theory import two_state

TRAP = Trap((1.0, 2.0), (0.0, 0.7), 1.0, 5)
DYNAMICS: dict[str, Dynamics] = {
    "Euler-Maruyama": OverdampedLangevin(0.8),  # stable below 2 / the largest stiffness
    "BAOAB": Langevin(1.13),  # below 2 / its root
    "MALA": MALA(0.8),
    "HMC": HMC(0.5, 2),
}
LEVELS, UPDATE, T = np.linspace(0, 2, 21), 0.3, 0.7
BENZENE = 3.0412  # kT, MBAR of all five states; the data come with heatbath

Works = tuple[np.ndarray, np.ndarray]


def reproduce(job: Job) -> Reproduction:
    replicas = job.either(100_000, 10_000)
    works = {name: both_ways(job, name, replicas, i) for i, name in enumerate(DYNAMICS)}
    claims = listed_paths()
    for name, both in works.items():
        claims += driven(name, *both)
    claims += charges()
    figures = {"two-states": atoms(), "trap": histograms(*works["Euler-Maruyama"])}
    try:
        pulls = hairpin()
    except Refused as refusal:
        claims += [
            Claim(text, value, None, source="stated", reason=str(refusal)) for text, value in PULLED.items()
        ]
    else:
        claims += pulled(*pulls)
        figures["hairpin"] = histograms(*pulls)
    return Reproduction(
        claims, figures, "benzene in water, which comes with heatbath; a DNA hairpin if there"
    )


def both_ways(job: Job, name: str, replicas: int, part: int) -> Works:
    """Reduced work of the forward runs, and of those that retrace them."""
    forward, reverse = (
        TRAP.run(job, DYNAMICS[name], replicas, 2 * part + back, reverse=bool(back)) for back in (0, 1)
    )
    return reduced_work(forward), reduced_work(reverse)


def listed_paths() -> list[Claim]:
    """Two states, 20 jumps of the energy, a heat-bath update with probability 0.3 after each."""
    ahead, back = (two_state.work_distribution(levels, UPDATE, T) for levels in (LEVELS, LEVELS[::-1]))
    difference = two_state.free_energy(0, 2, T)
    ratio = np.log(ahead.probability / back.probability[::-1])
    worst = float(np.abs(ratio - (ahead.work - difference) / T).max())
    average = float(ahead.probability @ np.exp(-(ahead.work - difference) / T))
    return [
        Claim(
            f"Two states: largest error of the theorem over all {len(ahead.work)} values of the work (nats)",
            0.0,
            exactly(worst),
            allowed=1e-8,
            scale=1.0,
        ),
        Claim(
            "Its consequence, Jarzynski's equality: <exp(-(W - dF)/T)>", 1.0, exactly(average), allowed=1e-12
        ),
        Claim(
            "Dissipated work over T is the divergence of both distributions of work",
            (ahead.mean - difference) / T,
            exactly(two_state.arrow_of_time(ahead, back)),
            allowed=1e-12,
        ),
    ]


def driven(name: str, forward: np.ndarray, reverse: np.ndarray) -> list[Claim]:
    """The trap under one dynamics; shadow work is part of the work."""
    where, fit = f"trap under {name} in 5 jumps, at a long step", crooks(forward, reverse)
    return [
        Claim(f"ln P_F(W)/P_R(-W) has slope 1: {where}", 1.0, fitted(fit.slope)),
        Claim(f"P_F(W) and P_R(-W) cross at dF: {where}", TRAP.free_energy, fitted(fit.crossing)),
        Claim(f"Bennett's acceptance ratio is dF: {where}", TRAP.free_energy, bar(forward, reverse)),
    ]


def charges() -> list[Claim]:
    """Sudden switches between neighbours among five states, each from equilibrium, both ways."""
    windows = benzene("coulomb")
    works = [(windows.work(i, i + 1), windows.work(i + 1, i)) for i in range(len(windows.lambdas) - 1)]
    text = "Slope 1: charges of benzene in water, between states"
    claims = [
        Claim(f"{text} {i} and {i + 1}", 1.0, fitted(crooks(*both).slope)) for i, both in enumerate(works)
    ]
    steps = [bar(*both) for both in works]
    # The errors of neighbours are not independent, so they are added and not their squares.
    total = Estimate(sum(step.value for step in steps), sum(step.std_error for step in steps))
    total = reduce(lambda whole, step: doubted(whole, step.reason), steps, total)
    return [*claims, Claim("Charges of benzene in water: acceptance ratios, summed", BENZENE, total)]


PULLED = {  # with the number of the theory
    "DNA hairpin: unfolding and refolding together dissipate (kT)": 0.0,
    "DNA hairpin: ln P_F(W)/P_R(-W) has slope 1": 1.0,
    "DNA hairpin: from the acceptance ratio to the crossing, in standard errors of the former": 0.0,
}


def pulled(forward: np.ndarray, reverse: np.ndarray) -> list[Claim]:
    """96 pulls each way, in kT."""
    fit, ratio = crooks(forward, reverse), bar(forward, reverse)
    both = mean(forward + reverse)
    apart = exactly((fit.crossing.value - ratio.value) / ratio.std_error)
    lost, slope, crossing = PULLED
    return [
        Claim(lost, 0.0, both, "at least", source="stated"),
        Claim(slope, 1.0, fitted(fit.slope)),
        # Both estimate dF from the same pulls.
        Claim(crossing, 0.0, doubted(apart, ratio.reason), allowed=1.0, scale=1.0, source="stated"),
    ]


@styled
def atoms() -> Figure:
    """Two states: both distributions, and where their ratio lies on the line of slope 1."""
    ahead, back = (two_state.work_distribution(levels, UPDATE, T) for levels in (LEVELS, LEVELS[::-1]))
    difference = two_state.free_energy(0, 2, T)
    figure = Figure(figsize=(WIDTH, 3.2))
    left, right = figure.subplots(1, 2)
    for atoms, sign, name, color in ((ahead, 1, "P_F(W)", BLUE), (back, -1, "P_R(-W)", ORANGE)):
        left.plot(sign * atoms.work, atoms.probability, "o-", color=color, markersize=3, label=name)
    left.axvline(difference, color=BLACK, linewidth=1.0, label="dF")
    left.set(title="Two states", xlabel=f"work (energy units, T = {T:g})", ylabel="probability", yscale="log")
    left.legend()
    ratio = np.log(ahead.probability / back.probability[::-1])
    right.plot(ahead.work, (ahead.work - difference) / T, color=BLACK, label="(W - dF)/T")
    right.plot(ahead.work, ratio, "o", color=BLUE, markersize=4, label="all paths")
    right.set(title="Crooks' theorem", xlabel="work (energy units)", ylabel="ln P_F(W)/P_R(-W)")
    right.legend()
    return figure
