import numpy as np
import pytest

from heatbath.errors import Refused
from heatbath.theory.thermostats import SCHEMES, thermostat_temperatures


@pytest.mark.parametrize("scheme", SCHEMES)
def test_small_steps_hold_the_bath(scheme):
    kinetic, configurational = thermostat_temperatures(
        scheme, 3.0, 1e-5, friction_factor=1 - 1e-5, temperature=0.7, mass=2.0
    )
    assert configurational == pytest.approx(0.7, rel=1e-4)
    assert np.isnan(kinetic) if scheme == "sgld" else kinetic == pytest.approx(0.7, rel=1e-4)


@pytest.mark.parametrize("mass", [1.0, 2.5])
@pytest.mark.parametrize("factor", [0.0, 0.4, 0.95])
def test_closed_forms(factor, mass):
    """At any friction: BAOAB T, BBK T/(1 - h^2 k/4 m), ABOBA one of each; SGHMC has a ratio of (1 + mu)/2."""
    h, k = 0.9, 1.3
    options = {"friction_factor": factor, "temperature": 2.0, "mass": mass}
    assert thermostat_temperatures("baoab", k, h, **options) == pytest.approx((2.0, 2.0), rel=1e-12)
    wide = 2.0 / (1 - h**2 * k / (4 * mass))
    assert thermostat_temperatures("aboba", k, h, **options) == pytest.approx((wide, 2.0), rel=1e-12)
    assert thermostat_temperatures("bbk", k, h, **options) == pytest.approx((wide, wide), rel=1e-12)
    kinetic, configurational = thermostat_temperatures("symplectic-euler", k, h, **options)
    assert kinetic == pytest.approx(
        4 / ((1 + factor) * (1 - h**2 * k / (2 * (1 + factor) * mass))), rel=1e-12
    )
    assert configurational == pytest.approx(kinetic * (1 + factor) / 2, rel=1e-12)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_gradient_noise_heats_and_temperatures_add(scheme):
    def at(temperature, noise):
        return np.array(
            thermostat_temperatures(
                scheme, 1.2, 0.5, friction_factor=0.6, temperature=temperature, gradient_noise=noise
            )
        )

    # Linear in (T, c): T alone scales, and noise adds in proportion.
    np.testing.assert_allclose(at(3.0, 0.0), 3 * at(1.0, 0.0), rtol=1e-12)
    heat = at(1.0, 1.0) - at(1.0, 0.0)
    assert np.nanmin(heat) > 0
    np.testing.assert_allclose(at(1.0, 2.0) - at(1.0, 0.0), 2 * heat, rtol=1e-12)


def baoab_simulated(h, k, mu, noise):
    """x at the end and v after O and at the end of the 60th step of 2e5 chains."""
    rng = np.random.default_rng(5)
    x, v, g = np.zeros((3, 200_000))
    for _ in range(60):
        x = x + h / 2 * (v - h / 2 * g)
        after_bath = mu * (v - h / 2 * g) + np.sqrt(1 - mu**2) * rng.normal(size=x.size)
        x = x + h / 2 * after_bath
        g = k * x + np.sqrt(noise) * rng.normal(size=x.size)
        v = after_bath - h / 2 * g
    return x, after_bath, v


# Variances over 2e5 chains: standard error 0.32 %; 4.4 of them, false alarms 1e-5, see faults above 1.4 %.
BAND = 4.4 * np.sqrt(2 / 200_000)


def test_baoab_with_gradient_noise_simulated():
    h, k, mu, noise = 0.8, 1.0, 0.5, 2.0
    x, v, _ = baoab_simulated(h, k, mu, noise)
    kinetic, configurational = thermostat_temperatures(
        "baoab", k, h, friction_factor=mu, gradient_noise=noise
    )
    assert np.mean(v**2) == pytest.approx(kinetic, rel=BAND)
    assert np.mean(k * x**2) == pytest.approx(configurational, rel=BAND)


@pytest.mark.teeth
def test_momentum_read_at_the_end_of_a_step_is_seen():
    """There its temperature is 1 - h^2 k / 4: 4 % low at h = 0.4."""
    _, _, v = baoab_simulated(0.4, 1.0, 0.5, 0.0)
    assert np.mean(v**2) != pytest.approx(1, rel=BAND)
    assert np.mean(v**2) == pytest.approx(0.96, rel=BAND)


@pytest.mark.parametrize(
    ("scheme", "critical"),
    [("sgld", 2.0), ("symplectic-euler", 3**0.5), ("bbk", 2.0), ("baoab", 2.0), ("aboba", 2.0)],
)
def test_critical_steps(scheme, critical):
    near = thermostat_temperatures(
        scheme, 1.0, critical * (1 - 1e-6), friction_factor=0.5, gradient_noise=1.0
    )
    assert np.nanmax(near) > 1e3
    with pytest.raises(Refused, match="critical step"):
        thermostat_temperatures(scheme, 1.0, critical, friction_factor=0.5)


def test_unknown_scheme_is_refused():
    with pytest.raises(Refused, match="there are sgld"):
        thermostat_temperatures("verlet", 1.0, 0.1)
