import numpy as np
import pytest

from heatbath.theory import goldt_seifert as gs


def test_heat_factor_is_smooth_over_all_durations():
    assert gs.heat_factor(0.0) == 0.5
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
