import numpy as np
import pytest
from scipy.integrate import solve_ivp

from heatbath.errors import Refused
from heatbath.theory import breathing_trap, dragged_trap, driven_trap, langevin_relaxation
from heatbath.theory.quadratic_work import log_average, moments

STIFFNESSES = np.array([0.8, 1.1, 1.0, 2.0, 1.7])
CENTRES = np.array([0.2, -0.3, 0.5, 0.5, 1.4])
KERNELS = {
    "exact": driven_trap.exact_relaxation(0.2, 0.7, 0.6),
    "euler": driven_trap.euler_maruyama(0.3, 0.6),
    "baoab": driven_trap.baoab(0.7, 0.9, 0.6, 1.3),
}


@pytest.mark.parametrize("name", KERNELS)
@pytest.mark.parametrize("first_step", [False, True])
def test_average_is_the_ratio_of_partition_functions(name, first_step):
    work = driven_trap.work(STIFFNESSES, CENTRES, KERNELS[name], first_step=first_step)
    assert work.average == pytest.approx(-np.log(1.7 / 0.8) / 2, abs=1e-12)
    assert (work.protocol_average == pytest.approx(work.average, abs=1e-3)) == (name == "exact")


@pytest.mark.parametrize("name", KERNELS)
def test_moments_are_derivatives_of_the_average(name):
    process = driven_trap.steps(STIFFNESSES, CENTRES, KERNELS[name])
    mean, variance = moments(process, shadow=True)
    s = 1e-4
    ahead, back = log_average(process, s), log_average(process, -s)
    assert mean == pytest.approx((back - ahead) / (2 * s), rel=1e-6)
    assert variance == pytest.approx((ahead + back) / s**2, rel=1e-5)


def test_euler_maruyama_by_sampling_its_transition_densities():
    """400,000 runs with the heat by the path ratio; 4.4 standard errors, false alarms 1e-5 each.

    Shadow work left out moves the mean by 60 of them.
    """
    h, temperature, n = 0.3, 0.6, 400_000
    rng = np.random.default_rng(2)
    x = CENTRES[0] + np.sqrt(temperature / STIFFNESSES[0]) * rng.normal(size=n)
    work, total = np.zeros(n), np.zeros(n)
    for j in range(1, len(CENTRES)):
        k, c = STIFFNESSES[j], CENTRES[j]
        jump = k * (x - c) ** 2 / 2 - STIFFNESSES[j - 1] * (x - CENTRES[j - 1]) ** 2 / 2
        y = x - h * k * (x - c) + np.sqrt(2 * h * temperature) * rng.normal(size=n)
        there, back = y - x + h * k * (x - c), x - y + h * k * (y - c)
        heat = (there**2 - back**2) / (4 * h)
        work += jump
        total += jump + k * ((y - c) ** 2 - (x - c) ** 2) / 2 - heat
        x = y
    exact = driven_trap.work(STIFFNESSES, CENTRES, KERNELS["euler"])
    for values, mean, variance in (
        (work, exact.mean, exact.variance),
        (total, exact.total_mean, exact.total_variance),
    ):
        assert abs(values.mean() - mean) < 4.4 * values.std() / np.sqrt(n)
        squares = (values - mean) ** 2
        assert abs(squares.mean() - variance) < 4.4 * squares.std() / np.sqrt(n)
    assert abs(exact.mean - exact.total_mean) > 60 * total.std() / np.sqrt(n)


def test_exact_jumps_are_the_closed_form():
    closed = dragged_trap.jumps(1.4, 0.7, 0.6, 0.9, 2.0, 7)
    kernel = driven_trap.exact_relaxation(2.0 / 7, 0.7, 0.6)
    work = driven_trap.work(np.full(8, 1.4), np.linspace(0, 1.8, 8), kernel)
    assert work.mean == pytest.approx(closed.mean, rel=1e-12)
    assert work.variance == pytest.approx(closed.variance, rel=1e-12)


def test_one_jump_without_relaxation_is_a_quench():
    quench = langevin_relaxation.quench([[0.8]], [[2.0]], [0.7], 0.6)
    work = driven_trap.work([0.8, 2.0], [0.0, 0.7], driven_trap.exact_relaxation(0.0, 1.0, 0.6))
    assert work.mean == pytest.approx(quench.mean, rel=1e-12)
    assert work.variance == pytest.approx(quench.variance, rel=1e-12)


def test_small_steps_become_continuous():
    """Euler-Maruyama tends to the closed form, BAOAB to Newton's equation, the breathing trap to its ramp."""
    exact = dragged_trap.continuous(1.4, 0.7, 0.6, 0.9, 2.0).mean
    assert dragged_trap.euler_maruyama(1.4, 0.7, 0.6, 0.9, 2.0, 2000).mean == pytest.approx(exact, rel=1e-3)

    def newton(t, state):
        pull = 1.4 * (0.9 * t - state[0])
        return [state[1] / 1.3, pull - 0.7 * state[1] / 1.3, 0.9 * pull]

    moved = solve_ivp(newton, (0, 2), [0, 0, 0], rtol=1e-10, atol=1e-12).y[2, -1]
    assert dragged_trap.baoab(1.4, 0.7, 0.6, 0.9, 2.0, 500, mass=1.3).mean == pytest.approx(moved, rel=1e-4)
    fine = breathing_trap.jumps(np.linspace(1, 3, 2001), 0.7, 0.6, 2.0 / 2000)
    assert fine.mean == pytest.approx(breathing_trap.ramp(1, 3, 0.7, 0.6, 2.0)[0], rel=1e-3)
    steps = breathing_trap.euler_maruyama(np.linspace(1, 3, 2001), 2.0 / 2000 / 0.7, 0.6)
    assert steps.mean == pytest.approx(fine.mean, rel=1e-3)


def test_where_the_second_moment_is_finite():
    """At 0.99 of its limit, one step, velocity 0.2: 41.7; infinite from the limit on."""

    def euler(share, number=20):
        step = share * float(driven_trap.euler_maruyama_usable_step(1.7))
        work = dragged_trap.euler_maruyama(1.7, 1.0, 0.6, 0.3, number * step, number)
        assert work.average == pytest.approx(0, abs=1e-10)
        return work.second_moment

    def baoab(share):
        step = share * float(driven_trap.baoab_usable_step(1.7, 2.3))
        return dragged_trap.baoab(1.7, 0.9, 0.6, 0.3, 50 * step, 50, mass=2.3).second_moment

    one = dragged_trap.euler_maruyama(1, 1, 1, 0.2, 0.99, 1).second_moment
    assert np.exp(one) == pytest.approx(41.7, abs=0.1)
    for second_moment in (euler, baoab):
        assert np.isfinite(second_moment(0.999))
        assert second_moment(1.001) == np.inf
    assert euler(1.001, 1) == np.inf


def test_second_moment_by_its_definition():
    """ln < exp(-2W) > of Gaussian work is -2 <W> + 2 Var W at T = 1; exact relaxation has no shadow work."""
    kernel = driven_trap.exact_relaxation(0.2, 1.0, 1.0)
    work = driven_trap.work(np.ones(5), np.linspace(0, 1, 5), kernel)
    assert work.second_moment == pytest.approx(2 * work.variance - 2 * work.mean, rel=1e-12)


def test_lag_bound():
    for time in (0.1, 1.0, 4.0):
        lag = 0.6 * dragged_trap.lag_divergence(1.4, 0.7, 0.6, 0.9, time)
        assert 0 < lag <= dragged_trap.continuous(1.4, 0.7, 0.6, 0.9, time).mean


def test_refusals():
    with pytest.raises(Refused, match="centres must be a vector of 2 numbers"):
        driven_trap.work([1.0, 2.0], [0.0], KERNELS["exact"])
    with pytest.raises(Refused, match="stiffnesses must be positive"):
        breathing_trap.jumps([1.0, -2.0], 1.0, 1.0, 0.1)
    with pytest.raises(Refused, match="number must be a whole number"):
        dragged_trap.euler_maruyama(1.0, 1.0, 1.0, 1.0, 1.0, 0)
