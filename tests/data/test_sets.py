"""Data sets by name: what is shipped, what is looked for elsewhere, and what is said where it is absent."""

import csv
import sys
from importlib import resources
from pathlib import Path

import numpy as np
import pytest

from heatbath.data import SHIPPED, classes_of, dataset, find, indices_of
from heatbath.errors import Refused

ORIGINAL = Path(__file__).parents[3] / "shared" / "data" / "robot_arm" / "robot_arm.csv"


@pytest.mark.parametrize("name", SHIPPED)
def test_every_shipped_set_is_readable(name):
    data = SHIPPED[name]
    assert data.name == name
    for part in ("train", "test"):
        table = data.table(part)
        assert table.path == name
        assert set(data.targets) < {*table.columns, *table.labels}


def test_robot_arm_rows():
    train, test = SHIPPED["robot-arm"].table(), SHIPPED["robot-arm"].table("test")
    for table in (train, test):
        assert table.columns == ("x1", "x2", "y1", "y2")
        assert table.values.shape == (200, 4)
    assert train.sha256 != test.sha256


def test_robot_arm_is_verbatim():
    if not ORIGINAL.exists():
        pytest.skip("the shared folder with the original file is not beside the repository")
    with open(ORIGINAL, newline="") as file:
        original = list(csv.reader(file))[1:]
    folder = resources.files("heatbath.data") / "files"
    for part, name in (("train", "robot_arm.csv"), ("test", "robot_arm_test.csv")):
        rows = [",".join(row[1:]) for row in original if row[0] == part]
        assert (folder / name).read_text().splitlines() == ["x1,x2,y1,y2", *rows]


def test_licence_is_shipped():
    text = (resources.files("heatbath.data") / "files" / "robot_arm.md").read_text(encoding="utf-8")
    for words in ("MacKay", "Copyright (c) 2011-2012, Jérémy Fix", "Redistributions of source code", "AS IS"):
        assert words in text


def test_find(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert find("robot-arm") is SHIPPED["robot-arm"]
    Path("robot-arm").write_text("x\n1\n")
    assert find("robot-arm") is SHIPPED["robot-arm"]
    assert find("./robot-arm") == Path("robot-arm")
    assert find(str(tmp_path / "robot-arm")) == tmp_path / "robot-arm"


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("robot_arm", "did you mean 'robot-arm'?"),
        ("Robot-Arm", "did you mean 'robot-arm'?"),
        ("wether.csv", "near names there: 'weather.csv'"),
        ("zzz", "data sets: 'robot-arm', 'a9a', 'digits', 'mnist-8k'"),
        ("", "data sets: 'robot-arm', 'a9a', 'digits', 'mnist-8k'"),
        ("./robot-arm", "no such file"),
        ("a\0b/\x1b", "a\\x00b/\\x1b"),
        ("n" * 5000, "data sets: 'robot-arm', 'a9a', 'digits', 'mnist-8k'"),
    ],
)
def test_find_refuses(tmp_path, monkeypatch, name, words):
    monkeypatch.chdir(tmp_path)
    Path("weather.csv").write_text("x\n1\n")
    with pytest.raises(Refused) as caught:
        find(name)
    message = str(caught.value)
    assert words in message
    assert len(message) <= 300
    assert message.isprintable()


def test_adult_is_what_its_readme_says():
    data = dataset("a9a")
    assert (data.inputs.shape, data.test_inputs.shape) == ((32_561, 123), (16_281, 123))
    assert data.classes == ("-1", "1")
    assert (data.targets.sum(), data.test_targets.sum()) == (7_841, 3_846)
    assert (data.inputs.sum(), data.test_inputs.sum()) == (451_592, 225_731)
    assert set(np.unique(data.inputs)) == {0, 1}
    text = (resources.files("heatbath.data") / "files" / "a9a.md").read_text(encoding="utf-8")
    assert "Becker" in text
    assert "CC BY 4.0" in text


def test_adult_agrees_with_the_dense_copy(shared):
    data = dataset("a9a")
    with np.load(shared / "data" / "a9a" / "a9a.npz") as dense:
        for part, inputs, targets in (
            ("train", data.inputs, data.targets),
            ("test", data.test_inputs, data.test_targets),
        ):
            bits = np.unpackbits(dense[f"X_{part}"], axis=1)[:, :123]
            np.testing.assert_array_equal(inputs, bits)
            np.testing.assert_array_equal(targets, dense[f"y_{part}"] > 0)


def test_mnist_is_read_from_the_folder_of_data(shared, monkeypatch):
    monkeypatch.setenv("HEATBATH_DATA", str(shared / "data"))
    data = dataset("mnist-8k", "digits")
    assert data.name == "mnist-8k"
    assert (data.inputs.shape, data.test_inputs.shape) == ((6_000, 28, 28), (2_000, 28, 28))
    assert data.classes == tuple("0123456789")
    with np.load(shared / "data" / "mnist" / "mnist_8k.npz") as original:
        np.testing.assert_array_equal(data.inputs, original["X_train"])
        np.testing.assert_array_equal(data.test_targets, original["y_test"])


def test_absent_sets_say_what_to_do(tmp_path, monkeypatch):
    monkeypatch.delenv("HEATBATH_DATA", raising=False)
    with pytest.raises(Refused, match=r"set HEATBATH_DATA to a folder that holds mnist/mnist_8k\.npz"):
        dataset("mnist-8k")
    monkeypatch.setenv("HEATBATH_DATA", str(tmp_path))
    with pytest.raises(Refused, match="No such file"):
        dataset("mnist-8k")
    (tmp_path / "mnist").mkdir()
    (tmp_path / "mnist" / "mnist_8k.npz").write_bytes(b"other")
    with pytest.raises(Refused, match="is another file"):
        dataset("mnist-8k")
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(Refused, match=r"is another file.*; the digits come with scikit-learn: pip install"):
        dataset("mnist-8k", "digits")
    with pytest.raises(Refused, match="did you mean 'digits'"):
        dataset("digit")


def test_digits_stand_in(monkeypatch):
    pytest.importorskip("sklearn")
    monkeypatch.delenv("HEATBATH_DATA", raising=False)
    data = dataset("mnist-8k", "digits")
    assert data.name == "digits"
    assert (data.inputs.shape, data.test_inputs.shape) == ((1_438, 8, 8), (359, 8, 8))
    assert np.bincount(data.targets).min() > 100


def test_robot_arm_as_arrays():
    data = dataset("robot-arm")
    assert (data.inputs.shape, data.targets.shape, data.classes) == ((200, 2), (200, 2), ())


def test_classes_are_numbers_in_order_then_texts():
    classes = classes_of(("b", "10", "9", "a", "-1", "9"))
    assert classes == ("-1", "9", "10", "a", "b")
    np.testing.assert_array_equal(indices_of(("a", "9", "c"), classes), [3, 1, -1])
