"""MBAR on harmonic states, whose free energies are known; against BAR for two states, and against pymbar."""

import json
import subprocess
import sys

import numpy as np
import pytest

from free_energy.gaussian import Z_LIMIT, covered, gaussian_work, z_of_mean
from heatbath.errors import Refused
from heatbath.free_energy import bar, mbar, overlap

CENTRES, STIFFNESS = np.array([0.0, 1.0, 2.0, 3.0]), np.array([1.0, 1.5, 2.0, 4.0])
EXACT = np.log(STIFFNESS / STIFFNESS[0]) / 2


def harmonic(seed, samples):
    """Reduced energies (N, K) and states of harmonic states at CENTRES, samples[k] drawn from state k."""
    rng = np.random.default_rng(seed)
    states = np.repeat(np.arange(len(samples)), samples)
    x = rng.normal(CENTRES[states], 1 / np.sqrt(STIFFNESS[states]))
    return STIFFNESS * (x[:, None] - CENTRES) ** 2 / 2, states


def test_values_and_error_bars_over_repeats():
    """Unequal numbers, one state without samples: mean at level 1e-5, coverage see `covered`."""
    found = [mbar(*harmonic(seed, (200, 100, 0, 150))) for seed in range(1000)]
    for i, j in ((0, 1), (0, 2), (1, 3), (0, 3)):
        parts = [m.difference(i, j) for m in found]
        exact = EXACT[j] - EXACT[i]
        assert abs(z_of_mean([e.value for e in parts], exact)) < Z_LIMIT
        assert 0.92 < covered([e.value for e in parts], [e.std_error for e in parts], exact) < 0.98


@pytest.mark.teeth
def test_the_mean_sees_samples_in_the_wrong_state():
    """The planted fault: a tenth of state 0 is counted as state 1."""
    values = []
    for seed in range(100):
        u, states = harmonic(seed, (200, 100, 0, 150))
        states[:20] = 1
        values.append(mbar(u, states).difference(0, 1).value)
    assert abs(z_of_mean(values, EXACT[1])) > 2 * Z_LIMIT


def test_two_states_are_bar():
    forward, reverse = gaussian_work(0, 1.5, 2.0, 300, 200)
    # Energies relative to the sample's own state are enough.
    u = np.zeros((500, 2))
    u[:300, 1], u[300:, 0] = forward, reverse
    states = np.repeat([0, 1], [300, 200])
    found = mbar(u, states)
    pair = bar(forward, reverse)
    assert found.difference(0, 1).value == pytest.approx(pair.value, abs=1e-9)
    # Both are asymptotic: one from the scatter of the sampled terms, one from the overlap.
    assert found.difference(0, 1).std_error == pytest.approx(pair.std_error, rel=0.1)
    assert found.overlap[0, 1] == pytest.approx(overlap(forward, reverse), rel=1e-9)
    assert found.difference(1, 0).value == -found.difference(0, 1).value
    assert found.difference(0, 0).std_error == 0.0


def test_constants_of_samples_and_of_states():
    u, states = harmonic(1, (60, 60, 60, 60))
    found = mbar(u, states)
    offset = np.random.default_rng(0).normal(0, 1e3, (len(u), 1))
    shifted = mbar(u + offset + np.array([0.0, 500.0, -300.0, 7.0]), states)
    np.testing.assert_allclose(shifted.free_energies - found.free_energies, [0, 500, -300, 7], atol=1e-8)
    np.testing.assert_allclose(shifted.covariance, found.covariance, atol=1e-10)
    np.testing.assert_allclose(found.overlap.sum(axis=1), 1.0, atol=1e-9)
    assert found.free_energies[0] == 0.0
    assert not found.covariance[0].any()


def test_infinite_and_huge_energies_have_weight_zero():
    u, states = harmonic(1, (60, 60, 60, 60))
    walled, huge = u.copy(), u.copy()
    walled[:20, 3], huge[:20, 3] = np.inf, 1e23
    np.testing.assert_array_equal(mbar(walled, states).free_energies, mbar(huge, states).free_energies)
    assert np.isfinite(mbar(walled, states).covariance).all()


def test_little_overlap_is_flagged_and_groups_have_no_error_bar():
    for distance, words in ((6.0, "smallest overlap"), (100.0, "share no samples")):
        rng = np.random.default_rng(0)
        states = np.repeat([0, 1, 2], 200)
        centres = np.array([0.0, 0.5, distance])
        u = (rng.normal(centres[states], 1)[:, None] - centres) ** 2 / 2
        found = mbar(u, states).difference(0, 2)
        assert not found.reliable
        assert words in found.reason
    assert found.std_error == np.inf
    few = mbar(*harmonic(0, (100, 19, 100, 100)))
    assert "19 samples" in few.difference(0, 3).reason
    assert few.difference(2, 3).reliable


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda u, s: (np.where(u == u[7, 2], np.nan, u), s), r"energies\[7, 2\] is nan"),
        (lambda u, s: (-np.inf * np.ones_like(u), s), r"energies\[0, 0\] is -inf"),
        (lambda u, s: (u[:, :1], s), "two states or more"),
        (lambda u, s: (u[:0], s[:0]), "empty"),
        (lambda u, s: (u, s[:-1]), "states have shape"),
        (lambda u, s: (u, s + 0.5), "whole number"),
        (lambda u, s: (u, s + 1), "counted from 0"),
        (lambda u, s: (u + np.where(s == 1, np.inf, 0)[:, None], s), "infinite in its own state, 1"),
        (lambda u, s: (u + np.array([0, 0, np.inf, 0]), np.where(s == 2, 1, s)), "finite energy in state 2"),
    ],
)
def test_bad_input_is_refused(change, message):
    u, states = harmonic(0, (30, 30, 30, 30))
    with pytest.raises(Refused, match=message):
        mbar(*change(u, states))
    with pytest.raises(Refused, match="state 4"):
        mbar(u, states).difference(0, 4)


ORACLE = """
import json, logging, sys, warnings
warnings.simplefilter("ignore")
logging.disable(logging.CRITICAL)
import numpy as np, pymbar
d = np.load(sys.argv[1])
m = pymbar.MBAR(d["u"].T, d["samples"], relative_tolerance=1e-12)
r = m.compute_free_energy_differences(uncertainty_method="svd-ew")
b = pymbar.bar(d["forward"], d["reverse"], method="bisection",
               relative_tolerance=1e-13, maximum_iterations=5000)
found = [r["Delta_f"], r["dDelta_f"], m.compute_overlap()["matrix"], b["Delta_f"], b["dDelta_f"]]
print(json.dumps([np.asarray(x).tolist() for x in found]))
"""


def test_the_same_as_pymbar(tmp_path):
    """In a process of its own: its first MBAR switches JAX to 64-bit numbers."""
    pytest.importorskip("pymbar", reason="needs pymbar (extra `test`)")
    samples = (200, 100, 0, 150)
    u, states = harmonic(3, samples)
    forward, reverse = gaussian_work(5, 1.5, 4.0, 300, 80)
    np.savez(tmp_path / "in.npz", u=u, samples=samples, forward=forward, reverse=reverse)
    command = [sys.executable, "-c", ORACLE, str(tmp_path / "in.npz")]
    out = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300).stdout
    difference, error, matrix, value, value_error = json.loads(out.splitlines()[-1])
    found, pair = mbar(u, states), bar(forward, reverse)
    np.testing.assert_allclose(found.free_energies, np.array(difference)[0], atol=1e-7)
    np.testing.assert_allclose(found.overlap, matrix, atol=1e-7)
    ours = [[found.difference(i, j).std_error for j in range(4)] for i in range(4)]
    np.testing.assert_allclose(ours, error, atol=1e-6)
    assert (pair.value, pair.std_error) == pytest.approx((value, value_error), abs=1e-7)
