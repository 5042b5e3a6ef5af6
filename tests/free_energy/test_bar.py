"""BAR, Crooks and the sandwich on Gaussian work, where closed forms are exact; what is refused or flagged."""

import math

import numpy as np
import pytest
from scipy import integrate, optimize, stats
from scipy.special import expit

from free_energy.gaussian import Z_LIMIT, covered, gaussian_work, quantiles, z_of_mean
from heatbath.errors import Refused
from heatbath.free_energy import (
    bar,
    check_signs,
    crooks,
    hysteresis,
    jarzynski,
    overlap,
    sandwich,
    second_cumulant,
)

DF = 1.5


def asymptotic_sd(s2, n):
    """sqrt((1/I - 4)/(2n)) at n + n, I = int P_F P_R / (2 (P_F + P_R)) by quadrature, P_F/P_R = exp(w)."""
    forward = stats.norm(s2 / 2, math.sqrt(s2))
    i, _ = integrate.quad(lambda w: forward.pdf(w) * expit(-w) / 2, -60, 60, points=[-5, 0, 5], epsabs=1e-14)
    return math.sqrt((1 / i - 4) / (2 * n))


@pytest.mark.parametrize(("s2", "stated"), [(1.0, 0.03580273), (4.0, 0.07823688)])
def test_value_and_error_without_scatter(s2, stated):
    """Equally likely values on both sides; quadrature and the stated number are two routes to the same."""
    n = 200_000
    found = bar(quantiles(n, DF + s2 / 2, s2), quantiles(n, -DF + s2 / 2, s2))
    assert found.value == pytest.approx(DF, abs=1e-9)
    assert found.std_error * math.sqrt(n / 400) == pytest.approx(stated, rel=1e-4)
    assert asymptotic_sd(s2, 400) == pytest.approx(stated, rel=1e-6)


def unequal(seed, s2):
    return gaussian_work(seed, DF, s2, 300, 100)


@pytest.mark.parametrize("s2", [1.0, 9.0])
def test_value_and_error_bar_over_repeats(s2):
    """Mean at level 1e-5, scatter against the stated error by chi squared at 1e-4, coverage (`covered`)."""
    found = [bar(*unequal(seed, s2)) for seed in range(1000)]
    values, errors = [e.value for e in found], [e.std_error for e in found]
    assert abs(z_of_mean(values, DF)) < Z_LIMIT
    assert 0.92 < covered(values, errors, DF) < 0.98
    # Leaves room of 5 % in the variance, of order 1/n, besides its scatter.
    low, high = stats.chi2.ppf([5e-5, 1 - 5e-5], 999) / 999
    assert low * 0.95 < np.var(values, ddof=1) / np.mean(np.square(errors)) < high * 1.05
    assert all(e.reliable for e in found)


def without_weights(forward, reverse):
    """The planted fault: Bennett's equation with M = 0 for unequal numbers of runs."""
    return optimize.brentq(lambda f: expit(f - forward).sum() - expit(-reverse - f).sum(), -20, 20)


@pytest.mark.teeth
def test_the_mean_over_repeats_sees_bar_without_its_weights():
    assert -z_of_mean([without_weights(*unequal(seed, 4.0)) for seed in range(200)], DF) > 2 * Z_LIMIT


def test_bar_beats_one_direction_by_the_exact_ratio():
    """var(Jarzynski, 800 forward)/var(BAR, 400 + 400) = 1.6756 at s2 = 1; F test at level 1e-5."""
    both = np.var([bar(*gaussian_work(s, DF, 1.0, 400, 400)).value for s in range(1000)], ddof=1)
    one = np.var([jarzynski(gaussian_work(s, DF, 1.0, 800)[0]).value for s in range(2000, 3000)], ddof=1)
    low, high = stats.f.ppf([5e-6, 1 - 5e-6], 999, 999)
    assert low < one / both / 1.6756 < high
    assert 1.6756 > high  # equal variances would not pass


def test_exchange_and_shift():
    forward, reverse = gaussian_work(1, DF, 4.0, 150, 80)
    found, back = bar(forward, reverse), bar(reverse, forward)
    assert back.value == pytest.approx(-found.value, abs=1e-12)
    assert back.std_error == pytest.approx(found.std_error, rel=1e-12)
    far = bar(forward + 1e5, reverse - 1e5)
    assert far.value - 1e5 == pytest.approx(found.value, abs=1e-9)


def test_infinite_work_counts_with_weight_zero():
    """Of 2n forward runs half are broken: the same root with the free energy shifted by ln 2, nearly."""
    forward, reverse = gaussian_work(2, 0.0, 1.0, 20_000, 20_000)
    half = bar(np.concatenate([forward, np.full(20_000, np.inf)]), reverse)
    assert abs(half.value - math.log(2)) < 5 * half.std_error
    for huge in (np.inf, 1e23):
        found = bar(np.append(forward, huge), np.append(reverse, huge))
        assert found.value == pytest.approx(bar(forward, reverse).value, abs=1e-3)
        assert np.isfinite(found.std_error)
        assert crooks(np.append(forward, huge), reverse).slope.reliable


def test_crooks_covers_its_crossing_and_slope():
    """See `covered`; at most 1 % of them flagged, nominally 0.3 %."""
    found = [crooks(*unequal(seed, 2.0)) for seed in range(1000)]
    for name, exact in (("crossing", DF), ("slope", 1.0)):
        parts = [getattr(c, name) for c in found]
        assert 0.92 < covered([p.value for p in parts], [p.std_error for p in parts], exact) < 0.98
    assert np.mean([not c.slope.reliable for c in found]) < 0.01


def test_work_that_breaks_crooks_is_seen_by_slope_and_sandwich():
    """Works in units of another temperature (a tenth too cold) with 20,000 runs: the slope is 0.9."""
    forward, reverse = gaussian_work(0, DF, 4.0, 10_000, 10_000)
    found = crooks(forward / 0.9, reverse / 0.9)
    assert abs(found.slope.value - 0.9) < 5 * found.slope.std_error
    assert not found.slope.reliable
    assert "breaks Crooks" in found.crossing.reason
    assert not sandwich(forward / 0.9, reverse / 0.9).reliable


def test_sandwich_bounds_in_expectation():
    """Means of the bounds lie on their sides by far more than scatter at s2 = 9, 50 runs."""
    found = [sandwich(*gaussian_work(s, DF, 9.0, 50, 50)) for s in range(400)]
    assert z_of_mean([s.upper.value for s in found], DF) > Z_LIMIT
    assert z_of_mean([s.lower.value for s in found], DF) < -Z_LIMIT
    assert abs(z_of_mean([s.bar.value for s in found], DF)) < Z_LIMIT
    assert found[0].gap == found[0].upper.value - found[0].lower.value


def test_sandwich_is_reliable_where_directions_agree():
    """Three checks at 3 s.e.: at most 2 % of right data flagged (nominally 0.6 %)."""
    found = [sandwich(*gaussian_work(s, DF, 1.0, 400, 400)) for s in range(500)]
    assert np.mean([not s.reliable for s in found]) < 0.02


def test_sandwich_sees_what_forward_runs_missed():
    """A spike that one forward run in 1e5 finds carries 90 % of Z; reverse runs start from exact draws."""
    rng = np.random.default_rng(0)
    forward = rng.normal(0.05, 0.3, 4000)
    reverse = np.where(rng.uniform(size=4000) < 0.9, rng.normal(math.log(10) + 9, 0.3, 4000), forward - 0.1)
    assert jarzynski(forward).reliable  # one direction cannot know
    assert not sandwich(forward, reverse).reliable


@pytest.mark.parametrize("estimator", [bar, lambda f, r: sandwich(f, r).bar, lambda f, r: crooks(f, r).slope])
def test_no_overlap_has_no_error_bar(estimator):
    rng = np.random.default_rng(0)
    found = estimator(rng.normal(50, 1, 200), rng.normal(50, 1, 200))
    assert found.std_error == math.inf
    assert not found.reliable
    assert "overlap" in found.reason


def test_directions_that_are_separated_the_other_way_are_unreliable():
    found = crooks(np.linspace(0, 1, 50), np.linspace(-3, -2, 50))
    assert math.isnan(found.slope.value)
    assert "second law" in found.slope.reason


def test_few_values():
    alone = bar([1.0], [0.5])
    assert (alone.std_error, alone.reliable) == (math.inf, False)
    few = bar(*gaussian_work(0, n=19, m=200))
    assert np.isfinite(few.std_error)
    assert "19 runs in one direction" in few.reason
    one = crooks([1.0, 2.0], [-1.5])
    assert one.slope.std_error == math.inf
    assert not one.slope.reliable


@pytest.mark.parametrize("s2", [0.1, 1.0, 4.0])
@pytest.mark.parametrize("df", [-40.0, 40.0])
def test_a_reversed_sign_is_seen(df, s2):
    forward, reverse = gaussian_work(0, df, s2)
    assert check_signs(forward, reverse) == ""
    both = [(-forward, -reverse)] if s2 > 0.1 else []  # shows only by the dissipation, here 0.1 kT
    for f, r in [(forward, -reverse), (-forward, reverse), *both]:
        assert "a sign looks reversed" in check_signs(f, r)
        assert not bar(f, r).reliable
        assert not sandwich(f, r).reliable
        assert len(check_signs(f, r)) < 300
    assert "overlap only with one sign changed" in check_signs(abs(forward), abs(reverse))


def test_a_reversed_sign_is_seen_where_few_values_are_shared():
    """The slope, 5.5(2.0), is within 3 of its errors; the likelihood ratio is 8.7. Bennett's ratio would be
    2.5 kT off with an error bar of 0.1."""
    rng = np.random.default_rng(0)
    forward, reverse = rng.normal(3, 1, 200), rng.normal(-2, 1, 200)
    assert crooks(forward, reverse).slope.reliable
    found = crooks(forward, -reverse).slope
    assert abs(found.value - 1) < 3 * found.std_error
    assert "keeps it with one sign changed" in found.reason
    assert not sandwich(forward, -reverse).reliable
    assert not bar(forward, -reverse).reliable


@pytest.mark.slow
def test_the_slope_is_seldom_said_to_be_off():
    """Nominal 0.27 %. More than 25 of 3000 happen by chance with probability 4e-7; 2 % would be caught."""
    works = (gaussian_work(seed, DF, s2, 50, 50) for s2 in (0.5, 2.0, 8.0) for seed in range(1000))
    assert sum("is off 1" in crooks(*work).slope.reason for work in works) <= 25


def test_right_signs_are_not_suspected():
    """No free-energy difference, few runs, and a dissipation that leaves both directions without overlap."""
    for s2 in (0.5, 4.0, 16.0, 36.0):
        assert not any(check_signs(*gaussian_work(s, 0.0, s2, 20, 20)) for s in range(300))
    trap = np.random.default_rng(0).normal(size=(2, 400, 20))  # sudden stiffness 1 -> 3 and back
    assert check_signs(np.sum(trap[0] ** 2, axis=1), -np.sum(trap[1] ** 2, axis=1) / 3) == ""


def test_diagnostics():
    forward, reverse = quantiles(100_000, DF + 2, 4.0), quantiles(50_000, -DF + 2, 4.0)
    assert hysteresis(forward, reverse) == pytest.approx(4.0, abs=1e-6)
    share, _ = integrate.quad(  # int P_F P_R m / (n P_F + m P_R), by quadrature
        lambda w: stats.norm.pdf(w, 2, 2) / (1 + 2 * np.exp(w)), -30, 30, points=[0]
    )
    assert overlap(forward, reverse) == pytest.approx(share, rel=1e-3)
    assert overlap(forward - 1e3, reverse + 1e3) == pytest.approx(share, rel=1e-3)
    assert overlap([0.0] * 50, [0.0] * 50) == pytest.approx(0.5)


def test_bar_where_the_second_cumulant_fails():
    """Sudden change of a trap's stiffness 1 -> 3 in 4 dimensions; see `covered`."""
    exact, found = 2 * math.log(3), []
    for seed in range(1000):
        x, y = np.random.default_rng(seed).normal(size=(2, 200, 4))
        forward, reverse = np.sum(x**2, axis=1), -np.sum(y**2, axis=1) / 3
        found.append(bar(forward, reverse))
    assert 0.92 < covered([e.value for e in found], [e.std_error for e in found], exact) < 0.98
    assert not second_cumulant(forward).reliable


@pytest.mark.parametrize("estimator", [bar, crooks, sandwich, overlap, hysteresis, check_signs])
@pytest.mark.parametrize(
    ("forward", "reverse", "message"),
    [
        ([], [1.0], "forward is empty"),
        ([1.0], [], "reverse is empty"),
        ([1.0], [2.0, np.nan], r"reverse\[1\] is nan"),
        ([-np.inf], [1.0], r"forward\[0\] is -inf"),
        ([1.0], [np.inf], "reverse: all 1 values are infinite"),
        ([[1.0]], [1.0], "one-dimensional"),
        ([1.0, 2.0 + 1j], [1.0], "not numbers"),
    ],
)
def test_bad_input_is_refused(estimator, forward, reverse, message):
    with pytest.raises(Refused, match=message):
        estimator(forward, reverse)
