"""Constant-step SGD as approximate inference: Mandt, Hoffman and Blei, JMLR 18 (2017).

The posterior is N(theta*, A^-1 / N): A is the Hessian of the loss averaged over N examples, with the prior's
part. SGD steps by eta along batch means of B examples whose gradients have covariance C_1 each.
"""

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import minimize_scalar

from heatbath.errors import Refused
from heatbath.theory import _checks
from heatbath.theory.gaussian import divergence
from heatbath.theory.stationary import critical_step, sgd_state


def posterior_divergence(hessian: ArrayLike, covariance: ArrayLike, examples: int) -> float:
    """KL(N(theta*, covariance) || posterior) in nats; hessian (A) and covariance (d, d)."""
    hessian = _checks.definite("hessian", hessian)
    zero = np.zeros(len(hessian))
    return divergence(zero, covariance, zero, np.linalg.inv(hessian) / _checks.count("examples", examples))


def optimal_step(example_noise: ArrayLike, examples: int, batch: int, *, momentum: float = 0.0) -> float:
    """Step 2 (1 - mu) B d / (N tr C_1) that brings the SDE's stationary law nearest to the posterior.

    Their friction is 1 - mu. ``example_noise``: C_1, (d, d).
    """
    noise, examples, batch = _inputs(example_noise, examples, batch)
    slowing = 1 - _checks.below_one("momentum", momentum)
    return float(2 * slowing * batch * len(noise) / (examples * np.trace(noise)))


def optimal_step_exact(
    hessian: ArrayLike, example_noise: ArrayLike, examples: int, batch: int, *, momentum: float = 0.0
) -> float:
    """The step whose exact finite-step law is nearest to the posterior, by minimisation, to about 1e-8."""
    noise, examples, batch = _inputs(example_noise, examples, batch)
    noise = _checks.definite("example_noise", noise)
    highest = np.log(critical_step(hessian, momentum=momentum))
    start = min(np.log(optimal_step(noise, examples, batch, momentum=momentum)), highest - 0.1)

    def distance(log_step: float) -> float:
        state = sgd_state(hessian, noise / batch, float(np.exp(log_step)), momentum=momentum)
        return posterior_divergence(hessian, state.position, examples)

    best = minimize_scalar(
        distance, bounds=(start - 5, highest - 1e-9), method="bounded", options={"xatol": 1e-10}
    )
    return float(np.exp(best.x))  # pyright: ignore[reportAttributeAccessIssue]


def optimal_preconditioner(
    example_noise: ArrayLike, examples: int, batch: int, step_size: float, *, diagonal: bool = False
) -> np.ndarray:
    """Matrix P, (d, d), of theta' = theta - eta P g that makes the SDE's law nearest to the posterior.

    2 B / (eta N) C_1^-1, for which the SDE's stationary law is the posterior itself, or with ``diagonal``
    2 B / (eta N C_1,kk).
    """
    noise, examples, batch = _inputs(example_noise, examples, batch)
    scale = 2 * batch / (float(_checks.positive("step_size", step_size)) * examples)
    if diagonal:
        return scale * np.diag(1 / _checks.positive("diagonal of example_noise", np.diag(noise)))
    return scale * np.linalg.inv(_checks.definite("example_noise", noise))


def optimal_momentum(example_noise: ArrayLike, examples: int, batch: int, step_size: float) -> float:
    """The momentum 1 - eta N tr C_1 / (2 B d) for which ``step_size`` is optimal.

    ``Refused`` where the step is longer than the optimal one without momentum.
    """
    plain = optimal_step(example_noise, examples, batch)
    if _checks.positive("step_size", step_size) > plain:
        raise Refused(
            f"step_size {step_size:.6g} is longer than {plain:.6g}, which is optimal without momentum"
        )
    return float(1 - step_size / plain)


def _inputs(example_noise: ArrayLike, examples: int, batch: int) -> tuple[np.ndarray, int, int]:
    noise = _checks.semidefinite("example_noise", example_noise)
    _checks.positive("trace of example_noise", np.trace(noise))
    return noise, _checks.count("examples", examples), _checks.count("batch", batch)
