"""SGD on least squares with real minibatches, exact at finite step size.

The loss is the mean over examples of (x_i . theta - y_i)^2 / 2 + ridge |theta|^2 / 2. In delta = theta minus
the minimum an example's gradient is linear, A_i delta + b_i, so first and second moments obey closed
equations in which the noise grows with the distance. Positions below are delta. Those of i.i.d. batches take
memory d^4.
"""

from itertools import combinations
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.linalg import eigh, solve

from heatbath.errors import Refused
from heatbath.theory import _checks

LARGEST_SHUFFLE = 12


class Problem(NamedTuple):
    """Least squares seen from its minimum: the gradient of an example is (x_i x_i^T + ridge) delta + b_i."""

    inputs: np.ndarray
    minimum: np.ndarray
    curvature: np.ndarray
    offsets: np.ndarray
    ridge: float

    def example_curvatures(self) -> np.ndarray:
        """A_i = x_i x_i^T + ridge, shape (n, d, d)."""
        return np.einsum("ni,nj->nij", self.inputs, self.inputs) + self.ridge * np.eye(self.inputs.shape[1])


class Reshuffled(NamedTuple):
    """Stationary moments of delta: mean (d,), second moment (d, d) at epoch ends; its mean over steps."""

    mean: np.ndarray
    second_moment: np.ndarray
    second_moment_average: np.ndarray


def least_squares(inputs: ArrayLike, targets: ArrayLike, ridge: float = 0.0) -> Problem:
    """The problem of ``inputs`` (n, d) and ``targets`` (n,): its minimum, curvature and gradients there.

    ``Refused`` where the minimum is not unique (fewer examples than parameters and no ridge).
    """
    inputs = _checks.real("inputs", inputs)
    if inputs.ndim != 2 or inputs.size == 0 or not np.isfinite(inputs).all():
        raise Refused(f"inputs must be a finite (examples, features) array, got shape {inputs.shape}")
    targets = _checks.vector("targets", targets, len(inputs))
    ridge = float(_checks.nonnegative("ridge", ridge))
    size = inputs.shape[1]
    curvature = _checks.definite("curvature", inputs.T @ inputs / len(inputs) + ridge * np.eye(size))
    minimum = solve(curvature, inputs.T @ targets / len(inputs), assume_a="pos")
    offsets = inputs * (inputs @ minimum - targets)[:, None] + ridge * minimum
    return Problem(inputs, minimum, curvature, offsets, ridge)


def gradient_covariance(problem: Problem, batch: int, *, replacement: bool = True) -> np.ndarray:
    """Covariance (d, d) of a minibatch gradient at the minimum."""
    size = len(problem.inputs)
    return _batch_factor(size, batch, replacement) * problem.offsets.T @ problem.offsets / size


def critical_step(problem: Problem, batch: int, *, replacement: bool = True) -> float:
    """The step size from which on the second moment diverges; below 2 / top curvature.

    The map of second moments 1 - eta P + eta^2 Q is symmetric and positive, so that it loses stability
    where 1 is an eigenvalue: at 1 over the largest generalised eigenvalue of Q and P.
    """
    first, second = _moment_map(problem, batch, replacement)
    last = len(first) - 1
    return float(1 / eigh(second, first, eigvals_only=True, subset_by_index=[last, last])[0])


def second_moment(problem: Problem, step_size: float, batch: int, *, replacement: bool = True) -> np.ndarray:
    """Stationary <delta delta^T>, (d, d), for batches drawn afresh at each step.

    ``replacement`` is about drawing inside a batch; without it a batch of all examples has no noise.
    ``Refused`` from the critical step on.
    """
    _checks.positive("step_size", step_size)
    critical = critical_step(problem, batch, replacement=replacement)
    if step_size >= critical:
        raise Refused(
            f"step_size {step_size:.6g} is not below the critical step {critical:.6g}: the variance diverges"
        )
    first, second = _moment_map(problem, batch, replacement)
    noise = step_size * gradient_covariance(problem, batch, replacement=replacement)
    size = len(problem.minimum)
    moment = solve(first - step_size * second, noise.ravel(), assume_a="pos").reshape(size, size)
    return (moment + moment.T) / 2


def gaussian_critical_step(dimension: int, variance: float = 1.0, batch: int = 1) -> float:
    """Critical step 2 B / (sigma^2 (B + d + 1)) of the second moment for fresh inputs x ~ N(0, sigma^2 1)."""
    dimension, batch = _checks.count("dimension", dimension), _checks.count("batch", batch)
    return float(2 * batch / (_checks.positive("variance", variance) * (batch + dimension + 1)))


def reshuffled(problem: Problem, step_size: float, batch: int = 1) -> Reshuffled:
    """Stationary moments for examples reshuffled at random before each epoch.

    Exact over all orders: the mean map of (delta, 1) x (delta, 1) is built up subset by subset, 2^n of them
    instead of n! orders, for at most 12 examples.
    """
    size = len(problem.inputs)
    if size > LARGEST_SHUFFLE:
        raise Refused(f"reshuffling is exact for at most {LARGEST_SHUFFLE} examples, got {size}: simulate it")
    maps, steps = _affine_maps(problem, step_size, batch), size // batch
    level: dict[tuple[int, ...], np.ndarray] = {(): np.eye(maps[next(iter(maps))].shape[0] ** 2)}
    averages = []
    for done in range(1, steps + 1):
        level = {
            seen: np.mean(
                [
                    np.kron(step, step) @ level[_without(seen, last)]
                    for last, step in maps.items()
                    if set(last) <= set(seen)
                ],
                axis=0,
            )
            for seen in combinations(range(size), done * batch)
        }
        averages.append(np.mean(list(level.values()), axis=0))
    epoch = averages[-1]
    linear = epoch[:-1, :-1]
    radius = np.abs(np.linalg.eigvals(linear)).max()
    if radius >= 1:
        raise Refused(
            f"step_size {step_size:.6g} is too large: second moments grow by {radius:.4g} an epoch; lower it"
        )
    stationary = np.append(np.linalg.solve(np.eye(len(linear)) - linear, epoch[:-1, -1]), 1.0)
    end = _matrix(stationary)
    average = np.mean([_matrix(step @ stationary) for step in averages], axis=0)
    return Reshuffled(end[:-1, -1], end[:-1, :-1], average[:-1, :-1])


def fixed_order_cycle(
    problem: Problem, step_size: float, batch: int = 1, order: ArrayLike | None = None
) -> np.ndarray:
    """The limit cycle of batches taken in one fixed order: delta after each step of an epoch, (n / batch, d).

    The last row is the end of the epoch. ``order`` is a permutation of the examples, as given by default.
    """
    size = len(problem.inputs)
    order = np.arange(size) if order is None else np.asarray(order)
    if not np.array_equal(np.sort(order), np.arange(size)):
        raise Refused(f"order must be a permutation of the {size} examples")
    maps = _affine_maps(problem, step_size, batch, order)
    epoch = np.eye(len(problem.minimum) + 1)
    for step in maps.values():
        epoch = step @ epoch
    linear = epoch[:-1, :-1]
    radius = np.abs(np.linalg.eigvals(linear)).max()
    if radius >= 1:
        raise Refused(
            f"step_size {step_size:.6g} is too large: an epoch multiplies delta by {radius:.4g}; lower it"
        )
    point = np.append(np.linalg.solve(np.eye(len(linear)) - linear, epoch[:-1, -1]), 1.0)
    cycle = []
    for step in maps.values():
        point = step @ point
        cycle.append(point[:-1])
    return np.array(cycle)


def _batch_factor(size: int, batch: int, replacement: bool) -> float:
    """Variance of a batch mean over that of one example."""
    batch = _checks.count("batch", batch)
    if replacement:
        return 1 / batch
    if batch > size:
        raise Refused(f"a batch of {batch} cannot be drawn without replacement from {size} examples")
    return (size - batch) / (batch * (size - 1)) if size > 1 else 0.0


def _moment_map(problem: Problem, batch: int, replacement: bool) -> tuple[np.ndarray, np.ndarray]:
    """P and Q, both (d^2, d^2), of the homogeneous map 1 - eta P + eta^2 Q of second moments."""
    one = np.eye(len(problem.curvature))
    factor = _batch_factor(len(problem.inputs), batch, replacement)
    # The ridge is the same in each example, so it drops out of the noise.
    pairs = np.einsum("ni,nj->nij", problem.inputs, problem.inputs).reshape(len(problem.inputs), -1)
    mean = problem.curvature - problem.ridge * one
    spread = pairs.T @ pairs / len(problem.inputs) - np.kron(mean, mean)
    first = np.kron(problem.curvature, one) + np.kron(one, problem.curvature)
    return first, np.kron(problem.curvature, problem.curvature) + factor * spread


def _affine_maps(
    problem: Problem, step_size: float, batch: int, order: np.ndarray | None = None
) -> dict[tuple[int, ...], np.ndarray]:
    """One step as a matrix on (delta, 1), for the batches of an order, or for all batches."""
    _checks.positive("step_size", step_size)
    size = len(problem.inputs)
    if size % _checks.count("batch", batch):
        raise Refused(f"batch {batch} does not divide the {size} examples of an epoch")
    batches = combinations(range(size), batch) if order is None else map(tuple, order.reshape(-1, batch))
    curvatures = problem.example_curvatures()
    maps = {}
    for members in batches:
        step = np.eye(len(problem.minimum) + 1)
        step[:-1, :-1] -= step_size * curvatures[list(members)].mean(axis=0)
        step[:-1, -1] = -step_size * problem.offsets[list(members)].mean(axis=0)
        maps[members] = step
    return maps


def _without(seen: tuple[int, ...], last: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(i for i in seen if i not in last)


def _matrix(flat: np.ndarray) -> np.ndarray:
    size = round(flat.size**0.5)
    return flat.reshape(size, size)
