"""Stationary state of SGD on a quadratic loss, exact at finite step size.

The loss is theta^T H theta / 2, a gradient is g = H theta + noise of covariance C, and the update is that of
``torch.optim.SGD``: v' = mu v + (1 - dampening) g and theta' = theta - eta u, where u is v' or, with
``nesterov``, g + mu v'. Without momentum u is g. Weight decay adds to H; the covariance is about the mean.
The noise C does not depend on theta here: `least_squares` has the case where it does.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from heatbath.errors import Refused
from heatbath.theory import _checks
from heatbath.theory.gaussian import chain_covariance, diffusion_covariance


class StationaryState(NamedTuple):
    """<theta theta^T>, <v v^T> and <theta v^T>, each (d, d), of theta and v read after the same step."""

    position: np.ndarray
    velocity: np.ndarray
    cross: np.ndarray


class Relation(NamedTuple):
    """Both sides of a relation between averages."""

    left: np.ndarray
    right: np.ndarray


def critical_step(
    hessian: ArrayLike,
    *,
    momentum: float = 0.0,
    dampening: float = 0.0,
    nesterov: bool = False,
    weight_decay: float = 0.0,
) -> float:
    """The step size from which on the mean no longer converges.

    With top curvature h: 2 (1 + mu) / ((1 - dampening) h), and 2 (1 + mu) / ((1 + 2 mu) h) for Nesterov.
    """
    _, _, divisor = _coefficients(momentum, dampening, nesterov)
    return float(2 * (1 + momentum) / (divisor * _top(_curvature(hessian, weight_decay))))


def sgd_state(
    hessian: ArrayLike,
    noise: ArrayLike,
    step_size: float,
    *,
    momentum: float = 0.0,
    dampening: float = 0.0,
    nesterov: bool = False,
    weight_decay: float = 0.0,
) -> StationaryState:
    """Exact stationary second moments: the discrete Lyapunov equation of (theta, v).

    For one mode of curvature h and noise c: eta c (1 + mu) / (h (1 - mu)(2 (1 + mu) - eta h)), dampening 0.

    Args:
        hessian: H, (d, d), positive definite.
        noise: C, (d, d), covariance of one (minibatch) gradient.
        step_size: eta; ``Refused`` from the critical step on.
        momentum, dampening, nesterov, weight_decay: as in ``torch.optim.SGD``.
    """
    curvature = _curvature(hessian, weight_decay)
    size = len(curvature)
    noise = _checks.semidefinite("noise", noise, size)
    _stable(curvature, step_size, momentum, dampening, nesterov)
    gradient, velocity, _ = _coefficients(momentum, dampening, nesterov)
    share = 1 - dampening if momentum else 1.0
    one = np.eye(size)
    transition = np.block(
        [
            [one - step_size * gradient * curvature, -step_size * velocity * one],
            [share * curvature, momentum * one],
        ]
    )
    kick = np.vstack([-step_size * gradient * one, share * one])
    joint = chain_covariance(transition, kick @ noise @ kick.T)
    return StationaryState(joint[:size, :size], joint[size:, size:], joint[:size, size:])


def sde_covariance(hessian: ArrayLike, noise: ArrayLike, step_size: float) -> np.ndarray:
    """Covariance in the limit of small steps: H S + S H = eta C (Mandt, Hoffman and Blei 2017)."""
    curvature = _checks.definite("hessian", hessian)
    noise = _checks.semidefinite("noise", noise, len(curvature))
    return diffusion_covariance(curvature, float(_checks.positive("step_size", step_size)) * noise / 2)


def mode_variance(curvature: ArrayLike, noise: ArrayLike, step_size: ArrayLike) -> np.ndarray:
    """Variance eta c / (h (2 - eta h)) of a mode of curvature h and gradient noise c; arguments broadcast."""
    curvature = _checks.positive("curvature", curvature)
    step_size = _checks.positive("step_size", step_size)
    if np.any(step_size * curvature >= 2):
        raise Refused(
            f"step_size is at or above the critical step {2 / curvature.max():.6g} (2 / top curvature)"
        )
    return step_size * _checks.nonnegative("noise", noise) / (curvature * (2 - step_size * curvature))


def noise_temperature(
    noise: ArrayLike, step_size: float, *, momentum: float = 0.0, dampening: float = 0.0
) -> float:
    """Temperature eta (1 - dampening) tr C / (2 d (1 - mu)) of the bath that small-step SGD makes."""
    noise = _checks.semidefinite("noise", noise)
    share = 1 - _checks.below_one("dampening", dampening) if momentum else 1.0
    rate = (
        float(_checks.positive("step_size", step_size))
        * share
        / (1 - _checks.below_one("momentum", momentum))
    )
    return float(rate * np.trace(noise) / (2 * len(noise)))


def configurational_temperature(hessian: ArrayLike, covariance: ArrayLike) -> float:
    """<theta . grad L> / d = tr(H S) / d.

    Plain SGD: exactly the noise temperature + eta tr(H S H) / (2 d). The mean loss is d/2 times this.
    """
    hessian = _checks.semidefinite("hessian", hessian)
    covariance = _checks.semidefinite("covariance", covariance, len(hessian))
    return float(np.trace(hessian @ covariance) / len(hessian))


def mode_temperatures(hessian: ArrayLike, covariance: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Curvatures h_i, ascending, and temperatures h_i S_ii of the eigenmodes of H; both (d,)."""
    hessian = _checks.semidefinite("hessian", hessian)
    covariance = _checks.semidefinite("covariance", covariance, len(hessian))
    curvatures, modes = np.linalg.eigh(hessian)
    return curvatures, curvatures * np.einsum("im,ij,jm->m", modes, covariance, modes)


def fluctuation_dissipation(
    hessian: ArrayLike,
    noise: ArrayLike,
    step_size: float,
    *,
    momentum: float = 0.0,
    dampening: float = 0.0,
    nesterov: bool = False,
    weight_decay: float = 0.0,
) -> Relation:
    """<theta_i u_i> and eta/2 <u_i^2> per coordinate i, both (d,): equal for every optimizer.

    u = (theta - theta') / eta. The equality says no more than that <theta_i^2> is stationary, so it holds for
    any loss, per layer (sum over the layer), with injected noise, and for Nesterov.
    """
    state = sgd_state(
        hessian,
        noise,
        step_size,
        momentum=momentum,
        dampening=dampening,
        nesterov=nesterov,
        weight_decay=weight_decay,
    )
    curvature = _curvature(hessian, weight_decay)
    gradient, velocity, _ = _coefficients(momentum, dampening, nesterov)
    left = gradient * np.diag(curvature @ state.position) + velocity * np.diag(state.cross)
    squared = (
        gradient**2 * np.diag(curvature @ state.position @ curvature + np.asarray(noise, float))
        + 2 * gradient * velocity * np.diag(curvature @ state.cross)
        + velocity**2 * np.diag(state.velocity)
    )
    return Relation(left, step_size / 2 * squared)


def yaida_relation(
    hessian: ArrayLike,
    noise: ArrayLike,
    step_size: float,
    *,
    momentum: float = 0.0,
    dampening: float = 0.0,
    nesterov: bool = False,
    weight_decay: float = 0.0,
) -> Relation:
    """<theta_i g_i> and eta/2 (1 + mu)/(1 - dampening) <v_i^2> per coordinate, both (d,) (Yaida 2018, FDR1).

    Equal with and without momentum, **not** for Nesterov: use `fluctuation_dissipation` there.
    """
    state = sgd_state(
        hessian,
        noise,
        step_size,
        momentum=momentum,
        dampening=dampening,
        nesterov=nesterov,
        weight_decay=weight_decay,
    )
    share = 1 - dampening if momentum else 1.0
    left = np.diag(_curvature(hessian, weight_decay) @ state.position)
    return Relation(left, step_size / 2 * (1 + momentum) / share * np.diag(state.velocity))


def second_yaida_relation(hessian: ArrayLike, noise: ArrayLike, step_size: float) -> Relation:
    """<|grad L|^2> and eta/2 <g^T H g>, equal for plain SGD on a quadratic (Yaida 2018, FDR2)."""
    covariance = sgd_state(hessian, noise, step_size).position
    hessian = np.asarray(hessian, float)
    mean_square = hessian @ covariance @ hessian
    return Relation(
        np.trace(mean_square), step_size / 2 * np.trace(hessian @ (mean_square + np.asarray(noise, float)))
    )


def flatness(curvature: ArrayLike, loss: ArrayLike) -> np.ndarray:
    """Width 2 sqrt(2 L0 (e - 1) / h) over which a loss of floor L0 stays below e L0 (Feng and Tu 2021)."""
    return 2 * np.sqrt(
        2 * _checks.positive("loss", loss) * (np.e - 1) / _checks.positive("curvature", curvature)
    )


def variance_flatness_exponent(curvature: ArrayLike, variance: ArrayLike) -> float:
    """Exponent psi of the fit variance ~ flatness^-psi over modes (Feng and Tu 2021).

    Noise c ~ h^p gives psi = 2 (p - 1) + O(eta): equilibrium (p = 0) -2, label noise (p = 1) 0.

    Args:
        curvature: (m,), at least two different ones.
        variance: (m,), of the position along each mode.
    """
    curvature = _checks.vector("curvature", _checks.positive("curvature", curvature))
    variance = _checks.vector("variance", _checks.positive("variance", variance), curvature.size)
    if np.ptp(curvature) == 0:
        raise Refused("the variance-flatness exponent needs modes of at least two different curvatures")
    return float(-np.polyfit(np.log(flatness(curvature, 1.0)), np.log(variance), 1)[0])


def _coefficients(momentum: float, dampening: float, nesterov: bool) -> tuple[float, float, float]:
    """u = gradient * g + velocity * v, and the divisor of the critical step."""
    momentum = _checks.below_one("momentum", momentum)
    dampening = _checks.below_one("dampening", dampening)
    if nesterov and (dampening or not momentum):
        raise Refused("nesterov needs a momentum above 0 and no dampening (as in torch.optim.SGD)")
    if nesterov:
        return 1 + momentum, momentum**2, 1 + 2 * momentum
    share = 1 - dampening if momentum else 1.0
    return share, momentum, share


def _curvature(hessian: ArrayLike, weight_decay: float) -> np.ndarray:
    hessian = _checks.square("hessian", hessian)
    decay = float(_checks.nonnegative("weight_decay", weight_decay))
    return _checks.definite("hessian", hessian + decay * np.eye(len(hessian)))


def _top(curvature: np.ndarray) -> float:
    return float(np.linalg.eigvalsh(curvature)[-1])


def _stable(
    curvature: np.ndarray, step_size: float, momentum: float, dampening: float, nesterov: bool
) -> None:
    _checks.positive("step_size", _checks.number("step_size", step_size))
    critical = critical_step(curvature, momentum=momentum, dampening=dampening, nesterov=nesterov)
    if step_size >= critical:
        raise Refused(
            f"step_size {step_size:.6g} is not below the critical step {critical:.6g}: nothing is stationary"
        )
