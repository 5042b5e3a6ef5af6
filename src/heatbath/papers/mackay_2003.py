"""Information theory, inference, and learning algorithms: D. J. C. MacKay, Cambridge (2003), chapter 28.

The evidence embodies Occam's razor: it is the best fit to the data times an Occam factor, the share of the
prior's volume that is left when the data have arrived. On interpolation, where everything is Gaussian and
exact, and by sampling; then on networks that learn the robot arm, annealed there and back.
"""

from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from matplotlib.figure import Figure
from numpy.polynomial import legendre

from heatbath.data import SHIPPED
from heatbath.estimate import Estimate
from heatbath.learning import evidence
from heatbath.learning.annealed import annealed
from heatbath.learning.evidence_result import Evidence
from heatbath.learning.fit import network
from heatbath.learning.problem import regression_problem
from heatbath.learning.settings import Settings
from heatbath.papers import regressions
from heatbath.papers.claims import Claim, exactly
from heatbath.papers.replicas import decided
from heatbath.papers.reproduction import Job, Reproduction
from heatbath.plotting.style import BLACK, BLUE, GREY, ORANGE, WIDTH, styled
from heatbath.systems import Posterior

POINTS, NOISE, DEGREE = 30, 0.2, 3  # of the data: a cubic
DEGREES = range(9)


def reproduce(job: Job) -> Reproduction:
    models = [Model.of(job.seed, degree) for degree in DEGREES]
    chosen = job.either(DEGREES, (1, 3, 6))
    job.say("evidence of the polynomials by sampling")
    sampled = {degree: evidence(models[degree].posterior(), seed=job.key(degree)) for degree in chosen}
    claims = [*by_sampling(models, sampled), *occam(models), *robot_arm(job)]
    data = "made by the simulation, and robot-arm, which comes with heatbath"
    return Reproduction(claims, {"figure-1": hill(models, sampled)}, data)


@dataclass(frozen=True, eq=False)
class Model:
    """Interpolation by Legendre polynomials to a degree: weights ~ N(0, 1), noise of a known size."""

    degree: int
    inputs: np.ndarray
    targets: np.ndarray

    @staticmethod
    def of(seed: int, degree: int) -> "Model":
        rng = np.random.default_rng(seed)
        x = np.sort(rng.uniform(-1, 1, POINTS))
        truth = legendre.legval(x, [0.3, -0.8, 0.5, 1.2][: DEGREE + 1])
        return Model(degree, legendre.legvander(x, degree), truth + NOISE * rng.normal(size=POINTS))

    @property
    def precision(self) -> np.ndarray:
        """A, of the posterior."""
        return regressions.precision(self.inputs, NOISE)

    @property
    def mode(self) -> np.ndarray:
        return regressions.mode(self.inputs, self.targets, NOISE)

    @property
    def log_evidence(self) -> float:
        return regressions.log_evidence(self.inputs, self.targets, NOISE)

    @property
    def best_fit(self) -> float:
        """ln of the likelihood at the mode."""
        residuals = self.targets - self.inputs @ self.mode
        normal = np.log(2 * np.pi * NOISE**2)
        return float(-np.sum(residuals**2) / (2 * NOISE**2) - POINTS / 2 * normal)

    @property
    def log_occam_factor(self) -> float:
        """ln of p(mode) det(A/2 pi)^(-1/2) (equation 28.10)."""
        prior = -self.mode @ self.mode / 2  # its (2 pi)^(-d/2) cancels that of the determinant
        return float(prior - np.linalg.slogdet(self.precision)[1] / 2)

    def posterior(self) -> Posterior:
        return regressions.bayesian(self.inputs, self.targets, NOISE)


def by_sampling(models: list[Model], sampled: dict[int, Evidence]) -> list[Claim]:
    return [
        Claim(
            f"Interpolation by a polynomial of degree {degree}: log evidence in nats",
            models[degree].log_evidence,
            found.log_evidence,
            scale=1.0,
        )
        for degree, found in sampled.items()
    ]


def occam(models: list[Model]) -> list[Claim]:
    evidences = np.array([model.log_evidence for model in models])
    fits = np.array([model.best_fit for model in models])
    factors = np.array([model.log_occam_factor for model in models])
    return [
        Claim(
            "Log evidence is the best fit's log likelihood plus the log Occam factor: largest difference",
            0.0,
            exactly(float(np.abs(evidences - fits - factors).max())),
            allowed=1e-9,  # rounding
        ),
        Claim(
            "More flexible models fit better: smallest gain in log likelihood from degree to degree, to 3",
            0.0,
            exactly(float(np.diff(fits[: DEGREE + 1]).min())),
            "at least",
            source="stated",
        ),
        Claim(
            "and pay with their Occam factor: largest change of its logarithm, beyond 3",
            0.0,
            exactly(float(np.diff(factors[DEGREE:]).max())),
            "at most",
            source="stated",
        ),
        Claim(
            "The evidence is highest at the degree that made the data",
            DEGREE,
            exactly(float(evidences.argmax())),
        ),
    ]


def robot_arm(job: Job) -> list[Claim]:
    """Networks of more units, until the function is met: their bounds do not even touch."""
    arm = SHIPPED["robot-arm"]
    problem = regression_problem(arm.table("train"), arm.targets, arm.name)
    steps, replicas, widths = job.either((1_000, 32, (2, 4, 8)), (100, 16, (2, 4)))
    found = {}
    for width in widths:
        job.say(f"evidence of {width} hidden units on the robot arm")
        model = network(problem, replace(Settings(), hidden=(width,)))
        found[width] = annealed(
            model, seed=job.key(100), steps=steps, replicas=replicas, progress=not job.quiet
        )
    claims = []
    for fewer, more in pairwise(widths):
        above, below = found[more].lower, found[fewer].upper
        gain = Estimate(above.value - below.value, float(np.hypot(above.std_error, below.std_error)))
        text = f"Robot arm: log evidence of {more} units, from below, less that of {fewer}, from above"
        claims.append(Claim(text, 0.0, decided(gain, 0.0), "at least", source="stated"))
    return claims


@styled
def hill(models: list[Model], sampled: dict[int, Evidence]) -> Figure:
    """Best fit, evidence and what lies between them."""
    figure = Figure(figsize=(WIDTH, 3.5))
    axes = figure.subplots()
    axes.plot(DEGREES, [m.best_fit for m in models], "o--", color=GREY, label="best fit")
    axes.plot(DEGREES, [m.log_evidence for m in models], "-", color=BLACK, label="evidence, exact")
    values = [found.log_evidence for found in sampled.values()]
    axes.errorbar(
        list(sampled),
        [v.value for v in values],
        [2 * v.std_error for v in values],
        fmt="o",
        color=BLUE,
        label="evidence, sampled",
    )
    axes.axvline(DEGREE, color=ORANGE, linewidth=1, linestyle=":")
    axes.set(xlabel="degree of the polynomial", ylabel="nats", ylim=(models[DEGREE].log_evidence - 60, None))
    axes.set_title("Occam's hill: the gap is the Occam factor")
    axes.legend()
    return figure
