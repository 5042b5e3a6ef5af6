"""SGD as approximate Bayesian inference: S. Mandt, M. Hoffman and D. Blei, J. Mach. Learn. Res. 18 (2017).

SGD of constant step never settles: it wanders about the minimum, with a covariance that the step, the batch,
the momentum and a preconditioner set. The paper chooses them so that it comes near the posterior. Here a
linear regression (robot arm) and a logistic one (a9a), flat priors, batches drawn with replacement.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.optimize import minimize
from scipy.special import expit

from heatbath.core import Constant, Control, PerReplica, simulate
from heatbath.data import dataset
from heatbath.dynamics import SGD, WithReplacement
from heatbath.papers.claims import Claim
from heatbath.papers.regressions import gaussian, logistic, regression
from heatbath.papers.replicas import jackknife, less, mean
from heatbath.papers.reproduction import Job, Reproduction
from heatbath.plotting.style import BLACK, BLUE, GREY, ORANGE, WIDTH, plain_log_axis, styled
from heatbath.theory import least_squares, mandt, stationary

FACTORS = (0.25, 0.5, 1.0, 2.0, 4.0)  # steps, in optimal ones
MOMENTUM = 0.9
FEATURES = [35, 39, 41, 71]  # of a9a: common ones that do not determine each other
EVERY = 50


def reproduce(job: Job) -> Reproduction:
    linear, binary = robot_arm(), adult()
    optimal = linear.optimal_step
    settings = [(f * optimal, 0.0) for f in FACTORS] + [((1 - MOMENTUM) * optimal, MOMENTUM)]
    steps = job.either(10_000, 2_500)
    *swept, slowed = sample(job, linear, linear.plain, settings, steps, 0)
    laws = {case.name: preconditioned(job, case, steps, 10 * i) for i, case in enumerate((linear, binary), 1)}
    claims = [*stationary_law(linear, swept), *steps_compared(linear, swept)]
    claims += [momentum(linear, slowed)]
    for case in (linear, binary):
        claims += preconditioners(case, laws[case.name])
    figures = {"figure-1": ellipses(binary, laws[binary.name]), "step-size": valley(linear, swept)}
    return Reproduction(claims, figures, "robot-arm and a9a, which come with heatbath")


@dataclass(frozen=True, eq=False)
class Case:
    """A regression at its minimum: curvature A of the mean loss, covariance C of an example's gradient."""

    name: str
    inputs: np.ndarray
    targets: np.ndarray
    log_likelihood: Callable
    minimum: np.ndarray
    curvature: np.ndarray
    noise: np.ndarray
    batch: int
    replicas: int

    @property
    def plain(self) -> np.ndarray:
        return np.eye(len(self.minimum))

    @property
    def optimal_step(self) -> float:
        return mandt.optimal_step(self.noise, len(self.inputs), self.batch)

    def expected(self, step: float, root: np.ndarray, momentum: float = 0.0) -> np.ndarray:
        """Covariance of SGD at finite step, preconditioned by root root^T; exact for a linear regression
        without momentum, else for noise that does not depend on the position."""
        if self.log_likelihood is gaussian and not momentum:
            problem = least_squares.least_squares(self.inputs @ root, self.targets)
            inner = least_squares.second_moment(problem, step, self.batch)
        else:
            curvature, noise = root.T @ self.curvature @ root, root.T @ self.noise @ root / self.batch
            inner = stationary.sgd_state(curvature, noise, step, momentum=momentum).position
        return root @ inner @ root.T

    def diffusion(self, step: float, root: np.ndarray) -> np.ndarray:
        """The same of the paper's Ornstein-Uhlenbeck process."""
        curvature, noise = root.T @ self.curvature @ root, root.T @ self.noise @ root / self.batch
        return root @ stationary.sde_covariance(curvature, noise, step) @ root.T

    def divergence(self, covariance: np.ndarray) -> float:
        """From the posterior, in nats."""
        return mandt.posterior_divergence(self.curvature, covariance, len(self.inputs))


def robot_arm() -> Case:
    """First coordinate of the hand by a parabola in both angles, noise of the fit's own size, 1 here."""
    data = dataset("robot-arm")
    a, b = data.inputs.T
    inputs = np.stack([a, b, a * b, a**2, b**2], axis=1)
    inputs, targets = (inputs - inputs.mean(axis=0)) / inputs.std(axis=0), data.targets[:, 0]
    targets = targets - targets.mean()
    size = np.std(targets - inputs @ np.linalg.lstsq(inputs, targets)[0])
    problem = least_squares.least_squares(inputs / size, targets / size)
    noise = least_squares.gradient_covariance(problem, 1)
    return Case(
        "linear regression, robot arm",
        problem.inputs,
        targets / size,
        gaussian,
        problem.minimum,
        problem.curvature,
        noise,
        10,
        96,
    )


def adult() -> Case:
    """Earns more than 50,000 dollars, by four features and a constant."""
    data = dataset("a9a")
    inputs = np.concatenate([np.ones((len(data.inputs), 1)), data.inputs[:, FEATURES]], axis=1)
    targets = 2.0 * data.targets - 1

    def loss(theta):
        margin = targets * (inputs @ theta)
        gradient = -(inputs * (targets * expit(-margin))[:, None]).mean(axis=0)
        return np.logaddexp(0, -margin).mean(), gradient

    minimum = minimize(loss, np.zeros(inputs.shape[1]), jac=True, method="BFGS", options={"gtol": 1e-9}).x
    right = expit(targets * (inputs @ minimum))
    curvature = (inputs * (right * (1 - right))[:, None]).T @ inputs / len(inputs)
    noise = (inputs * ((1 - right) ** 2)[:, None]).T @ inputs / len(inputs)
    return Case("logistic regression, a9a", inputs, targets, logistic, minimum, curvature, noise, 200, 48)


class Law:
    """Positions less the minimum, (replicas, saves, d), of SGD with one setting, and what they amount to."""

    def __init__(self, case: Case, positions: np.ndarray):
        self.positions = positions
        moments = np.einsum("rsi,rsj->rij", positions, positions) / positions.shape[1]
        self.trace = mean(np.trace(moments, axis1=1, axis2=2))
        self.divergence = jackknife(lambda each: case.divergence(each.mean(axis=0)), moments)


def sample(
    job: Job, case: Case, root: np.ndarray, settings: Sequence[tuple[float, float]], steps: int, part: int
) -> list[Law]:
    """SGD at each of ``settings`` (step on the mean loss, momentum), in coordinates theta = root phi, started
    in its expected law."""
    n, replicas, inverse = len(case.inputs), case.replicas // job.either(1, 3), np.linalg.inv(root)
    system = regression(case.log_likelihood, case.inputs @ root, case.targets)
    members, starts = [], []
    rng = np.random.default_rng(job.key(part))
    for step, mu in settings:
        law = inverse @ case.expected(step, root, mu) @ inverse.T
        start = inverse @ case.minimum + rng.multivariate_normal(np.zeros(len(law)), law, replicas)
        members += [SGD(step / n, WithReplacement(case.batch), momentum=mu)] * replicas
        starts.append(start)
    run = simulate(
        system,
        PerReplica.of(members),
        Constant(Control()),
        key=job.key(part + 1),
        replicas=len(members),
        steps=steps,
        every=EVERY,
        ledger="off",
        positions=jnp.asarray(np.concatenate(starts)),
        progress=job.progress(case.name),
    )
    found = run.records["position"] @ root.T - case.minimum
    return [Law(case, one) for one in np.split(found, len(settings))]


def preconditioned(job: Job, case: Case, steps: int, part: int) -> dict[str, Law]:
    """Without, with the best diagonal and with the best full preconditioner, each at its optimal step."""
    found = {}
    for i, (name, root) in enumerate(roots(case).items()):
        (found[name],) = sample(job, case, root, [(1.0, 0.0)], steps, part + 2 * i)
    return found


def roots(case: Case) -> dict[str, np.ndarray]:
    """Square roots of the optimal preconditioners at step 1 (equations 17 to 19)."""
    n = len(case.inputs)
    full, diagonal = (
        mandt.optimal_preconditioner(case.noise, n, case.batch, 1.0, diagonal=d) for d in (False, True)
    )
    scalar = np.sqrt(case.optimal_step) * case.plain
    return {"scalar": scalar, "diagonal": np.sqrt(diagonal), "full": np.linalg.cholesky(full)}


def stationary_law(case: Case, swept: list[Law]) -> list[Claim]:
    """The finite step widens the law beyond the diffusion's: by what the exact covariance says, forgiven."""
    claims = []
    for factor, law in zip(FACTORS[1:4], swept[1:4], strict=True):
        step = factor * case.optimal_step
        exact, limit = (
            np.trace(x) for x in (case.expected(step, case.plain), case.diffusion(step, case.plain))
        )
        text = f"Variance (trace) at {factor:g} times the optimal step: the Ornstein-Uhlenbeck process's"
        claims.append(Claim(text, float(limit), law.trace, allowed=float(abs(exact - limit))))
    exact = case.expected(case.optimal_step, case.plain)
    text = "At the optimal step it is that of the exact finite-step law"
    claims.append(Claim(text, float(np.trace(exact)), swept[2].trace))
    text = "KL divergence from the posterior at the optimal step (nats), exact finite-step law"
    claims.append(Claim(text, case.divergence(exact), swept[2].divergence))
    return claims


def steps_compared(case: Case, swept: list[Law]) -> list[Claim]:
    best = swept[2].divergence
    claims = []
    for i in (0, 4):
        other = swept[i].divergence
        gain = less(other, best)
        text = f"The step 2 B d/(N tr C) is better than {FACTORS[i]:g} times it: KL saved (nats)"
        claims.append(Claim(text, 0.0, gain, "at least", source="stated"))
    return claims


def momentum(case: Case, slowed: Law) -> Claim:
    """Both the step and the noise's growth with distance shift the divergence by as much as without
    momentum; twice that is forgiven."""
    limit = case.divergence(case.diffusion(case.optimal_step, case.plain))
    shift = abs(case.divergence(case.expected(case.optimal_step, case.plain)) - limit)
    text = f"With momentum {MOMENTUM:g}, a step shorter by 1 - {MOMENTUM:g} gives the same law: KL (nats)"
    return Claim(text, limit, slowed.divergence, allowed=2 * shift)


def preconditioners(case: Case, laws: dict[str, Law]) -> list[Claim]:
    """KL of each preconditioner; the finite step's part is forgiven. Small ones are compared on the scale of
    the plain one."""
    plain, claims = case.divergence(case.diffusion(1.0, roots(case)["scalar"])), []
    for name, root in roots(case).items():
        limit, exact = (case.divergence(law(1.0, root)) for law in (case.diffusion, case.expected))
        text = f"KL (nats) with the best {name} preconditioner, {case.name}"
        allowed = abs(exact - limit)
        claims.append(Claim(text, max(limit, 0.0), laws[name].divergence, allowed=allowed, scale=plain))
    return claims


@styled
def ellipses(case: Case, laws: dict[str, Law]) -> Figure:
    """The paper's figure 1: SGD and the posterior along its widest and narrowest direction."""
    _, modes = np.linalg.eigh(case.curvature)
    ends = modes[:, [0, -1]]
    posterior = np.linalg.inv(case.curvature) / len(case.inputs)
    figure = Figure(figsize=(WIDTH, 3.5))
    for axes, (name, law) in zip(figure.subplots(1, 3, sharex=True, sharey=True), laws.items(), strict=True):
        points = (law.positions @ ends).reshape(-1, 2)
        shown = points[np.linspace(0, len(points) - 1, 1_500).astype(int)]
        axes.plot(*shown.T, ".", color=BLUE, markersize=1.5, alpha=0.5, rasterized=True, label="SGD")
        ellipse(axes, np.cov(points.T), BLUE, "SGD, 2 standard deviations")
        ellipse(axes, ends.T @ posterior @ ends, ORANGE, "posterior")
        axes.set(title=f"{name} preconditioner", xlabel="widest direction")
    figure.axes[0].set_ylabel("narrowest direction")
    figure.axes[0].set_title("no preconditioner")
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles[1:], labels[1:], loc="outside lower center", ncols=2)
    return figure


def ellipse(axes: Axes, covariance: np.ndarray, color: str, label: str) -> None:
    """Two standard deviations."""
    angle = np.linspace(0, 2 * np.pi, 200)
    circle = 2 * np.stack([np.cos(angle), np.sin(angle)])
    axes.plot(*np.linalg.cholesky(covariance) @ circle, color=color, linewidth=1.6, label=label)


@styled
def valley(case: Case, swept: list[Law]) -> Figure:
    """KL from the posterior over the step: diffusion, exact and measured."""
    factors = np.geomspace(0.2, 5, 80)
    figure = Figure(figsize=(0.62 * WIDTH, 3.4))
    axes = figure.subplots()
    for law, color, style, name in (
        (case.diffusion, GREY, "--", "Ornstein-Uhlenbeck"),
        (case.expected, BLUE, "-", "finite step, exact"),
    ):
        values = [case.divergence(law(f * case.optimal_step, case.plain)) for f in factors]
        axes.plot(factors, values, style, color=color, label=name)
    found = [law.divergence for law in swept]
    errors = [2 * one.std_error for one in found]
    axes.errorbar(
        FACTORS, [one.value for one in found], yerr=errors, fmt="o", color=ORANGE, markersize=5, label="SGD"
    )
    axes.axvline(1, color=BLACK, linewidth=0.8, linestyle=":")
    axes.set(xscale="log", ylim=(0, None), xlabel="step, in units of 2 B d/(N tr C)")
    axes.set(title="Distance from the posterior", ylabel="KL divergence (nats)")
    plain_log_axis(axes.xaxis, 0.2, 5)
    axes.legend(loc="upper left")
    return figure
