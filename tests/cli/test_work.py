"""`heatbath work`: estimates and picture of work values from files, and what it says of bad ones.

False alarms: seeds are fixed; a z-test at 4.5 standard errors fails with probability 7e-6.
"""

import json
import subprocess
import sys
import xml.etree.ElementTree as ET

import numpy as np
import pytest

from heatbath.cli.work import NAMES
from heatbath.data import benzene

from .conftest import documented

COLUMNS = ("--column", "w_unfold_kT,w_refold_kT")


def gaussian(free_energy: float, variance: float, n: int = 500) -> tuple[np.ndarray, np.ndarray]:
    """Work in both directions that keeps Crooks' theorem exactly, (n,) each."""
    rng = np.random.default_rng(5)
    noise = np.sqrt(variance) * rng.normal(size=(2, n)) + variance / 2
    return noise[0] + free_energy, noise[1] - free_energy


@pytest.fixture
def asked(heatbath, tmp_path, monkeypatch):
    """The answer to work in two files (or one), as JSON, with the exit code checked."""
    monkeypatch.chdir(tmp_path)

    def ask(forward, reverse=None, *options, code: int = 0) -> dict:
        names = ["forward.csv", "reverse.csv"][: 1 + (reverse is not None)]
        for name, work in zip(names, (forward, reverse), strict=False):
            np.savetxt(name, work, header="w", comments="")
        answer = heatbath("work", *names, "--json", *options)
        assert (answer.code, answer.err) == (code, ""), answer
        found = json.loads(answer.out)
        assert found.get("exit", 0) == code
        assert ET.fromstring((tmp_path / found["figure"]).read_text()).tag.endswith("svg")
        return found

    return ask


def away(estimate: dict, exact: float) -> float:
    """Standard errors from the exact value."""
    return abs(estimate["value"] - exact) / estimate["std_error"]


# ---- real and synthetic work


def test_hairpin(heatbath, shared, tmp_path, monkeypatch):
    """The numbers of the data's description. One direction alone is not reliable (variance 4.5 and 4.9)."""
    monkeypatch.chdir(tmp_path)
    path = shared / "data" / "work" / "dna_hairpin_cd4_work.csv"
    answer = heatbath("work", path, path, *COLUMNS, "--negate-reverse", "--json", "--out", "hairpin.png")
    found = json.loads(answer.out)
    assert (answer.code, found["n_forward"], found["n_reverse"]) == (0, 96, 96)
    assert found["bar"]["value"] == pytest.approx(349.223, abs=1e-3)
    assert found["bar"]["std_error"] == pytest.approx(0.177, abs=1e-3)
    assert found["bar"]["reliable"]
    for name, value, error in (("jarzynski", 348.988, 0.50), ("jarzynski_reverse", 349.498, 0.32)):
        assert found[name]["value"] == pytest.approx(value, abs=1e-3)
        assert found[name]["std_error"] == pytest.approx(error, abs=5e-3)
        assert not found[name]["reliable"]
        assert "var(w)" in found[name]["reason"]
    assert found["dissipated"]["value"] == pytest.approx((351.367 - 347.058) / 2, abs=1e-3)
    assert (tmp_path / "hairpin.png").read_bytes().startswith(b"\x89PNG")


def test_hairpin_as_it_stands_in_the_file(heatbath, shared, tmp_path, monkeypatch):
    """The second column is minus the work done on the molecule: said, and nothing is corrected."""
    monkeypatch.chdir(tmp_path)
    path = shared / "data" / "work" / "dna_hairpin_cd4_work.csv"
    answer = heatbath("work", path, path, *COLUMNS, "--json")
    found = json.loads(answer.out)
    assert (answer.code, found["exit"]) == (3, 3)
    assert "a sign looks reversed" in found["verdict"]
    assert "698" in found["verdict"]
    assert "--negate-reverse" in found["verdict"]
    assert not found["bar"]["reliable"]
    assert found["jarzynski_reverse"]["value"] < 0


def test_gaussian_work(asked):
    """Every estimate within 4.5 standard errors of the exact value: BAR sees an error of 0.16 kT."""
    forward, reverse = gaussian(3.0, 1.0)
    found = asked(forward, reverse)
    for name in NAMES:
        assert away(found[name], 3.0) < 4.5, name
        assert found[name]["reliable"], name
    assert away(found["crooks"]["slope"], 1.0) < 4.5
    assert away(found["dissipated"], 0.5) < 4.5
    assert found["verdict"].startswith("delta F = ")


@pytest.mark.teeth
def test_a_temperature_wrong_by_a_tenth_is_seen(asked):
    """By 0.33 kT in the free energy: 10 standard errors of BAR."""
    found = asked(*gaussian(3.0, 1.0), "--temperature", "0.9")
    assert away(found["bar"], 3.0) > 5


def test_temperature_divides_the_work(asked):
    forward, reverse = gaussian(3.0, 1.0)
    one, other = asked(forward, reverse), asked(forward * 4.0, reverse * 4.0, "--temperature", "4")
    for name in NAMES:
        assert other[name]["value"] == pytest.approx(one[name]["value"], abs=1e-9)


def test_negated_reverse(asked):
    forward, reverse = gaussian(3.0, 1.0)
    one, other = asked(forward, reverse), asked(forward, -reverse, "--negate-reverse")
    assert one["bar"] == other["bar"]


def test_one_direction(asked):
    forward, _ = gaussian(3.0, 0.3, 3_000)
    found = asked(forward)
    assert away(found["jarzynski"], 3.0) < 4.5
    assert found["jarzynski"]["reliable"]
    assert (found["reverse"], found["n_reverse"]) == (None, 0)
    for missing in (found["bar"], found["crooks"], found["crooks"]["slope"], found["jarzynski_reverse"]):
        assert (missing["value"], missing["std_error"], missing["reliable"]) == (None, None, False)
        assert missing["reason"].startswith("one direction only")


def test_one_direction_that_missed_its_tail(asked):
    found = asked(gaussian(3.0, 9.0)[0], code=3)
    assert not found["jarzynski"]["reliable"]
    assert found["verdict"] == f"not to be relied on: {found['jarzynski']['reason']}"


def test_the_table(heatbath, asked):
    asked(*gaussian(3.0, 4.0))
    answer = heatbath("work", "forward.csv", "reverse.csv", "--out", "again.svg")
    assert (answer.code, answer.err) == (0, "")
    lines = answer.out.splitlines()
    assert lines[1].split()[:-1] == NAMES["bar"].split()
    assert "Jarzynski, forward" in answer.out
    assert any(line.endswith("?") for line in lines)
    assert "? Jarzynski, forward: var(w)" in answer.out
    assert lines[-1] == "figure: again.svg"
    assert max(map(len, lines)) <= 80
    again = heatbath("work", "forward.csv", "--quiet")
    assert (again.code, again.out, again.err) == (3, "", "")


def test_large_files_show_what_is_being_done(heatbath, asked, monkeypatch):
    asked(*gaussian(2.0, 1.0))
    monkeypatch.setattr("heatbath.cli.work.LARGE", 100)
    answer = heatbath("work", "forward.csv", "reverse.csv")
    assert answer.err == "reading forward.csv and reverse.csv ...\nestimating ...\ndrawing ...\n"
    assert heatbath("work", "forward.csv", "--quiet").err == ""


def test_pictures_take_the_next_free_name(asked):
    work = gaussian(3.0, 1.0)
    assert [asked(*work)["figure"] for _ in range(2)] == ["forward-work-001.svg", "forward-work-002.svg"]


def test_the_answer_is_as_documented(asked, root):
    """The example is a switch between the first two states of benzene's charges."""
    example = documented(root, "heatbath work forward.csv reverse.csv --json")
    data = benzene("coulomb")
    found = asked(data.work(0, 1), data.work(1, 0))
    assert set(example) == set(found)
    for name, value in found.items():
        if isinstance(value, dict):
            assert set(example[name]) == set(value)
            for part in ("value", "std_error"):
                assert example[name][part] == pytest.approx(value[part], rel=1e-3), name
            assert example[name]["reliable"] == value["reliable"]
        else:
            assert example[name] == value


# ---- work that cannot be right


@pytest.mark.parametrize("wrong", ["forward", "reverse", "both"])
def test_a_reversed_sign_is_said(asked, wrong):
    forward, reverse = gaussian(40.0, 1.0)
    signs = {"forward": (-1, 1), "reverse": (1, -1), "both": (-1, -1)}[wrong]
    found = asked(signs[0] * forward, signs[1] * reverse, code=3)
    assert "a sign looks reversed" in found["verdict"]
    assert not found["bar"]["reliable"]


@pytest.mark.parametrize("signs", [(-1, 1), (1, -1)])
def test_a_reversed_sign_without_a_free_energy_shows_in_the_slope(asked, signs):
    """Both histograms lie on each other: their means say nothing, Crooks' slope of 0 does."""
    forward, reverse = gaussian(0.0, 1.0)
    found = asked(signs[0] * forward, signs[1] * reverse, code=3)
    assert not found["crooks"]["slope"]["reliable"]
    assert away(found["crooks"]["slope"], 1.0) > 10


def test_no_overlap(asked):
    rng = np.random.default_rng(1)
    found = asked(*rng.normal([[80], [20]], 1, (2, 100)), code=3)
    assert "no overlap" in found["bar"]["reason"]
    assert found["bar"]["std_error"] is None
    assert found["verdict"].startswith("not to be relied on: ")


def test_a_single_value(asked):
    found = asked([1.0], [1.0], code=3)
    assert not any(found[name]["reliable"] for name in NAMES)


def test_values_of_1e23(asked):
    """As they are in the windows of van der Waals forces: no weight, no warning, no broken picture."""
    forward, reverse = gaussian(3.0, 1.0)
    found = asked(np.append(forward, [1e23, 1e30]), reverse)
    assert found["bar"]["value"] == pytest.approx(asked(forward, reverse)["bar"]["value"], abs=0.01)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "forward.csv: line 1: is empty"),
        ("w\n", "only a header"),
        ("w\n1\nnan\n", "line 3, column 'w': 'nan' is not a finite number"),
        ("w\n1\n-inf\n", "line 3, column 'w': '-inf' is not a finite number"),
        ("w\n1\ntwo\n", "'two' is text"),
        ("a,b\n1,2\n", "which --column? the columns are 'a', 'b'"),
    ],
)
def test_bad_files(refused, tmp_path, monkeypatch, text, words):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "forward.csv").write_text(text)
    (tmp_path / "good.csv").write_text("1\n2\n")
    assert words in refused("work", "forward.csv")
    assert words in refused("work", "good.csv", "forward.csv")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["forward.csv", "good.csv"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["wrk.csv"], "near names there: 'work.csv'"),
        (["work.csv", "--column", "forwrd"], "no column 'forwrd'; the columns are 'forward', 'back'"),
        (["work.csv", "work.csv", "--column", "forward,bck"], "no column 'bck'"),
        (["work.csv", "--column", "forward,back"], "it may be the same file"),
        (["work.csv", "work.csv", "--column", "a,b,c"], "give one name"),
        (["work.csv", "work.csv", "--column", "forward,"], "give one name"),
        (["work.csv", "--column", "forward", "--negate-reverse"], "there is no REVERSE"),
        (["work.csv", "--temperature", "0"], "a positive number"),
        (["work.csv", "--temperature", "nan"], "a positive number"),
        (["work.csv", "--temperature", "1e-300"], "a positive number"),
        (["work.csv", "--column", "forward", "--out", "picture.pdf"], ".svg or .png"),
        (["work.csv", "--column", "forward", "--out", "taken.svg"], "exists already"),
        (["work.csv", "--column", "forward", "--out", "nowhere/a.svg"], "no folder nowhere"),
        ([], "Missing argument 'FORWARD'"),
    ],
)
def test_requests(refused, tmp_path, monkeypatch, arguments, words):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "work.csv").write_text("forward,back\n1,2\n2,1\n")
    (tmp_path / "taken.svg").touch()
    assert words in refused("work", *arguments)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["taken.svg", "work.csv"]


def test_help_is_fast_and_work_needs_no_jax(tmp_path):
    np.savetxt(tmp_path / "w.csv", np.arange(9.0))
    code = (
        "import sys; from heatbath.cli.answer import run_verb; from heatbath.cli import group; "
        "run_verb(group, ['work', '--help']); heavy = {'jax', 'numpy', 'scipy', 'matplotlib'}; "
        "assert not heavy & set(sys.modules); run_verb(group, ['work', 'w.csv']); "
        "assert 'jax' not in sys.modules"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, timeout=60, cwd=tmp_path, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "figure: w-work-001.svg" in done.stdout
