"""Problems and their standardisation."""

import tomllib

import numpy as np
import pytest

from heatbath.data import read_images, read_table
from heatbath.errors import Refused
from heatbath.learning.problem import (
    Standardisation,
    classification_problem,
    guess_task,
    regression_problem,
)
from heatbath.store import write_toml

INPUTS = np.array([[1.0, 0.1, -5e8], [2.0, 0.1, 5e8], [4.0, 0.1, 1.0]])
TARGETS = np.array([[1.0], [2.0], [1e6]])


def test_standardised_columns_have_mean_0_and_variance_1():
    scales = Standardisation.of(INPUTS, TARGETS)
    inputs, targets = scales.inputs(INPUTS), scales.targets(TARGETS)
    np.testing.assert_allclose(inputs.mean(axis=0), 0, atol=1e-15)
    np.testing.assert_allclose(inputs.std(axis=0), [1, 0, 1], atol=1e-15)
    np.testing.assert_allclose(targets.std(axis=0), 1)
    np.testing.assert_allclose(targets * scales.target_scale + scales.target_mean, TARGETS, rtol=1e-9)


def test_a_constant_input_keeps_its_unit():
    """Its standard deviation is a rounding error, not 0: a new value must not be blown up by it."""
    assert Standardisation.of(np.full((3, 1), 0.1), TARGETS).input_scale == [1.0]


def test_round_trip_through_config():
    scales = Standardisation.of(INPUTS / 3, TARGETS / 7)
    back = Standardisation.from_config(tomllib.loads(write_toml(scales.to_config())))
    for name, value in vars(scales).items():
        np.testing.assert_array_equal(getattr(back, name), value)


def test_bits_do_not_depend_on_the_memory():
    values = np.random.default_rng(0).normal(size=(1000, 3))
    turned = np.asfortranarray(values)
    assert Standardisation.of(values, values).to_config() == Standardisation.of(turned, turned).to_config()


def test_columns_of_a_problem(tmp_path):
    (tmp_path / "t.csv").write_text("y,a,z,b\n1,2,3,4\n5,6,7,9\n")
    problem = regression_problem(read_table(tmp_path / "t.csv"), ["z", "y"], "t")
    assert (problem.input_names, problem.target_names) == (("a", "b"), ("z", "y"))
    np.testing.assert_array_equal(problem.inputs, [[2, 4], [6, 9]])
    np.testing.assert_array_equal(problem.targets, [[3, 1], [7, 5]])


@pytest.mark.parametrize("values", ["0.1,0.1,0.1", "0,1e-200,0", "1e8,1e8,1.0000000000000001e8"])
def test_targets_that_do_not_vary(tmp_path, values):
    rows = [f"{i},{y}\n" for i, y in enumerate(values.split(","))]
    (tmp_path / "t.csv").write_text("x,y\n" + "".join(rows))
    with pytest.raises(Refused, match="nothing to learn"):
        regression_problem(read_table(tmp_path / "t.csv"), ["y"], "t")


# ---- classes


def table(tmp_path, rows: list[str], labels: bool = True):
    (tmp_path / "t.csv").write_text(
        "x,y\n" + "\n".join(f"{i},{label}" for i, label in enumerate(rows)) + "\n"
    )
    return read_table(tmp_path / "t.csv", labels=["y"] if labels else [])


@pytest.mark.parametrize(
    ("rows", "task", "why"),
    [
        (["a", "b", "a"], "classification", "is text"),
        (["0", "1.0"] * 10, "classification", "2 different ones in 20 rows"),
        (["0", "1", "2"] * 9, "regression", "3 different ones in 27 rows"),
        ([str(i) for i in range(21)] * 10, "regression", "21 different ones in 210 rows"),
        ([str(i) for i in range(20)] * 10, "classification", "20 different ones in 200 rows"),
        (["0.5", "1", "2", "3"], "regression", ""),
        (["a", "1", "2"], "regression", ""),
    ],
)
def test_what_a_user_would_expect(tmp_path, rows, task, why):
    guess, reason = guess_task(table(tmp_path, rows), ["y"])
    assert guess == task
    assert why in reason
    assert bool(why) == bool(reason)


def test_several_targets_are_regression(tmp_path):
    (tmp_path / "t.csv").write_text("x,y,z\n1,a,b\n2,b,a\n")
    assert guess_task(read_table(tmp_path / "t.csv", labels=["y", "z"]), ["y", "z"]) == ("regression", "")


def test_a_problem_with_classes(tmp_path):
    problem = classification_problem(table(tmp_path, ["b", "a", "b", "b"]), ["y"], "t")
    assert (problem.task, problem.classes, problem.outputs) == ("classification", ("a", "b"), 2)
    np.testing.assert_array_equal(problem.targets, [[1], [0], [1], [1]])
    scales = problem.standardisation
    assert (scales.target_mean, scales.target_scale) == (0, 1)
    np.testing.assert_allclose(scales.inputs(problem.inputs).std(), 1)


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        (["a", "a", "a"], "constant"),
        (["1", "1.0", "1e0"], "constant"),
        (["a", "b", "c", "d"], "too few rows of each"),
    ],
)
def test_labels_from_which_nothing_is_learned(tmp_path, rows, words):
    with pytest.raises(Refused, match=words):
        classification_problem(table(tmp_path, rows), ["y"], "t")


def test_labels_and_numbers_are_not_mixed_up(tmp_path):
    with pytest.raises(Refused, match="holds classes: --task classification"):
        regression_problem(table(tmp_path, ["1", "2"]), ["y"], "t")
    with pytest.raises(Refused, match="--task regression"):
        classification_problem(table(tmp_path, ["1", "2"], labels=False), ["y"], "t")
    with pytest.raises(Refused, match="one target, 2 are given"):
        classification_problem(table(tmp_path, ["1", "2"]), ["y", "x"], "t")


def test_pixels_are_scaled_alike(tmp_path):
    images = np.random.default_rng(0).uniform(size=(20, 2, 2))
    images[:, 0, 0] = 0
    np.savez(tmp_path / "t.npz", x=images, y=np.arange(20) % 2)
    problem = classification_problem(read_images(tmp_path / "t.npz", labels=["y"]), ["y"], "t")
    assert len(set(problem.standardisation.input_scale)) == len(set(problem.standardisation.input_mean)) == 1
    scaled = problem.standardisation.inputs(problem.inputs)
    assert scaled.mean() == pytest.approx(0, abs=1e-12)
    assert scaled.std() == pytest.approx(1)


def test_outliers_have_the_columns_of_the_inputs(tmp_path):
    problem = classification_problem(table(tmp_path, ["b", "a", "b", "b"]), ["y"], "t")
    (tmp_path / "o.csv").write_text("y,x\nstrange,7\nodd,8\n")
    found = problem.with_outliers(read_table(tmp_path / "o.csv", labels=["y"]))
    np.testing.assert_array_equal(found.outliers, [[7], [8]])
    assert found.sha256 != problem.sha256
    (tmp_path / "o.csv").write_text("x,z\n1,2\n")
    with pytest.raises(Refused, match="knows no column 'z'"):
        problem.with_outliers(read_table(tmp_path / "o.csv"))
    np.savez(tmp_path / "o.npz", x=np.zeros((3, 2, 2)))
    with pytest.raises(Refused, match="images of shape 2 x 2, the run has learned from no images"):
        problem.with_outliers(read_images(tmp_path / "o.npz"))
