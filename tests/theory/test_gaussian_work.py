import numpy as np
import pytest
from scipy.optimize import brentq
from scipy.special import expit
from scipy.stats import norm

from heatbath.theory import gaussian_work


@pytest.mark.parametrize("variance", [0.5, 3.0, 12.0])
def test_bar_by_the_overlap_integral(variance):
    """(1/I - 4) / 2n with I = int P_F P_R / 2(P_F + P_R), for equal numbers."""
    w = np.linspace(-60, 60, 200_001)
    ahead, back = (norm.pdf(w, sign * variance / 2, np.sqrt(variance)) for sign in (1, -1))
    overlap = np.sum(ahead * back / np.maximum(2 * (ahead + back), 1e-300)) * (w[1] - w[0])
    assert gaussian_work.bar_error(variance, 50, 50) == pytest.approx(
        np.sqrt((1 / overlap - 4) / 100), rel=1e-9
    )


def test_errors_by_repeating():
    """4000 repeats: the spread of each estimate within 5 % (4.5 standard errors of a spread, 7e-6)."""
    variance, n, m = 2.0, 600, 200
    rng = np.random.default_rng(4)
    forward = rng.normal(variance / 2, np.sqrt(variance), size=(4000, n))
    reverse = rng.normal(variance / 2, np.sqrt(variance), size=(4000, m))

    def bar(ahead, back):
        shift = np.log(n / m)
        return brentq(lambda f: expit(f - shift - ahead).sum() - expit(shift - f - back).sum(), -5, 5)

    spreads = {
        "bar": np.std([bar(*pair) for pair in zip(forward, reverse, strict=True)]),
        "cumulant": np.std(forward.mean(axis=1) - forward.var(axis=1, ddof=1) / 2),
    }
    assert spreads["bar"] == pytest.approx(gaussian_work.bar_error(variance, n, m), rel=0.05)
    assert spreads["cumulant"] == pytest.approx(gaussian_work.cumulant_error(variance, n), rel=0.05)
    average = np.exp(-rng.normal(0.25, np.sqrt(0.5), size=(4000, n))).mean(axis=1)
    assert average.std() == pytest.approx(gaussian_work.jarzynski_error(0.5, n), rel=0.05)
