"""Independent component analysis of Welling and Teh (2011), section 5.3, on sources drawn from the model.

Observations x = A s, the sources s logistic; the energy is that of W with y = W x. The paper follows the
natural gradient; here W = (1 + Z) W_0 with W_0 the sphering matrix, and SGLD moves Z: the natural gradient at
W_0, a constant preconditioner, so that the posterior stays exact.
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.figure import Figure

from heatbath.core import Constant, Control, simulate
from heatbath.dynamics import HMC, SGLD, Windows
from heatbath.estimate import Estimate
from heatbath.papers.claims import Claim
from heatbath.papers.replicas import decided, doubted, mean
from heatbath.papers.reproduction import Job
from heatbath.plotting.style import BLUE, GREY, ORANGE, WIDTH, styled
from heatbath.systems import Posterior

BAYES = Constant(Control(1.0))
SOURCES, ITEMS, BATCH = 6, 1_000, 100
STEP = 5e-6
PRIOR_VARIANCE = 100.0
STIFFEST = ITEMS * (1 + np.pi**2 / 9)  # curvature of U in Z: E[y^2] E[-(ln p)''(y)] of two sources, coupled


def claims_and_figure(job: Job) -> tuple[list[Claim], Figure]:
    """Claims, and the figure of Amari distances."""
    problem = mixed(job)
    distances = {"SGLD": langevin(job, problem), "Hamiltonian Monte Carlo": monte_carlo(job, problem)}
    baseline = amari(problem.sphering @ problem.mixing)
    ours, reference = (mean(d.mean(axis=1)) for d in distances.values())
    share = decided(mean(distances["SGLD"].mean(axis=1) / baseline), 0.5)
    # as the difference of two means; the distance grows as the samples' deviation, with the heating at most
    both = Estimate(ours.value, float(np.hypot(ours.std_error, reference.std_error)), ours.ess)
    heating = STEP * STIFFEST * ITEMS / (2 * BATCH)  # of a model that is right: the noise is its curvature
    settling = job.either("", "SGLD has not settled in a smoke run")
    claims = [
        Claim(
            "Independent sources: SGLD separates what sphering alone does not; mean Amari distance of its"
            " samples over that of sphering",
            0.5,
            doubted(share, settling),
            "at most",
            source="stated",
        ),
        Claim(
            "Mean Amari distance of SGLD's samples, against those of Hamiltonian Monte Carlo",
            reference.value,
            doubted(both, settling),
            allowed=reference.value * heating / 2,
        ),
    ]
    return claims, draw(distances, baseline)


@dataclass(frozen=True)
class Problem:
    system: Posterior
    mixing: np.ndarray
    sphering: np.ndarray


def mixed(job: Job) -> Problem:
    """1,000 observations of six logistic sources, mixed at random."""
    rng = np.random.default_rng(job.key(20))
    mixing = rng.normal(size=(SOURCES, SOURCES))
    x = rng.logistic(size=(ITEMS, SOURCES)) @ mixing.T
    values, vectors = np.linalg.eigh(np.cov(x.T))
    sphering = np.pi / np.sqrt(3) * (vectors / np.sqrt(values)) @ vectors.T  # to the sources' variance

    def log_prior(z):
        return -jnp.sum((z @ sphering + sphering) ** 2) / (2 * PRIOR_VARIANCE)

    def log_likelihood(z, sphered, _):
        y = sphered + sphered @ z.T
        volume = jnp.linalg.slogdet(jnp.eye(SOURCES) + z)[1]
        return volume - 2 * jnp.sum(jax.nn.softplus(y) - y / 2, axis=1)

    def initial(key):
        return 0.01 * jax.random.normal(key, (SOURCES, SOURCES))

    sphered = jnp.asarray(x @ sphering.T)
    return Problem(
        Posterior(log_prior, log_likelihood, initial, (sphered, jnp.zeros(ITEMS))), mixing, sphering
    )


def langevin(job: Job, problem: Problem) -> np.ndarray:
    """Amari distances of SGLD's samples, (replicas, saves), after the first fifth."""
    run = simulate(
        problem.system,
        SGLD(STEP, Windows(BATCH)),
        BAYES,
        key=job.key(21),
        replicas=8,
        steps=job.either(100_000, 1_000),
        every=100,
        ledger="off",
        progress=job.progress("independent sources by SGLD"),
    )
    return distances_of(problem, run.records["position"])


def monte_carlo(job: Job, problem: Problem) -> np.ndarray:
    """The same by Hamiltonian Monte Carlo on all the data."""
    run = simulate(
        problem.system,
        HMC(0.02, 10, 0.2),
        BAYES,
        key=job.key(22),
        replicas=8,
        steps=job.either(1_000, 20),
        ledger="off",
        progress=job.progress("independent sources by Hamiltonian Monte Carlo"),
    )
    return distances_of(problem, run.records["position"])


def distances_of(problem: Problem, z: np.ndarray) -> np.ndarray:
    unmixing = (z[:, z.shape[1] // 5 :] + np.eye(SOURCES)) @ problem.sphering
    return amari(unmixing @ problem.mixing)


def amari(product: np.ndarray) -> np.ndarray:
    """Distance of W A, (..., n, n), from a scaled permutation, 0 if it is one (Amari et al. 1996)."""
    p = np.abs(product)
    rows = (p / p.max(axis=-1, keepdims=True)).sum(axis=(-1, -2))
    columns = (p / p.max(axis=-2, keepdims=True)).sum(axis=(-1, -2))
    return rows + columns - 2 * p.shape[-1]


@styled
def draw(distances: dict[str, np.ndarray], baseline: np.ndarray) -> Figure:
    """As the paper's figure 4: Amari distances along the chains, and their distribution."""
    figure = Figure(figsize=(WIDTH, 3.4))
    left, right = figure.subplots(1, 2, sharey=True, width_ratios=[2, 1])
    bins = np.linspace(0, max(d.max() for d in distances.values()), 61)
    for (name, d), color in zip(distances.items(), (BLUE, ORANGE), strict=True):
        left.plot(np.linspace(0, 1, d.shape[1]), d[0], color=color, linewidth=0.6, label=name)
        right.hist(d.ravel(), bins, density=True, orientation="horizontal", histtype="step", color=color)
    left.axhline(float(baseline), color=GREY, linewidth=1, label="sphering alone")
    left.set(title="Amari distance of one chain's samples", xlabel="share of the run", ylim=(0, None))
    right.set(title="all chains", xlabel="density")
    left.legend()
    return figure
