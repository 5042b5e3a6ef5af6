from itertools import pairwise

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import norm

from heatbath.errors import Refused
from heatbath.theory import annealing_exact, gaussian

Y, S = 0.6, 0.4


def test_gamma_work_by_sampling():
    """200,000 runs; 4.4 standard errors, false alarms 1e-5 each."""
    beta = np.geomspace(0.5, 4, 6)
    rng = np.random.default_rng(3)
    energies = rng.gamma(1.5, 1 / beta[:-1], size=(200_000, 5))
    work = energies @ np.diff(beta)
    exact = annealing_exact.gamma(3, beta)
    assert abs(work.mean() - exact.mean) < 4.4 * work.std() / np.sqrt(work.size)
    squares = (work - exact.mean) ** 2
    assert abs(squares.mean() - exact.variance) < 4.4 * squares.std() / np.sqrt(work.size)
    assert exact.log_average == pytest.approx(-1.5 * np.log(8), rel=1e-13)


def test_many_steps_of_equal_length_dissipate_least():
    for start, end in ((1.0, 20.0), (20.0, 1.0)):
        least = annealing_exact.least_dissipation(annealing_exact.gamma_length(6, start, end), 4000)
        geometric = annealing_exact.gamma(6, np.geomspace(start, end, 4001)).dissipated
        assert geometric == pytest.approx(least, rel=1e-3)
        assert annealing_exact.gamma(6, np.linspace(start, end, 4001)).dissipated > 1.2 * least


def test_evidence_by_quadrature():
    def tempered(beta):
        return quad(lambda x: norm.pdf(x) * norm.pdf(Y, x, S) ** beta, -8, 8, points=[Y], epsrel=1e-12)[0]

    for beta in (0.3, 1.0):
        ours = annealing_exact.evidence_log_partition(beta, Y, S)
        assert ours == pytest.approx(np.log(tempered(beta)), rel=1e-10)
    mean, variance = annealing_exact.evidence_energy(0.3, Y, S)
    step = 1e-4
    before, middle, after = (
        annealing_exact.evidence_log_partition(0.3 + shift, Y, S) for shift in (-step, 0, step)
    )
    assert mean == pytest.approx((before - after) / (2 * step), rel=1e-6)
    assert variance == pytest.approx((before - 2 * middle + after) / step**2, rel=1e-5)
    length = quad(lambda b: np.sqrt(annealing_exact.evidence_energy(b, Y, S)[1]), 0, 1, epsrel=1e-12)[0]
    assert annealing_exact.evidence_length(Y, S) == pytest.approx(length, rel=1e-9)


def test_dissipation_is_the_sum_of_divergences():
    schedule = np.linspace(0, 1, 6) ** 2

    def law(beta):
        variance = 1 / (1 + beta / S**2)
        return [variance * beta * Y / S**2], [[variance]]

    divergences = sum(gaussian.divergence(*law(a), *law(b)) for a, b in pairwise(schedule))
    ours = annealing_exact.evidence_annealing(schedule, Y, S)
    assert ours.dissipated == pytest.approx(divergences, rel=1e-12)


def test_any_kernel_that_leaves_the_tempered_law_invariant_gives_the_evidence():
    """Annealing with random-walk Metropolis steps on a grid, forward and reverse, by whole matrices."""
    x = np.linspace(-4, 4, 161)
    prior, energy = norm.pdf(x) * (x[1] - x[0]), -norm.logpdf(Y, x, S)
    beta = np.linspace(0, 1, 5) ** 2
    near = (np.abs(x[:, None] - x[None]) < 0.6) / 40.0

    def average(betas, law):
        for before, after in pairwise(betas):
            law = law * np.exp(-(after - before) * energy)
            density = prior * np.exp(-after * energy)
            kernel = near * np.minimum(1, density[None] / density[:, None])
            kernel += np.diag(1 - kernel.sum(axis=1))
            law = law @ kernel
        return law.sum()

    # The mass of the grid beyond 4 is 6e-5; normalised on the grid the prior loses it.
    evidence = np.exp(annealing_exact.evidence_log_partition(1.0, Y, S))
    posterior = prior * np.exp(-energy)
    assert average(beta, prior / prior.sum()) == pytest.approx(evidence / prior.sum(), rel=1e-7)
    assert average(beta[::-1], posterior / posterior.sum()) == pytest.approx(prior.sum() / evidence, rel=1e-7)


def test_refusals():
    with pytest.raises(Refused, match="start at 0"):
        annealing_exact.evidence_annealing([0.1, 1.0], Y, S)
    with pytest.raises(Refused, match="positive"):
        annealing_exact.gamma(3, [0.0, 1.0])
