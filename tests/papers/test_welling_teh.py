import numpy as np
import pytest
from scipy.integrate import dblquad

from heatbath.papers.welling_teh_2011 import BINS, GRID, mixture
from heatbath.papers.welling_teh_sources import amari


@pytest.fixture(scope="module")
def posterior():
    return mixture()


def test_quadrature_agrees_with_an_adaptive_one(posterior):
    system, exact = posterior
    x = np.asarray(system.data[0])

    def density(b, a, power=0):
        log = np.logaddexp(-((x - a) ** 2) / 4, -((x - a - b) ** 2) / 4).sum() - (a**2 / 10 + b**2) / 2
        return b**power * np.exp(log + 120)

    ends, accurate = (-2.5, 3.5, -4.0, 4.0), {"epsabs": 0, "epsrel": 1e-6}
    z = dblquad(density, *ends, **accurate)[0]
    second = dblquad(lambda b, a: density(b, a, 2), *ends, **accurate)[0] / z
    mean, deviation = exact.moments()
    assert deviation[1] ** 2 + mean[1] ** 2 == pytest.approx(second, rel=1e-5)


def test_bins_hold_all_of_the_probability(posterior):
    _, exact = posterior
    binned = exact.binned()
    assert binned.shape == (BINS, BINS)
    assert binned.sum() == pytest.approx(1, abs=1e-9)
    centres = (GRID[1][:-8:8] + GRID[1][8::8]) / 2
    assert binned.sum(axis=0) @ centres == pytest.approx(exact.moments()[0][1], abs=0.01)


def test_both_modes_are_there(posterior):
    """On the ridge of theta_2 there are two maxima."""
    ridge = posterior[1].density.max(axis=0)
    inner = ridge[1:-1]
    peaks = GRID[1][1:-1][(inner > ridge[:-2]) & (inner > ridge[2:])]
    assert peaks.min() < -0.8
    assert peaks.max() > 0.8


def test_amari_distance_is_blind_to_order_scale_and_sign():
    rng = np.random.default_rng(4)
    permuted = np.eye(6)[rng.permutation(6)] * rng.normal(size=6)
    assert amari(permuted) == pytest.approx(0, abs=1e-12)
    assert amari(np.ones((6, 6))) == pytest.approx(60)
    assert amari(np.stack([permuted, np.ones((6, 6))])).shape == (2,)
