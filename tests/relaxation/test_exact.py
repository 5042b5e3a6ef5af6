"""Exact relaxation: linear and small chains, landscapes, driven networks. No randomness, no false alarms."""

import json

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.linalg import sqrtm

from heatbath.errors import Refused
from heatbath.relaxation import (
    DrivenNetwork,
    FokkerPlanck,
    LinearChain,
    MarkovChain,
    ornstein_uhlenbeck,
    relative_entropy,
    wasserstein_distance,
)
from heatbath.relaxation.chains import stationary_law
from heatbath.theory import entropy_production, escape
from heatbath.theory.gaussian import divergence
from heatbath.theory.langevin_relaxation import relaxation

START = np.array([0.5, 0.1, 0.1, 0.1, 0.1, 0.1])


@pytest.fixture(scope="module")
def cases(shared):
    return json.loads((shared / "physics" / "fluctuation_cases.json").read_text())


def metropolis(energies, temperature: float = 1.0) -> np.ndarray:
    """Proposals of any other state, each as likely."""
    energies = np.asarray(energies, float)
    n = len(energies)
    matrix = np.minimum(1, np.exp((energies[:, None] - energies) / temperature)) / n
    np.fill_diagonal(matrix, 0)
    return matrix + np.diag(1 - matrix.sum(axis=1))


def driven_ring(p: float = 0.7) -> np.ndarray:
    """Steps forward with probability p, backward with 0.2, unlike at one state: no detailed balance."""
    matrix = p * np.roll(np.eye(6), 1, axis=1) + 0.2 * np.roll(np.eye(6), -1, axis=1)
    matrix[2, 3], matrix[4] = 0.3, 0.5 * matrix[4]
    return matrix + np.diag(1 - matrix.sum(axis=1))


# Gaussian laws


def test_ornstein_uhlenbeck_of_the_notes(cases):
    chain = ornstein_uhlenbeck([[2 / 1.5]], [[0.7 / 1.5]], 0.1)
    found = chain.divergences(10, [1.2], [[0.1]])[[0, 3, 10]]
    expected = [cases[f"OU k=2 g=1.5 T=.7 N(1.2,.1) t={t}: D(p_t||p_eq)"] for t in ("0", "0.3", "1")]
    np.testing.assert_allclose(found, expected, rtol=1e-10)


def test_ornstein_uhlenbeck_is_the_relaxation_of_the_theory():
    hessian = np.array([[2.0, 0.4], [0.4, 0.7]])
    mean, covariance = np.array([1.0, -2.0]), np.array([[0.3, 0.1], [0.1, 0.5]])
    chain = ornstein_uhlenbeck(hessian, 0.6 * np.eye(2), 0.25)
    later = relaxation(hessian, 0.6, 1.0, mean, covariance)
    found_mean, found_covariance = chain.after(4, mean, covariance)
    np.testing.assert_allclose(found_mean, later.mean, rtol=1e-12)
    np.testing.assert_allclose(found_covariance, later.covariance, rtol=1e-12)
    assert chain.divergences(4, mean, covariance)[-1] == pytest.approx(later.divergence, rel=1e-10)


def test_h_theorem_of_a_linear_chain_with_currents():
    """D to its own stationary law falls; the excess of `theory.entropy_production` is what it falls by."""
    transition = np.array([[0.7, 0.25], [-0.2, 0.6]])
    noise = np.array([[0.5, 0.1], [0.1, 0.3]])
    chain = LinearChain(transition, noise, np.zeros(2))
    d = chain.divergences(10, [2.0, 1.0], np.eye(2))
    assert np.all(np.diff(d) < 0)
    split = entropy_production.transient(transition, noise, [2.0, 1.0], np.eye(2), 10)
    assert d[0] - d[-1] == pytest.approx(split.excess, rel=1e-12)
    assert split.housekeeping > 0.1


def test_transport_distance_of_gaussians():
    """Commuting covariances in closed form; others through the optimal map from one to the other."""
    first, second = np.diag([4.0, 1.0]), np.diag([1.0, 9.0])
    assert wasserstein_distance([0, 0], first, [3, 0], second) == pytest.approx(np.sqrt(9 + 1 + 4))
    other = np.array([[2.0, 0.8], [0.8, 1.0]])
    root = np.real(sqrtm(first))
    inverse = np.linalg.inv(root)
    optimal = inverse @ np.real(sqrtm(root @ other @ root)) @ inverse
    np.testing.assert_allclose(optimal @ first @ optimal, other, rtol=1e-10)
    moved = np.trace((optimal - np.eye(2)) @ first @ (optimal - np.eye(2)))
    assert wasserstein_distance([0, 0], first, [0, 0], other) == pytest.approx(np.sqrt(moved), rel=1e-10)
    assert wasserstein_distance([1, 2], other, [1, 2], other) == pytest.approx(0, abs=1e-7)
    assert wasserstein_distance([0, 0], np.zeros((2, 2)), [3, 4], np.zeros((2, 2))) == pytest.approx(5)


def test_a_chain_that_runs_away_is_refused():
    with pytest.raises(Refused, match="no stationary law"):
        LinearChain(np.array([[1.01]]), np.eye(1), np.zeros(1))


# small chains


def test_metropolis_chain_falls_by_its_entropy_production():
    energies = np.array([0.0, 0.3, 1.0, 1.7, 0.6, 2.2])
    chain = MarkovChain(metropolis(energies, 0.8))
    boltzmann = np.exp(-energies / 0.8) / np.exp(-energies / 0.8).sum()
    np.testing.assert_allclose(chain.stationary, boltzmann, rtol=1e-12)
    assert chain.imbalance < 1e-15
    d = chain.divergences(START, 5)
    made = chain.entropy_production(START, 5)
    assert made.total == pytest.approx(d[0] - d[5], rel=1e-12)
    assert made.housekeeping == pytest.approx(0, abs=1e-14)
    np.testing.assert_allclose(chain.fluctuation_averages(START, 5), 1, rtol=1e-12)


def test_metropolis_chain_of_the_notes(cases):
    """Six normal energies and a start from a flat Dirichlet law, of NumPy's generator with seed 8."""
    rng = np.random.default_rng(8)
    chain, start = MarkovChain(metropolis(rng.normal(size=6))), rng.dirichlet(np.ones(6))
    made = chain.entropy_production(start)
    assert made.total == pytest.approx(
        cases["Metropolis chain: D_n - D_{n+1} = mean entropy production"], rel=1e-10
    )
    assert chain.fluctuation_averages(start).total == pytest.approx(1, rel=1e-12)
    ratio, later = start / chain.stationary, chain.laws(start, 6)[6]
    assert later @ ratio == pytest.approx(cases["   1 + chi2(p_t||pi) = E f0(X_2t)"], rel=1e-10)


def test_reversible_chain_and_the_doubled_time():
    """p_t/pi = P^t f0, so 1 + chi^2(p_t || pi) = E f0(X_2t) (section 4)."""
    chain = MarkovChain(metropolis([0.0, 0.3, 1.0, 1.7, 0.6, 2.2]))
    rest, laws = chain.stationary, chain.laws(START, 6)
    ratio = START / rest
    np.testing.assert_allclose(
        laws[3] / rest, np.linalg.matrix_power(chain.transition, 3) @ ratio, rtol=1e-12
    )
    assert np.sum(laws[3] ** 2 / rest) == pytest.approx(laws[6] @ ratio, rel=1e-12)
    d = relative_entropy(laws[3], rest)
    assert laws[6] @ np.log(ratio) <= d <= np.log(laws[6] @ ratio)


@pytest.mark.parametrize("steps", [1, 4])
def test_splitting_of_a_driven_chain_with_its_three_theorems(steps):
    chain = MarkovChain(driven_ring())
    assert chain.imbalance > 0.01
    made = chain.entropy_production(START, steps)
    d = chain.divergences(START, steps)
    assert made.excess == pytest.approx(d[0] - d[-1], rel=1e-12)
    assert made.total == pytest.approx(made.excess + made.housekeeping, rel=1e-12)
    assert made.excess > 0.05
    assert made.housekeeping > 0.1 * steps
    np.testing.assert_allclose(chain.fluctuation_averages(START, steps), 1, rtol=1e-12)


def test_averages_over_all_paths_one_by_one():
    """The same by enumeration of 6^3 paths: the second way to the averages."""
    chain, law = MarkovChain(driven_ring()), START
    step, rest = chain.transition, chain.stationary
    laws = chain.laws(law, 2)
    total = fluctuation = 0.0
    for a, b, c in np.ndindex(6, 6, 6):
        probability = law[a] * step[a, b] * step[b, c]
        if probability > 0:
            made = np.log(probability / (laws[2][c] * step[c, b] * step[b, a]))
            housekeeping = np.log(rest[a] * step[a, b] * step[b, c] / (rest[c] * step[c, b] * step[b, a]))
            total += probability * made
            fluctuation += probability * np.exp(-housekeeping)
    assert chain.entropy_production(law, 2).total == pytest.approx(total, rel=1e-12)
    assert fluctuation == pytest.approx(1, rel=1e-12)


@pytest.mark.teeth
def test_the_theorem_sees_a_wrong_stationary_law():
    """Split with a law that is not its own, the averages of excess and housekeeping are not 1."""
    wrong = MarkovChain(driven_ring())
    wrong.__dict__["stationary"] = MarkovChain(metropolis([0.0, 0.3, 1.0, 1.7, 0.6, 2.2])).stationary
    found = wrong.fluctuation_averages(START)
    assert abs(found.housekeeping - 1) > 0.01
    assert abs(found.excess - 1) > 0.01


def test_divergence_rises_to_another_law_than_its_own():
    """To exp(-U/T) instead of its own stationary law, D of an unbalanced kernel may rise: no H-theorem."""
    chain = MarkovChain(driven_ring())
    flat = np.full(6, 1 / 6)
    assert relative_entropy(chain.laws(flat, 1)[1], flat) > 0


def test_h_theorem_against_the_checks_own_chains(shared):
    """Chains of spins from the harness beside the repository: sweeps break detailed balance, and relax."""
    import importlib.util

    path = shared / "checks" / "stats" / "exact_chain.py"
    if not path.is_file():
        pytest.skip("needs checks/stats/exact_chain.py of the optional folder ../shared")
    spec = importlib.util.spec_from_file_location("exact_chain", path)
    assert spec is not None
    assert spec.loader is not None
    harness = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(harness)
    energies = np.random.default_rng(1).normal(size=8)
    for kernel in (
        harness.metropolis(energies),
        harness.glauber(energies, 3),
        harness.glauber(energies, 3, order=range(3)),
    ):
        chain = MarkovChain(kernel)
        np.testing.assert_allclose(chain.stationary, harness.gibbs(energies), rtol=1e-10)
        start = np.eye(8)[3]
        by_harness, rise = harness.kl_decay(kernel, harness.gibbs(energies), start, 10)
        assert rise == 0
        np.testing.assert_allclose(chain.divergences(start, 10), by_harness, rtol=1e-8, atol=1e-14)


def test_spectral_gap_is_the_late_rate():
    chain = MarkovChain(metropolis([0.0, 0.3, 1.0, 1.7, 0.6, 2.2]))
    d = chain.divergences(START, 15)
    assert 1 - np.sqrt(d[15] / d[14]) == pytest.approx(chain.spectral_gap, rel=1e-3)


def test_stationary_law_keeps_small_numbers():
    """Birth and death over 40 states down to 1e-56: the law is known in closed form."""
    energies = np.linspace(0, 128, 40)
    step = np.diff(energies)
    rates = np.diag(np.exp(-step / 2), 1) + np.diag(np.exp(step / 2), -1)
    np.testing.assert_allclose(stationary_law(rates), np.exp(-energies) / np.exp(-energies).sum(), rtol=1e-10)


def test_chains_without_one_law_are_refused():
    with pytest.raises(Refused, match="no unique stationary law"):
        _ = MarkovChain(np.eye(3)).stationary
    with pytest.raises(Refused, match="each row"):
        MarkovChain(np.full((3, 3), 0.3))
    with pytest.raises(Refused, match="sum 1"):
        MarkovChain(driven_ring()).divergences(np.full(6, 0.2), 3)


# landscapes


@pytest.fixture(scope="module")
def double_well() -> FokkerPlanck:
    return FokkerPlanck(lambda x: (x**2 - 1) ** 2 + 0.2 * x, np.linspace(-2.6, 2.6, 801), 0.5)


def test_double_well_of_the_notes(cases, double_well):
    gap = cases["double well (x^2-1)^2+.2x, T=.5: relaxation rate (spectral gap, n=801)"]
    assert double_well.spectral_gap == pytest.approx(gap, rel=1e-8)
    start = double_well.density(lambda x: -((x + 1) ** 2) / (2 * 0.05))
    for time in ("0.2", "2", "8"):
        law = double_well.after(float(time), start)
        made = cases[f"double well t={time}: -dD/dt = entropy production rate"]
        assert double_well.divergence(law) == pytest.approx(cases[f"   D(p_t||p_eq) at t={time}"], rel=1e-8)
        assert double_well.entropy_production(law) == pytest.approx(made, rel=1e-8)


def test_entropy_production_is_the_fall_of_the_divergence(double_well):
    start = double_well.density(lambda x: -((x + 1) ** 2) / (2 * 0.05))

    def rate(time: float) -> float:
        return double_well.entropy_production(double_well.after(time, start))

    fall = double_well.divergence(double_well.after(0.2, start)) - double_well.divergence(
        double_well.after(1.0, start)
    )
    assert quad(rate, 0.2, 1.0, epsrel=1e-9)[0] == pytest.approx(fall, rel=1e-8)


def test_harmonic_landscape_is_ornstein_uhlenbeck():
    """To the order dx^2 of the grid: the relative error here is 4e-5, and a quarter on half the spacing."""
    exact = divergence([0.6 * np.exp(-0.8)], [[0.5 - 0.3 * np.exp(-1.6)]], [0.0], [[0.5]])
    errors = []
    for points in (401, 801):
        landscape = FokkerPlanck(lambda x: x**2, np.linspace(-5, 5, points), 1.0, friction=2.0)
        start = landscape.density(lambda x: -((x - 0.6) ** 2) / (2 * 0.2))
        errors.append(landscape.divergence(landscape.after(0.8, start)) / exact - 1)
    assert abs(errors[1]) < 1e-4
    assert errors[0] / errors[1] == pytest.approx(4, rel=0.02)


@pytest.mark.parametrize("temperature", [0.1, 0.05])
def test_escape_time_by_grid_quadrature_spectrum_and_kramers(temperature):
    """Three ways to the time scale of crossing; Kramers' formula comes near as the barrier grows."""

    def potential(x):
        return x**4 / 4 - x**2 / 2

    landscape = FokkerPlanck(potential, np.linspace(-2.5, 2.5, 2001), temperature)
    exact = escape.mean_first_passage_time(potential, -1, 1, -2.5, temperature)
    assert landscape.passage_time(-1, 1) == pytest.approx(exact, rel=4e-4)
    assert landscape.passage_time(1, -1) == pytest.approx(exact, rel=4e-4)
    kramers = float(escape.kramers_time(2, 1, 0.25, temperature))
    assert 2 / landscape.spectral_gap == pytest.approx(exact, rel=4 * temperature / 0.25 * 0.1)
    assert kramers == pytest.approx(exact, rel=temperature / 0.25 * 0.5)
    assert kramers < exact


@pytest.mark.parametrize("barrier", [35.0, 200.0])
def test_escape_over_barriers_whose_rate_is_below_rounding(barrier):
    """The eigenvalue of the matrix is all rounding there, and linear solvers are off by any factor."""

    def potential(x):
        return barrier * (x**2 - 1) ** 2

    landscape = FokkerPlanck(potential, np.linspace(-1.6, 1.6, 1601), 1.0)
    exact = escape.mean_first_passage_time(potential, -1, 1, -1.6, 1.0)
    assert landscape.passage_time(-1, 1) == pytest.approx(exact, rel=1e-3)
    assert landscape.spectral_gap * landscape.passage_time(1, -1) == pytest.approx(2, rel=1e-8)
    start = landscape.density(lambda x: -barrier * 4 * (x + 1) ** 2)
    crossed = landscape.after(1 / landscape.spectral_gap, start)[801:].sum()
    assert crossed == pytest.approx((1 - np.exp(-1)) / 2, rel=1e-6)


@pytest.mark.parametrize(
    ("potential", "message"),
    [
        (lambda x: 0.0, "one finite number for each point"),
        (lambda x: 1e6 * x**4, "finer or narrower"),
    ],
)
def test_landscapes_that_a_grid_cannot_hold_are_refused(potential, message):
    with pytest.raises(Refused, match=message):
        FokkerPlanck(potential, np.linspace(-10, 10, 50), 0.1)


def test_a_passage_off_the_grid_is_refused(double_well):
    for start, target in ((-9, 1), (-1, np.nan)):
        with pytest.raises(Refused, match="off the grid"):
            double_well.passage_time(start, target)


def test_an_uneven_grid_is_refused():
    with pytest.raises(Refused, match="equal steps"):
        FokkerPlanck(np.square, np.geomspace(1, 2, 9), 1.0)


# driven networks


def three_levels(difference: float) -> DrivenNetwork:
    baths = np.array([[0, 1, 1 + difference], [1, 0, 1], [1 + difference, 1, 0.0]])
    return DrivenNetwork(np.array([0.0, 1.0, 2.0]), baths)


@pytest.mark.parametrize(
    ("difference", "stationary", "least", "apart"),
    [
        (0.01, 2.9618617e-5, 2.961854e-5, 1e-11),
        (0.1, 2.5938706e-3, 2.5933425e-3, 7e-8),
        (1.0, 0.093283255, 0.092942596, 5e-5),
        (4.0, 0.26368323, 0.26239823, 2e-4),
    ],
)
def test_prigogine_of_the_notes(difference, stationary, least, apart):
    """The printed digits of section 4."""
    network = three_levels(difference)
    assert network.entropy_production(network.stationary) == pytest.approx(stationary, rel=1e-7)
    assert network.entropy_production(network.least) == pytest.approx(least, rel=1e-7)
    assert relative_entropy(network.stationary, network.least) == pytest.approx(apart, rel=0.1)


def test_minimum_entropy_production_holds_in_the_linear_regime_and_fails_beyond():
    """The excess over the minimum starts as dT^2 of it, so tends to 0; at dT = 1 it is 0.4 %."""

    def excess(difference: float) -> float:
        network = three_levels(difference)
        least = network.entropy_production(network.least)
        return network.entropy_production(network.stationary) / least - 1

    slope = np.log(excess(0.04) / excess(0.02)) / np.log(2)
    assert slope == pytest.approx(2, abs=0.1)
    assert excess(1.0) > 3e-3


def test_no_other_distribution_produces_less():
    """Random distributions near and far: none is below the minimum (it is convex)."""
    network, rng = three_levels(1.0), np.random.default_rng(0)
    least = network.entropy_production(network.least)
    near = network.least * np.exp(0.01 * rng.normal(size=(500, 3)))
    for law in [*near, *rng.dirichlet(np.ones(3), 500)]:
        assert network.entropy_production(law / law.sum()) > least
    equal = three_levels(0.0)
    assert equal.entropy_production(equal.stationary) == pytest.approx(0, abs=1e-15)


def test_a_network_that_falls_apart_is_refused():
    with pytest.raises(Refused, match="no unique stationary law"):
        _ = DrivenNetwork(np.zeros(3), np.array([[0, 1, 0], [1, 0, 0], [0, 0, 0.0]])).stationary
    with pytest.raises(Refused, match="symmetric"):
        DrivenNetwork(np.zeros(2), np.array([[0, 1], [2, 0.0]]))
    with pytest.raises(Refused, match="two or more"):
        DrivenNetwork(np.zeros(1), np.zeros((1, 1)))
    with pytest.raises(Refused, match="rate is infinite"):
        DrivenNetwork(np.array([0, 1.0]), np.array([[0, 1e-4], [1e-4, 0]]))


def test_an_empty_level_produces_without_bound():
    network = DrivenNetwork(np.array([0, 1.0]), np.array([[0, 1.0], [1, 0]]))
    assert network.entropy_production([1, 0]) == np.inf
