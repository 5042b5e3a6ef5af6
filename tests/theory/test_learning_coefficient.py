import numpy as np
import pytest
from scipy.integrate import dblquad

from heatbath.errors import Refused
from heatbath.theory import learning_coefficient as lc


def test_quadratic_is_half_the_rank_for_sharp_posteriors():
    assert lc.quadratic_coefficient([1.0, 0.2, 0.0], 1e9, 1.0) == pytest.approx(1.0, rel=1e-6)


def test_step_and_batch_by_iterating_the_variance():
    h, sharpness, pull, step, noise, batch = 0.7, 50.0, 2.0, 0.01, 0.3, 5
    k, variance = sharpness * h + pull, 0.0
    for _ in range(2000):
        kick = step + (step / 2 * sharpness) ** 2 * noise / batch
        variance = (1 - step / 2 * k) ** 2 * variance + kick
    ours = lc.quadratic_coefficient([h], sharpness, pull, step_size=step, gradient_noise=noise, batch=batch)
    assert ours == pytest.approx(sharpness * h * variance / 2, rel=1e-12)


@pytest.mark.parametrize("half_power", [1, 2, 5])
def test_power_limits(half_power):
    assert lc.power_coefficient(half_power, 3.0, 0.0) == pytest.approx(1 / (2 * half_power), rel=1e-10)
    assert lc.power_coefficient(half_power, 1e30, 1.0) == pytest.approx(1 / (2 * half_power), rel=1e-5)
    if half_power == 1:
        assert lc.power_coefficient(1, 7.0, 2.0) == pytest.approx(3.5 / 8, rel=1e-10)
    # A strong pull: a Gaussian of variance 1/gamma, <u^2k> = (2k - 1)!! / gamma^k.
    double_factorial = np.prod(np.arange(1.0, 2 * half_power, 2))
    weak = 1e-8 * double_factorial / 1e6**half_power
    assert lc.power_coefficient(half_power, 1e-8, 1e6) == pytest.approx(weak, rel=1e-8)


def test_cross_against_two_dimensional_quadrature():
    def moment(loss_power):
        return dblquad(
            lambda a, b: (20 * (a * b) ** 2) ** loss_power * np.exp(-20 * (a * b) ** 2 - 0.75 * (a**2 +
            b**2)), 0, 8, 0, 8, epsabs=1e-11,
        )[0]  # fmt: skip

    assert lc.cross_coefficient(20.0, 1.5) == pytest.approx(moment(1) / moment(0), rel=1e-7)


def test_cross_nears_one_half_logarithmically():
    values = [lc.cross_coefficient(10.0**n, 1.0) for n in (10, 20, 40)]
    gaps = 0.5 - np.array(values)
    assert np.all(gaps > 0)
    np.testing.assert_allclose(gaps * np.log(10.0) * np.array([10, 20, 40]), 1, rtol=0.15)


@pytest.mark.parametrize(
    ("widths", "answer"),
    [
        # One hidden unit, no signal: the loss is |a|^2 |b|^2, min(M, N)/2, twice where they are equal.
        ((3, 1, 2, 0), (1.0, 1)),
        ((2, 1, 2, 0), (1.0, 2)),
        # Full rank: a regular model of M N parameters that matter.
        ((3, 4, 3, 3), (4.5, 1)),
        ((4, 2, 5, 2), (7.0, 1)),
    ],
)
def test_reduced_rank(widths, answer):
    assert lc.reduced_rank_threshold(*widths) == answer


def test_refusals():
    with pytest.raises(Refused, match="needs a localization"):
        lc.quadratic_coefficient([1.0, 0.0], 10.0, 0.0)
    with pytest.raises(Refused, match=r"critical step 0\.363636"):
        lc.quadratic_coefficient([1.0], 10.0, 1.0, step_size=0.4)
    with pytest.raises(Refused, match="rank 3 is above"):
        lc.reduced_rank_threshold(4, 2, 4, 3)


@pytest.mark.parametrize("noise", [[[1], [0.1], [0.01]], [1.0, 0.1], []])
def test_gradient_noise_of_another_shape_is_refused(noise):
    with pytest.raises(Refused, match="gradient_noise must be a vector of 3 numbers"):
        lc.quadratic_coefficient([1, 0.1, 0.01], 100.0, 1.0, step_size=1e-3, gradient_noise=noise, batch=16)
