import numpy as np
import pytest
from scipy.integrate import quad, solve_ivp

from heatbath.theory import breathing_trap, dragged_trap, driven_trap, optimal_protocols

K, G, T, TIME = 1.4, 0.7, 0.6, 0.9


def stiffness_cost(protocol, first=K, last=2.5):
    """Mean work of any protocol of the stiffness, jumps at both ends included, by its moment equation."""

    def flow(t, state):
        k, slope = protocol(t), (protocol(t + 1e-6) - protocol(t - 1e-6)) / 2e-6
        return [2 * (T - k * state[0]) / G, slope * state[0] / 2]

    start = T / first
    end, middle = solve_ivp(flow, (0, TIME), [start, 0.0], rtol=1e-10, atol=1e-12).y[:, -1]
    return (protocol(0.0) - first) * start / 2 + middle + (last - protocol(TIME)) * end / 2


def test_stiffness_protocol_costs_what_is_said_and_others_more():
    def best(t):
        return float(optimal_protocols.stiffness_protocol(t, K, 2.5, G, TIME))

    least = optimal_protocols.stiffness_work(K, 2.5, G, T, TIME)
    assert stiffness_cost(best) == pytest.approx(least, rel=1e-7)
    for bend in (-0.2, 0.2):
        assert stiffness_cost(lambda t, b=bend: best(t) + b * np.sin(np.pi * t / TIME)) > least + 1e-4
        assert stiffness_cost(lambda t, b=bend: best(t) + b) > least + 1e-4
    assert breathing_trap.free_energy(K, 2.5, T) < least < breathing_trap.ramp(K, 2.5, G, T, TIME)[0]


def test_stiffness_limits():
    sudden = optimal_protocols.stiffness_work(K, 2.5, G, T, 1e-7)
    assert sudden == pytest.approx(T * (2.5 - K) / (2 * K), rel=1e-5)
    slow = optimal_protocols.stiffness_work(K, 2.5, G, T, 1e7)
    assert slow == pytest.approx(breathing_trap.free_energy(K, 2.5, T), rel=1e-5)


def test_drag_protocol_in_small_jumps():
    """The protocol in 1000 jumps with exact relaxation costs the least work, to the order of a jump."""
    moments = (np.arange(1000) + 0.5) * TIME / 1000
    centres = optimal_protocols.drag_centre(moments, K, G, 2.0, TIME)
    kernel = driven_trap.exact_relaxation(TIME / 1000, G, T)
    work = driven_trap.work(np.full(1002, K), np.array([0.0, *centres, 2.0]), kernel).mean
    least = optimal_protocols.drag_work(K, G, 2.0, TIME)
    assert work == pytest.approx(least, rel=1e-3)
    assert least < 0.97 * dragged_trap.continuous(K, G, T, 2.0 / TIME, TIME).mean


def test_drag_meets_the_transport_bound():
    """W >= g W2(p_0, p_tau)^2 / tau + T D(p_tau || equilibrium), an equality for the optimal drag."""
    delay = G / K
    mean = quad(
        lambda t: float(optimal_protocols.drag_centre(t, K, G, 2.0, TIME)) * np.exp((t - TIME) / delay),
        0,
        TIME,
        epsrel=1e-12,
    )[0]
    mean /= delay
    bound = G * mean**2 / TIME + K * (2.0 - mean) ** 2 / 2
    assert optimal_protocols.drag_work(K, G, 2.0, TIME) == pytest.approx(bound, rel=1e-10)
