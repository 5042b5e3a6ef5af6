"""Jarzynski 1997 and Crooks 1999: the hairpin where it is, and that wrong work fails.

False alarms: a true claim fails with probability 7e-6 (4.5 standard errors), the seeds are fixed.
"""

import numpy as np
import pytest

from heatbath.data import hairpin
from heatbath.free_energy import bar
from heatbath.papers import Job, crooks_1999, jarzynski_1997
from heatbath.papers.traps import reduced_work


def test_the_hairpin_where_it_is(shared, monkeypatch):
    """No estimate from one direction may be relied on; Bennett's ratio may. 96 pulls leave the slope open."""
    monkeypatch.setenv("HEATBATH_DATA", str(shared / "data"))
    assert jarzynski_1997.one_sided().verdict == "holds"
    assert bar(*hairpin()).reliable
    claims = crooks_1999.pulled(*hairpin())
    assert [claim.verdict for claim in claims] == ["holds", "not run", "holds"]
    assert "too large" in claims[1].undecided


def test_the_hairpin_where_it_is_not(monkeypatch):
    monkeypatch.delenv("HEATBATH_DATA", raising=False)
    claim = jarzynski_1997.one_sided()
    assert claim.verdict == "not run"
    assert "HEATBATH_DATA" in claim.undecided


@pytest.fixture(scope="module")
def books():
    trap, (dynamics, _) = jarzynski_1997.BREATHING, jarzynski_1997.KERNELS["Euler-Maruyama"]
    return trap.run(Job(smoke=True), dynamics, 20_000, 0)


@pytest.mark.teeth
def test_shadow_work_left_out_fails(books):
    """It moves -ln <exp(-W/T)> by 0.056 kT, 20 standard errors, and the mean by as much."""
    trap, (_, kernel) = jarzynski_1997.BREATHING, jarzynski_1997.KERNELS["Euler-Maruyama"]
    claims = jarzynski_1997.driven("trap", trap, kernel, reduced_work(books))
    assert [claim.verdict for claim in claims] == ["holds"] * 4
    wrong = jarzynski_1997.driven("trap", trap, kernel, np.asarray(books.work) / jarzynski_1997.T)
    assert [claim.verdict for claim in wrong] == ["fails", "holds", "fails", "fails"]


@pytest.mark.teeth
def test_a_temperature_wrong_by_a_fifth_fails_in_both_directions():
    """The slope is then 0.83 (0.014), and the crossing 20 % too far out."""
    forward, reverse = crooks_1999.both_ways(Job(smoke=True), "Euler-Maruyama", 20_000, 0)
    assert [claim.verdict for claim in crooks_1999.driven("trap", forward, reverse)] == ["holds"] * 3
    slope, crossing, _ = crooks_1999.driven("trap", 1.2 * forward, 1.2 * reverse)
    assert [slope.verdict, crossing.verdict] == ["fails"] * 2
