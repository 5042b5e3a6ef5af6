"""Verdicts are computed from the two numbers, the error and what is allowed; nothing slips through."""

import math

import pytest

from heatbath.estimate import Estimate
from heatbath.papers import Claim
from heatbath.papers.claims import LIMIT, exactly


def verdict(published, value, error, comparison="equal", **more):
    return Claim("a number", published, Estimate(value, error), comparison, **more).verdict


@pytest.mark.parametrize(("value", "expected"), [(1.0 + 4.4e-2, "holds"), (1.0 - 4.6e-2, "fails")])
def test_equality_within_the_error(value, expected):
    assert LIMIT == 4.5
    assert verdict(1.0, value, 0.01) == expected


def test_what_is_allowed_adds_to_the_error():
    assert verdict(1.0, 1.14, 0.01) == "fails"
    assert verdict(1.0, 1.14, 0.01, allowed=0.1) == "holds"
    assert verdict(1.0, 1.1, 0.0) == "fails"


@pytest.mark.parametrize(
    ("value", "comparison", "expected"),
    [
        (0.6, "at least", "holds"),
        (0.4, "at least", "fails"),  # above 0, but not by 4.5 standard errors
        (-0.6, "at most", "holds"),
        (-0.4, "at most", "fails"),
    ],
)
def test_an_inequality_must_be_shown(value, comparison, expected):
    assert verdict(0.0, value, 0.1, comparison) == expected


@pytest.mark.parametrize("comparison", ["equal", "at least", "at most"])
@pytest.mark.parametrize(("value", "error"), [(math.nan, 0.01), (1.0, math.nan)])
def test_nan_fails(comparison, value, error):
    assert verdict(1.0, value, error, comparison) == "fails"


def test_what_is_too_noisy_to_say_has_no_verdict_and_a_reason():
    claim = Claim("a number", 1.0, Estimate(1.0, 0.2))
    assert claim.verdict == "not run"
    assert "too large" in claim.undecided
    assert verdict(0.0, 0.0, 0.01) == "not run"  # nothing to compare the error with
    assert verdict(0.0, 0.0, 0.01, scale=1.0) == "holds"
    assert Claim("a number", 1.0, Estimate(1.0, 0.01, 3, False, "too few")).undecided == "too few"


def test_not_measured_needs_a_reason():
    with pytest.raises(ValueError, match="reason"):
        Claim("a number", 1.0, None)
    claim = Claim("a number", 1.0, None, reason="no data")
    assert (claim.verdict, claim.undecided) == ("not run", "no data")
    assert claim.to_dict()["ours"] is None


def test_as_json_and_for_a_reader():
    claim = Claim("a number", 0.5, exactly(0.25), "at least", source="printed")
    assert claim.cells() == (">= 0.5", "0.25", "fails")
    found = claim.to_dict()
    assert (found["ours"], found["std_error"], found["verdict"]) == (0.25, 0.0, "fails")
    assert found["source"] == "printed"
