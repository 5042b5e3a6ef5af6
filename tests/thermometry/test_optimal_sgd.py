"""Optimal constant SGD from measured noise against `heatbath.theory.mandt` with the exact covariance."""

import numpy as np
import pytest

from heatbath.errors import Refused
from heatbath.theory import mandt
from heatbath.thermometry import (
    covariance_trace,
    optimal_momentum,
    optimal_preconditioner,
    optimal_step,
)
from thermometry.quadratic import C, assert_close

DATA = {"examples": 1_000, "batch_size": 10}


@pytest.fixture(scope="module")
def gradients():
    return np.random.default_rng(0).standard_normal((20_000, 2)) @ np.linalg.cholesky(C).T + 3.0


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_step(gradients, momentum):
    """Level 1e-5; an error of 1 %: a factor of 1.05 is seen."""
    found = optimal_step(covariance_trace(gradients), dimension=2, momentum=momentum, **DATA)
    assert_close(found, mandt.optimal_step(C, 1_000, 10, momentum=momentum))
    assert found.std_error < 0.01 * found.value


def test_momentum(gradients):
    trace = covariance_trace(gradients)
    found = optimal_momentum(trace, step_size=0.003, dimension=2, **DATA)
    assert_close(found, mandt.optimal_momentum(C, 1_000, 10, 0.003))
    assert "too long" in optimal_momentum(trace, step_size=0.1, dimension=2, **DATA).reason


def test_preconditioner(gradients):
    exact = np.diag(mandt.optimal_preconditioner(C, 1_000, 10, 0.02, diagonal=True))
    for found, value in zip(optimal_preconditioner(gradients, step_size=0.02, **DATA), exact, strict=True):
        assert_close(found, value)


def test_bad_input_is_refused(gradients):
    with pytest.raises(Refused, match="momentum"):
        optimal_step(covariance_trace(gradients), dimension=2, momentum=1.0, **DATA)
    with pytest.raises(Refused, match="momentum = None"):
        optimal_step(covariance_trace(gradients), dimension=2, momentum=None, **DATA)
    with pytest.raises(Refused, match="examples = None"):
        optimal_step(covariance_trace(gradients), dimension=2, examples=None, batch_size=11)
    with pytest.raises(Refused, match="there are 10 examples"):
        optimal_step(covariance_trace(gradients), dimension=2, examples=10, batch_size=11)
    with pytest.raises(Refused, match="trace is a float"):
        optimal_step(6.0, dimension=2, **DATA)
    with pytest.raises(Refused, match="does not vary"):
        optimal_preconditioner(np.ones((5, 2)), step_size=0.1, **DATA)
