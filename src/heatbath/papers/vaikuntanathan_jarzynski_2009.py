"""Dissipation and lag: S. Vaikuntanathan and C. Jarzynski, EPL 87, 60005 (2009).

Dissipated work bounds how far a driven system lags behind equilibrium: T D(p_t || p_eq(t)) <= <W> - dF. Seen
on a dragged trap, on a stiffness that changes at once (where it is an equality), and at a step of 80 % of the
stability limit, where shadow work has to be counted.
"""

import numpy as np
from matplotlib.figure import Figure

from heatbath.core import Control, Linear, simulate
from heatbath.dynamics import OverdampedLangevin
from heatbath.estimate import Estimate
from heatbath.papers.claims import Claim, exactly
from heatbath.papers.replicas import less
from heatbath.papers.reproduction import Job, Reproduction
from heatbath.plotting.style import BLUE, ORANGE, WIDTH, legend_above, styled
from heatbath.relaxation import dissipation_bound, gaussian_fit, relative_entropy
from heatbath.systems import HarmonicTrap
from heatbath.theory.gaussian import divergence

STEP = 0.02
COARSE = 1.6  # 80 % of the stability limit 2/k
TIMES = (0.2, 1.0, 5.0)
KT, STIFF = 0.8, 3.0


def reproduce(job: Job) -> Reproduction:
    dragged = {time: Dragged(job, time, STEP, part) for part, time in enumerate(TIMES)}
    claims = [*dragging(dragged), *breathing(job), *coarse(job), chain()]
    return Reproduction(claims, {"dissipation-and-lag": figure(dragged)})


def exact(time: float) -> tuple[float, float]:
    """Dissipated work and lag in nats of the trap dragged at speed 1 (stiffness, friction, T = 1)."""
    lag = 1 - np.exp(-time)
    return time - lag, lag**2 / 2


def stepwise(time: float, step: float) -> tuple[float, float]:
    """The same for Euler-Maruyama at a finite step, shadow work counted, by recursion of two moments."""
    moves = round(time / step)
    behind, variance, work = 0.0, 1.0, 0.0
    for move in range(moves + 1):
        if move:
            work += step**2 / 2 + step * behind
            behind += step
        before = variance + behind**2
        behind, variance = (1 - step) * behind, (1 - step) ** 2 * variance + 2 * step
        work += step / 4 * (variance + behind**2 - before)
    return work, divergence([-behind], [[variance]], [0.0], [[1.0]])


class Dragged:
    """Simulated: bound from the ledger, and lag from the replicas' positions."""

    def __init__(self, job: Job, time: float, step: float, part: int):
        replicas, moves = job.either(40_000, 4_000), round(time / step)
        begin, end = (Control(1.0, {"stiffness": 1.0, "centre": c}) for c in (0.0, moves * step))
        run = simulate(
            HarmonicTrap(1),
            OverdampedLangevin(step),
            Linear(begin, end, moves),
            key=job.key(part),
            replicas=replicas,
            steps=moves + 1,
            observers={},
            positions=np.random.default_rng(job.key(part + 100)).normal(size=(replicas, 1)),
            progress=job.progress(f"dragged trap (t = {time:g}, step {step:g})"),
        )
        assert run.ledger is not None
        away = np.asarray(run.position) - moves * step
        self.bound = dissipation_bound(np.asarray(run.ledger.reduced_work), 0.0)
        self.lag = gaussian_fit(away, law=(np.zeros(1), np.eye(1)))


def dragging(dragged: dict[float, Dragged]) -> list[Claim]:
    """Both sides of the bound; the finite step is forgiven, as computed."""
    claims = []
    for time, ours in dragged.items():
        (work, lag), (step_work, step_lag) = exact(time), stepwise(time, STEP)
        at = f"trap dragged for t = {time:g}"
        claims += [
            Claim(f"Dissipated work, {at} (kT)", work, ours.bound, allowed=abs(step_work - work)),
            Claim(f"Lag D(p_t || p_eq), {at} (nats)", lag, ours.lag, allowed=abs(step_lag - lag)),
        ]
        if time >= 1:
            text = f"The dissipated work exceeds the lag, {at}: difference"
            claims.append(Claim(text, 0.0, less(ours.bound, ours.lag), "at least", source="stated"))
    return claims


def breathing(job: Job) -> list[Claim]:
    """A stiffness that goes from 1 to 3 at once: nothing has moved, and the bound is an equality."""
    x = np.random.default_rng(job.key(10)).normal(0, np.sqrt(KT), job.either(200_000, 20_000))
    work = (STIFF - 1) * x**2 / 2 / KT
    bound = dissipation_bound(work, np.log(STIFF) / 2)
    lag = divergence([0.0], [[KT]], [0.0], [[KT / STIFF]])
    return [Claim("A stiffness changed at once dissipates exactly its lag (kT)", lag, bound)]


def coarse(job: Job) -> list[Claim]:
    """Euler-Maruyama at 80 % of its stability limit: the bound holds for work and shadow work together."""
    ours = Dragged(job, 5 * COARSE, COARSE, 20)
    work, _ = stepwise(5 * COARSE, COARSE)
    text = "At a coarse time step, work and shadow work together: dissipated (kT)"
    bound = "There too they exceed the lag behind equilibrium: difference"
    return [
        Claim(text, work, ours.bound),
        Claim(bound, 0.0, less(ours.bound, ours.lag), "at least", source="stated"),
    ]


def chain() -> Claim:
    """Two states, energies 0 and e, e from 0 to 2 in 20 jumps (one heat-bath update of rate 0.3 after each):
    exactly, the smallest of dissipated work less lag over the jumps."""
    kt, rate, law, work, slack = 0.7, 0.3, np.array([0.5, 0.5]), 0.0, []
    for energy in np.linspace(0, 2, 21)[1:]:
        work += 0.1 * law[1] / kt
        rest = np.array([1.0, np.exp(-energy / kt)])
        free_energy = np.log(2) - np.log(rest.sum())
        rest = rest / rest.sum()
        law = (1 - rate) * law + rate * rest
        slack.append(work - free_energy - relative_entropy(law, rest))
    text = "Two states driven in 20 jumps: dissipated work never falls below the lag; smallest difference"
    return Claim(text, 0.0, exactly(min(slack)), "at least", source="stated")


@styled
def figure(dragged: dict[float, Dragged]) -> Figure:
    """Dissipated work and lag of the dragged trap; measured points with two standard errors."""
    times = np.linspace(0.05, 6, 200)
    curves = np.array([exact(t) for t in times])
    drawn = Figure(figsize=(WIDTH, 3.4))
    axes = drawn.subplots()
    for i, (name, color) in enumerate((("dissipated work", ORANGE), ("lag: T D(p_t || p_eq)", BLUE))):
        axes.plot(times, curves[:, i], color=color, label=name)
        measured: list[Estimate] = [one.lag if i else one.bound for one in dragged.values()]
        errors = [2 * one.std_error for one in measured]
        axes.errorbar(
            list(dragged), [one.value for one in measured], errors, fmt="o", color=color, markersize=4
        )
    axes.set(title="A dragged trap: exact, and simulated (points)", yscale="log", ylim=(5e-4, 8))
    axes.set(xlabel="time (friction/stiffness)", ylabel="kT")
    legend_above(axes)
    return drawn
