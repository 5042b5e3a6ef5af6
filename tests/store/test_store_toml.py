"""The TOML writer: tomllib reads back exactly what was written."""

import math
import tomllib

import numpy as np
import pytest

from heatbath.errors import Refused
from heatbath.store import write_toml


@pytest.mark.parametrize(
    "table",
    [
        {},
        {"a": 1, "b": True, "c": "x", "d": 0.1, "e": [1, 2], "f": [], "g": [["a"], [1.5, False]]},
        {"a": {}, "b": {"c": {"d": {}}, "e": 1}, "f": 2},
        {"odd key": 1, "": 2, 'quote"\\': {"é.b": 3}, "a.b": {"c d": 4}},
        {"text": 'a "b" \\ \n\r\t\0\x1f\x7f é 漢 🙂 \u2028'},
        {"x": [1e22, 1e-7, 5e-324, 1.7976931348623157e308, -0.0, math.inf, -math.inf, 2**62, -(2**63)]},
    ],
)
def test_round_trip(table):
    assert tomllib.loads(write_toml(table)) == table
    assert repr(tomllib.loads(write_toml(table)).get("x")) == repr(table.get("x"))


def test_numpy_numbers_tuples_and_nan():
    table = {"a": np.int64(3), "b": np.float64(0.1), "c": np.float32(0.5), "d": (1, 2), "e": math.nan}
    back = tomllib.loads(write_toml(table))
    assert math.isnan(back.pop("e"))
    assert back == {"a": 3, "b": 0.1, "c": 0.5, "d": [1, 2]}


def test_looks_as_people_write_it():
    text = write_toml({"format": 1, "system": {"name": "well"}, "steps": 10})
    assert text == 'format = 1\nsteps = 10\n\n[system]\nname = "well"\n'


@pytest.mark.parametrize(
    "table", [{"a": None}, {"a": {"b": [None]}}, {"a": [{}]}, {"a": 1j}, {1: 2}, {"a": "\ud800"}]
)
def test_refused(table):
    with pytest.raises(Refused) as error:
        write_toml(table)
    assert len(str(error.value)) <= 300
    assert str(error.value).isprintable()
