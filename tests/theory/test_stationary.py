import numpy as np
import pytest

from heatbath.errors import Refused
from heatbath.theory import stationary

H = np.array([[1.0, 0.3, 0.0], [0.3, 0.5, 0.1], [0.0, 0.1, 0.8]])
C = np.array([[0.4, -0.2, 0.1], [-0.2, 0.9, 0.0], [0.1, 0.0, 0.3]])
OPTIMIZERS = [
    {},
    {"momentum": 0.8},
    {"momentum": 0.8, "dampening": 0.5},
    {"momentum": 0.8, "nesterov": True},
    {"momentum": 0.8, "weight_decay": 0.2},
]


def iterated(step, momentum=0.0, dampening=0.0, nesterov=False, weight_decay=0.0):
    """Moments of (theta, v, g, u) by iterating the update's own words, one source of randomness at a time."""
    h, size = H + weight_decay * np.eye(3), 3
    share = 1 - dampening if momentum else 1.0
    theta, v, noise = (np.eye(3 * size)[i * size : (i + 1) * size] for i in range(3))
    g = h @ theta + noise
    new_v = momentum * v + share * g
    u = g + momentum * new_v if nesterov else new_v
    joint = np.zeros((2 * size, 2 * size))
    for _ in range(4000):
        full = np.block([[joint, np.zeros((2 * size, size))], [np.zeros((size, 2 * size)), C]])
        update = np.vstack([theta - step * u, new_v])
        joint = update @ full @ update.T
    return joint, full, theta, u


@pytest.mark.parametrize("options", OPTIMIZERS)
def test_moment_recursion_iterated_to_convergence(options):
    joint, full, theta, u = iterated(0.3, **options)
    state = stationary.sgd_state(H, C, 0.3, **options)
    ours = np.block([[state.position, state.cross], [state.cross.T, state.velocity]])
    np.testing.assert_allclose(ours, joint, rtol=1e-10, atol=1e-12)
    left, right = stationary.fluctuation_dissipation(H, C, 0.3, **options)
    np.testing.assert_allclose(left, np.diag(theta @ full @ u.T), rtol=1e-10)
    np.testing.assert_allclose(right, 0.15 * np.diag(u @ full @ u.T), rtol=1e-10)


@pytest.mark.parametrize("options", OPTIMIZERS)
def test_fluctuation_dissipation_holds_per_coordinate(options):
    left, right = stationary.fluctuation_dissipation(H, C, 0.4, **options)
    np.testing.assert_allclose(left, right, rtol=1e-12)
    yaida = stationary.yaida_relation(H, C, 0.4, **options)
    if options.get("nesterov"):
        assert abs(yaida.left.sum() / yaida.right.sum() - 1) > 0.02
    else:
        np.testing.assert_allclose(yaida.left, yaida.right, rtol=1e-12)


def test_without_momentum_velocity_is_the_gradient_and_dampening_is_idle():
    plain = stationary.sgd_state(H, C, 0.4)
    np.testing.assert_allclose(plain.velocity, H @ plain.position @ H + C, rtol=1e-12)
    tiny = stationary.sgd_state(H, C, 0.4, momentum=1e-12)
    np.testing.assert_allclose(tiny.position, plain.position, rtol=1e-10)
    damped = stationary.sgd_state(H, C, 0.4, dampening=0.5)
    np.testing.assert_array_equal(damped.position, plain.position)


def test_small_steps_give_the_sde_at_first_order():
    gaps = []
    for step in (1e-3, 1e-4):
        exact, sde = stationary.sgd_state(H, C, step).position, stationary.sde_covariance(H, C, step)
        gaps.append(np.abs(exact - sde).max() / np.abs(sde).max())
    assert gaps[0] < 1e-3
    assert gaps[0] / gaps[1] == pytest.approx(10, rel=0.01)


@pytest.mark.parametrize("momentum", [0.0, 0.7])
def test_commuting_modes_have_closed_forms(momentum):
    h, c, step = np.array([0.1, 0.7, 2.0]), np.array([0.5, 0.2, 1.0]), 0.6
    turn = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0]
    state = stationary.sgd_state(
        turn @ np.diag(h) @ turn.T, turn @ np.diag(c) @ turn.T, step, momentum=momentum
    )
    modes = turn.T @ state.position @ turn
    closed = step * c / h * (1 + momentum) / ((1 - momentum) * (2 * (1 + momentum) - step * h))
    np.testing.assert_allclose(modes, np.diag(closed), rtol=1e-10, atol=1e-12)
    if not momentum:
        np.testing.assert_allclose(stationary.mode_variance(h, c, step), closed, rtol=1e-14)


@pytest.mark.parametrize("options", OPTIMIZERS)
def test_critical_step_is_where_the_covariance_diverges(options):
    critical = stationary.critical_step(H, **options)
    near = stationary.sgd_state(H, C, critical * (1 - 1e-6), **options)
    assert np.trace(near.position) > 1e4
    with pytest.raises(Refused, match=f"critical step {critical:.6g}"):
        stationary.sgd_state(H, C, critical * (1 + 1e-6), **options)


def test_temperatures():
    covariance = stationary.sgd_state(H, C, 0.5).position
    curvatures, temperatures = stationary.mode_temperatures(H, covariance)
    configurational = stationary.configurational_temperature(H, covariance)
    assert temperatures.mean() == pytest.approx(configurational, rel=1e-12)
    excess = 0.5 / 6 * np.trace(H @ covariance @ H)
    assert configurational == pytest.approx(stationary.noise_temperature(C, 0.5) + excess, rel=1e-12)
    np.testing.assert_allclose(curvatures, np.linalg.eigvalsh(H), rtol=1e-12)
    # Small steps: the bath's temperature, momentum and dampening included.
    options = {"momentum": 0.9, "dampening": 0.3}
    slow = stationary.configurational_temperature(H, stationary.sgd_state(H, C, 1e-6, **options).position)
    assert slow == pytest.approx(stationary.noise_temperature(C, 1e-6, **options), rel=1e-5)


def test_variance_flatness_of_power_laws():
    h = np.geomspace(0.01, 1, 7)
    for power in (0, 1, 3):
        variance = stationary.mode_variance(h, h**power, 1e-8)
        assert stationary.variance_flatness_exponent(h, variance) == pytest.approx(2 * (power - 1), abs=1e-6)
    assert stationary.flatness(4.0, 2.0) == pytest.approx(2 * np.sqrt(np.e - 1))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: stationary.sgd_state(np.diag([1.0, 0.0]), np.eye(2), 0.1),
            "hessian must be positive definite",
        ),
        (lambda: stationary.sgd_state([[1.0, 0.2], [0.0, 1.0]], np.eye(2), 0.1), "hessian must be symmetric"),
        (lambda: stationary.sgd_state(np.eye(2), np.eye(3), 0.1), "noise must be a square matrix of 2 rows"),
        (lambda: stationary.sgd_state(np.eye(2), -np.eye(2), 0.1), "noise must have no negative eigenvalue"),
        (lambda: stationary.sgd_state(np.eye(2), np.eye(2), 0.0), "step_size must be positive"),
        (lambda: stationary.sgd_state(np.eye(2), np.eye(2), 0.1, momentum=1.0), "momentum must be"),
        (lambda: stationary.sgd_state(np.eye(2), np.eye(2), 0.1, nesterov=True), "nesterov needs a momentum"),
        (lambda: stationary.sgd_state(np.eye(2), np.full((2, 2), np.nan), 0.1), "not finite"),
        (lambda: stationary.mode_variance([1.0, 4.0], 1.0, 0.5), "critical step 0.5"),
        (lambda: stationary.variance_flatness_exponent([1.0, 1.0], [1.0, 2.0]), "different curvatures"),
    ],
)
def test_refusals(call, message):
    with pytest.raises(Refused, match=message):
        call()
