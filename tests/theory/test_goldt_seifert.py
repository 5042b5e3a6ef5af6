import numpy as np
import pytest

from heatbath.errors import Refused
from heatbath.theory import goldt_seifert as gs


def test_heat_factor_is_smooth_over_all_durations():
    assert gs.heat_factor(0.0) == 0.5
    assert gs.heat_factor(1e300) == pytest.approx(1e-300)
    durations = np.array([1e-9, 1e-3, 0.5, 30.0, 1e4, 1e8])
    series = 0.5 - durations / 6 + durations**2 / 24 - durations**3 / 120
    closed = (np.exp(-durations) + durations - 1) / durations**2
    np.testing.assert_allclose(
        gs.heat_factor(durations), np.where(durations < 0.01, series, closed), rtol=1e-12
    )


def test_limits_of_one_weight():
    strong = gs.single_weight(100.0, 1e9)
    assert strong.entropy_change == pytest.approx(np.log(2), rel=1e-10)
    assert strong.information == pytest.approx(np.log(2), rel=1e-8)
    assert 0.99 < strong.efficiency < 1
    weak = gs.single_weight(1e-3, 0.0)
    # Small fields: the label's evidence nu/4 about 1/2, the entropy nu^2/2, the heat nu^2/2.
    assert weak.entropy_change == pytest.approx(5e-7, rel=1e-4)
    assert weak.dissipated_heat == pytest.approx(5e-7, rel=1e-12)


@pytest.mark.parametrize("field", [0.3, 2.0, 20.0])
@pytest.mark.parametrize("load", [0.1, 5.0])
def test_efficiency_of_many_weights_is_below_one_and_falls_with_speed(load, field):
    slow, fast = gs.large_perceptron(load, field), gs.large_perceptron(load, field, 0.5)
    assert 0 < fast.efficiency < slow.efficiency < 1
    assert slow.dissipated_heat == 0


def test_probability_of_the_right_label_against_a_plain_sum():
    x = np.linspace(-30, 34, 100_001)
    density = np.exp(-((x - 2.0) ** 2) / (2 * 9)) / np.sqrt(2 * np.pi * 9)
    plain = np.sum(density / (1 + np.exp(-x))) * (x[1] - x[0])
    assert gs.large_perceptron(2.0, 2.0).correct == pytest.approx(plain, rel=1e-10)


@pytest.mark.parametrize("field", [1e-8, 1e-3, 1.0, 5.0, 38.0, 50.0, 1e4, 1e5])
def test_one_weight_is_right_from_the_weakest_to_the_strongest_field(field):
    found = gs.single_weight(field, 1e30)
    assert 0 < found.efficiency <= 1
    if field < 0.01:  # information nu^2 E[sech^2(z/2)/2]^2 / 2, entropy nu^2 / 2
        z = np.linspace(-12, 12, 10_001)
        slope = np.sum(np.exp(-(z**2) / 2) / np.cosh(z / 2) ** 2) * (z[1] - z[0]) / np.sqrt(8 * np.pi)
        assert found.information == pytest.approx((field * slope) ** 2 / 2, rel=1e-5)
        assert found.entropy_change == pytest.approx(field**2 / 2, rel=1e-5)
    if field > 30:
        assert found.information == pytest.approx(np.log(2), rel=1e-10)
        assert found.entropy_change == pytest.approx(np.log(2), rel=1e-10)
    if 0.5 < field < 10:  # the entropy of the mixture itself
        w = np.linspace(-25, 25, 100_001)
        p = (np.exp(-((w - field) ** 2) / 2) + np.exp(-((w + field) ** 2) / 2)) / np.sqrt(8 * np.pi)
        mixture = -np.sum(p * np.log(p)) * (w[1] - w[0])
        expected = mixture - np.log(2 * np.pi * np.e) / 2
        assert found.entropy_change == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize(("load", "field"), [(1e-3, 100.0), (0.01, 100.0), (1.0, 1e6), (100.0, 1e4)])
def test_many_weights_in_strong_fields(load, field):
    assert 0 < gs.large_perceptron(load, field).efficiency < 1
    assert gs.large_perceptron(load, field).correct <= 1


def test_a_field_whose_square_underflows_is_refused():
    for learn in (gs.single_weight, gs.large_perceptron):
        with pytest.raises(Refused, match="field is so weak"):
            learn(1e-300, 1e-300)
