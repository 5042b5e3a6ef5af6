"""The relaxation curve of an observable against exact answers. Fixed seeds; false alarms at each test."""

import numpy as np
import pytest

from heatbath.errors import Refused
from heatbath.relaxation import relaxation_curve
from heatbath.theory.gaussian import divergence

LATE = np.random.default_rng(9).normal(5.0, 2.0, 200_000)


@pytest.mark.parametrize("replicas", [5, 16, 60])
def test_unbiased_at_rest_and_away(replicas):
    """Averages over 2,000 times at 4.5 standard errors (7e-6 each). Smallest fault: the bias 1/n left in."""
    rng = np.random.default_rng(0)
    for mean, sd in ((5.0, 2.0), (9.0, 1.0)):
        curve = relaxation_curve(rng.normal(mean, sd, (2_000, replicas)), LATE)
        exact = divergence([mean], [[sd**2]], [5.0], [[4.0]])
        error = curve.divergence.std(ddof=1) / np.sqrt(2_000)
        assert abs(curve.divergence.mean() - exact) < 4.5 * error + 0.005 * exact  # 200,000 late values
        assert 1 / replicas > 4.5 * error or replicas == 60


def test_its_noise_and_its_errors():
    """Above the noise at rest: 1 % of 20,000; 4.5 standard deviations of a binomial. The jackknife's error is
    within a quarter of the scatter away from rest."""
    rng = np.random.default_rng(1)
    rest = relaxation_curve(rng.normal(5, 2, (20_000, 16)), LATE)
    assert np.mean(rest.divergence > rest.noise) == pytest.approx(
        0.01, abs=4.5 * np.sqrt(0.01 / 20_000) + 0.001
    )
    away = relaxation_curve(rng.normal(9, 2, (2_000, 16)), LATE)
    assert np.sqrt(np.mean(away.std_error**2)) == pytest.approx(away.divergence.std(), rel=0.25)


def test_a_lower_bound_for_another_law_on_the_way():
    """Two narrow bumps, far from Gaussian: D of the bumps is 1.61 nats, of their moments nearly 0."""
    rng = np.random.default_rng(2)
    bumps = 5 + 2 * rng.choice([-1, 1], (500, 100)) * np.sqrt(0.99) + 0.2 * rng.normal(size=(500, 100))
    exact = np.log(2 / 0.2) - np.log(2)  # -S + <ln q>: both have the variance of the late law
    assert -0.05 < relaxation_curve(bumps, LATE).divergence.mean() < exact


def test_what_has_no_curve_is_refused():
    with pytest.raises(Refused, match="4 replicas or more"):
        relaxation_curve(np.ones((5, 3)), LATE)
    with pytest.raises(Refused, match="variance of late"):
        relaxation_curve(np.ones((5, 8)), np.ones(100))
    with pytest.raises(Refused, match="finite"):
        relaxation_curve(np.full((5, 8), np.nan), LATE)
