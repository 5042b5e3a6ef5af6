"""Images from npz files: shapes, labels, parts, and what is refused."""

import numpy as np
import pytest

from heatbath.data import read_images
from heatbath.errors import Refused

X = np.arange(24, dtype=np.uint8).reshape(4, 2, 3)
Y = np.array([3, 0, 3, 1])


@pytest.fixture
def save(tmp_path):
    def write(**arrays):
        np.savez(tmp_path / "t.npz", **arrays)
        return tmp_path / "t.npz"

    return write


def test_images_become_a_table(save):
    table = read_images(save(x=X, y=Y), labels=["y"])
    assert table.columns == ("x0", "x1", "x2", "x3", "x4", "x5")
    assert table.shape == (2, 3)
    assert table.labels == {"y": ("3", "0", "3", "1")}
    np.testing.assert_array_equal(table.values, X.reshape(4, 6))
    assert table.sha256 != read_images(save(x=X, y=Y[::-1]), labels=["y"]).sha256


def test_targets_are_numbers_where_no_labels_are_asked_for(save):
    table = read_images(save(x=X.reshape(4, 6), y=Y / 2))
    assert table.columns[-1] == "y"
    assert (table.labels, table.shape) == ({}, ())
    np.testing.assert_array_equal(table.column("y"), Y / 2)


@pytest.mark.parametrize(
    ("labels", "names"),
    [
        (np.array(["b", "a", "b", "c"]), ("b", "a", "b", "c")),
        (np.array([True, False, True, True]), ("1", "0", "1", "1")),
        (np.array([1.0, 2.5, 1.0, -0.0]), ("1", "2.5", "1", "0")),
    ],
)
def test_labels_of_every_kind(save, labels, names):
    assert read_images(save(x=X, y=labels), labels=["y"]).labels["y"] == names


def test_parts(save):
    path = save(x=X, y=Y, x_test=X[:2] + 1, y_test=Y[:2])
    assert len(read_images(path, labels=["y"]).values) == 4
    test = read_images(path, "test", labels=["y"])
    np.testing.assert_array_equal(test.values, (X[:2] + 1).reshape(2, 6))
    assert test.labels["y"] == ("3", "0")
    assert len(read_images(save(x=X), "test").values) == 4
    assert read_images(save(x=X), "test", labels=["y"]).labels == {}


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"X_train": X}, "no array 'x'; it holds 'X_train'"),
        ({"x": X[:, 0, 0]}, "x is uint8 of shape (4,)"),
        ({"x": X[:0]}, "shape (0, 2, 3)"),
        ({"x": np.full((2, 2), "a")}, "numbers of shape (n, ...)"),
        ({"x": np.array([[1.0], [np.nan]])}, "x[1] has a number that is not finite"),
        ({"x": np.array([[1.0], [1e39]])}, "beyond single precision"),
        ({"x": np.zeros((1, 10_000))}, "the limit is 9999"),
        ({"x": X, "y": Y[:3]}, "one number or text a row of x is needed, (4,)"),
        ({"x": X, "y": np.array([1.0, 2.0, np.inf, 0.0])}, "y[2] has"),
        ({"x": X, "y": np.array(["a", "b\n", "a", "a"])}, "visible characters"),
        ({"x": X, "y": np.array(["a", "", "a", "a"])}, "empty"),
        ({"x": X, "y": Y.astype(complex)}, "y is complex128"),
        ({"x": X.astype(object)}, "Python objects"),
    ],
)
def test_refused(save, arrays, words):
    with pytest.raises(Refused) as caught:
        read_images(save(**arrays), labels=["y"])
    assert words in str(caught.value)
    assert len(str(caught.value)) <= 300


def test_text_is_no_number(save):
    with pytest.raises(Refused, match="--task classification"):
        read_images(save(x=X, y=np.array(["a", "b", "a", "a"])))


def test_files_that_are_no_npz(tmp_path):
    path = tmp_path / "t.npz"
    with pytest.raises(Refused, match="no such file"):
        read_images(path)
    path.write_bytes(b"x,y\n1,2\n")
    with pytest.raises(Refused, match="is no npz file"):
        read_images(path)
    np.savez(path, x=X)
    path.write_bytes(path.read_bytes()[:60] + b"??" + path.read_bytes()[62:])
    with pytest.raises(Refused):
        read_images(path)
