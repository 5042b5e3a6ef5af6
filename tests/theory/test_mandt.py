import numpy as np
import pytest

from heatbath.errors import Refused
from heatbath.theory import gaussian, mandt, stationary

A = np.array([[1.0, 0.3], [0.3, 0.5]])
C = np.array([[0.4, -0.2], [-0.2, 0.9]])
N, B = 500, 20


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_optimal_step_minimises_the_divergence_of_the_sde(momentum):
    """With momentum the small-step covariance is that of the step eta / (1 - mu)."""
    step = mandt.optimal_step(C, N, B, momentum=momentum)

    def distance(factor):
        covariance = stationary.sde_covariance(A, C / B, factor * step / (1 - momentum))
        return mandt.posterior_divergence(A, covariance, N)

    assert distance(1.0) < min(distance(0.99), distance(1.01))
    assert mandt.optimal_momentum(C, N, B, step) == pytest.approx(momentum, abs=1e-12)


@pytest.mark.parametrize("momentum", [0.0, 0.8])
@pytest.mark.parametrize("examples", [40, 5000])
def test_exact_optimum_is_a_minimum_and_meets_the_sde_for_much_data(examples, momentum):
    step = mandt.optimal_step_exact(A, C, examples, B, momentum=momentum)

    def distance(factor):
        state = stationary.sgd_state(A, C / B, factor * step, momentum=momentum)
        return mandt.posterior_divergence(A, state.position, examples)

    assert distance(1.0) < min(distance(0.999), distance(1.001))
    if examples == 5000:
        assert step == pytest.approx(mandt.optimal_step(C, examples, B, momentum=momentum), rel=0.01)


def test_preconditioned_sde_is_the_posterior():
    step = 0.01
    matrix = mandt.optimal_preconditioner(C, N, B, step)
    covariance = gaussian.diffusion_covariance(matrix @ A, step / (2 * B) * matrix @ C @ matrix)
    np.testing.assert_allclose(covariance, np.linalg.inv(A) / N, rtol=1e-12)


def test_diagonal_preconditioner_is_the_best_of_diagonal_ones():
    step = 0.01

    def distance(matrix):
        covariance = gaussian.diffusion_covariance(matrix @ A, step / (2 * B) * matrix @ C @ matrix)
        return mandt.posterior_divergence(A, covariance, N)

    best = mandt.optimal_preconditioner(C, N, B, step, diagonal=True)
    np.testing.assert_allclose(np.diag(best), 2 * B / (step * N * np.diag(C)), rtol=1e-14)
    # Diagonal noise commutes with the diagonal preconditioner: then it is the posterior itself.
    noise = np.diag([0.3, 2.0])
    matrix = mandt.optimal_preconditioner(noise, N, B, step, diagonal=True)
    np.testing.assert_allclose(matrix, mandt.optimal_preconditioner(noise, N, B, step), rtol=1e-14)


def test_refusals():
    with pytest.raises(Refused, match="longer than"):
        mandt.optimal_momentum(C, N, B, 10.0)
    with pytest.raises(Refused, match="examples must be a whole number"):
        mandt.optimal_step(C, 0, B)
    with pytest.raises(Refused, match="trace of example_noise"):
        mandt.optimal_step(np.zeros((2, 2)), N, B)
