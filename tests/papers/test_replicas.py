import numpy as np
import pytest

from heatbath.estimate import Estimate
from heatbath.papers.replicas import decided, jackknife, less, mean, paired


def test_jackknife_of_a_mean_is_the_mean():
    values = np.random.default_rng(1).normal(size=12)
    ours, exact = jackknife(lambda x: x.mean(), values), mean(values)
    assert ours.value == pytest.approx(exact.value, rel=1e-12)
    assert ours.std_error == pytest.approx(exact.std_error, rel=1e-12)


def test_jackknife_removes_the_bias_of_a_square():
    """(mean x)^2 of 10 normals is 1/10 too large. 4.5 standard errors over 4,000 repeats, false alarms 7e-6:
    sees a bias of 0.03."""
    values = np.random.default_rng(2).normal(size=(4_000, 10))
    squares = [jackknife(lambda x: x.mean() ** 2, v).value for v in values]
    assert abs(np.mean(squares)) < 4.5 * np.std(squares) / np.sqrt(len(squares)) < 0.015


def test_errors_of_paired_differences_are_those_of_items_and_replicas():
    """Ours are better by 1 on each item; items differ by 10, which the pairing takes out."""
    rng = np.random.default_rng(3)
    items = 10 * rng.normal(size=500)
    ours, theirs = (items + shift + rng.normal(size=(4, 500)) for shift in (1.0, 0.0))
    found = paired(ours, theirs)
    assert abs(found.value - 1) < 4.5 * found.std_error < 0.5
    assert found.value == pytest.approx(less(mean(ours.mean(axis=1)), mean(theirs.mean(axis=1))).value)


def test_what_is_within_its_error_of_the_limit_is_not_decided():
    assert decided(Estimate(0.2, 0.01), 0.1).reliable
    assert decided(Estimate(0.2, 0.01), 0.3).reliable
    undecided = decided(Estimate(0.2, 0.03), 0.1)
    assert not undecided.reliable
    assert "which side of 0.1" in undecided.reason
