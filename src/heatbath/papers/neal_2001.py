"""Annealed importance sampling: R. M. Neal, Statistics and Computing 11, 125 (2001).

Runs from the prior to the posterior weigh themselves: the mean weight is the evidence at any number of
steps, however badly the chains mix, and weights the ends right. On one Gaussian parameter, where all is
known, and on two separate modes, where chains alone are wrong.
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.figure import Figure

from heatbath.dynamics import HMC
from heatbath.estimate import Estimate
from heatbath.free_energy import annealed_importance_sampling
from heatbath.papers.annealed_runs import annealed, powers, reduced_work
from heatbath.papers.claims import Claim
from heatbath.papers.replicas import decided, jackknife
from heatbath.papers.reproduction import Job, Reproduction
from heatbath.plotting.style import BLACK, BLUE, ORANGE, WIDTH, plain_log_axis, styled
from heatbath.systems import Posterior
from heatbath.theory import annealing_exact

TARGET, NOISE = 1.0, 0.3  # of the one datum of the Gaussian case
MOVES = (10, 40, 160, 640)
NARROW, SHARE, AWAY = 0.1, 0.25, 3.0  # of the modes: width, weight and place of the right one


def reproduce(job: Job) -> Reproduction:
    ladder = gaussian(job)
    ends = modes(job)
    claims = [*unbiased(ladder), *faster(ladder), *weighted(ends)]
    return Reproduction(claims, {"figure-1": ladder_figure(ladder), "figure-2": modes_figure(ends)})


def gaussian(job: Job) -> dict[int, np.ndarray]:
    """Log weights of runs of each number of moves: theta ~ N(0, 1), one datum theta + N(0, 0.3^2)."""
    posterior = Posterior(
        lambda w: -(w**2) / 2 - jnp.log(2 * jnp.pi) / 2,
        lambda w, x, y: -((y - w * x) ** 2) / (2 * NOISE**2) - jnp.log(2 * jnp.pi * NOISE**2) / 2,
        lambda key: jax.random.normal(key),
        (jnp.ones(1), jnp.full(1, TARGET)),
        precise=True,
    )
    found, replicas = {}, job.either(20_000, 4_000)
    for part, moves in enumerate(MOVES[: job.either(4, 3)]):
        start = jax.random.normal(jax.random.key(job.key(10 + part)), (replicas,))
        run = annealed(job, part, posterior, powers(moves), HMC(0.25, 5, 0.5), start)
        found[moves] = -reduced_work(run)
    return found


@dataclass(frozen=True, eq=False)
class Ends:
    """Where runs to two modes ended, and their log weights (replicas,)."""

    positions: np.ndarray
    log_weights: np.ndarray

    @property
    def right(self) -> np.ndarray:
        return (self.positions > 0).astype(float)


def modes(job: Job) -> Ends:
    """From N(0, 2^2) to a broad mode on the left and, on the right, a narrow one with a quarter of it all."""

    def log_reference(x):
        return -(x**2) / 8 - jnp.log(8 * jnp.pi) / 2

    def log_target(x):
        left = jnp.log(1 - SHARE) - (x + AWAY) ** 2 / 2
        right = jnp.log(SHARE / NARROW) - ((x - AWAY) / NARROW) ** 2 / 2
        return jnp.logaddexp(left, right) - jnp.log(2 * jnp.pi) / 2

    posterior = Posterior(
        log_reference,
        lambda w, x, y: (log_target(w) - log_reference(w)) * x,
        lambda key: 2 * jax.random.normal(key),
        (jnp.ones(1), jnp.ones(1)),
        precise=True,
    )
    start = 2 * jax.random.normal(jax.random.key(job.key(20)), (job.either(20_000, 4_000),))
    run = annealed(job, 5, posterior, powers(job.either(400, 100)), HMC(0.1, 5, 0.5), start)
    return Ends(np.asarray(run.position), -reduced_work(run))


def unbiased(ladder: dict[int, np.ndarray]) -> list[Claim]:
    exact = float(annealing_exact.evidence_log_partition(1.0, TARGET, NOISE))
    return [
        Claim(
            f"Gaussian, {moves} moves: ln of the mean weight is the log evidence",
            exact,
            annealed_importance_sampling(log_weights),
            scale=1.0,
        )
        for moves, log_weights in ladder.items()
    ]


def variance(log_weights: np.ndarray) -> Estimate:
    """Of the log weights, (replicas,), from groups of replicas."""
    groups = log_weights.reshape(20, -1)
    return jackknife(lambda x: float(np.var(x, ddof=1)), groups)


def faster(ladder: dict[int, np.ndarray]) -> list[Claim]:
    """The variance of the log weights falls as one over the number of moves."""
    long = max(ladder)
    short = long // 4
    ratio = jackknife(
        lambda a, b: float(np.var(a, ddof=1) / np.var(b, ddof=1)),
        ladder[short].reshape(20, -1),
        ladder[long].reshape(20, -1),
    )
    return [
        Claim(
            f"Variance of the log weights, {short} moves over {long}",
            4.0,
            ratio,
            allowed=0.8,  # the law holds for many moves, and chains that have relaxed at each
            source="stated",
        )
    ]


def weighted(ends: Ends) -> list[Claim]:
    def share(right: np.ndarray, log_weights: np.ndarray) -> float:
        weights = np.exp(log_weights - log_weights.max())
        return float(np.sum(weights * right) / np.sum(weights))

    groups = [x.reshape(20, -1) for x in (ends.right, ends.log_weights)]
    plain = jackknife(lambda right: float(right.mean()), groups[0])
    return [
        Claim("Two modes: weight of the narrow one in the weighted ends", SHARE, jackknife(share, *groups)),
        Claim(
            "In the ends without weights it is off, by",
            0.01,
            decided(Estimate(abs(plain.value - SHARE), plain.std_error), 0.01),
            "at least",
            source="stated",
        ),
        Claim(
            "Two modes: ln of the mean weight is that of a normalised density",
            0.0,
            annealed_importance_sampling(ends.log_weights),
            scale=1.0,
        ),
    ]


@styled
def ladder_figure(ladder: dict[int, np.ndarray]) -> Figure:
    """Log weights over the number of moves."""
    figure = Figure(figsize=(WIDTH, 3.5))
    axes = figure.subplots()
    found = [variance(w) for w in ladder.values()]
    axes.errorbar(
        list(ladder), [f.value for f in found], [2 * f.std_error for f in found], fmt="o-", color=BLUE
    )
    moves = np.array(list(ladder), float)
    axes.plot(
        moves, found[-1].value * moves[-1] / moves, color=BLACK, linewidth=0.8, label="one over the moves"
    )
    axes.set(xscale="log", yscale="log", xlabel="moves from the prior to the posterior", ylabel="nats^2")
    axes.set_title("variance of the log weights")
    plain_log_axis(axes.xaxis, moves[0], moves[-1])
    plain_log_axis(axes.yaxis, *axes.get_ylim())
    axes.legend()
    return figure


@styled
def modes_figure(ends: Ends) -> Figure:
    """Where the runs end, with their weights and without."""
    figure = Figure(figsize=(WIDTH, 3.5))
    axes = figure.subplots()
    weights, edges = np.exp(ends.log_weights - ends.log_weights.max()), np.linspace(-7, 4, 111)
    for label, w, color in (("without weights", np.ones_like(weights), ORANGE), ("weighted", weights, BLUE)):
        heights, _ = np.histogram(ends.positions, edges, weights=w, density=True)
        axes.stairs(heights, edges, color=color, label=label)
    x = np.linspace(-7, 4, 2_000)
    density = (1 - SHARE) * np.exp(-((x + AWAY) ** 2) / 2)
    density += SHARE / NARROW * np.exp(-(((x - AWAY) / NARROW) ** 2) / 2)
    axes.plot(x, density / np.sqrt(2 * np.pi), color=BLACK, linewidth=0.8, label="target")
    axes.set(xlabel="x", ylabel="density", yscale="log", ylim=(1e-4, 3))
    axes.set_title("ends of the runs to two modes")
    axes.legend()
    return figure
