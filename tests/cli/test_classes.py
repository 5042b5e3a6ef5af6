"""learn, predict and report with classes, images and outliers; the documented answers."""

import csv
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from heatbath.cli import group
from heatbath.cli.answer import run_verb
from heatbath.data import read_images, read_table
from heatbath.learning.problem import classification_problem
from heatbath.store import RunFolder

from .conftest import documented, synthetic
from .test_main_job import tree

LEARN = ("--target", "kind", "--hidden", "4", "--replicas", "2", "--steps", "40")


def write_kinds(path: Path, rows: int = 40) -> Path:
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, rows)).round(4)
    kinds = np.where(a + 0.3 * b > 0.5, "left, up", np.where(a > -0.5, "mid", "right"))
    with open(path, "w", newline="") as file:
        csv.writer(file).writerows([("a", "kind", "b"), *zip(a, kinds, b, strict=True)])
    return path


def write_far(path: Path) -> Path:
    np.savetxt(path, np.full((5, 2), 30.0), delimiter=",", header="b,a", comments="")
    return path


@pytest.fixture(scope="session")
def learned(tmp_path_factory) -> Path:
    """A folder with kinds.csv, far.csv and the run of `learn` on them; copy it before you change it."""
    folder = tmp_path_factory.mktemp("learned")
    data, far = write_kinds(folder / "kinds.csv"), write_far(folder / "far.csv")
    arguments = ["learn", data, *LEARN, "--outliers", far, "--out", folder / "run", "--quiet"]
    assert run_verb(group, list(map(str, arguments))) == 0
    return folder


@pytest.fixture
def made_of_classes(tiny) -> Path:
    """A run on kinds.csv whose draws are random numbers."""
    table = read_table(write_kinds(tiny / "kinds.csv"), labels=["kind"])
    return synthetic(tiny / "made", classification_problem(table, ["kind"], "kinds"))


@pytest.fixture
def made_of_images(tiny) -> Path:
    """A run on images.npz (4 x 4 pixels, three classes, a test part) whose draws are random numbers."""
    rng = np.random.default_rng(0)
    arrays = {"x": rng.integers(0, 255, (30, 4, 4)).astype(np.uint8), "y": np.arange(30) % 3}
    np.savez(tiny / "images.npz", x_test=arrays["x"][:7], y_test=arrays["y"][:7] + 1, **arrays)
    np.savez(tiny / "odd.npz", x=arrays["x"][:9] // 2)
    table = read_images(tiny / "images.npz", labels=["y"])
    return synthetic(tiny / "made", classification_problem(table, ["y"], "images"))


def test_learn_answers_as_documented(learned, tmp_path, heatbath, root):
    run = Path(shutil.copytree(learned / "run", tmp_path / "run"))
    found = json.loads(heatbath("resume", run, "--json", "--quiet").out)
    assert set(found) == {*documented(root, "heatbath learn robot-arm --json"), "unfamiliar_auroc"}
    assert found["task"] == "classification"
    assert 0 <= found["unfamiliar_auroc"] <= 1  # so short a run says nothing about its size
    assert tree(run) == tree(learned / "run")
    assert json.loads((run / "verdict.json").read_text())["unfamiliar_auroc"] == found["unfamiliar_auroc"]


def test_predict_answers_as_documented(learned, tmp_path, heatbath, root):
    data, far = learned / "kinds.csv", learned / "far.csv"
    out = tmp_path / "p.csv"
    found = json.loads(
        heatbath("predict", learned / "run", data, "--outliers", far, "--out", out, "--json").out
    )
    assert set(found) == set(documented(root, "heatbath predict RUN NEW.csv --outliers OTHER.csv --json"))
    assert found["accuracy"] > 0.6
    assert -1.1 < found["log_likelihood"] < 0
    with open(out, newline="") as file:
        rows = list(csv.DictReader(file))
    classes = ("left, up", "mid", "right")
    names = ["kind_class", *(f"kind_p_{name}" for name in classes), "kind_entropy", "kind_unfamiliar"]
    assert list(rows[0]) == names
    for row in rows:
        chances = {name: float(row[f"kind_p_{name}"]) for name in classes}
        assert sum(chances.values()) == pytest.approx(1, abs=1e-7)
        assert chances[row["kind_class"]] == max(chances.values())
        assert 0 <= float(row["kind_unfamiliar"]) <= float(row["kind_entropy"]) <= np.log(3) + 1e-9


@pytest.mark.slow
def test_run_repeats_bit_for_bit(learned, tmp_path, heatbath):
    shutil.copy(learned / "run" / "config.toml", tmp_path / "config.toml")  # the data from their source
    assert heatbath("run", tmp_path / "config.toml", "--out", tmp_path / "again", "--quiet").code == 0
    assert tree(tmp_path / "again") == tree(learned / "run")


def test_changed_outliers_are_noticed(learned, tmp_path, refused):
    text = (learned / "run" / "config.toml").read_text()
    other = tmp_path / "far.csv"
    other.write_text("a,b\n1,2\n")
    (tmp_path / "config.toml").write_text(text.replace(str(learned / "far.csv"), str(other)))
    assert "has changed" in refused("run", tmp_path / "config.toml", "--out", tmp_path / "again")


def test_the_report_has_the_classes(learned):
    page = (learned / "run" / "report.html").read_text()
    for words in ("left, up, mid, right", "Predicted classes", "does not know", "area under the ROC curve"):
        assert words in page
    assert "Noise of" not in page
    figures = {path.stem for path in (learned / "run" / "figures").iterdir()}
    assert {"predictions", "familiarity", "hyperparameters", "convergence"} <= figures


@pytest.mark.parametrize(
    ("labels", "options", "words"),
    [
        ("pq" * 20, (), "classification, for target 'kind' is text; for the other: --task regression"),
        ("01" * 20, (), "classification, for target 'kind' is whole numbers, 2 different ones in 40 rows"),
        ("0123456789" * 4, (), "regression, for target 'kind' is whole numbers, 10 different ones"),
        ("01" * 20, ("--task", "classification"), ""),
        ("01" * 20, ("--task", "regression"), ""),
    ],
)
def test_the_task_is_never_guessed_silently(tiny, heatbath, monkeypatch, labels, options, words):
    asked = []
    monkeypatch.setattr("heatbath.cli.sampling.begin", lambda *args, **_: asked.append(args[1].task) or 0)
    Path("kinds.csv").write_text("a,kind\n" + "".join(f"{i},{label}\n" for i, label in enumerate(labels)))
    answer = heatbath("learn", "kinds.csv", "--target", "kind", "--quiet", *options)
    assert answer.code == 0
    assert answer.err.startswith(words)
    assert bool(answer.err) == bool(words)
    assert answer.err.count("\n") == bool(words)
    assert asked == [(words or options[1]).partition(",")[0]]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("kinds.csv", "--target", "kind", "--task", "regression"), "'mid' is text where a number should be"),
        (("kinds.csv", "--target", "kind,a", "--task", "classification"), "one target, 2 are given"),
        (("tiny.csv", "--target", "y", "--task", "classification"), "40 classes in 40 rows"),
        (("kinds.csv", "--target", "kind", "--task", "sorting"), "'regression', 'classification'"),
        (("kinds.csv", "--target", "kind", "--outliers", "none.csv"), "no such file"),
        (("kinds.csv", "--target", "kind", "--outliers", "tiny.csv"), "knows no column 'y'"),
        (("robot-arm", "--target", "y1", "--task", "classification"), "holds measured numbers"),
        (("a9a", "--task", "regression"), "holds classes"),
        (("mnist-8k",), "set HEATBATH_DATA"),
        (("notes.npz",), "is no npz file"),
    ],
)
def test_requests_that_are_refused(tiny, refused, monkeypatch, arguments, words):
    monkeypatch.delenv("HEATBATH_DATA", raising=False)
    write_kinds(Path("kinds.csv"))
    Path("notes.npz").write_text("notes")
    assert words in refused("learn", *arguments, "--out", "run")
    assert not Path("run").exists()


def test_labels_never_learned_are_counted_and_left_out(made_of_classes, heatbath):
    Path("new.csv").write_text("a,b,kind\n0,1,mid\n1,2,other\n-1,0,right\n")
    answer = heatbath("predict", "made", "new.csv", "--out", "1.csv")
    assert "1 rows are of classes the run has not learned, and are left out of the scores" in answer.out
    found = json.loads(heatbath("predict", "made", "new.csv", "--out", "2.csv", "--json").out)
    assert (found["n"], found["unknown_labels"]) == (3, 1)
    Path("new.csv").write_text("a,b,kind\n1,2,other\n")
    found = json.loads(heatbath("predict", "made", "new.csv", "--out", "3.csv", "--json").out)
    assert (found["accuracy"], found["log_likelihood"]) == (None, None)


def test_predict_without_labels(made_of_classes, heatbath):
    Path("plain.csv").write_text("b,a\n0,1\n")
    found = json.loads(heatbath("predict", "made", "plain.csv", "--json").out)
    assert set(found) == {"run", "predictions", "n"}


def test_images(made_of_images, heatbath, refused):
    found = json.loads(heatbath("predict", "made", "images.npz", "--outliers", "odd.npz", "--json").out)
    assert found["n"] == 7  # the test part
    assert found["unknown_labels"] == 2  # of class 3
    assert 0 <= found["unfamiliar_auroc"] <= 1
    np.savez("wide.npz", x=np.zeros((2, 2, 8)))
    assert "images of shape 2 x 8" in refused("predict", "made", "wide.npz")
    assert "no images, the run" in refused("predict", "made", "tiny.csv")


def test_outliers_of_a_regression(made, heatbath):
    write_far(Path("far.csv"))
    answer = heatbath("predict", "made", "tiny.csv", "--outliers", "far.csv", "--json")
    assert 0 <= json.loads(answer.out)["unfamiliar_auroc"] <= 1


def test_damaged_classes(made_of_classes, refused):
    config = made_of_classes / "config.toml"
    config.write_text(re.sub("classes = .*", 'classes = ["a", 1]', config.read_text()))
    assert "classes" in refused("predict", "made", "kinds.csv")


def test_data_that_was_stored_is_what_is_read_back(made_of_images):
    folder = RunFolder.open(made_of_images)
    assert folder.config["data"]["shape"] == [4, 4]
    assert folder.data()["targets"].dtype.kind == "i"
