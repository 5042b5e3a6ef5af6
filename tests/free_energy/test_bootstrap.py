"""Bootstrap over whole runs, against the asymptotic error bars."""

import math

import numpy as np
import pytest

from free_energy.gaussian import gaussian_work
from heatbath.errors import Refused
from heatbath.free_energy import bar, bootstrap, crooks, jarzynski


@pytest.mark.parametrize(("estimator", "count"), [(jarzynski, 1), (bar, 2)])
def test_the_same_error_as_the_asymptotic_one(estimator, count):
    """400 resamples know the standard deviation to 3.5 %; 16 % is 4.5 of those."""
    works = gaussian_work(0, 1.5, 0.5, 1000, 600)[:count]
    found = bootstrap(estimator, *works)
    assert found.value == estimator(*works).value
    assert found.std_error == pytest.approx(estimator(*works).std_error, rel=0.16)
    assert found.reliable


def test_pairs_keep_their_correlation():
    """Both directions share an error of the cycle: it drops out of their mean if drawn together."""
    rng = np.random.default_rng(0)
    drift = rng.normal(0, 3, 200)
    forward, reverse = 2 + drift + rng.normal(0, 0.1, 200), 2 - drift + rng.normal(0, 0.1, 200)

    def half_sum(f, r):
        return jarzynski([(f.mean() + r.mean()) / 2] * 2)

    together = bootstrap(half_sum, forward, reverse, paired=True).std_error
    apart = bootstrap(half_sum, forward, reverse).std_error
    assert together == pytest.approx(0.1 / math.sqrt(2 * 200), rel=0.16)
    assert apart == pytest.approx(3 / math.sqrt(2 * 200), rel=0.16)


def test_same_seed_same_bits_and_flags_are_kept():
    works = gaussian_work(0, 1.5, 9.0, 50, 50)
    first, again = (bootstrap(jarzynski, works[0], seed=3) for _ in range(2))
    assert first == again
    assert first != bootstrap(jarzynski, works[0], seed=4)
    assert not first.reliable


def test_resamples_without_a_value_leave_no_error_bar():
    works = gaussian_work(0, 1.5, 9.0, 50, 50)
    found = bootstrap(lambda f, r: crooks(f, r).crossing, *works)
    assert (found.std_error, found.reliable) == (math.inf, False)
    assert "resamples have no finite value" in found.reason
    assert bootstrap(bar, *works).std_error < 1


def test_a_single_run_and_bad_input():
    alone = bootstrap(bar, [1.0], [0.5, 0.7])
    assert (alone.std_error, alone.reliable) == (math.inf, False)
    with pytest.raises(Refused, match="resamples"):
        bootstrap(jarzynski, [1.0, 2.0], resamples=1)
    with pytest.raises(Refused, match="must return an Estimate"):
        bootstrap(np.mean, [1.0, 2.0])
    with pytest.raises(Refused, match="paired works of lengths"):
        bootstrap(bar, [1.0, 2.0], [1.0], paired=True)
    with pytest.raises(Refused, match=r"work\[0\] is nan"):
        bootstrap(jarzynski, [np.nan, 2.0])
