"""One-dimensional landscapes on a grid: the spectrum of the Fokker-Planck equation, and the way down."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike
from scipy.linalg import eigh_tridiagonal, solve_banded

from heatbath.errors import Refused
from heatbath.relaxation.chains import distribution, relative_entropy
from heatbath.theory import _checks


@dataclass(frozen=True)
class FokkerPlanck:
    """Overdamped motion in ``potential`` on an even ``grid`` (n,), with walls at its ends.

    Jumps between neighbours at the rates T/(friction dx^2) exp(-dU/(2T)): detailed balance with exp(-U/T) on
    the grid exactly, and the Fokker-Planck equation to order dx^2. Distributions are probabilities (n,) of
    the points; times in units of friction length^2/energy.
    """

    potential: Callable[[np.ndarray], np.ndarray]
    grid: np.ndarray
    temperature: float
    friction: float = 1.0

    def __post_init__(self):
        grid = _checks.vector("grid", self.grid)
        steps = np.diff(grid)
        if len(grid) < 3 or not steps.min() > 0 or np.ptp(steps) > 1e-8 * steps.mean():
            raise Refused("grid must have at least 3 points, rising in equal steps (numpy.linspace)")
        _checks.positive("temperature", self.temperature)
        _checks.positive("friction", self.friction)
        if not np.isfinite(np.asarray(self.potential(grid), float)).all():
            raise Refused("potential is not finite on the grid")

    @cached_property
    def equilibrium(self) -> np.ndarray:
        """exp(-U/T) on the grid, normalised."""
        return self._normalised(-self._energy)

    def density(self, log_density: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
        """A start: the density whose logarithm (up to a constant) is given, on the grid."""
        return self._normalised(np.asarray(log_density(self.grid), float))

    @cached_property
    def rates(self) -> tuple[np.ndarray, np.ndarray]:
        """Rates (n - 1,) of the jumps up and down the grid between neighbours."""
        step = (self.grid[-1] - self.grid[0]) / (len(self.grid) - 1)
        scale, climb = self.temperature / (self.friction * step**2), np.diff(self._energy)
        return scale * np.exp(-climb / 2), scale * np.exp(climb / 2)

    @property
    def spectral_gap(self) -> float:
        """The slowest rate of relaxation: for two basins, the sum of the rates of escape from either."""
        return float(self._spectrum[0][1])

    def after(self, time: float, start: ArrayLike) -> np.ndarray:
        """The distribution ``time`` after ``start``."""
        rates, modes = self._spectrum
        root = np.sqrt(self.equilibrium)
        start = distribution("start", start, len(root))
        decay = np.exp(-rates * float(_checks.nonnegative("time", time)))
        law = root * (modes @ (decay * (modes.T @ (start / root))))
        return np.maximum(law, 0) / np.maximum(law, 0).sum()

    def divergence(self, law: ArrayLike) -> float:
        """D(law || equilibrium) in nats."""
        return relative_entropy(law, self.equilibrium)

    def entropy_production(self, law: ArrayLike) -> float:
        """Rate in nats per unit time: -dD/dt, never negative."""
        law = distribution("law", law, len(self.grid))
        up, down = self.rates
        there, back = law[:-1] * up, law[1:] * down
        seen = (there > 0) & (back > 0)
        return float(np.sum((there - back)[seen] * np.log(there[seen] / back[seen])))

    def passage_time(self, start: float, target: float) -> float:
        """Mean time from the grid point nearest ``start`` to that nearest ``target``: of an escape.

        `heatbath.theory.escape` has the same by quadrature, and Kramers' approximation of high barriers.
        """
        first, last = (int(np.argmin(np.abs(self.grid - x))) for x in (start, target))
        up, down = self.rates
        if last < first:  # mirrored, so that the target is always above
            first, last = len(self.grid) - 1 - first, len(self.grid) - 1 - last
            up, down = down[::-1], up[::-1]
        if first == last:
            return 0.0
        up, down = up[:last], down[: last - 1]
        banded = np.zeros((3, last))
        banded[0, 1:] = -up[:-1]
        banded[1] = up + np.append(0.0, down)
        banded[2, :-1] = -down
        return float(solve_banded((1, 1), banded, np.ones(last))[first])

    @cached_property
    def _energy(self) -> np.ndarray:
        return np.asarray(self.potential(self.grid), float) / self.temperature

    def _normalised(self, log_weights: np.ndarray) -> np.ndarray:
        weights = np.exp(log_weights - log_weights.max())
        return weights / weights.sum()

    @cached_property
    def _spectrum(self) -> tuple[np.ndarray, np.ndarray]:
        """Rates (n,), rising from 0, and the modes of the symmetrised generator, the columns of (n, n)."""
        up, down = self.rates
        diagonal = np.append(up, 0.0) + np.append(0.0, down)
        rates, modes = eigh_tridiagonal(diagonal, -np.sqrt(up * down))
        return np.maximum(rates, 0.0), modes
