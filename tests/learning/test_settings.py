"""Settings: refusals, and config.toml there and back."""

import math
import tomllib

import pytest

from heatbath.errors import Refused
from heatbath.learning.settings import HEATING, LARGEST_STEP, Settings, check_config
from heatbath.store import write_toml

DATA = {"name": "t", "source": "t.csv", "sha256": "0", "rows": 3, "inputs": ["x"], "targets": ["y"]}


def test_round_trip():
    settings = Settings(
        hidden=(8, 4), activation="relu", weight_prior=(1.5, 0.1), seed=2**32 - 1, step_size=0.3
    )
    assert Settings.from_config(tomllib.loads(write_toml(settings.to_config()))) == settings
    assert Settings.from_config({}) == Settings()


def test_minibatches_there_and_back():
    settings = Settings(hidden=(8,)).with_minibatches("sghmc", 100, 6_000)
    assert (settings.dynamics, settings.batch, settings.hidden) == ("sghmc", 100, (8,))
    assert settings.heating(6_000) == pytest.approx(HEATING, rel=0.02)
    assert Settings().heating(6_000) == 0
    found = settings.to_config()
    assert not {"decoherence_length", "gibbs_every"} & set(found["run"])
    assert Settings.from_config(tomllib.loads(write_toml(found))) == settings
    assert Settings().with_minibatches("sgld", 50, 50).step_size == LARGEST_STEP


def test_no_heating_is_foretold_of_a_dynamics_with_units_of_its_own():
    assert math.isnan(Settings().with_minibatches("psgld", 10, 40).heating(40))
    assert Settings().with_minibatches("psgld", 40, 40).heating(40) == 0
    with pytest.raises(Refused, match="batch is 51, more than the 50 rows"):
        Settings().with_minibatches("sgld", 51, 50)
    with pytest.raises(Refused, match="batch is 0"):
        Settings().with_minibatches("sgld", 0, 50)


@pytest.mark.parametrize(
    "values",
    [
        {"dynamics": "sdlg"},
        {"dynamics": 3},
        {"batch": -1},
        {"batch": 1.0},
        {"batch": 10},
        {"hidden": ()},
        {"hidden": (0,)},
        {"hidden": (10_001,)},
        {"hidden": (True,)},
        {"hidden": 16},
        {"activation": "sine"},
        {"replicas": 0},
        {"replicas": 1.0},
        {"replicas": True},
        {"steps": 2**32},
        {"steps": 10},
        {"every": -1},
        {"anneal": "300"},
        {"gibbs_every": 0},
        {"seed": -1},
        {"seed": 2**32},
        {"step_size": 0.0},
        {"step_size": float("nan")},
        {"step_size": 1e39},
        {"decoherence_length": float("inf")},
        {"weight_prior": (0.5,)},
        {"weight_prior": (0.5, -1.0)},
        {"noise_prior": (0.5, "1")},
        {"noise_prior": 0.5},
        {"steps_by_hand": 1},
    ],
)
def test_refused(values):
    (name,) = values
    with pytest.raises(Refused, match=name) as caught:
        Settings(**values)
    assert len(str(caught.value)) < 290


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"run": {"step": 5}}, "did you mean steps"),
        ({"run": 5}, "must be a table"),
        ({"run": {"dynamics": "sgld"}}, "batch is 0"),
        ({"run": {"dynamics": ["sgld"]}}, "dynamics .* is unknown"),
        ({"run": {"dynamics": "sgld", "batch": 5, "gibbs_every": 3}}, "unknown key"),
        ({"prior": {"zzz": 1}}, "known: 'weight_prior', 'noise_prior'"),
        ({"run": {"seed": "x" * 5000}}, "seed is 'xxx"),
    ],
)
def test_wrong_configs(config, words):
    with pytest.raises(Refused, match=words) as caught:
        Settings.from_config(config)
    assert len(str(caught.value)) < 290


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"task": "water"}, "another model"),
        ({"modle": {}}, "did you mean model"),
        ({"data": 3}, "must be a table"),
        ({"data": {}}, r"\[data\] name is None"),
        ({"data": DATA | {"targets": []}}, "list of names"),
        ({"data": DATA | {"inputs": ["a", 1]}}, "list of names"),
        ({"data": DATA | {"rows": 3.0}}, "whole number"),
        ({"data": DATA | {"extra": 1}}, "unknown key"),
        ({"data": DATA | {"classes": ["a", "b"]}}, "unknown key"),
        ({"task": "classification"}, r"\[data\] classes is None"),
        ({"task": "classification", "data": DATA | {"classes": [1, 2]}}, "list of names"),
        ({"data": DATA | {"shape": [2, 2]}}, "shape is"),
        ({"data": DATA | {"shape": [-1, -1]}}, "shape is"),
        ({"data": DATA | {"shape": "1"}}, "shape is"),
        ({"data": DATA | {"outliers": 1}}, "outliers is 1: give a text"),
    ],
)
def test_configs_of_no_run(changes, words):
    good = {"format": 1, "task": "regression", "data": DATA, "standardisation": {}}
    check_config(good)
    check_config(good | {"task": "classification", "data": DATA | {"classes": ["a", "b"], "shape": [1, 1]}})
    with pytest.raises(Refused, match=words):
        check_config(good | changes)
