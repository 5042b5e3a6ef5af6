from itertools import permutations

import numpy as np
import pytest

from heatbath.errors import Refused
from heatbath.theory import least_squares as ls
from heatbath.theory import stationary

rng = np.random.default_rng(3)
INPUTS, TARGETS = rng.normal(size=(4, 2)), rng.normal(size=4)
PROBLEM = ls.least_squares(INPUTS, TARGETS, ridge=0.1)


def step(delta, members, size):
    """One step of SGD on a batch, in the model's own words."""
    theta = PROBLEM.minimum + delta
    members = list(members)
    gradient = INPUTS[members].T @ (INPUTS[members] @ theta - TARGETS[members]) / len(members) + 0.1 * theta
    return delta - size * gradient


@pytest.mark.parametrize(("batch", "replacement"), [(1, True), (2, True), (2, False), (3, False)])
def test_second_moment_by_all_batches(batch, replacement):
    """A step from any law of zero mean and this second moment returns it, averaged over all batches."""
    moment = ls.second_moment(PROBLEM, 0.2, batch, replacement=replacement)
    points = np.linalg.cholesky(2 * moment).T
    points = np.vstack([points, -points])
    drawn = list(np.ndindex(*(4,) * batch)) if replacement else list(permutations(range(4), batch))
    after = [step(point, members, 0.2) for point in points for members in drawn]
    np.testing.assert_allclose(np.mean([np.outer(a, a) for a in after], axis=0), moment, rtol=1e-12)


def test_all_data_in_a_batch_makes_no_noise():
    assert np.abs(ls.second_moment(PROBLEM, 0.2, 4, replacement=False)).max() == 0
    assert ls.critical_step(PROBLEM, 4, replacement=False) == pytest.approx(
        stationary.critical_step(PROBLEM.curvature), rel=1e-12
    )


def test_small_steps_see_additive_noise_only():
    noise = ls.gradient_covariance(PROBLEM, 1)
    additive = stationary.sgd_state(PROBLEM.curvature, noise, 1e-6).position
    np.testing.assert_allclose(ls.second_moment(PROBLEM, 1e-6, 1), additive, rtol=1e-4)


def test_critical_step_is_where_the_variance_diverges():
    critical = ls.critical_step(PROBLEM, 1)
    assert np.trace(ls.second_moment(PROBLEM, critical * (1 - 1e-7), 1)) > 1e4
    with pytest.raises(Refused, match="the variance diverges"):
        ls.second_moment(PROBLEM, critical * (1 + 1e-7), 1)


def test_gaussian_critical_step_is_the_limit_of_much_data():
    """5 % covers the spread of 40 000 inputs' fourth moments (about 1 %)."""
    inputs = np.random.default_rng(0).normal(size=(40_000, 3)) * 2
    problem = ls.least_squares(inputs, np.zeros(len(inputs)))
    for batch in (1, 4):
        assert ls.critical_step(problem, batch) == pytest.approx(
            ls.gaussian_critical_step(3, 4.0, batch), rel=0.05
        )


@pytest.mark.parametrize("batch", [1, 2])
def test_reshuffled_by_all_orders(batch):
    """Iterates mean and second moment over the 24 orders until they stay."""
    orders = [np.array(order).reshape(-1, batch) for order in permutations(range(4))]
    base = np.vstack([np.zeros(2), np.eye(2)])
    maps = []
    for order in orders:
        ends, steps = base, []
        for members in order:
            ends = np.array([step(end, members, 0.1) for end in ends])
            steps.append(ends)
        maps.append([((e[1:] - e[0]).T, e[0]) for e in steps])
    mean, moment = np.zeros(2), np.zeros((2, 2))

    def moved(linear, shift):
        cross = linear @ np.outer(mean, shift)
        return linear @ moment @ linear.T + cross + cross.T + np.outer(shift, shift)

    for _ in range(1000):
        new = np.mean([linear @ mean + shift for *_, (linear, shift) in maps], axis=0)
        moment, mean = np.mean([moved(*steps[-1]) for steps in maps], axis=0), new
    result = ls.reshuffled(PROBLEM, 0.1, batch)
    np.testing.assert_allclose(result.mean, mean, rtol=1e-10)
    np.testing.assert_allclose(result.second_moment, moment, rtol=1e-10)
    average = np.mean([moved(*one) for steps in maps for one in steps], axis=0)
    np.testing.assert_allclose(result.second_moment_average, average, rtol=1e-10)


def test_fixed_order_cycle_repeats_and_reshuffling_a_whole_batch_is_gradient_descent():
    order = [2, 0, 3, 1]
    cycle = ls.fixed_order_cycle(PROBLEM, 0.3, 2, order)
    point = cycle[-1]
    for members, expected in zip(np.reshape(order, (2, 2)), cycle, strict=True):
        point = step(point, members, 0.3)
        np.testing.assert_allclose(point, expected, rtol=1e-12, atol=1e-14)
    assert np.abs(ls.reshuffled(PROBLEM, 0.3, 4).second_moment).max() < 1e-25


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ls.least_squares(INPUTS[:1], TARGETS[:1]), "curvature must be positive definite"),
        (lambda: ls.least_squares(INPUTS, TARGETS[:3]), "targets must be a vector of 4"),
        (lambda: ls.second_moment(PROBLEM, 0.1, 5, replacement=False), "batch of 5 cannot be drawn"),
        (lambda: ls.second_moment(PROBLEM, 0.1, 0), "batch must be a whole number"),
        (lambda: ls.reshuffled(PROBLEM, 0.1, 3), "does not divide the 4 examples"),
        (lambda: ls.reshuffled(PROBLEM, 50.0), "too large"),
        (lambda: ls.fixed_order_cycle(PROBLEM, 50.0), "too large"),
        (lambda: ls.fixed_order_cycle(PROBLEM, 0.1, 1, [0, 0, 1, 2]), "permutation"),
        (lambda: ls.reshuffled(ls.least_squares(rng.normal(size=(13, 1)), np.ones(13)), 0.1), "at most 12"),
    ],
)
def test_refusals(call, message):
    with pytest.raises(Refused, match=message):
        call()
