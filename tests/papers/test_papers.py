"""Every paper of the folder, in its smoke run, on a machine without HEATBATH_DATA.

False alarms: a true claim fails with probability 7e-6 (4.5 standard errors), the seed is fixed.
"""

import pytest

from heatbath.errors import Refused
from heatbath.papers import Job, find, papers
from heatbath.plotting import svg

FAST = {"collin-2005", "goldt-seifert-2017", "mandt-2017", "prigogine-1947", "vaikuntanathan-jarzynski-2009"}
CASES = [pytest.param(name, marks=() if name in FAST else pytest.mark.slow) for name in papers()]


def test_listing_reads_the_files_names_and_first_lines():
    known = papers()
    assert "mandt-2017" in known
    assert known["mandt-2017"].title.startswith("SGD as approximate Bayesian inference: S. Mandt")
    for paper in known.values():
        assert 20 < len(paper.title) <= 110


def test_an_author_is_enough_where_it_is_one_paper():
    assert find("prigogine").id == "prigogine-1947"
    assert find("vaikuntanathan-jarzynski").id == "vaikuntanathan-jarzynski-2009"
    with pytest.raises(Refused, match="no paper"):
        find("prigo")


def test_an_unknown_paper_names_the_nearest():
    with pytest.raises(Refused, match="did you mean yaida-2018"):
        find("yaida-2019")


@pytest.mark.parametrize("name", CASES)
def test_smoke(name, monkeypatch):
    monkeypatch.delenv("HEATBATH_DATA", raising=False)
    try:
        found = find(name).reproduce(Job(smoke=True))
    except Refused as refusal:
        pytest.skip(str(refusal))
    verdicts = [claim.verdict for claim in found.claims]
    assert "fails" not in verdicts, [(c.text, c.cells()) for c in found.claims if c.verdict == "fails"]
    assert 2 * verdicts.count("holds") >= len(verdicts)
    assert found.data
    assert found.figures
    for figure_name, figure in found.figures.items():
        assert svg(figure, figure_name).startswith("<svg")


def test_the_paper_of_the_docs_runs(root):
    text = (root / "docs" / "reproduce.md").read_text(encoding="utf-8")
    names: dict = {}
    exec(text.split("```python\n")[1].split("```")[0], names)
    (claim,) = names["reproduce"](Job(smoke=True)).claims
    assert claim.verdict == "holds"
