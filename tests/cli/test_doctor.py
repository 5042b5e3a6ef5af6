"""`heatbath doctor`: what it says of a sound installation, and that it sees one that computes wrong."""

import json

import pytest

from heatbath.cli import doctor


def test_a_sound_installation(heatbath):
    answer = heatbath("doctor", "--json")
    found = json.loads(answer.out)
    assert (answer.code, answer.err) == (0, "")
    assert set(found) == {"versions", "devices", "checks", "verdict"}
    assert {"heatbath", "python", "jax", "equinox", "numpy"} <= set(found["versions"])
    assert len(found["devices"]) >= 1
    assert found["verdict"] == "all checks passed"
    assert set(found["checks"].values()) == {""}


def test_a_failed_check_is_exit_3(heatbath, monkeypatch):
    monkeypatch.setattr(doctor, "CHECKS", {"one": lambda: "", "two": lambda: "5 of 7 rows wrong"})
    answer = heatbath("doctor", "--json")
    assert answer.code == 3
    found = json.loads(answer.out)
    assert (found["verdict"], found["exit"]) == ("failed: two", 3)
    assert "WRONG      two 5 of 7 rows wrong\n" in heatbath("doctor").out


@pytest.mark.teeth
def test_a_few_wrong_rows_are_seen(monkeypatch):
    def product(matrix, vector):
        good = (matrix @ vector).sum()
        return good + 1e-3 * (vector[0] > 4.0)  # one row or two of 32,769

    monkeypatch.setattr(doctor, "_summed_product", product)
    assert "miscomputes, install jax==0.10.1" in doctor.matrix_vector()


@pytest.mark.teeth
def test_a_bath_a_quarter_too_hot_is_seen(monkeypatch):
    """A class of its own: a method patched in place would not be seen by what is compiled already."""
    from heatbath.dynamics import OverdampedLangevin

    class Hot(OverdampedLangevin):
        def noise(self, *arguments):
            return 1.25**0.5 * super().noise(*arguments)

    monkeypatch.setattr("heatbath.dynamics.OverdampedLangevin", Hot)
    assert "standard errors" in doctor.ledger()
