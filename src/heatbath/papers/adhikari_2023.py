"""Machine learning in and out of equilibrium: S. Adhikari and others, arXiv 2306.03521 (2023).

The stationary state of SGD is out of equilibrium: probability flows in circles, and entropy production obeys
fluctuation theorems. How minibatches are drawn decides what is stationary; without replacement SGLD (SGWORLD)
comes much nearer to the posterior. Here a linear regression of two weights, whose posterior is known.
"""

from typing import Any

import jax.numpy as jnp
import numpy as np
from matplotlib.figure import Figure
from scipy.special import expit

from heatbath.core import Constant, Control, PerReplica, Run, simulate
from heatbath.dynamics import SGD, SGLD, SGWORLD, OverdampedLangevin, Reshuffled, WithReplacement
from heatbath.estimate import Estimate
from heatbath.papers.claims import Claim
from heatbath.papers.regressions import gaussian, regression
from heatbath.papers.replicas import less, mean
from heatbath.papers.reproduction import Job, Reproduction
from heatbath.plotting.style import BLACK, BLUE, GREEN, GREY, ORANGE, WIDTH, plain_log_axis, styled
from heatbath.theory.least_squares import (
    Problem,
    gradient_covariance,
    least_squares,
    reshuffled,
    second_moment,
)
from heatbath.thermometry import area_rates, entropy_production

BATCH = 50
EXAMPLES = 1_000
DATA_SEED = 2968811710
FAST = 0.5  # step of SGD on the mean loss, where it circulates
FEW = 8  # examples, where all orders of an epoch can be summed
RATE_OF_FEW = 0.05
GENTLE = 1e-3  # at which five steps of SGLD produce about half a nat
RATES = (0.015, 0.05, 0.15)  # steps of the samplers on the mean loss


def reproduce(job: Job) -> Reproduction:
    problem, targets = recipe()
    moving, still = circulation(job, problem, targets)
    works = {name: work(job, problem, targets, name) for name in ("with", "without")}
    samplers = temperatures(job, problem, targets)
    claims = [
        *currents(problem, moving, still),
        *fluctuation_theorems(works),
        *orders(job, problem, targets),
        *posterior(job, problem, samplers),
    ]
    figures = {
        "currents": flow(problem, moving),
        "fluctuation-theorems": histogram(works["with"]),
        "sgworld": convergence(problem, samplers),
    }
    return Reproduction(claims, figures, f"{EXAMPLES} examples drawn from a recipe")


def recipe() -> tuple[Problem, np.ndarray]:
    """Two correlated inputs, and noise that grows with the first: without that SGD would not circulate, for
    curvature and gradient noise would be the same matrix."""
    rng = np.random.default_rng(DATA_SEED)
    first, second, noise = rng.normal(size=(3, EXAMPLES))
    inputs = np.stack([first, 0.6 * first + 0.5 * second], axis=1)
    targets = inputs @ np.array([1.0, -0.5]) + np.abs(first) * noise
    return least_squares(inputs, targets), targets


def moves(
    job: Job,
    problem: Problem,
    targets: np.ndarray,
    dynamics: Any,
    start: np.ndarray,
    part: int,
    **settings: Any,
) -> Run:
    """One replica for each row of ``start``, (replicas, 2), positions less the minimum."""
    return simulate(
        regression(gaussian, problem.inputs, targets),
        dynamics,
        Constant(Control()),
        key=job.key(part),
        replicas=len(start),
        positions=jnp.asarray(problem.minimum + start),
        progress=job.progress("Adhikari et al."),
        **settings,
    )


def gaussians(job: Job, covariance: np.ndarray, count: int, part: int) -> np.ndarray:
    return np.random.default_rng(job.key(part)).multivariate_normal(np.zeros(2), covariance, count)


def circulation(job: Job, problem: Problem, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Consecutive positions less the minimum, (replicas, steps, 2), of SGD and of Langevin dynamics on all
    the data, at the same step."""
    replicas, steps = 8, job.either(100_000, 10_000)
    step = FAST / len(targets)
    start = gaussians(job, second_moment(problem, FAST, BATCH), replicas, 0)
    made = {"ledger": "off", "steps": steps}
    sgd = moves(job, problem, targets, SGD(step, WithReplacement(BATCH)), start, 1, **made)
    start = gaussians(job, langevin_moment(problem, FAST), replicas, 2)
    langevin = moves(job, problem, targets, OverdampedLangevin(step), start, 3, **made)
    first, second = (run.records["position"] - problem.minimum for run in (sgd, langevin))
    return first, second


def langevin_moment(problem: Problem, step: float, batch: int = 0) -> np.ndarray:
    """Exact <delta delta^T> of (stochastic gradient) Langevin dynamics at temperature 1, ``step`` on the mean
    loss; batches with replacement, 0 for all the data. The noise of the batches grows with the distance."""
    n, d = problem.inputs.shape
    one, pairs = np.eye(d), np.einsum("ni,nj->nij", problem.inputs, problem.inputs).reshape(n, -1)
    kick = 2 * step / n * one
    transition = np.kron(*[one - step * problem.curvature] * 2)
    if batch:
        kick = kick + step**2 * gradient_covariance(problem, batch)
        spread = pairs.T @ pairs / n - np.kron(problem.curvature, problem.curvature)
        transition = transition + step**2 / batch * spread
    return np.linalg.solve(np.eye(d * d) - transition, kick.ravel()).reshape(d, d)


def currents(problem: Problem, moving: np.ndarray, still: np.ndarray) -> list[Claim]:
    """The area swept a step, over the spread of both weights: a pure number. It knows of the noise only that
    its mean is zero, so that the exact value holds for real minibatches."""
    moment = second_moment(problem, FAST, BATCH)
    transition = np.eye(2) - FAST * problem.curvature
    exact = (moment @ transition.T - transition @ moment)[0, 1] / 2
    unit = float(np.sqrt(moment[0, 0] * moment[1, 1]))

    def area(positions: np.ndarray) -> Estimate:
        found = area_rates(positions / np.sqrt(unit))[0, 1]
        return Estimate(found.value, found.std_error, found.ess, found.reliable, found.reason)

    scale = abs(exact) / unit
    produced = entropy_production(moving, seed=0).uncertainty
    return [
        Claim(
            "Stationary SGD circulates: area swept a step, in units of the spread", exact / unit, area(moving)
        ),
        Claim("Langevin dynamics on all the data does not", 0.0, area(still), scale=scale, source="stated"),
        Claim("SGD produces entropy: lower bound a step (nats)", 0.0, produced, "at least", source="stated"),
    ]


def work(job: Job, problem: Problem, targets: np.ndarray, replacement: str) -> np.ndarray:
    """Entropy production of five steps of SGLD from the posterior, in nats, (replicas,): all of it shadow
    work, booked by the ledger given the minibatches."""
    posterior = np.linalg.inv(problem.curvature) / len(targets)
    start = gaussians(job, posterior, job.either(40_000, 4_000), 10)
    step = GENTLE / len(targets)
    dynamics = SGLD(step, WithReplacement(BATCH)) if replacement == "with" else SGWORLD(step, BATCH)
    run = moves(job, problem, targets, dynamics, start, 11, steps=5, observers={}, ledger="path")
    assert run.ledger is not None
    return np.asarray(run.ledger.reduced_work)


def fluctuation_theorems(works: dict[str, np.ndarray]) -> list[Claim]:
    claims = []
    for name, r in works.items():
        text = f"Integral fluctuation theorem, minibatches {name} replacement: <exp(-entropy production)>"
        claims.append(Claim(text, 1.0, mean(np.exp(-r))))
    text = "Detailed fluctuation theorem: slope of ln P(s)/P(-s) over the entropy production s"
    return [*claims, Claim(text, 1.0, odds_slope(works["with"]))]


def odds_slope(r: np.ndarray) -> Estimate:
    """Slope b of ln P(r)/P(-r) = b r: logistic regression of the sign of r on |r|, by Newton's method."""
    size, positive, b = np.abs(r), r > 0, 1.0
    for _ in range(20):
        right = expit(b * size)
        curvature = np.sum(size**2 * right * (1 - right))
        b += np.sum(size * (positive - right)) / curvature
    return Estimate(float(b), float(1 / np.sqrt(curvature)), len(r))


def orders(job: Job, problem: Problem, targets: np.ndarray) -> list[Claim]:
    """SGD on eight examples, one at a time: exact over all orders of an epoch, read at the epochs' ends."""
    few, targets = least_squares(problem.inputs[:FEW], targets[:FEW]), targets[:FEW]
    exact = {
        "with": second_moment(few, RATE_OF_FEW, 1),
        "without": reshuffled(few, RATE_OF_FEW, 1).second_moment,
    }
    claims = []
    for part, (name, moment) in enumerate(exact.items(), 20):
        batches = (WithReplacement if name == "with" else Reshuffled)(1)
        start = gaussians(job, moment, job.either(256, 128), part)
        steps = FEW * job.either(1_500, 200)
        made = {"steps": steps, "every": FEW, "ledger": "off"}
        run = moves(job, few, targets, SGD(RATE_OF_FEW / FEW, batches), start, part + 10, **made)
        late = run.records["position"][:, len(run.records["position"][0]) // 5 :] - few.minimum
        ours = mean(np.sum(late**2, axis=2).mean(axis=1))
        text = f"SGD on {FEW} examples, {name} replacement: stationary variance (trace) at epoch ends"
        claims.append(Claim(text, float(np.trace(moment)), ours))
    return claims


Temperatures = dict[str, list[Estimate]]


def temperatures(job: Job, problem: Problem, targets: np.ndarray) -> Temperatures:
    """Configurational temperature, 1 under the posterior, of SGLD and SGWORLD at each of `RATES`, read at
    epoch ends after a quarter of the run."""
    n, replicas, steps = len(targets), job.either(256, 64), job.either(24_000, 6_000)
    posterior = np.linalg.inv(problem.curvature) / n
    found: Temperatures = {}
    for part, (name, dynamics) in enumerate(
        {"SGLD": lambda h: SGLD(h, WithReplacement(BATCH)), "SGWORLD": lambda h: SGWORLD(h, BATCH)}.items(),
        40,
    ):
        members = [dynamics(rate / n) for rate in RATES for _ in range(replicas)]
        start = gaussians(job, posterior, len(members), part)
        made = {"steps": steps, "every": n // BATCH, "ledger": "off"}
        run = moves(job, problem, targets, PerReplica.of(members), start, part + 10, **made)
        x = run.records["position"][:, steps // (n // BATCH) // 4 :] - problem.minimum
        each = np.einsum("rsi,ij,rsj->rs", x, problem.curvature, x).mean(axis=1) * n / 2
        found[name] = [mean(one) for one in np.split(each, len(RATES))]
    return found


def temperature(problem: Problem, rate: float, batch: int = 0) -> float:
    """The exact one of Langevin dynamics, or of SGLD with batches with replacement."""
    return float(
        np.trace(problem.curvature @ langevin_moment(problem, rate, batch)) * len(problem.inputs) / 2
    )


def posterior(job: Job, problem: Problem, samplers: Temperatures) -> list[Claim]:
    """Excess: temperature less 1."""
    claims, hot, cool = [], samplers["SGLD"], samplers["SGWORLD"]
    for rate, one in zip(RATES, hot, strict=True):
        text = f"SGLD at learning rate {rate:g} is hotter than the posterior's 1: temperature"
        claims.append(Claim(text, temperature(problem, rate, BATCH), one))
    for rate, one, other in zip(RATES, hot, cool, strict=True):
        text = f"SGWORLD at {rate:g} is nearer to the posterior: temperature of SGLD less that of SGWORLD"
        claims.append(Claim(text, 0.0, less(one, other), "at least", source="stated"))
    text = "SGWORLD's excess temperature falls faster with the learning rate: its exponent less SGLD's"
    claims.append(Claim(text, 0.0, less(exponent(cool), exponent(hot)), "at least", source="stated"))
    text = f"SGWORLD's excess at {RATES[0]:g} is below a fifth of SGLD's: SGLD's less 5 times SGWORLD's"
    gain = less(excess(hot[0], 1), excess(cool[0], 5))
    smoke = "a smoke run is too short to see it"
    claims.append(Claim(text, 0.0, job.either(gain, None), "at least", source="stated", reason=smoke))
    return claims


def excess(temperature: Estimate, times: float) -> Estimate:
    return Estimate(times * (temperature.value - 1), times * temperature.std_error)


def exponent(found: list[Estimate]) -> Estimate:
    """d ln(temperature - 1)/d ln(rate) between the two largest rates."""
    low, high = found[1:]
    width = np.log(RATES[2] / RATES[1])
    error = np.hypot(low.std_error / (low.value - 1), high.std_error / (high.value - 1)) / width
    return Estimate(float(np.log((high.value - 1) / (low.value - 1)) / width), float(error))


@styled
def flow(problem: Problem, positions: np.ndarray) -> Figure:
    """Density and current of stationary SGD on a grid; the longest arrow is as long as a cell."""
    moment = second_moment(problem, FAST, BATCH)
    before, after = positions[:, :-1].reshape(-1, 2), positions[:, 1:].reshape(-1, 2)
    wide = 3 * np.sqrt(np.diag(moment))
    edges = [np.linspace(-w, w, 11) for w in wide]
    middle = (before + after) / 2
    counts = np.histogram2d(*middle.T, bins=edges)[0]
    moved = [np.histogram2d(*middle.T, bins=edges, weights=(after - before)[:, k])[0] for k in range(2)]
    figure = Figure(figsize=(0.62 * WIDTH, 4.2))
    axes = figure.subplots()
    fine = np.histogram2d(*before.T, bins=[np.linspace(-w, w, 61) for w in wide])[0]
    axes.imshow(
        fine.T, origin="lower", extent=(-wide[0], wide[0], -wide[1], wide[1]), aspect="auto", cmap="Blues"
    )
    centres = np.meshgrid(*[(edge[1:] + edge[:-1]) / 2 for edge in edges], indexing="ij")
    arrows = [np.where(counts > 20, m, np.nan) for m in moved]
    longest = np.nanmax([np.abs(m) / (edge[1] - edge[0]) for m, edge in zip(arrows, edges, strict=True)])
    axes.quiver(*centres, *arrows, color=ORANGE, angles="xy", scale_units="xy", scale=longest)
    axes.set(title="Probability current of stationary SGD", xlabel="weight 1, less its best value")
    axes.set_ylabel("weight 2, less its best value")
    axes.grid(False)
    return figure


@styled
def histogram(r: np.ndarray) -> Figure:
    """P(s) beside exp(s) P(-s), which the detailed theorem says are the same."""
    most = float(np.quantile(np.abs(r), 0.995))
    edges = np.linspace(-most, most, 41)
    middle = (edges[1:] + edges[:-1]) / 2
    density = np.histogram(r, edges)[0] / len(r) / (edges[1] - edges[0])
    figure = Figure(figsize=(0.62 * WIDTH, 3.4))
    axes = figure.subplots()
    axes.stairs(density, edges, color=BLUE, linewidth=1.4, label="P(s)")
    mirrored = np.exp(middle) * density[::-1]
    axes.plot(
        middle,
        np.where(mirrored > 0, mirrored, np.nan),
        "o",
        color=ORANGE,
        markersize=4,
        label="exp(s) P(-s)",
    )
    axes.axvline(0, color=BLACK, linewidth=0.8, linestyle=":")
    axes.set(yscale="log", title="Detailed fluctuation theorem", ylabel="probability density")
    axes.set_xlabel("entropy production s of five steps of SGLD (nats)")
    axes.legend(loc="upper left")
    return figure


@styled
def convergence(problem: Problem, samplers: Temperatures) -> Figure:
    """How much too hot each sampler is, over the learning rate."""
    rates = np.geomspace(RATES[0] / 1.5, RATES[-1] * 1.5, 50)
    figure = Figure(figsize=(0.62 * WIDTH, 3.4))
    axes = figure.subplots()
    exact = (("SGLD, exact", ORANGE, "-", BATCH), ("all the data, exact", GREY, "--", 0))
    for name, color, style, batch in exact:
        values = [temperature(problem, rate, batch) - 1 for rate in rates]
        axes.plot(rates, values, style, color=color, label=name)
    for (name, found), color in zip(samplers.items(), (ORANGE, GREEN), strict=True):
        values, errors = [t.value - 1 for t in found], [2 * t.std_error for t in found]
        axes.errorbar(RATES, values, yerr=errors, fmt="o", color=color, markersize=5, capsize=2.5, label=name)
    axes.set(xscale="log", yscale="log", xlabel="learning rate, of the mean loss", ylabel="temperature - 1")
    axes.set(title="Distance from the posterior", ylim=(1e-3, None))
    plain_log_axis(axes.xaxis, float(rates[0]), float(rates[-1]))
    axes.legend(loc="upper left")
    return figure
