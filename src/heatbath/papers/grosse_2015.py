"""Sandwiching the marginal likelihood: R. Grosse, Z. Ghahramani and R. Adams, arXiv:1511.02543 (2015).

Annealing from the prior bounds the log evidence from below, annealing back from an exact draw of the
posterior bounds it from above; the gap is what both dissipate. On data simulated from the model the
parameters that made them are such a draw. Here linear regression, where all is exact.
"""

from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
from matplotlib.figure import Figure
from scipy.stats import norm

from heatbath.dynamics import HMC
from heatbath.estimate import Estimate
from heatbath.free_energy import lower_bound, sandwich
from heatbath.papers import regressions
from heatbath.papers.annealed_runs import annealed, powers, reduced_work
from heatbath.papers.claims import Claim
from heatbath.papers.replicas import decided, jackknife, mean
from heatbath.papers.reproduction import Job, Reproduction
from heatbath.plotting.style import BLACK, BLUE, GREY, ORANGE, WIDTH, plain_log_axis, styled

ROWS, FEATURES, NOISE = 40, 5, 0.5
MOVES = (10, 30, 100, 300)
REPLICAS = 1_000


def reproduce(job: Job) -> Reproduction:
    data = Simulated.of(job.seed)
    runs = {moves: data.both_ways(job, part, moves) for part, moves in enumerate(MOVES[: job.either(4, 3)])}
    claims = [*bounds(data, runs), *narrower(runs), *bennett(data, runs)]
    return Reproduction(claims, {"figure-1": closing(data, runs)})


@dataclass(frozen=True, eq=False)
class Works:
    """Reduced work in nats, (replicas,) each: from the prior to the posterior, and back."""

    forward: np.ndarray
    reverse: np.ndarray


@dataclass(frozen=True, eq=False)
class Simulated:
    """Linear regression with weights ~ N(0, 1) and targets made by one draw of them."""

    inputs: np.ndarray
    targets: np.ndarray

    @staticmethod
    def of(seed: int) -> "Simulated":
        rng = np.random.default_rng(seed)
        x, w = rng.normal(size=(ROWS, FEATURES)), rng.normal(size=FEATURES)
        return Simulated(x, x @ w + NOISE * rng.normal(size=ROWS))

    @property
    def log_evidence(self) -> float:
        return regressions.log_evidence(self.inputs, self.targets, NOISE)

    def exact_draws(self, rng: np.random.Generator, count: int) -> np.ndarray:
        """From the posterior, which is normal: as many as there are replicas, for an error bar."""
        centre = regressions.mode(self.inputs, self.targets, NOISE)
        covariance = np.linalg.inv(regressions.precision(self.inputs, NOISE))
        return rng.multivariate_normal(centre, covariance, count)

    def both_ways(self, job: Job, part: int, moves: int) -> Works:
        posterior = regressions.bayesian(self.inputs, self.targets, NOISE)
        rng, dynamics = np.random.default_rng(job.key(30 + part)), HMC(0.08, 5, 0.5)
        prior = jnp.asarray(rng.normal(size=(REPLICAS, FEATURES)))
        end = jnp.asarray(self.exact_draws(rng, REPLICAS))
        up = annealed(job, 2 * part, posterior, powers(moves), dynamics, prior)
        down = annealed(job, 2 * part + 1, posterior, powers(moves)[::-1], dynamics, end)
        return Works(reduced_work(up), reduced_work(down))


def between(works: Works) -> Estimate:
    """The log evidence by Bennett's acceptance ratio, not reliable where the two sides disagree."""
    both = sandwich(works.forward, works.reverse)
    return Estimate(-both.bar.value, both.bar.std_error, both.bar.ess, both.reliable, both.reason)


def bounds(data: Simulated, runs: dict[int, Works]) -> list[Claim]:
    exact, claims = data.log_evidence, []
    for moves, works in runs.items():
        below, above = mean(-works.forward), mean(works.reverse)
        name = f"{moves} moves: mean of the log weights less the log evidence"
        claims.append(Claim(f"Forward, {name}", 0.0, _less(below, exact), "at most", source="stated"))
        name = f"{moves} moves: mean of minus the log weights less the log evidence"
        claims.append(Claim(f"Reverse, {name}", 0.0, _less(above, exact), "at least", source="stated"))
    short = min(runs)
    sure = lower_bound(runs[short].forward, 0.9999)
    claims.append(
        Claim(
            f"{short} moves: the bound that holds with probability 0.9999, less the log evidence",
            0.0,
            Estimate(sure - exact, 0.0),
            "at most",
            source="derived",
        )
    )
    return claims


def _less(estimate: Estimate, exact: float) -> Estimate:
    return Estimate(estimate.value - exact, estimate.std_error, estimate.ess)


def narrower(runs: dict[int, Works]) -> list[Claim]:
    """The gap between both means closes as one over the number of moves."""
    long = max(runs)
    short = sorted(runs)[-2]
    gaps = [works.forward + works.reverse for works in (runs[short], runs[long])]
    ratio = jackknife(lambda a, b: float(a.mean() / b.mean()), *(gap.reshape(20, -1) for gap in gaps))
    return [
        Claim(
            f"Gap of the means, {short} moves over {long}, is at least half of {long / short:.3g}",
            long / short / 2,
            decided(ratio, long / short / 2),
            "at least",
            source="stated",
        )
    ]


def bennett(data: Simulated, runs: dict[int, Works]) -> list[Claim]:
    claims = []
    for moves, works in runs.items():
        text = f"{moves} moves: log evidence by Bennett's acceptance ratio"
        claims.append(Claim(text, data.log_evidence, between(works), scale=1.0))
    return claims


@styled
def closing(data: Simulated, runs: dict[int, Works]) -> Figure:
    """Both bounds close on the log evidence as the runs get longer."""
    figure = Figure(figsize=(WIDTH, 3.5))
    axes = figure.subplots()
    moves, exact = list(runs), data.log_evidence
    for label, color, estimates in (
        ("from above: reverse", ORANGE, [mean(w.reverse) for w in runs.values()]),
        ("Bennett", GREY, [between(w) for w in runs.values()]),
        ("from below: forward", BLUE, [mean(-w.forward) for w in runs.values()]),
    ):
        values, errors = (
            [e.value - exact for e in estimates],
            [norm.ppf(0.975) * e.std_error for e in estimates],
        )
        axes.errorbar(moves, values, errors, fmt="o-", color=color, label=label)
    axes.axhline(0, color=BLACK, linewidth=0.8)
    axes.set(xscale="log", yscale="symlog", xlabel="moves", ylabel="nats from the log evidence")
    axes.set_title("annealing both ways")
    plain_log_axis(axes.xaxis, moves[0], moves[-1])
    axes.legend()
    return figure
