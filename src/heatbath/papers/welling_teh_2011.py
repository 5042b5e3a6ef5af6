"""Stochastic gradient Langevin dynamics: M. Welling and Y. W. Teh, Proc. 28th ICML (2011).

Optimisation by minibatches turns into sampling of the posterior as the step size falls. The paper's three
models: a mixture of Gaussians with tied means against quadrature, with the step size at which injected noise
takes over; logistic regression on a9a against Hamiltonian Monte Carlo; the separation of independent sources.
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.figure import Figure

from heatbath.core import Constant, Control, PerReplica, simulate
from heatbath.dynamics import SGLD, Polynomial, WithReplacement
from heatbath.papers import welling_teh_logistic, welling_teh_sources
from heatbath.papers.claims import Claim
from heatbath.papers.replicas import decided, jackknife, mean
from heatbath.papers.reproduction import Job, Reproduction
from heatbath.plotting.style import BLACK, BLUE, GREY, ORANGE, WIDTH, styled
from heatbath.systems import Posterior

ITEMS = 100
DATA_SEED = 2005  # a draw with two modes, close to the paper's at (0, 1) and (1, -1)
BAYES = Constant(Control(1.0))
POWER, FIRST, LAST = 0.55, 0.005, 5e-5  # step sizes: half the paper's, which go from 0.01 to 0.0001
SETTLED = 0.1  # of the run: what comes before is not looked at
GRID = (np.linspace(-2.5, 3.5, 321), np.linspace(-4.0, 4.0, 321))
BINS = 40
LADDER = np.geomspace(5e-5, 5e-3, 8)  # step sizes around the one where the noises are equal


def reproduce(job: Job) -> Reproduction:
    system, exact = mixture()
    chains = sample(job, system)
    ladder = noise_ratio(job, system, exact)
    logistic, accuracy_figure = welling_teh_logistic.claims_and_figure(job)
    sources, distance_figure = welling_teh_sources.claims_and_figure(job)
    claims = [*posterior_claims(chains, exact), *transition_claims(ladder), *logistic, *sources]
    figures = {
        "figure-1": posteriors(chains, exact),
        "figure-2": transition(ladder),
        "figure-3": accuracy_figure,
        "figure-4": distance_figure,
    }
    return Reproduction(claims, figures, "a9a (shipped); mixture and sources drawn from their models")


def log_prior(theta: jax.Array) -> jax.Array:
    """theta_1 ~ N(0, 10), theta_2 ~ N(0, 1)."""
    return -(theta[0] ** 2 / 10 + theta[1] ** 2) / 2


def log_likelihood(theta: jax.Array, x: jax.Array, _: jax.Array) -> jax.Array:
    """x ~ N(theta_1, 2)/2 + N(theta_1 + theta_2, 2)/2, without constants."""
    return jnp.logaddexp(-((x - theta[0]) ** 2) / 4, -((x - theta[0] - theta[1]) ** 2) / 4)


def initial(key: jax.Array) -> jax.Array:
    """A draw from the prior."""
    return jnp.sqrt(jnp.array([10.0, 1.0])) * jax.random.normal(key, (2,))


@dataclass(frozen=True)
class Exact:
    """The posterior by quadrature on `GRID`: ``density`` (321, 321), summing to 1; and the variance of a
    minibatch's gradient, averaged over the posterior, (2,). ``noise_hot``: the same where it meets the
    injected noise: there the hotter coordinate is at temperature 1 + max C/C."""

    density: np.ndarray
    noise: np.ndarray
    noise_hot: np.ndarray

    def moments(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean and standard deviation of theta, each (2,)."""
        marginals = self.density.sum(axis=1), self.density.sum(axis=0)
        means = np.array([p @ x for p, x in zip(marginals, GRID, strict=True)])
        squares = np.array([p @ x**2 for p, x in zip(marginals, GRID, strict=True)])
        return means, np.sqrt(squares - means**2)

    def binned(self) -> np.ndarray:
        """Probability of each of 40 x 40 bins: grid points on an edge belong to both bins, half each."""
        weights = np.zeros((len(GRID[0]), BINS))
        for i in range(BINS):
            weights[8 * i : 8 * i + 9, i] = [0.5, *[1] * 7, 0.5]
        return weights.T @ self.density @ weights


def mixture() -> tuple[Posterior, Exact]:
    """100 observations at theta = (0, 1), and their posterior."""
    rng = np.random.default_rng(DATA_SEED)
    x = rng.integers(0, 2, ITEMS) + np.sqrt(2) * rng.normal(size=ITEMS)
    system = Posterior(log_prior, log_likelihood, initial, (jnp.asarray(x), jnp.zeros(ITEMS)))
    theta = jnp.asarray(np.stack(np.meshgrid(*GRID, indexing="ij"), axis=-1))
    energy, _, noise = map(np.array, jax.lax.map(lambda row: on_points(system, row), theta))
    energy -= energy.min()

    def density(temperature):
        weight = np.exp(-energy / temperature)
        return weight / weight.sum()

    posterior = density(1.0)
    mean_noise = np.einsum("ij,ijk->k", posterior, noise)
    hot = [np.sum(density(1 + mean_noise.max() / mean_noise[k]) * noise[..., k]) for k in (0, 1)]
    return system, Exact(posterior, mean_noise, np.array(hot))


@jax.jit
def on_points(system: Posterior, theta: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """At each of ``theta`` (n, 2): U (n,), its gradient (n, 2) and the variance of the gradient of one random
    item scaled to all (n, 2)."""

    def one(t):
        energy, gradient = jax.value_and_grad(system.energy)(t, {})
        items = jax.vmap(jax.grad(lambda t, x: log_likelihood(t, x, x)), (None, 0))(t, system.data[0])
        return energy, gradient, ITEMS**2 * jnp.var(items, axis=0)

    return jax.vmap(one)(theta)


@dataclass(frozen=True)
class Chains:
    """``theta`` (replicas, saves, 2), and the weight of a save, its step size (saves,), normalised."""

    theta: np.ndarray
    weights: np.ndarray

    def histogram(self) -> np.ndarray:
        """Of each replica, (replicas, 40, 40): the share of its samples in each bin."""
        edges = [x[::8] for x in GRID]
        return np.array([np.histogramdd(t, edges, weights=self.weights)[0] for t in self.theta])


def sample(job: Job, system: Posterior) -> Chains:
    """10,000 sweeps of SGLD with minibatches of one, as in the paper; samples weighted by the step size."""
    replicas, steps, every = job.either((128, 1_000_000, 50), (64, 100_000, 50))
    delay = steps / ((FIRST / LAST) ** (1 / POWER) - 1)
    schedule = Polynomial(FIRST, delay, POWER)
    run = simulate(
        system,
        SGLD(schedule, WithReplacement(1)),
        BAYES,
        key=job.key(1),
        replicas=replicas,
        steps=steps,
        every=every,
        ledger="off",
        progress=job.progress("mixture of Gaussians"),
    )
    theta = run.records["position"]
    settled = round(SETTLED * theta.shape[1])
    weights = np.asarray(schedule(every * np.arange(settled + 1, theta.shape[1] + 1) - 1))
    return Chains(theta[:, settled:], weights / weights.sum())


def posterior_claims(chains: Chains, exact: Exact) -> list[Claim]:
    """Means, standard deviations and marginals against quadrature. The gradient's noise heats theta_1 by at
    most h C/2 (`transition_claims`), with the step size averaged over the run."""
    means, deviations = exact.moments()
    found = np.einsum("s,rsk->rk", chains.weights, chains.theta)
    squares = np.einsum("s,rsk->rk", chains.weights, chains.theta**2)
    binned, histograms = exact.binned(), chains.histogram()
    claims = []
    for k, name in enumerate(("theta_1", "theta_2")):
        deviation = jackknife(lambda m, s: np.sqrt(s.mean() - m.mean() ** 2), found[:, k], squares[:, k])
        heated = deviations[k] * heating(chains, exact)[k] / 2
        far = jackknife(lambda h, k=k: distance(h.mean(axis=0), binned, 1 - k), histograms)
        claims += [
            Claim(
                f"Posterior mean of {name}, against quadrature",
                means[k],
                mean(found[:, k]),
                allowed=0.05 * deviations[k],
                scale=deviations[k],
            ),
            Claim(
                f"Posterior standard deviation of {name}, against quadrature",
                deviations[k],
                deviation,
                allowed=heated,
            ),
            Claim(
                f"The marginal of {name} is the posterior's: total variation between them",
                0.1,
                decided(far, 0.1),
                "at most",
                source="stated",
            ),
        ]
    second = np.einsum("s,rs->r", chains.weights, chains.theta[..., 1] < 0)
    weight = exact.density[:, GRID[1] < 0].sum() + exact.density[:, GRID[1] == 0].sum() / 2
    text = "Both modes are visited by their weight: probability of theta_2 < 0"
    return [*claims, Claim(text, float(weight), mean(second), allowed=0.02)]


def heating(chains: Chains, exact: Exact) -> np.ndarray:
    """h C/2 of the mean step size, (2,): how much more variance than the posterior SGLD may have."""
    steps = chains.weights / chains.weights[-1] * LAST
    return chains.weights @ steps * exact.noise / 2


def distance(histogram: np.ndarray, binned: np.ndarray, axis: int) -> float:
    """Total variation between the marginals left when ``axis`` is summed over."""
    return float(np.abs(histogram.sum(axis=axis) - binned.sum(axis=axis)).sum() / 2)


@dataclass(frozen=True)
class Ladder:
    """Of each step size of `LADDER`: gradient noise over injected noise in the moves of the sampler,
    ``measured`` (replicas, steps, 2); and what the posterior predicts, h C/2 (steps, 2)."""

    measured: np.ndarray
    predicted: np.ndarray
    hot: np.ndarray

    def crossing(self, ratios: np.ndarray, k: int) -> float:
        """The paper's step size, 2 h, at which ``ratios`` (steps, 2) of coordinate ``k`` pass 1."""
        return 2 * float(np.exp(np.interp(0.0, np.log(ratios[:, k]), np.log(LADDER))))


def noise_ratio(job: Job, system: Posterior, exact: Exact) -> Ladder:
    """Variance of the stationary sampler's moves about the full gradient's, less 2 h, over 2 h."""
    copies, steps, settle = 8, job.either(20_000, 3_000), 1_000
    run = simulate(
        system,
        PerReplica.of([SGLD(h, WithReplacement(1)) for _ in range(copies) for h in LADDER]),
        BAYES,
        key=job.key(2),
        replicas=copies * len(LADDER),
        steps=steps,
        ledger="off",
        progress=job.progress("noise over the step size"),
    )
    theta = run.records["position"][:, settle:]
    gradient = np.asarray(jax.lax.map(lambda t: on_points(system, t)[1], jnp.asarray(theta[:, :-1])))
    steps_h = np.tile(LADDER, copies)[:, None]
    residuals = np.diff(theta, axis=1) + steps_h[..., None] * gradient
    ratio = (residuals**2).mean(axis=1) / (2 * steps_h) - 1
    predicted = [LADDER[:, None] * noise / 2 for noise in (exact.noise, exact.noise_hot)]
    return Ladder(ratio.reshape(copies, len(LADDER), 2), *predicted)


def transition_claims(ladder: Ladder) -> list[Claim]:
    """Where both noises are equal the sampler is hotter than the posterior: what that moves is forgiven."""
    claims = []
    for k, name in enumerate(("theta_1", "theta_2")):
        predicted = ladder.crossing(ladder.predicted, k)
        ours = jackknife(lambda r, k=k: ladder.crossing(r.mean(axis=0), k), ladder.measured)
        text = f"Injected noise takes over from the minibatches' below the step size 4/C: {name}"
        allowed = abs(ladder.crossing(ladder.hot, k) - predicted)
        claims.append(Claim(text, predicted, ours, allowed=allowed))
    slope = jackknife(lambda r: _slope(r.mean(axis=0)), ladder.measured)
    text = "Gradient noise over injected noise is proportional to the step size: exponent"
    # the sampler at the largest step is hotter than the posterior, which bends the line
    claims.append(Claim(text, 1.0, slope, allowed=0.1))
    return claims


def _slope(ratios: np.ndarray) -> float:
    return float(np.polyfit(np.log(LADDER), np.log(ratios), 1)[0].mean())


@styled
def posteriors(chains: Chains, exact: Exact) -> Figure:
    """The paper's figure 1: the posterior by quadrature, and as SGLD finds it."""
    figure = Figure(figsize=(WIDTH, 3.8))
    left, right = figure.subplots(1, 2, sharex=True, sharey=True)
    centres = [(x[:-8:8] + x[8::8]) / 2 for x in GRID]
    levels = np.array([0.02, 0.1, 0.3, 0.5, 0.7, 0.9])
    left.contour(*GRID, exact.density.T / exact.density.max(), levels, colors=BLACK, linewidths=0.9)
    left.set(title="posterior, by quadrature", xlabel=r"$\theta_1$", ylabel=r"$\theta_2$")
    found = chains.histogram().mean(axis=0)
    right.contour(*centres, found.T / found.max(), levels, colors=BLUE, linewidths=0.9)
    right.set(title="posterior, by SGLD", xlabel=r"$\theta_1$", xlim=(-1.5, 2.5), ylim=(-3, 3))
    return figure


@styled
def transition(ladder: Ladder) -> Figure:
    """As the paper's figure 2: variance of the gradient's noise, and of the injected one, over the step."""
    figure = Figure(figsize=(WIDTH, 3.6))
    axes = figure.subplots()
    epsilon = 2 * LADDER
    axes.plot(epsilon, epsilon, color=BLACK, linewidth=1, label="injected noise")
    for k, color in enumerate((BLUE, ORANGE)):
        name = rf"$\theta_{k + 1}$"
        ratio = [mean(ladder.measured[:, i, k]) for i in range(len(LADDER))]
        error = [2 * e.std_error * h for e, h in zip(ratio, epsilon, strict=True)]
        values = [e.value * h for e, h in zip(ratio, epsilon, strict=True)]
        axes.errorbar(epsilon, values, error, fmt="o", color=color, markersize=4, label=f"gradient, {name}")
        axes.plot(epsilon, ladder.predicted[:, k] * epsilon, color=color, linewidth=0.8)
        axes.axvline(ladder.crossing(ladder.predicted, k), color=GREY, linewidth=0.7, linestyle=":")
    axes.set(xscale="log", yscale="log", xlabel=r"step size $\epsilon$", ylabel="variance of a move")
    axes.set_title("from optimisation to sampling: the noises cross (dotted: predicted)")
    axes.legend()
    return figure
