"""A network of levels between baths of different temperatures: Prigogine's minimum entropy production."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import root

from heatbath.errors import Refused
from heatbath.relaxation.chains import distribution, stationary_law
from heatbath.theory import _checks


@dataclass(frozen=True)
class DrivenNetwork:
    """Levels with ``energies`` (n,), each pair with a bath of its own: ``temperatures`` (n, n), 0 for none.

    A jump from i to j has the rate exp(-(E_j - E_i)/(2 T_ij)): with one temperature, detailed balance.
    """

    energies: np.ndarray
    temperatures: np.ndarray

    def __post_init__(self):
        energies = _checks.vector("energies", self.energies)
        baths = _checks.square("temperatures", self.temperatures, len(energies))
        if len(energies) < 2:
            raise Refused("energies of one level: give two or more")
        if baths.min() < 0 or not np.array_equal(baths, baths.T) or baths.diagonal().any():
            raise Refused("temperatures must be symmetric, 0 on the diagonal and nowhere negative")
        object.__setattr__(self, "energies", energies)
        object.__setattr__(self, "temperatures", baths)
        with np.errstate(over="ignore"):
            if not np.isfinite(self.rates).all():
                raise Refused("temperatures are too low for the energies: a rate is infinite")

    @property
    def rates(self) -> np.ndarray:
        """Rates (n, n) of the jumps i -> j, 0 on the diagonal."""
        linked = self.temperatures > 0
        climb = self.energies - self.energies[:, None]
        return np.where(linked, np.exp(-climb / (2 * np.where(linked, self.temperatures, 1.0))), 0.0)

    @property
    def stationary(self) -> np.ndarray:
        """The stationary distribution (n,). Raises `Refused` where the baths do not link all levels."""
        return stationary_law(self.rates)

    def entropy_production(self, law: ArrayLike) -> float:
        """Rate in nats per unit time, system and baths together, while the distribution is ``law`` (n,)."""
        law = distribution("law", law, len(self.energies))
        outer = law[:, None] * self.rates
        with np.errstate(divide="ignore"):  # infinite where an empty level is filled
            return float(np.sum(outer[outer > 0] * np.log(outer[outer > 0] / outer.T[outer > 0])))

    @property
    def least(self) -> np.ndarray:
        """The distribution (n,) of least entropy production: the stationary one close to equilibrium only.

        The production is convex, so its one stationary point is the minimum.
        """

        def slope(log_weights: np.ndarray) -> np.ndarray:
            law = _softmax(log_weights)
            outer = law[:, None] * self.rates
            back = np.divide(outer.T, outer, out=np.zeros_like(outer), where=outer > 0)
            gradient = self._affinities(law) + np.sum(self.rates * (1 - back), axis=1)
            return (law * (gradient - law @ gradient))[1:]

        start = np.log(self.stationary)
        found = root(slope, (start - start[0])[1:], tol=1e-14)
        traffic = float(_softmax(found.x) @ self.rates.sum(axis=1))
        if not np.abs(found.fun).max() <= 1e-10 * traffic:
            raise Refused("the least entropy production was not found: temperatures too far apart")
        return _softmax(found.x)

    def _affinities(self, law: np.ndarray) -> np.ndarray:
        """sum_j w_ij ln(p_i w_ij / p_j w_ji) of each level."""
        outer = law[:, None] * self.rates
        ratio = np.divide(outer, outer.T, out=np.ones_like(outer), where=self.rates > 0)
        return np.sum(self.rates * np.log(ratio), axis=1)


def _softmax(log_weights: np.ndarray) -> np.ndarray:
    weights = np.exp(np.append(0.0, log_weights))
    return weights / weights.sum()
