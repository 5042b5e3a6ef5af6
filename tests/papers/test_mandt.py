"""The claims on Mandt, Hoffman and Blei have teeth."""

import pytest

from heatbath.dynamics import SGD
from heatbath.papers import Job, mandt_2017


@pytest.mark.teeth
def test_a_step_that_is_a_third_too_long_fails(monkeypatch):
    """Planted: SGD takes 1.33 times the step it is told; the variance's error is 3 %, so that this is 10 of
    them, and 4.5 are needed."""
    case = mandt_2017.robot_arm()
    settings = [(factor * case.optimal_step, 0.0) for factor in mandt_2017.FACTORS]
    monkeypatch.setattr(mandt_2017, "SGD", lambda step, *rest, **more: SGD(1.33 * step, *rest, **more))
    swept = mandt_2017.sample(Job(smoke=True), case, case.plain, settings, 2_500, 0)
    found = {claim.text: claim.verdict for claim in mandt_2017.stationary_law(case, swept)}
    assert found["At the optimal step it is that of the exact finite-step law"] == "fails"
