"""Logistic regression on a9a of Welling and Teh (2011), section 5.2: accuracy, and the posterior.

In the weights themselves the precisions of the posterior lie between 0.5 (the prior's) and 24,000: plain SGLD
with minibatches of ten classifies well at once, but would need 1e9 steps for its posterior. The posterior is
sampled in coordinates whitened at the mode, which is SGLD with a constant preconditioner (their section 4).
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.figure import Figure

from heatbath.core import Constant, Control, simulate
from heatbath.data import Arrays, dataset
from heatbath.dynamics import HMC, SGLD, Polynomial, Reshuffled, Windows
from heatbath.papers.claims import Claim
from heatbath.papers.replicas import decided, doubted, jackknife, mean
from heatbath.papers.reproduction import Job
from heatbath.plotting.style import BLACK, BLUE, GREY, ORANGE, WIDTH, styled
from heatbath.systems import Posterior

BAYES = Constant(Control(1.0))
BATCH, STEPS, EVERY = 10, 3_000, 30  # less than one pass: 3,256 minibatches of ten
SCHEDULE = Polynomial(3e-5, 100.0, 0.55)
WHITE_BATCH, WHITE_STEP = 1_000, 2.5e-3
RHAT = 1.05


def claims_and_figure(job: Job) -> tuple[list[Claim], Figure]:
    """Claims, and the figure of accuracy and posterior."""
    data = dataset("a9a")
    curve, averaged = accuracy(job, data)
    claim = Claim(
        "Logistic regression on a9a: test accuracy of the averaged samples after less than one pass",
        0.845,
        mean(averaged),
        "at least",
        source="printed",
    )
    white = whitened(data)
    chains = [langevin(job, white), monte_carlo(job, white)]
    return [claim, *posterior_claims(white, *chains)], draw(curve, white, *chains)


def log_prior(weights: jax.Array) -> jax.Array:
    """Laplace of scale 1."""
    return -jnp.sum(jnp.abs(weights))


def log_likelihood(weights: jax.Array, inputs: jax.Array, signs: jax.Array) -> jax.Array:
    """signs: -1 and +1."""
    return -jax.nn.softplus(-signs * (inputs @ weights))


def zeros(key: jax.Array) -> jax.Array:
    return jnp.zeros(123, jnp.float32)


def accuracy(job: Job, data: Arrays) -> tuple[np.ndarray, np.ndarray]:
    """Of the saved samples one by one, (replicas, saves); and of the predictions averaged over the second
    half of the run, weighted by the step size, (replicas,)."""
    signs = jnp.asarray(2 * data.targets - 1, jnp.float32)
    system = Posterior(log_prior, log_likelihood, zeros, (jnp.asarray(data.inputs, jnp.float32), signs))
    run = simulate(
        system,
        SGLD(SCHEDULE, Reshuffled(BATCH)),
        BAYES,
        key=job.key(10),
        replicas=8,
        steps=STEPS,
        every=EVERY,
        ledger="off",
        progress=job.progress("a9a in less than one pass"),
    )
    weights = run.records["position"]
    right = data.test_targets == 1
    logits = data.test_inputs.astype(np.float32) @ weights.reshape(-1, 123).T
    logits = logits.T.reshape(*weights.shape[:2], -1)
    each = ((logits > 0) == right).mean(axis=2)
    half = weights.shape[1] // 2
    steps = np.asarray(SCHEDULE(EVERY * np.arange(half + 1, weights.shape[1] + 1) - 1))
    averaged = np.einsum("s,rsn->rn", steps / steps.sum(), 1 / (1 + np.exp(-logits[:, half:])))
    return each, ((averaged > 0.5) == right).mean(axis=1)


@dataclass(frozen=True)
class White:
    """The same posterior over z, weights = mode + root z. ``noise``: N^2 times the variance of one item's
    gradient at the mode, averaged over the coordinates of z."""

    system: Posterior
    mode: np.ndarray
    root: np.ndarray
    noise: float


def whitened(data: Arrays) -> White:
    """``mode`` and ``root`` are those of the prior N(0, 2), which has the Laplace prior's variance and is
    smooth; they are only a choice of coordinates."""
    signs, mode = 2.0 * data.targets - 1, np.zeros(data.inputs.shape[1])
    inputs = data.inputs.astype(np.float32)
    hessian = prior_precision = np.eye(len(mode)) / 2
    for _ in range(6):
        right = 1 / (1 + np.exp(-signs * (inputs @ mode.astype(np.float32))))
        information, missed = (
            (right * (1 - right)).astype(np.float32),
            (signs * (1 - right)).astype(np.float32),
        )
        hessian = (inputs * information[:, None]).T @ inputs + prior_precision
        mode = mode + np.linalg.solve(hessian, missed @ inputs - mode / 2)
    root = np.linalg.inv(np.linalg.cholesky(hessian)).T
    moved, offset = inputs @ root.astype(np.float32), signs * (inputs @ mode)
    missed = (signs / (1 + np.exp(offset))).astype(np.float32)
    noise = len(signs) ** 2 * float(np.mean(np.var(moved * missed[:, None], axis=0)))

    def prior(z):
        return log_prior(jnp.asarray(mode) + jnp.asarray(root) @ z)

    def likelihood(z, inputs, targets):
        return -jax.nn.softplus(-(targets[:, 0] * (inputs @ z) + targets[:, 1]))

    def start(key):
        return jax.random.normal(key, mode.shape, jnp.float32)

    targets = jnp.asarray(np.column_stack([signs, offset]), jnp.float32)
    system = Posterior(prior, likelihood, start, (jnp.asarray(moved, jnp.float32), targets))
    return White(system, mode, root, noise)


def langevin(job: Job, white: White) -> np.ndarray:
    """Samples of z by SGLD, (replicas, saves, 123)."""
    run = simulate(
        white.system,
        SGLD(WHITE_STEP, Windows(WHITE_BATCH)),
        BAYES,
        key=job.key(11),
        replicas=8,
        steps=job.either(80_000, 500),
        every=100,
        ledger="off",
        progress=job.progress("a9a, posterior by SGLD"),
    )
    return settled(run.records["position"])


def monte_carlo(job: Job, white: White) -> np.ndarray:
    """Samples of z by Hamiltonian Monte Carlo on all the data, (replicas, saves, 123)."""
    run = simulate(
        white.system,
        HMC(0.2, 8, 0.2),
        BAYES,
        key=job.key(12),
        replicas=8,
        steps=job.either(350, 8),
        ledger="off",
        progress=job.progress("a9a, posterior by Hamiltonian Monte Carlo"),
    )
    return settled(run.records["position"])


def settled(z: np.ndarray) -> np.ndarray:
    """Without the first eighth; in double precision."""
    return z[:, z.shape[1] // 8 :].astype(np.float64)


def rhat(z: np.ndarray) -> float:
    """The largest over the coordinates."""
    from arviz_stats.base.array import array_stats

    return max(
        float(np.asarray(array_stats.rhat(z[..., i], chain_axis=0, draw_axis=1))) for i in range(z.shape[2])
    )


def posterior_claims(white: White, sgld: np.ndarray, reference: np.ndarray) -> list[Claim]:
    """Means of the 123 weights, and variances of z, against the reference."""
    worst = rhat(reference)
    doubt = "" if worst <= RHAT else f"R-hat of the reference is {worst:.2f}, at most {RHAT} is asked for"
    theta, exact = (z @ white.root.T for z in (sgld, reference))

    def moments(x, y):
        return [m.mean(axis=1) for m in (x, x**2, y, y**2)]

    def shift(m, _, n, s):
        variance = s.mean(axis=0) - n.mean(axis=0) ** 2
        return float(np.mean((m.mean(axis=0) - n.mean(axis=0)) ** 2 / variance))

    def inflation(m, q, n, s):
        ours, theirs = q.mean(axis=0) - m.mean(axis=0) ** 2, s.mean(axis=0) - n.mean(axis=0) ** 2
        return float(np.mean(ours / theirs))

    heating = (1 + WHITE_STEP * white.noise / (2 * WHITE_BATCH)) / (1 - WHITE_STEP / 2)
    return [
        Claim(
            "a9a: posterior means of the weights; mean squared distance from Hamiltonian Monte Carlo, in"
            " variances",
            0.01,
            decided(doubted(jackknife(shift, *moments(theta, exact)), doubt), 0.01),
            "at most",
            source="stated",
        ),
        Claim(
            "a9a: posterior variances in whitened coordinates over those of Hamiltonian Monte Carlo;"
            " expected is the heating by minibatches at this step",
            heating,
            doubted(jackknife(inflation, *moments(sgld, reference)), doubt),
            allowed=0.01,  # the posterior is not quite the Gaussian of which this is exact
        ),
    ]


@styled
def draw(curve: np.ndarray, white: White, sgld: np.ndarray, reference: np.ndarray) -> Figure:
    """The paper's figure 3, and standard deviations of the weights."""
    figure = Figure(figsize=(WIDTH, 3.6))
    left, right = figure.subplots(1, 2)
    passes = EVERY * BATCH * np.arange(1, curve.shape[1] + 1) / white.system.n_items
    left.plot(passes, curve.T, color=BLUE, linewidth=0.6, alpha=0.35)
    left.plot(passes, curve.mean(axis=0), color=BLACK, linewidth=1.5, label="mean of 8 runs")
    left.axhline(0.845, color=ORANGE, linewidth=1, label="0.845")
    left.set(title="test accuracy of single samples", xlabel="passes over the data", ylim=(0.75, 0.86))
    left.legend(loc="lower right")
    spreads = [(z @ white.root.T).reshape(-1, len(white.mode)).std(axis=0) for z in (reference, sgld)]
    ends = [0.8 * min(spreads[0]), 1.2 * max(spreads[0])]
    right.plot(ends, ends, color=GREY, linewidth=0.8)
    right.plot(*spreads, ".", color=BLUE, markersize=5)
    right.set(xscale="log", yscale="log", title="posterior standard deviations of the 123 weights")
    right.set(xlabel="Hamiltonian Monte Carlo", ylabel="SGLD")
    return figure
