"""The crossing of Collin et al. 2005: the hairpin where it is, and that wrong work fails.

False alarms: a true claim fails with probability 7e-6 (4.5 standard errors), the seed is fixed.
"""

import pytest

from heatbath.papers import Job, find
from heatbath.papers.collin_2005 import of_charges, one_sided, states_of


def test_with_the_hairpin(shared, monkeypatch):
    """Bennett's ratio and the crossing agree; one direction alone has no verdict, and says why."""
    monkeypatch.setenv("HEATBATH_DATA", str(shared / "data"))
    found = find("collin-2005").reproduce(Job(smoke=True))
    assert set(found.figures) == {"benzene", "hairpin"}
    assert not found.failed
    claims = {c.text: c for c in found.claims if c.text.startswith("Hairpin")}
    alone = [c for text, c in claims.items() if "alone" in text]
    assert [round(abs(c.published), 2) for c in alone] == [349.22, 349.22]
    for claim in alone:
        assert claim.verdict == "not run"
        assert "var(w)" in claim.undecided
    assert [c.verdict for text, c in claims.items() if "cross" in text or "dissipated" in text] == [
        "holds"
    ] * 2


@pytest.mark.teeth
def test_a_temperature_wrong_by_a_seventh_fails():
    """The slope of the longest switches is then 0.87: 5 standard errors from 1, and more."""
    wrong = [energies * 1.15 for energies in states_of("coulomb")]
    slopes = [claim for claim in of_charges(wrong, 2, 0) if "slope" in claim.text]
    assert [claim.verdict for claim in slopes[1:]] == ["fails"] * 3


@pytest.mark.teeth
def test_a_shifted_direction_fails():
    """0.2 kT added to the forward work only: the two estimates part by 6 errors."""
    states = states_of("coulomb")
    claim = one_sided("one state", states[0][:, 1] + 0.2, states[1][:, 0])
    assert claim.verdict == "fails"
