"""A harmonic trap whose stiffness and centre jump, followed by steps of a dynamics: exact work statistics.

U = k (x - c)^2 / 2. The process is J S(1) J S(2) ... J S(N) from equilibrium at control 0, or, with
``first_step``, S(0) J S(1) ... J S(N), which is what `heatbath.core.simulate` runs. In d dimensions means,
variances and logarithms of averages are d times those given here.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from heatbath.theory import _checks
from heatbath.theory.quadratic_work import Step, log_average, moments


class Kernel(NamedTuple):
    """A dynamics: ``step(stiffness, centre)`` is a `Step` without protocol work; mass None: no momenta."""

    temperature: float
    mass: float | None
    step: Callable[[float, float], Step]


class DrivenWork(NamedTuple):
    """Protocol work W: mean, variance; total work W + W_shadow: mean, variance. Averages as logarithms.

    protocol_average: ln < exp(-W/T) >, which shadow work left out biases. average: ln < exp(-(W +
    W_shadow)/T) >, exactly -dF/T. second_moment: ln < exp(-2 (W + W_shadow)/T) >, infinite at long steps:
    then a Jarzynski average has no standard error.
    """

    mean: float
    variance: float
    total_mean: float
    total_variance: float
    protocol_average: float
    average: float
    second_moment: float


def exact_relaxation(time: float, friction: float, temperature: float) -> Kernel:
    """Overdamped motion for a time, solved exactly: x' - c = a (x - c) + N(0, T/k (1 - a^2)), a = e^-kt/g."""
    time, friction = float(_checks.nonnegative("time", time)), float(_checks.positive("friction", friction))
    temperature = float(_checks.positive("temperature", temperature))

    def step(k: float, c: float) -> Step:
        a = np.exp(-k * time / friction)
        width = np.sqrt(-np.expm1(-2 * k * time / friction) * temperature / k)
        return _step([[a, (1 - a) * c, width], [0, 1, 0]], np.zeros((3, 3)))

    return Kernel(temperature, None, step)


def euler_maruyama(step_size: float, temperature: float) -> Kernel:
    """x' = x - h k (x - c) + sqrt(2 h T) xi. ``step_size``: h, that is time step over friction.

    Shadow work by the path ratio: `euler_maruyama_shadow_work`.
    """
    h = float(_checks.positive("step_size", step_size))
    temperature = float(_checks.positive("temperature", temperature))

    def step(k: float, c: float) -> Step:
        move = np.array([[1 - h * k, h * k * c, np.sqrt(2 * h * temperature)], [0, 1, 0]])
        before = np.eye(2, 3)
        form = _trap(h * k**2 / 2, c)
        return _step(move, move.T @ form @ move - before.T @ form @ before)

    return Kernel(temperature, None, step)


def euler_maruyama_shadow_work(
    before: ArrayLike, after: ArrayLike, stiffness: ArrayLike, step_size: ArrayLike
) -> np.ndarray:
    """(h k^2 / 4) (x'^2 - x^2): U(x') - U(x) + T ln [p(x -> x') / p(x' -> x)] in the trap k x^2 / 2."""
    scale = _checks.positive("step_size", step_size) * _checks.positive("stiffness", stiffness) ** 2 / 4
    return scale * (np.asarray(after, float) ** 2 - np.asarray(before, float) ** 2)


def baoab(step_size: float, friction: float, temperature: float, mass: float = 1.0) -> Kernel:
    """Underdamped Langevin, splitting B A O A B; friction g acts as dp = -g p/m dt + sqrt(2 g T) dW.

    Heat is the change of kinetic energy in O, shadow work the change of H in the other substeps.
    """
    dt, friction = (
        float(_checks.positive("step_size", step_size)),
        float(_checks.positive("friction", friction)),
    )
    temperature, mass = (
        float(_checks.positive("temperature", temperature)),
        float(_checks.positive("mass", mass)),
    )
    kept = np.exp(-friction * dt / mass)
    drift = np.array([[1, dt / (2 * mass), 0], [0, 1, 0], [0, 0, 1]])
    width = np.sqrt(-np.expm1(-2 * friction * dt / mass) * mass * temperature)
    bath = np.array([[1, 0, 0, 0], [0, kept, 0, width], [0, 0, 1, 0]])

    def step(k: float, c: float) -> Step:
        kick = np.array([[1, 0, 0], [-k * dt / 2, 1, k * c * dt / 2], [0, 0, 1]])
        start, half = np.eye(3, 4), drift @ kick @ np.eye(3, 4)
        bathed = bath @ np.vstack([half, np.eye(4)[3]])
        end = kick @ drift @ bathed
        form = energy(k, c, mass)
        return _step(
            end,
            half.T @ form @ half - start.T @ form @ start + end.T @ form @ end - bathed.T @ form @ bathed,
        )

    return Kernel(temperature, mass, step)


def euler_maruyama_usable_step(stiffness: ArrayLike) -> np.ndarray:
    """1 / k: below it < exp(-2 (W + W_shadow)/T) > is finite, above half of the stability limit it is not."""
    return 1 / _checks.positive("stiffness", stiffness)


def baoab_usable_step(stiffness: ArrayLike, mass: ArrayLike = 1.0) -> np.ndarray:
    """sqrt(2 m / k): below it the second moment is finite for runs of any length, above it for short ones."""
    return np.sqrt(2 * _checks.positive("mass", mass) / _checks.positive("stiffness", stiffness))


def energy(stiffness: float, centre: float, mass: float | None = None) -> np.ndarray:
    """The matrix E of k (x - c)^2 / 2 = (x, 1) @ E @ (x, 1), or with p^2 / 2m of (x, p, 1)."""
    form = _trap(stiffness, centre)
    if mass is None:
        return form
    return np.array([[form[0, 0], 0, form[0, 1]], [0, 1 / (2 * mass), 0], [form[1, 0], 0, form[1, 1]]])


def steps(
    stiffnesses: ArrayLike, centres: ArrayLike, kernel: Kernel, *, first_step: bool = False
) -> list[Step]:
    """The whole process for `quadratic_work`: start, then jump and step for every control after the first.

    Args:
        stiffnesses, centres: N + 1 controls each.
        kernel: the dynamics.
        first_step: a step of the dynamics at the first control before the first jump.
    """
    stiffness = _checks.positive("stiffnesses", _checks.vector("stiffnesses", stiffnesses))
    centre = _checks.vector("centres", centres, stiffness.size)
    start = _equilibrium(stiffness[0], centre[0], kernel)
    process = [start, kernel.step(stiffness[0], centre[0])] if first_step else [start]
    forms = [energy(k, c, kernel.mass) for k, c in zip(stiffness, centre, strict=True)]
    for j in range(1, len(forms)):
        step = kernel.step(stiffness[j], centre[j])
        work = np.zeros_like(step.work)
        size = len(forms[j])
        work[:size, :size] = forms[j] - forms[j - 1]
        process.append(step._replace(work=work))
    return process


def work(
    stiffnesses: ArrayLike, centres: ArrayLike, kernel: Kernel, *, first_step: bool = False
) -> DrivenWork:
    """Work statistics of the process of `steps`, exact at any step size."""
    process = steps(stiffnesses, centres, kernel, first_step=first_step)
    beta = 1 / kernel.temperature
    return DrivenWork(
        *moments(process),
        *moments(process, shadow=True),
        log_average(process, beta, shadow=False),
        log_average(process, beta),
        log_average(process, 2 * beta),
    )


def _trap(stiffness: float, centre: float) -> np.ndarray:
    return stiffness / 2 * np.array([[1, -centre], [-centre, centre**2]])


def _step(move: ArrayLike, shadow: np.ndarray) -> Step:
    return Step(np.asarray(move, float), np.zeros_like(shadow), shadow, 1)


def _equilibrium(stiffness: float, centre: float, kernel: Kernel) -> Step:
    widths = [np.sqrt(kernel.temperature / stiffness)]
    if kernel.mass is not None:
        widths.append(np.sqrt(kernel.mass * kernel.temperature))
    noise = len(widths)
    move = np.zeros((noise + 1, noise + 1))
    move[:, 0] = [centre, *[0] * (noise - 1), 1]
    move[:noise, 1:] = np.diag(widths)
    return Step(move, np.zeros_like(move), np.zeros_like(move), noise)
