"""Work that was measured: a DNA hairpin in optical tweezers, and benzene in water (alchemical windows)."""

import json
import subprocess
import sys

import numpy as np
import pytest

from heatbath.free_energy import (
    bar,
    bootstrap,
    check_signs,
    crooks,
    hysteresis,
    jarzynski,
    mbar,
    overlap,
    sandwich,
)
from heatbath.free_energy import second_cumulant as cumulant


@pytest.fixture(scope="module")
def hairpin(shared):
    """Work on the molecule in both directions; the file holds the second with its sign reversed."""
    cycles = np.loadtxt(shared / "data/work/dna_hairpin_cd4_work.csv", delimiter=",", skiprows=1)
    return cycles[:, 1], -cycles[:, 2]


def windows(shared, name):
    with np.load(shared / f"data/work/benzene_{name}.npz") as file:
        return file["du_kT"], file["state"]


def test_hairpin_is_known_by_bar(hairpin):
    found = bar(*hairpin)
    assert found.value == pytest.approx(349.223, abs=1e-3)
    assert found.std_error == pytest.approx(0.177, abs=5e-4)
    assert found.reliable
    assert bootstrap(bar, *hairpin, paired=True).std_error == pytest.approx(0.173, rel=0.16)
    assert crooks(*hairpin).crossing.value == pytest.approx(349.22, abs=0.01)
    both = sandwich(*hairpin)
    assert both.reliable
    assert both.upper.value < found.value < both.lower.value  # within noise: few of the runs that count
    assert hysteresis(*hairpin) == pytest.approx(351.367 - 347.058, abs=1e-3)


def test_hairpin_is_not_known_from_one_direction(hairpin):
    """var(w) is 4.5 and 4.9. The second cumulant takes the variance with divisor n - 1 (349.16 with n)."""
    forward, reverse = hairpin
    for work, sign, value, error in ((forward, 1, 348.988, 0.50), (reverse, -1, 349.498, 0.32)):
        found = jarzynski(work)
        assert sign * found.value == pytest.approx(value, abs=1e-3)
        assert found.std_error == pytest.approx(error, abs=5e-3)
        assert not found.reliable
        assert "one run in" in found.reason
    assert cumulant(forward).value == pytest.approx(349.16 - 4.457 / 192, abs=5e-3)
    assert cumulant(forward).std_error == pytest.approx(0.39, abs=5e-3)


def test_a_few_runs_in_the_overlap_are_not_enough(shared):
    """All van der Waals forces at once, 16 states in a step: the right answer is -3.0, as below; Bennett's is
    6.1(1.1), for the work of only 0.8 runs could be of either direction."""
    du, state = windows(shared, "vdw")
    forward, reverse = du[state == 0, -1], du[state == state.max(), 0]
    found = bar(forward, reverse)
    assert abs(found.value + 3.0068) > 5 * found.std_error
    assert not found.reliable
    assert "hardly any overlap" in found.reason
    assert len(forward) * overlap(forward, reverse) < 1


def test_a_reversed_column_of_the_hairpin_is_seen(hairpin):
    forward, reverse = hairpin
    assert check_signs(forward, reverse) == ""
    as_it_stands = check_signs(forward, -reverse)
    assert "+698.4 kT" in as_it_stands
    assert "a sign looks reversed" in as_it_stands
    for works in ((forward, -reverse), (-forward, reverse), (-forward, -reverse)):
        assert "a sign looks reversed" in sandwich(*works).reason
        assert not bar(*works).reliable
        assert not crooks(*works).slope.reliable


def test_hairpin_passes_an_independent_check_of_crooks(hairpin, shared, tmp_path):
    """And fails it by 1 kT; level 1e-4. The same file tests the values, so this asks for consistency only."""
    value, works = bar(*hairpin).value, tmp_path / "w.npz"
    np.savez(works, forward=hairpin[0], reverse=hairpin[1])
    for offset, code in ((0.0, 0), (1.0, 1)):
        script = shared / "checks/stats/work_identities.py"
        command = [sys.executable, str(script), "--work", str(works), "--dF", str(value + offset)]
        run = subprocess.run(command, capture_output=True, text=True, check=False)
        assert run.returncode == code, run.stdout + run.stderr
    assert json.loads(run.stdout)["testable"]


VDW = """0 0.3759 0.7311 1.3679 1.8748 2.2106 2.3085 1.9838 1.4968 0.6590 -0.4759 -1.6072 -2.4709 -2.9798
-3.1443 -3.0068"""
# Profile, MBAR, its error, smallest overlap, sum of pairwise BAR, its error.
REFERENCE = {
    "coulomb": ("0 1.6191 2.5580 2.9863 3.0412", 3.0412, 0.0209, 0.21, 3.04439, 0.0164),
    "vdw": (VDW, -3.0068, 0.0452, 0.15, -3.03293, 0.0344),
}


@pytest.mark.parametrize("name", REFERENCE)
def test_benzene(shared, name):
    """Energies up to 1e23 where atoms overlap. All samples taken as independent, as in the reference."""
    numbers, value, error, least, summed, summed_error = REFERENCE[name]
    profile = [float(x) for x in numbers.split()]
    du, states = windows(shared, name)
    found = mbar(du, states)
    last = len(profile) - 1
    np.testing.assert_allclose(found.free_energies, profile, atol=6e-5)
    assert found.difference(0, last).std_error == pytest.approx(error, abs=6e-5)
    assert found.difference(0, last).value == pytest.approx(value, abs=6e-5)
    assert found.difference(0, last).reliable
    overlaps = [min(found.overlap[k, k + 1], found.overlap[k + 1, k]) for k in range(last)]
    assert min(overlaps) == pytest.approx(least, abs=5e-3)
    pairs = [bar(du[states == k, k + 1], du[states == k + 1, k]) for k in range(last)]
    assert sum(p.value for p in pairs) == pytest.approx(summed, abs=1e-5)
    assert np.sqrt(sum(p.std_error**2 for p in pairs)) == pytest.approx(summed_error, abs=6e-5)
    assert all(p.reliable for p in pairs)
    if name == "coulomb":
        expected = [1.60978, 0.93809, 0.43632, 0.06020]
        np.testing.assert_allclose([p.value for p in pairs], expected, atol=6e-6)
