"""`heatbath evidence`: models of a small table compared, one run, and what is refused."""

import json
import tomllib

import numpy as np
import pytest

from heatbath.cli import comparison, sampling
from heatbath.cli.comparison import lines
from heatbath.errors import Refused

from .conftest import documented, synthetic_run, write_table


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    folder = tmp_path_factory.mktemp("evidence")
    write_table(folder / "tiny.csv", rows=12)
    return folder


@pytest.mark.slow
def test_models_compared(small, monkeypatch, heatbath, root):
    """And its config.toml gives the same bits again."""
    monkeypatch.chdir(small)
    asked = ("tiny.csv", "--target", "y", "--hidden", "1", "--steps", "100", "--json", "--quiet")
    answer = heatbath("evidence", *asked)
    assert (answer.code, answer.err) == (0, "")
    found = json.loads(answer.out)
    example = documented(root, "heatbath evidence DATA.csv --target y --hidden 2,4,8,16 --json")
    assert set(found) == set(example)
    assert [set(m) for m in found["models"]] == [set(example["models"][0])] * 3
    assert [m["method"] for m in found["models"]] == ["annealing", "Laplace", "mean field"]
    annealing, _, mean_field = found["models"]
    assert annealing["lower"] is not None
    assert mean_field["log_evidence"] == mean_field["lower"]
    assert mean_field["upper"] is None
    assert mean_field["log_evidence"] < annealing["log_evidence"] + 5 * annealing["std_error"]
    assert found["best"] == "1"
    folder = small / "runs" / "tiny-evidence-001"
    assert (folder / "evidence.svg").read_text().startswith("<svg")
    assert json.loads((folder / "evidence.json").read_text())["models"] == found["models"]
    config = tomllib.loads((folder / "config.toml").read_text())
    asked = {"hidden": [1], "activation": "tanh", "steps": 100, "steps_by_hand": True, "seed": 0}
    assert config["evidence"] == asked
    assert (config["data"]["rows"], config["data"]["targets"]) == (12, ["y"])
    again = json.loads(heatbath("run", folder / "config.toml", "--json", "--quiet").out)
    assert again["figure"] == "runs/tiny-evidence-002/evidence.svg"
    assert [m["log_evidence"] for m in again["models"]] == [m["log_evidence"] for m in found["models"]]


@pytest.mark.slow
def test_a_run_has_its_own_model(small, heatbath):
    run = synthetic_run(small / "run", small / "tiny.csv", ["y"])
    answer = heatbath("evidence", run, "--steps", "100", "--quiet", "--json")
    assert answer.code == 0
    found = json.loads(answer.out)
    assert [m["name"] for m in found["models"]] == ["4"] * 3
    assert (run / "figures" / "evidence.svg").exists()


@pytest.mark.slow
def test_classes(small, monkeypatch, heatbath):
    monkeypatch.chdir(small)
    rng = np.random.default_rng(0)
    x = rng.normal(size=30)
    rows = "\n".join(f"{a:.3f},{'left' if a < 0.1 else 'right'}" for a in x)
    (small / "sides.csv").write_text(f"x,side\n{rows}\n")
    answer = heatbath(
        "evidence", "sides.csv", "--target", "side", "--hidden", "2", "--steps", "100", "--json"
    )
    found = json.loads(answer.out)["models"][0]
    assert -30 * np.log(2) < found["log_evidence"] < 0  # better than tossing a coin, and a probability


@pytest.mark.slow
def test_a_line_needs_few_units(small, monkeypatch, heatbath):
    """Occam: a noisy line in 24 rows. One unit is enough, and eight are not rewarded: no more than an nat."""
    monkeypatch.chdir(small)
    rng = np.random.default_rng(0)
    x = rng.uniform(-1, 1, 24)
    np.savetxt(
        "line.csv", np.stack([x, x + 0.3 * rng.normal(size=24)], 1), delimiter=",", header="x,y", comments=""
    )
    answer = heatbath("evidence", "line.csv", "--target", "y", "--hidden", "1,8", "--steps", "200", "--json")
    one, eight = (m for m in json.loads(answer.out)["models"] if m["method"] == "annealing")
    error = np.hypot(one["std_error"], eight["std_error"])
    assert eight["log_evidence"] - one["log_evidence"] < 1 + 3 * error


@pytest.mark.parametrize(
    "more",
    [
        ("--hidden", "2,2"),
        ("--hidden", "0"),
        ("--hidden", "two"),
        ("--steps", "3"),
        ("--target", "nothing"),
        ("--seed", "-1"),
        ("--out", "."),
    ],
)
def test_refused(tiny, refused, more):
    asked = dict(zip(("--target", more[0]), ("y", more[1]), strict=True))
    refused("evidence", "tiny.csv", *[x for pair in asked.items() for x in pair])
    assert not (tiny / "runs").exists()


def test_a_run_has_its_own_width(made, refused):
    assert "--hidden" in refused("evidence", made, "--hidden", "3")


def test_models_beyond_the_memory_are_refused(tiny, made, interrupted, refused, monkeypatch):
    def full(problem, settings):
        raise Refused("a network of that size needs more memory")

    monkeypatch.setattr(sampling, "check_memory", full)
    for asked in (("evidence", "tiny.csv", "--target", "y"), ("evidence", made), ("resume", interrupted)):
        assert "more memory" in refused(*asked)
    assert not (tiny / "runs").exists()


def test_no_such_data(tiny, refused):
    assert "nowhere" in refused("evidence", "nowhere.csv", "--target", "y")


def quick(problem, settings, quiet):
    """In place of the computation: rows that depend on the model alone."""
    row = {"name": str(settings.hidden[0]), "log_evidence": -1.5 * settings.hidden[0], "std_error": 0.1}
    row |= {"lower": -4.0, "upper": None, "reliable": True, "reason": ""}
    return [{**row, "method": method} for method in comparison.METHODS]


@pytest.fixture
def interrupted(tiny, monkeypatch, heatbath):
    """A comparison that was interrupted in its second model."""

    def first_alone(problem, settings, quiet):
        if settings.hidden == (2,):
            raise KeyboardInterrupt
        return quick(problem, settings, quiet)

    monkeypatch.setattr(comparison, "evidences", first_alone)
    answer = heatbath("evidence", "tiny.csv", "--target", "y", "--hidden", "1,2,3", "--out", "part")
    assert (answer.code, "heatbath resume part" in answer.err) == (130, True)
    assert [m["name"] for m in json.loads((tiny / "part" / "evidence.json").read_text())["models"]] == [
        "1"
    ] * 3
    monkeypatch.setattr(comparison, "evidences", quick)
    return tiny / "part"


def test_resumed_is_undisturbed(tiny, interrupted, heatbath):
    """Finished models are not computed again; the table itself is no longer needed."""
    heatbath("evidence", "tiny.csv", "--target", "y", "--hidden", "1,2,3", "--out", "whole")
    (tiny / "tiny.csv").unlink()
    answer = heatbath("resume", "part", "--json")
    assert answer.code == 0
    assert json.loads(answer.out) == json.loads((interrupted / "evidence.json").read_text())
    whole = (tiny / "whole" / "evidence.json").read_text()
    assert (interrupted / "evidence.json").read_text() == whole.replace("whole/", "part/")
    for name in ("evidence.svg", "config.toml", "data.npz"):
        assert (interrupted / name).read_bytes() == (tiny / "whole" / name).read_bytes()


def test_a_comparison_is_no_run_of_learn(interrupted, refused):
    assert "--steps" in refused("resume", interrupted, "--more", "3")
    for verb in ("thermometer", "report", "evidence"):
        assert "keeps no samples" in refused(verb, interrupted)
    assert "keeps no samples" in refused("predict", interrupted, "tiny.csv")


@pytest.mark.parametrize("text", ["{", "{}", '{"models": [{"name": "1"}]}', '{"models": 3}', "[]"])
def test_damaged_answer(interrupted, refused, text):
    (interrupted / "evidence.json").write_text(text)
    assert "evidence.json is damaged" in refused("resume", interrupted)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("hidden = [1, 2, 3]", "hidden = 3"),
        ("hidden = [1, 2, 3]", "hidden = []"),
        ("hidden = [1, 2, 3]", 'hidden = ["x"]'),
        ("steps = 1000", "steps = 0"),
        ("seed = 0", "speed = 0"),
        ('activation = "tanh"', 'activation = "sine"'),
        ('task = "regression"', 'task = "guess"'),
    ],
)
def test_bad_config(interrupted, refused, tiny, old, new):
    text = (interrupted / "config.toml").read_text()
    assert old in text
    (tiny / "other.toml").write_text(text.replace(old, new))
    assert "config.toml" in refused("run", "other.toml")


def test_what_is_not_reliable_is_marked(tmp_path):
    row = {"name": "4", "log_evidence": 610.2, "std_error": 6.0, "lower": 604.0, "upper": 616.0}
    model = {**row, "method": "annealing", "reliable": False, "reason": "the bounds are 12 nats apart"}
    text = "\n".join(lines([model], "4", tmp_path / "evidence.svg"))
    assert "610.2(6.0)?" in text
    assert "12 nats apart" in text
