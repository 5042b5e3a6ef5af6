from itertools import pairwise

import numpy as np
import pytest
from scipy.special import logsumexp

from heatbath.errors import Refused
from heatbath.theory import ising_exact


def configurations(size):
    return 2 * ((np.arange(2**size)[:, None] >> np.arange(size)) & 1) - 1


def test_ring_free_energy_by_enumeration():
    spins = configurations(7)
    for coupling, field in ((0.8, 0.3), (-0.5, 1.1), (0.8, 0.0)):
        energies = -coupling * np.sum(spins * np.roll(spins, 1, axis=1), axis=1) - field * spins.sum(axis=1)
        expected = -0.9 * logsumexp(-energies / 0.9)
        assert ising_exact.ring_free_energy(7, coupling, field, 0.9) == pytest.approx(expected, rel=1e-13)


def test_ring_work_by_whole_matrices():
    """The sweep as a product of 2^N x 2^N matrices, one a site."""
    size, coupling, temperature, fields = 4, 0.7, 1.3, [0.2, 0.9, -0.4]
    spins = configurations(size)
    weight = coupling * np.sum(spins * np.roll(spins, 1, axis=1), axis=1)
    law = np.exp((weight + fields[0] * spins.sum(axis=1)) / temperature)
    law = law / law.sum()
    both, mean = law.copy(), 0.0
    for before, after in pairwise(fields):
        work = (before - after) * spins.sum(axis=1)
        mean, both = mean + law @ work, both * np.exp(-work / temperature)
        target = np.exp((weight + after * spins.sum(axis=1)) / temperature)
        for site in range(size):
            same = np.all(np.delete(spins, site, 1)[:, None] == np.delete(spins, site, 1)[None], axis=2)
            kernel = same * target / (same @ target)[:, None]
            law, both = law @ kernel, both @ kernel
    ours = ising_exact.ring_work(size, coupling, temperature, fields)
    assert ours.mean == pytest.approx(mean, rel=1e-12)
    assert ours.average == pytest.approx(both.sum(), rel=1e-12)
    step = [ising_exact.ring_free_energy(size, coupling, h, temperature) for h in (fields[0], fields[-1])]
    assert ours.average == pytest.approx(np.exp(-(step[1] - step[0]) / temperature), rel=1e-12)


def test_torus_by_enumeration():
    spins = configurations(12).reshape(-1, 3, 4)
    products = np.sum(spins * (np.roll(spins, 1, axis=1) + np.roll(spins, 1, axis=2)), axis=(1, 2))
    for coupling in (1.0, -0.6):
        expected = logsumexp(0.5 * coupling * products)
        for shape in ((3, 4), (4, 3)):
            ours = ising_exact.torus_log_partition(*shape, 0.5, coupling)
            assert ours == pytest.approx(expected, rel=1e-12)


def test_refusals():
    with pytest.raises(Refused, match="at most 16"):
        ising_exact.ring_work(20, 1.0, 1.0, [0.0, 1.0])
    with pytest.raises(Refused, match="at most 10"):
        ising_exact.torus_log_partition(4, 16, 0.4)
