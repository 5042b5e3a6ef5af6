"""How does physics connect to machine learning? J. Altosaar, essay (2017): mean field is variational.

The mean field of a magnet and variational inference are one thing: both take a law of independent
coordinates, minimise the variational free energy, and bound ln Z from below. So one program must do both;
here it bounds the Ising model on a small torus and the evidence of a linear regression, with exact answers.
"""

from dataclasses import dataclass

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jax import Array
from matplotlib.figure import Figure
from scipy.optimize import root_scalar

from heatbath.core import numeric
from heatbath.estimate import Estimate
from heatbath.learning.mean_field import Spins, bound, mean_field, minimised
from heatbath.papers import regressions
from heatbath.papers.claims import Claim, exactly
from heatbath.papers.reproduction import Job, Reproduction
from heatbath.plotting.style import BLACK, BLUE, GREY, ORANGE, WIDTH, styled
from heatbath.theory.ising_exact import torus_log_partition

SIDE = 4
CRITICAL = float(np.log1p(np.sqrt(2)) / 2)
BETAS = (0.1, 0.2, 0.3, CRITICAL, 0.6, 0.8)
FEATURES, ROWS, NOISE = 4, 30, 0.5
CORRELATION = 0.8  # of the inputs


def reproduce(job: Job) -> Reproduction:
    magnets = [Magnet.solved(beta) for beta in BETAS]
    claims = [*magnet(magnets), *inference(job)]
    return Reproduction(claims, {"figure-1": magnetisation(magnets)})


class Torus(eqx.Module):
    """-beta x the sum of the neighbours' products on a periodic square, each bond once."""

    beta: Array = eqx.field(converter=numeric)

    def __call__(self, spins: Array) -> Array:
        square = spins.reshape(SIDE, SIDE)
        bonds = square * (jnp.roll(square, 1, axis=0) + jnp.roll(square, 1, axis=1))
        return -self.beta * jnp.sum(bonds)


@dataclass(frozen=True)
class Magnet:
    """At one inverse temperature: the bound on ln Z, the exact ln Z, and the magnetisation of mean field."""

    beta: float
    bound: Estimate
    exact: float
    magnetisation: float

    @staticmethod
    def solved(beta: float) -> "Magnet":
        energy = Torus(beta)
        law = minimised(energy, Spins(jnp.full(SIDE**2, 0.3)))
        found = float(jnp.mean(jnp.tanh(law.fields)))
        return Magnet(beta, bound(energy, law), torus_log_partition(SIDE, SIDE, beta), found)

    @property
    def self_consistent(self) -> float:
        """The root of m = tanh(4 beta m): of Weiss's equation with four neighbours."""
        if 4 * self.beta <= 1:
            return 0.0
        return float(root_scalar(lambda m: m - np.tanh(4 * self.beta * m), bracket=(1e-6, 1)).root)


def magnet(magnets: list[Magnet]) -> list[Claim]:
    away = max(abs(x.magnetisation - x.self_consistent) for x in magnets)
    above = max(x.bound.value - x.exact for x in magnets)
    hot = magnets[0]
    return [
        Claim(
            "Ising model: the bound exceeds ln Z at most by, over all temperatures, nats",
            0.0,
            exactly(above),
            "at most",
            source="stated",
        ),
        Claim(
            "The least variational free energy solves m = tanh(4 beta m): largest difference",
            0.0,
            exactly(away),
            allowed=1e-3,  # Adam's last step
            scale=1.0,
        ),
        Claim(
            f"At beta {hot.beta:g} nothing is magnetised: the bound is 16 ln 2",
            16 * np.log(2),
            hot.bound,
            allowed=1e-6,  # the same
        ),
    ]


def inference(job: Job) -> list[Claim]:
    """The same program on linear regression, against the closed form for independent normals."""
    rng = np.random.default_rng(job.seed)
    mixing = np.linalg.cholesky(
        (1 - CORRELATION) * np.eye(FEATURES) + CORRELATION * np.ones((FEATURES, FEATURES))
    )
    x = rng.normal(size=(ROWS, FEATURES)) @ mixing.T
    y = x @ rng.normal(size=FEATURES) + NOISE * rng.normal(size=ROWS)
    precision = regressions.precision(x, NOISE)
    evidence = regressions.log_evidence(x, y, NOISE)
    gap = (np.log(np.diag(precision)).sum() - np.linalg.slogdet(precision)[1]) / 2
    found = mean_field(regressions.bayesian(x, y, NOISE), seed=job.seed, starts=2)
    return [
        Claim(
            "Linear regression: log evidence less its variational bound is the correlation left out, in nats",
            gap,
            Estimate(evidence - found.lower.value, found.lower.std_error, found.lower.ess),
            allowed=0.02,  # stochastic gradients: the law is near the least one
        ),
        Claim(
            "and the bound lies below the log evidence",
            0.0,
            Estimate(found.lower.value - evidence, found.lower.std_error),
            "at most",
            source="stated",
        ),
    ]


@styled
def magnetisation(magnets: list[Magnet]) -> Figure:
    """What mean field says of a magnet: how much it bounds, and the transition it sees too early."""
    figure = Figure(figsize=(WIDTH, 3.5))
    left, right = figure.subplots(1, 2)
    betas = [x.beta for x in magnets]
    left.plot(betas, [x.exact for x in magnets], color=BLACK, label="exact")
    left.plot(betas, [x.bound.value for x in magnets], "o-", color=BLUE, label="mean field")
    left.set(xlabel="inverse temperature", ylabel="nats", title=f"ln Z of {SIDE} x {SIDE} spins")
    left.legend()
    fine = np.linspace(betas[0], betas[-1], 200)
    curve = [Magnet(b, exactly(0), 0, 0).self_consistent for b in fine]
    right.plot(fine, curve, color=GREY, label="m = tanh(4 beta m)")
    right.plot(betas, [x.magnetisation for x in magnets], "o", color=BLUE, label="least free energy")
    right.axvline(CRITICAL, color=ORANGE, linestyle=":", linewidth=1, label="Onsager")
    right.set(xlabel="inverse temperature", ylabel="magnetisation", title="the transition comes too early")
    right.legend()
    return figure
