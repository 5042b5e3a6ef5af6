"""Small Ising models by complete enumeration: a ring in a field that rises, a torus without field.

E = -J sum of neighbours' products - h sum of spins.
"""

from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import expit, logsumexp

from heatbath.errors import Refused
from heatbath.theory import _checks

MOST_SPINS = 16


class RingWork(NamedTuple):
    """Mean work, and < exp(-W/T) >, which is exp(-dF/T)."""

    mean: float
    average: float


def ring_free_energy(size: int, coupling: float, field: float, temperature: float) -> float:
    """F = -T ln(l1^N + l2^N), l the eigenvalues of the transfer matrix."""
    beta = 1 / float(_checks.positive("temperature", temperature))
    straight = np.exp(beta * coupling) * np.cosh(beta * field)
    root = np.sqrt(np.exp(2 * beta * coupling) * np.sinh(beta * field) ** 2 + np.exp(-2 * beta * coupling))
    larger = np.log(straight + root)
    smaller = ((straight - root) / (straight + root)) ** _checks.count("size", size, 3)
    return float(-(size * larger + np.log1p(smaller)) / beta)


def ring_work(size: int, coupling: float, temperature: float, fields: ArrayLike) -> RingWork:
    """The field jumps through the list; after each jump one sweep of heat-bath updates, site by site.

    Evolves the law of all 2^N configurations, and the same law weighted with exp(-W/T): N up to 16.
    """
    if _checks.count("size", size, 3) > MOST_SPINS:
        raise Refused(f"size must be at most {MOST_SPINS}: all 2^size configurations are listed; got {size}")
    temperature = float(_checks.positive("temperature", temperature))
    field = _checks.vector("fields", fields)
    spins = _configurations(size)
    magnetisation = spins.sum(axis=1)
    bonds = (spins * np.roll(spins, -1, axis=1)).sum(axis=1)
    law = np.exp((coupling * bonds + field[0] * magnetisation) / temperature)
    law = law / law.sum()
    weighted, mean = law.copy(), 0.0
    for before, after in pairwise(field):
        work = -(after - before) * magnetisation
        mean += law @ work
        weighted = weighted * np.exp(-work / temperature)
        for site in range(size):
            around = np.roll(spins, 1, axis=1)[:, site] + np.roll(spins, -1, axis=1)[:, site]
            kept = expit(2 * spins[:, site] * (coupling * around + after) / temperature)
            law, weighted = (_updated(one, kept, size, site) for one in (law, weighted))
    return RingWork(float(mean), float(weighted.sum()))


def torus_log_partition(rows: int, columns: int, inverse_temperature: float, coupling: float = 1.0) -> float:
    """ln Z of rows x columns spins, periodic both ways, by the transfer matrix of a row (at most 10 columns).

    A side of 2 has both its bonds between the same two spins.
    """
    rows, columns = _checks.count("rows", rows, 2), _checks.count("columns", columns, 2)
    if columns > 10:
        raise Refused(f"columns must be at most 10 for the transfer matrix; got {columns}")
    spins = _configurations(columns)
    along = (spins * np.roll(spins, -1, axis=1)).sum(axis=1)
    exponent = inverse_temperature * coupling * (spins @ spins.T + (along[:, None] + along[None, :]) / 2)
    largest = exponent.max()
    eigenvalues = np.linalg.eigvalsh(np.exp(exponent - largest))
    powers, signs = rows * np.log(np.abs(eigenvalues) + 1e-300), np.sign(eigenvalues) ** rows
    return float(rows * largest + logsumexp(powers, b=signs))


def _configurations(size: int) -> np.ndarray:
    """(2^size, size) spins of +-1; the first site changes slowest."""
    return 2.0 * ((np.arange(2**size)[:, None] >> np.arange(size)[::-1]) & 1) - 1


def _updated(law: np.ndarray, kept: np.ndarray, size: int, site: int) -> np.ndarray:
    """The law after a heat-bath update of a site; ``kept`` is the probability of the spin it has."""
    shape = (2**site, 2, 2 ** (size - site - 1))
    both = law.reshape(shape).sum(axis=1, keepdims=True)
    return (both * kept.reshape(shape)).reshape(-1)
