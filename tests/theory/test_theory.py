import math
import subprocess
import sys

import numpy as np
import pytest

from heatbath import theory
from heatbath.errors import Refused
from heatbath.theory.entropy_production import step_uncertainty_bound
from heatbath.theory.escape import mean_first_passage_time
from heatbath.theory.gaussian import entropy
from heatbath.theory.langevin_relaxation import moving_trap
from heatbath.theory.learning_coefficient import quadratic_coefficient, reduced_rank_threshold
from heatbath.theory.stationary import sgd_state
from heatbath.theory.thermostats import thermostat_temperatures


def test_table_of_names():
    assert theory.names() == sorted(theory.QUANTITIES)
    assert len(theory.QUANTITIES) == sum(map(len, theory.FAMILIES.values()))
    for name, quantity in theory.QUANTITIES.items():
        assert name == f"{quantity.__module__.rsplit('.', 1)[-1]}.{quantity.__name__}"
        assert quantity.__doc__


def test_needs_no_jax():
    check = "import sys, heatbath.theory; assert 'jax' not in sys.modules"
    subprocess.run([sys.executable, "-c", check], check=True)


@pytest.mark.parametrize("bad", [math.nan, math.inf, "abc", None, [], [1, [2]], 1j, {}, 1.5, 1e300])
def test_a_count_is_a_whole_number(bad):
    with pytest.raises(Refused, match=r"^rank [^\n]{1,120}$"):
        reduced_rank_threshold(3, 2, 3, bad)


@pytest.mark.parametrize("bad", [math.nan, "abc", None, [1, [2]], 1j, {}])
@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("curvature", lambda bad: quadratic_coefficient(bad, 10.0, 1.0)),
        ("covariance", entropy),
        ("velocity", lambda bad: moving_trap(1.0, bad, 1.0, 1.0)),
        ("mean", lambda bad: step_uncertainty_bound(bad, 1.0)),
        ("start", lambda bad: mean_first_passage_time(np.square, bad, 1.0, -4.0, 0.2)),
        ("friction_factor", lambda bad: thermostat_temperatures("bbk", 1.0, 0.1, friction_factor=bad)),
    ],
)
def test_what_is_no_finite_number_is_refused_by_name(name, call, bad):
    with pytest.raises(Refused, match=f"^{name} "):
        call(bad)


def test_shapes_are_refused_by_name():
    with pytest.raises(Refused, match="step_size must be one number"):
        sgd_state(np.eye(2), np.eye(2), [0.1, 0.2])
    with pytest.raises(Refused, match="hessian must be a square matrix"):
        sgd_state(np.ones((2, 3)), np.eye(2), 0.1)
    with pytest.raises(Refused, match="curvature must be a vector"):
        quadratic_coefficient([], 10.0, 1.0)
