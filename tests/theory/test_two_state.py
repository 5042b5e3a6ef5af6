from itertools import product

import numpy as np
import pytest

from heatbath.errors import Refused
from heatbath.theory import two_state

LEVELS = [0.0, 0.7, 0.4, 1.9, 1.1]


def by_paths(levels, update, temperature):
    """Work and probability of every path."""
    chance = 1 / (1 + np.exp(np.array(levels) / temperature))
    paths = []
    for path in product((0, 1), repeat=len(levels)):
        probability = chance[0] if path[0] else 1 - chance[0]
        work = 0.0
        for j in range(1, len(levels)):
            work += path[j - 1] * (levels[j] - levels[j - 1])
            new = chance[j] if path[j] else 1 - chance[j]
            probability *= update * new + (1 - update) * (path[j] == path[j - 1])
        paths.append((work, probability))
    return np.array(paths).T


def test_all_paths():
    ours = two_state.work_distribution(LEVELS, 0.3, 0.7)
    work, probability = by_paths(LEVELS, 0.3, 0.7)
    assert ours.probability.sum() == pytest.approx(1, rel=1e-14)
    assert len(ours.work) == len(np.unique(np.round(work, 9)))
    for s in (-1.0, 0.5, 2.0):
        mean = ours.probability @ np.exp(-s * ours.work)
        assert mean == pytest.approx(probability @ np.exp(-s * work), rel=1e-13)


def test_crooks_on_every_atom_and_the_arrow_of_time():
    ahead = two_state.work_distribution(LEVELS, 0.3, 0.7)
    back = two_state.work_distribution(LEVELS[::-1], 0.3, 0.7)
    difference = two_state.free_energy(0.0, 1.1, 0.7)
    np.testing.assert_allclose(back.work[::-1], -ahead.work, atol=1e-12)
    ratio = np.log(ahead.probability / back.probability[::-1])
    np.testing.assert_allclose(ratio, (ahead.work - difference) / 0.7, atol=1e-12)
    dissipated = ahead.mean - difference
    assert 0.7 * two_state.arrow_of_time(ahead, back) == pytest.approx(dissipated, rel=1e-12)
    assert ahead.free_energy(0.7) == pytest.approx(difference, rel=1e-12)


@pytest.mark.parametrize(
    ("time", "work", "error", "excess"),
    [(5, 1.79168, 7.05e-3, 1.14047), (20, 0.99295, 1.53e-5, 0.29999), (80, 0.76805, 7.2e-6, 0.075)],
)
def test_landauer(time, work, error, excess):
    """The table of that source has 20,000 sub-steps: 1e-5 of the work, its printed digits of the error."""
    result = two_state.erasure(12, time)
    assert result.work == pytest.approx(work, abs=1.5e-5)
    assert result.error == pytest.approx(error, rel=5e-3)
    assert result.work - result.bound == pytest.approx(excess, abs=1.5e-5)
    assert result.bound < np.log(2)


def test_slow_erasure_costs_six_over_its_time():
    """Excess in the slow limit: height (1/2 - occupation at the end) / time, in units of T."""
    result = two_state.erasure(24, 4000, 2.0)
    assert (result.work - result.bound) * 4000 == pytest.approx(24 / 2, rel=2e-3)


def test_refusals():
    with pytest.raises(Refused, match="between 0 and 1"):
        two_state.work_distribution(LEVELS, 1.3, 0.7)
    with pytest.raises(Refused, match="jumps of equal size"):
        two_state.work_distribution(np.cumsum(np.sqrt(np.arange(40))), 0.3, 0.7)
