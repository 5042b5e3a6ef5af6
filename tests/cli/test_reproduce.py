"""`heatbath reproduce`: its list, what it refuses, and its answer, with a paper that takes no time."""

import json
import re
import subprocess
import sys
from dataclasses import dataclass

import pytest
from matplotlib.figure import Figure

from heatbath.estimate import Estimate
from heatbath.papers import Claim, Paper, Reproduction, papers


@dataclass
class Fake:
    """What a paper's ``reproduce`` returns, and the job it got."""

    ours: float = 1.01
    job: object = None

    def __call__(self, paper, job):
        self.job = job
        figure = Figure()
        figure.subplots().plot([0, 1])
        claims = [
            Claim("one is one", 1.0, Estimate(self.ours, 0.01)),
            Claim("two is two", 2.0, None, reason="no time"),
        ]
        return Reproduction(claims, {"figure-1": figure}, "made up")


@pytest.fixture
def fake(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    paper = Fake()
    monkeypatch.setattr(Paper, "reproduce", lambda self, job: paper(self, job))
    return paper


def test_list(heatbath):
    answer = heatbath("reproduce", "--list")
    assert answer.code == 0
    assert [line.split()[0] for line in answer.out.splitlines()] == list(papers())
    found = json.loads(heatbath("reproduce", "--list", "--json").out)
    assert [one["id"] for one in found["papers"]] == list(papers())


def test_the_list_does_not_import_jax():
    code = (
        "import sys; from heatbath.cli.answer import run_verb; from heatbath.cli import group; "
        "run_verb(group, ['reproduce', '--list']); sys.exit('jax' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=60).returncode == 0


def test_the_answer_is_as_documented(heatbath, fake, root):
    text = (root / "docs" / "reproduce.md").read_text(encoding="utf-8")
    example = json.loads(re.search(r"```json\n(.*?)```", text, re.DOTALL)[1])
    answer = heatbath("reproduce", "mandt-2017", "--json", "--smoke", "--seed", 3)
    found = json.loads(answer.out)
    assert (answer.code, answer.err) == (0, "")
    assert set(found) == set(example)
    assert set(found["claims"][0]) == set(example["claims"][0])
    assert [claim["verdict"] for claim in found["claims"]] == ["holds", "not run"]
    assert found["claims"][1]["reason"] == "no time"
    assert found["figures"] == ["runs/reproduce-mandt-2017-001/figure-1.svg"]
    assert (fake.job.smoke, fake.job.seed) == (True, 3)


def test_a_claim_that_fails_is_exit_code_3(heatbath, fake, tmp_path):
    fake.ours = 1.1
    answer = heatbath("reproduce", "mandt-2017", "--out", "out")
    assert answer.code == 3
    assert re.search(r"1 +1\.100\(10\) +fails +one is one", answer.out)
    assert "two is two (no time)" in answer.out
    assert "data: made up" in answer.out
    assert (tmp_path / "out" / "figure-1.svg").read_bytes().startswith(b"<svg")
    stored = json.loads((tmp_path / "out" / "claims.json").read_text())
    assert [claim["verdict"] for claim in stored["claims"]] == ["fails", "not run"]


def test_the_same_seed_gives_the_same_files(heatbath, fake, tmp_path):
    for name in ("a", "b"):
        heatbath("reproduce", "mandt-2017", "--out", name, "--quiet")
    for file in ("claims.json", "figure-1.svg"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


def test_refusals(refused, fake, tmp_path):
    assert "did you mean goldt-seifert-2017" in refused("reproduce", "goldt-2017")
    assert "--list" in refused("reproduce")
    assert "--seed -1" in refused("reproduce", "mandt-2017", "--seed", -1)
    (tmp_path / "there").mkdir()
    assert "there" in refused("reproduce", "mandt-2017", "--out", "there")
    assert fake.job is None
