"""Integration and stepping stones on the evidence of a Gaussian model, whose exact value is known."""

import math

import numpy as np
import pytest
from scipy import integrate

from free_energy.gaussian import Z_LIMIT, covered, z_of_mean
from heatbath.errors import Refused
from heatbath.free_energy import stepping_stones, thermodynamic_integration

S, Y = 0.3, 1.0
LADDER = (np.arange(11) / 10) ** 4


def exact(beta):
    """-ln Z(beta) for prior N(0, 1), one observation y = 1 with s = 0.3."""
    return (
        math.log(1 + beta / S**2) / 2
        + Y**2 * beta / (2 * (S**2 + beta))
        + beta * (math.log(S) + math.log(2 * math.pi) / 2)
    )


def energies(seed, ladder=LADDER, n=400):
    """-log likelihood of exact draws of the tempered posterior at every beta."""
    rng = np.random.default_rng(seed)
    variance = 1 / (1 + ladder / S**2)
    x = rng.normal(variance * ladder * Y / S**2, np.sqrt(variance), (n, ladder.size))
    return list(((Y - x) ** 2 / (2 * S**2) + math.log(S) + math.log(2 * math.pi) / 2).T)


def mean_energy(beta):
    variance = 1 / (1 + beta / S**2)
    return ((Y - variance * beta * Y / S**2) ** 2 + variance) / (2 * S**2) + math.log(
        S * math.sqrt(2 * math.pi)
    )


def test_the_exact_value_comes_twice():
    assert exact(1.0) == pytest.approx(1.42074298, abs=1e-8)
    assert integrate.quad(mean_energy, 0, 1, epsabs=1e-12)[0] == pytest.approx(exact(1.0), abs=1e-9)


@pytest.mark.parametrize("estimator", [thermodynamic_integration, stepping_stones])
def test_value_and_error_bar_over_repeats(estimator):
    """Coverage see `covered`. 0.003 is room for the rule's error, -0.002, and the stones' bias, s.e.^2/2."""
    found = [estimator(LADDER, energies(seed)) for seed in range(1000)]
    values, errors = [e.value for e in found], [e.std_error for e in found]
    assert 0.92 < covered(values, errors, exact(1.0)) < 0.98
    assert all(e.reliable for e in found)
    assert abs(np.mean(values) - exact(1.0)) < Z_LIMIT * np.std(values) / math.sqrt(1000) + 0.003


def trapezoid(ladder, samples):
    return np.trapezoid([u.mean() for u in samples], ladder)


@pytest.mark.teeth
def test_the_mean_sees_a_trapezoid_without_correction():
    """Its error on this ladder is 0.052, in 100 repeats some 20 standard errors."""
    values = [trapezoid(LADDER, energies(seed)) for seed in range(100)]
    assert z_of_mean(values, exact(1.0)) > 2 * Z_LIMIT
    assert np.mean(values) - exact(1.0) == pytest.approx(0.0522, abs=0.015)


def test_both_rules_are_told():
    samples = energies(0)
    found = thermodynamic_integration(LADDER, samples)
    plain = trapezoid(LADDER, samples)
    assert f"the plain trapezoid gives {plain:.6g}" in found.meaning
    assert f"{plain - found.value:.2g} kT" in found.meaning


def test_order_of_the_ladder_turns_the_sign_only():
    samples = energies(0)
    up, down = (thermodynamic_integration(LADDER[::d], samples[::d]) for d in (1, -1))
    assert down.value == pytest.approx(-up.value, rel=1e-12)
    assert down.std_error == pytest.approx(up.std_error, rel=1e-12)
    assert down.reliable
    back = stepping_stones(LADDER[::-1], samples[::-1])
    assert abs(back.value + exact(1.0)) < 5 * back.std_error


def test_a_line_and_a_parabola_are_integrated_exactly():
    """<V> = 3 - 2 lambda with variance 2 of every sample set: d<V>/dlambda = -Var, so both rules agree."""
    u = np.array([-1.0, 1.0] * 200) * math.sqrt(2 * 399 / 400)
    ladder = np.array([0.0, 0.1, 0.4, 0.7, 1.0])
    found = thermodynamic_integration(ladder, [3 - 2 * x + u for x in ladder])
    assert found.value == pytest.approx(2.0, rel=1e-12)
    curved = [3 - 2 * x + x**2 + u * math.sqrt(1 - x) for x in ladder]
    assert thermodynamic_integration(ladder, curved).value == pytest.approx(2 + 1 / 3, rel=1e-12)


def test_ladders_that_are_too_coarse_are_not_reliable():
    coarse = (np.arange(6) / 5) ** 4  # the rule is off by -0.032 here
    found = thermodynamic_integration(coarse, energies(0, coarse, 20_000))
    assert not found.reliable
    assert "integration rule is off" in found.reason
    assert abs(found.value - exact(1.0)) > 3 * found.std_error
    bare = np.array([0.0, 1.0])
    for estimator, words in ((thermodynamic_integration, "nats apart"), (stepping_stones, "stone 0: var(w)")):
        found = estimator(bare, energies(0, bare))
        assert not found.reliable
        assert words in found.reason


@pytest.mark.parametrize("estimator", [thermodynamic_integration, stepping_stones])
def test_energies_of_the_wrong_sign_are_seen(estimator):
    found = estimator(LADDER, [-u for u in energies(0)])
    assert not found.reliable
    assert "check the sign" in found.reason


def test_a_wrong_sign_is_seen_from_end_to_end_where_neighbours_hide_it():
    rng = np.random.default_rng(0)
    rising = [rng.normal(x, 1.0, 200) for x in np.linspace(0, 1, 11)]
    assert "between couplings 0 and 10" in thermodynamic_integration(np.linspace(0, 1, 11), rising).reason


def test_few_samples():
    for estimator in (thermodynamic_integration, stepping_stones):
        single = estimator(LADDER, [u[:1] for u in energies(0)])
        assert single.std_error == math.inf
        assert not single.reliable
        assert not estimator(LADDER, energies(0, n=19)).reliable


@pytest.mark.parametrize("estimator", [thermodynamic_integration, stepping_stones])
@pytest.mark.parametrize(
    ("ladder", "change", "message"),
    [
        (LADDER[[0, 2, 1, *range(3, 11)]], lambda u: u, "rise, or fall, at every step"),
        (LADDER[[0, 0, *range(2, 11)]], lambda u: u, "rise, or fall, at every step"),
        (LADDER[:1], lambda u: u[:1], "two or more"),
        (LADDER, lambda u: None, "11 couplings but 0 arrays"),
        (np.where(LADDER == 1, np.inf, LADDER), lambda u: u, r"couplings\[10\] is inf .* finite number"),
        (np.where(LADDER == 1, np.nan, LADDER), lambda u: u, r"couplings\[10\] is nan"),
        (LADDER, lambda u: u[1:], "11 couplings but 10 arrays"),
        (LADDER, lambda u: [*u[:3], [], *u[4:]], r"energies\[3\] is empty"),
        (LADDER, lambda u: [*u[:3], [1.0, np.nan], *u[4:]], r"energies\[3\]\[1\] is nan"),
        (LADDER, lambda u: [*u[:3], [1.0, np.inf], *u[4:]], r"energies\[3\]\[1\] is infinite"),
    ],
)
def test_bad_input_is_refused(estimator, ladder, change, message):
    with pytest.raises(Refused, match=message):
        estimator(ladder, change(energies(0, n=30)))
