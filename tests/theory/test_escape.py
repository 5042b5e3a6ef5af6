import numpy as np
import pytest
from scipy.special import erf

from heatbath.errors import Refused
from heatbath.theory import escape


def test_free_diffusion_and_constant_drift():
    def passage(slope):
        return escape.mean_first_passage_time(lambda x: slope * x, 0.5, 2.0, 0.0, 0.7)

    assert passage(0.0) == pytest.approx((4 - 0.25) / 1.4, rel=1e-10)
    s = 1.3
    closed = 0.7 / s**2 * (np.exp(2 * s / 0.7) - np.exp(0.5 * s / 0.7)) - 1.5 / s
    assert passage(s) == pytest.approx(closed, rel=1e-9)


def test_harmonic_well_from_its_wall():
    """Wall at the minimum of x^2/2: the inner integral is an error function, the outer a plain sum."""
    time = escape.mean_first_passage_time(lambda x: x**2 / 2, 0.0, 1.5, 0.0, 0.5)
    y = np.linspace(0, 1.5, 200_001)
    inner = np.exp(y**2) * np.sqrt(np.pi) / 2 * erf(y) / 0.5
    assert time == pytest.approx(np.sum((inner[1:] + inner[:-1]) / 2) * (y[1] - y[0]), rel=1e-8)


def test_mirror_image_and_kramers_in_the_cold():
    def well(x):
        return x**4 / 4 - x**2 / 2

    times = [escape.mean_first_passage_time(well, -1.0, 1.0, -4.0, t) for t in (0.02, 0.01)]
    kramers = escape.kramers_time(2.0, 1.0, 0.25, np.array([0.02, 0.01]))
    gaps = np.array(times) / kramers - 1
    # Corrections are of first order in the temperature.
    assert gaps[0] / gaps[1] == pytest.approx(2, rel=0.15)
    assert gaps[1] < 0.03
    mirrored = escape.mean_first_passage_time(well, 1.0, -1.0, 4.0, 0.02)
    assert mirrored == pytest.approx(times[0], rel=1e-9)


def test_linear_barrier():
    assert escape.linear_barrier(lambda w: float(w @ w), [1.0, 0.0], [3.0, 0.0]) == pytest.approx(4.0)
    assert escape.linear_barrier(lambda w: float(np.cos(w[0])), [0.0], [0.0]) == pytest.approx(0, abs=1e-15)
    bump = escape.linear_barrier(lambda w: float(np.exp(-((w[0] - 0.31234) ** 2) * 1e5)), [0.0], [1.0])
    assert bump == pytest.approx(1.0, rel=1e-9)


def test_refusals():
    with pytest.raises(Refused, match="between wall"):
        escape.mean_first_passage_time(np.cos, 0.0, 1.0, 0.5, 1.0)
    with pytest.raises(Refused, match="did not converge"):
        escape.mean_first_passage_time(lambda x: 1e5 * x, 0.0, 1.0, 0.0, 1.0)
    with pytest.raises(Refused, match="loss is not finite"):
        escape.linear_barrier(lambda w: float("nan"), [0.0], [1.0])
