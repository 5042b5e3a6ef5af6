"""Nonequilibrium equality for free energy differences: C. Jarzynski, Phys. Rev. Lett. 78, 2690 (1997).

The average of exp(-W/T) over runs from equilibrium is exp(-dF/T), however fast they are. Here a trap is
dragged or stiffened under three dynamics of the program, at steps far from small: with the shadow work
counted the equality holds at any. Then two states, all paths listed; benzene in water; a DNA hairpin.
"""

from functools import reduce

import numpy as np
from matplotlib.figure import Figure

from heatbath.core import Dynamics
from heatbath.data import benzene, hairpin
from heatbath.dynamics import MALA, Langevin, OverdampedLangevin
from heatbath.errors import Refused
from heatbath.estimate import Estimate
from heatbath.free_energy import jarzynski, second_cumulant
from heatbath.papers.claims import Claim, exactly
from heatbath.papers.replicas import doubted, mean
from heatbath.papers.reproduction import Job, Reproduction
from heatbath.papers.traps import Trap, reduced_work, variance
from heatbath.plotting.style import BLACK, BLUE, GREEN, ORANGE, WIDTH, styled
from heatbath.theory import breathing_trap, driven_trap, langevin_relaxation, two_state
from heatbath.theory.driven_trap import Kernel

T = 0.8
DRAGGED = Trap((1.0, 1.0), (0.0, 1.5), T, 10)
BREATHING = Trap((1.0, 3.0), (0.0, 0.0), T, 10)
KERNELS: dict[str, tuple[Dynamics, Kernel | None]] = {
    "Euler-Maruyama": (OverdampedLangevin(0.15), driven_trap.euler_maruyama(0.15, T)),
    "BAOAB": (Langevin(0.5), driven_trap.baoab(0.5, 1.0, T)),
    "MALA": (MALA(0.15), None),
}
MOVES = (1, 2, 5, 20, 60)
BENZENE = 3.0412  # kT, MBAR of all five states; the data come with heatbath


def reproduce(job: Job) -> Reproduction:
    replicas = job.either(100_000, 10_000)
    claims, part = [], 0
    for title, trap in (("dragged", DRAGGED), ("stiffened", BREATHING)):
        for name, (dynamics, kernel) in KERNELS.items():
            books = trap.run(job, dynamics, replicas, part)
            claims += driven(f"trap {title} under {name}", trap, kernel, reduced_work(books))
            if trap is BREATHING and name == "Euler-Maruyama":  # the others err by less than can be seen
                claims.append(protocol_work(name, trap, kernel, np.asarray(books.work) / T))
            part += 1
    times = ramps(job, replicas)
    claims += [*speeds(times), *near_equilibrium(), listed_paths(), charges(), one_sided()]
    figures = {"switching-time": switching_times(times)}
    return Reproduction(
        claims, figures, "benzene in water, which comes with heatbath; a DNA hairpin if there"
    )


def driven(where: str, trap: Trap, kernel: Kernel | None, work: np.ndarray) -> list[Claim]:
    """The equality, the second law, and the moments that the step size must give; all in kT."""
    found, average = jarzynski(work), mean(work)
    lost = average.value - trap.free_energy
    claims = [
        Claim(f"-ln <exp(-W/T)> is dF/T: {where}", trap.free_energy, found, scale=lost),
        Claim(f"<W> >= dF: {where}", trap.free_energy, average, "at least", source="stated"),
    ]
    if kernel is not None:
        exact = trap.exact(kernel)
        claims += [
            Claim(f"Mean total work at this step: {where}", exact.total_mean / T, average),
            Claim(f"Its variance: {where}", exact.total_variance / T**2, variance(work)),
        ]
    return claims


def protocol_work(name: str, trap: Trap, kernel: Kernel | None, work: np.ndarray) -> Claim:
    """A finite step does work too: without it the equality gives another number, which is known exactly."""
    assert kernel is not None
    found = jarzynski(work)
    off = Estimate(found.value - trap.free_energy, found.std_error, found.ess, found.reliable, found.reason)
    text = f"Trap stiffened under {name}, shadow work left out: -ln <exp(-W/T)> is off dF/T by"
    return Claim(text, -trap.exact(kernel).protocol_average - trap.free_energy, off)


def ramps(job: Job, replicas: int) -> dict[int, np.ndarray]:
    """Reduced work of the stiffening trap in fewer and more jumps, under BAOAB."""
    dynamics = KERNELS["BAOAB"][0]
    return {
        moves: reduced_work(BREATHING._replace(moves=moves).run(job, dynamics, replicas, 100 + moves))
        for moves in job.either(MOVES, MOVES[1:4])
    }


def speeds(times: dict[int, np.ndarray]) -> list[Claim]:
    """Fast runs dissipate; the equality does not mind as long as the tail of the work is sampled."""
    return [
        Claim(
            f"-ln <exp(-W/T)> does not depend on the speed: stiffened in {moves} jump{'s' * (moves > 1)}",
            BREATHING.free_energy,
            jarzynski(work),
        )
        for moves, work in times.items()
    ]


def near_equilibrium() -> list[Claim]:
    """Slow runs: what is dissipated is variance/2T. Sudden ones: it is not."""
    slow = breathing_trap.jumps(np.linspace(1, 3, 2001), 1.0, T, 0.05)
    lost = slow.mean - breathing_trap.free_energy(1, 3, T)
    sudden = langevin_relaxation.quench([[1.0]], [[3.0]], [0.0], T)
    missed = (sudden.mean - sudden.variance / (2 * T) - sudden.free_energy) / T
    return [
        Claim(
            "Slow limit: dissipated work over variance/2T is 1 (trap stiffened in 100 relaxation times)",
            1.0,
            exactly(lost / (slow.variance / (2 * T))),
            allowed=0.05,  # of the order of relaxation time / duration
        ),
        Claim(
            "Sudden stiffening: mean - variance/2T misses dF, by -0.1 kT or more",
            -0.1,
            exactly(missed),
            "at most",
            source="stated",
        ),
    ]


def listed_paths() -> Claim:
    """Two states, 20 jumps of the energy, a heat-bath update with probability 0.3 after each."""
    paths = two_state.work_distribution(np.linspace(0, 2, 21), 0.3, 0.7)
    return Claim(
        "Two states, all paths listed: -T ln <exp(-W/T)> is dF",
        two_state.free_energy(0, 2, 0.7),
        exactly(paths.free_energy(0.7)),
        allowed=1e-12,
    )


def charges() -> Claim:
    """Four sudden switches, each from equilibrium, added up."""
    windows = benzene("coulomb")
    steps = [jarzynski(windows.work(i, i + 1)) for i in range(len(windows.lambdas) - 1)]
    error = float(np.sqrt(sum(step.std_error**2 for step in steps)))
    total = Estimate(sum(step.value for step in steps), error)
    total = reduce(lambda whole, step: doubted(whole, step.reason), steps, total)
    text = "Charges of benzene in water switched off in four sudden steps: sum of -ln <exp(-W/T)>"
    # MBAR's own standard error at this number: two estimates from the same samples.
    return Claim(text, BENZENE, total, allowed=0.021)


def one_sided() -> Claim:
    """96 pulls whose work has a variance of 4.5: the average rests on paths that are hardly there."""
    text = "DNA hairpin: estimates from one direction that may be relied on, of unfolding, refolding"
    try:
        forward, reverse = hairpin()
    except Refused as refusal:
        return Claim(text, 0.0, None, source="stated", reason=str(refusal))
    trusted = sum(jarzynski(work).reliable for work in (forward, reverse))
    return Claim(text, 0.0, exactly(trusted), source="stated", scale=1.0)


@styled
def switching_times(times: dict[int, np.ndarray]) -> Figure:
    """Mean work, exponential average and second cumulant over the number of jumps; lines are exact."""
    kernel = KERNELS["BAOAB"][1]
    assert kernel is not None
    moves = np.unique(np.geomspace(1, 100, 30).astype(int))
    exact = [BREATHING._replace(moves=int(n)).exact(kernel) for n in moves]
    means = np.array([one.total_mean / T for one in exact])
    cumulants = means - np.array([one.total_variance / (2 * T**2) for one in exact])
    figure = Figure(figsize=(0.62 * WIDTH, 3.6))
    axes = figure.subplots()
    axes.axhline(BREATHING.free_energy, color=BLACK, linewidth=1.3, label="dF")
    axes.plot(moves, means, color=BLUE)
    axes.plot(moves, cumulants, color=GREEN)
    for name, estimator, color in (
        ("mean work", mean, BLUE),
        ("-ln <exp(-W/T)>", jarzynski, ORANGE),
        ("mean - variance/2", second_cumulant, GREEN),
    ):
        found = [estimator(work) for work in times.values()]
        bars = [2 * one.std_error for one in found]
        axes.errorbar(
            list(times), [one.value for one in found], bars, fmt="o", color=color, markersize=4, label=name
        )
    axes.set(title="Trap stiffened threefold", xlabel="jumps of the stiffness", ylabel="kT", xscale="log")
    axes.legend(loc="lower right")
    return figure
