"""Problems and their standardisation."""

import tomllib

import numpy as np
import pytest

from heatbath.data import read_table
from heatbath.errors import Refused
from heatbath.learning.problem import Standardisation, regression_problem
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
