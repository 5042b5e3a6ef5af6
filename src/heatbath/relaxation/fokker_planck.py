"""One-dimensional landscapes on a grid: the spectrum of the Fokker-Planck equation, and the way down."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike
from scipy.linalg import eigh_tridiagonal

from heatbath.errors import Refused
from heatbath.relaxation.chains import distribution, relative_entropy
from heatbath.theory import _checks

STEEPEST = 1_000.0
"""Largest change of U/T between neighbours: the rates are finite."""
CLEAR = 1e-11
"""Smallest eigenvalue, over the largest, that is clear of rounding."""
ITERATIONS = 100


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
        grid = even_grid(self.grid)
        _checks.positive("temperature", self.temperature)
        _checks.positive("friction", self.friction)
        energy = np.asarray(self.potential(grid), float)
        if energy.shape != grid.shape or not np.isfinite(energy).all():
            raise Refused("potential must give one finite number for each point of the grid")
        steepest = np.abs(np.diff(energy)).max() / self.temperature
        if steepest > STEEPEST:
            raise Refused(
                f"the potential changes by {steepest:.3g} T between neighbours on the grid: give a finer or "
                "narrower one"
            )

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
        for x in (start, target):
            if not self.grid[0] <= x <= self.grid[-1]:
                raise Refused(
                    f"{x:g} lies off the grid, which runs from {self.grid[0]:g} to {self.grid[-1]:g}"
                )
        first, last = (int(np.argmin(np.abs(self.grid - x))) for x in (start, target))
        energy = self._energy
        if last < first:  # mirrored, so that the target is always above
            first, last, energy = len(energy) - 1 - first, len(energy) - 1 - last, energy[::-1]
        if first == last:
            return 0.0
        # One over the stationary flux up from each point passed, times the weight that has to pass there:
        # sums of positive numbers, which keep their precision behind any barrier.
        low, climb = energy[:last].min(), (energy[first:last] + energy[first + 1 : last + 1]) / 2
        behind = np.cumsum(np.exp(low - energy[:last]))[first:]
        high = climb.max()
        step = (self.grid[-1] - self.grid[0]) / (len(self.grid) - 1)
        with np.errstate(over="ignore"):
            time = (np.exp(climb - high) @ behind) * np.exp(high - low)
        return float(time * self.friction * step**2 / self.temperature)

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
        # Behind a high barrier the first two come out mixed.
        root = np.sqrt(self.equilibrium)
        across = modes[:, :2] - np.outer(root, root @ modes[:, :2])
        sizes = np.linalg.norm(across, axis=0)
        modes[:, 0], modes[:, 1] = root, (across / sizes)[:, np.argmax(sizes)]
        rates = np.maximum(rates, 0.0)
        if rates[1] <= CLEAR * rates[-1]:
            rates[1] = self._gap_by_fluxes(modes[:, 1] / root)
        rates[0] = 0.0
        return rates, modes

    def _gap_by_fluxes(self, slow: np.ndarray) -> float:
        """Where the eigenvalue drowns in rounding: by inverse iteration in sums of fluxes, from a guess of
        its mode over the square root of equilibrium."""
        rest, up, gap = self.equilibrium, self.rates[0], np.nan
        with np.errstate(all="ignore"):
            for _ in range(ITERATIONS):
                slow = slow - rest @ slow
                slow = slow / np.abs(slow).max()
                flux = rest * slow
                left, right = np.cumsum(flux)[:-1], -np.cumsum(flux[::-1])[::-1][1:]
                through = np.where(np.cumsum(rest)[:-1] < 0.5, left, right)
                after = -np.append(0.0, np.cumsum(through / (rest[:-1] * up)))
                after = after - rest @ after
                gap, slow = (flux @ slow) / (flux @ after), after
        if not gap > 0:
            raise Refused("the barrier is too high for the spectral gap in double precision")
        return float(gap)


def even_grid(grid: ArrayLike) -> np.ndarray:
    """Points (n,) in equal steps, at least 3."""
    grid = _checks.vector("grid", grid)
    steps = np.diff(grid)
    if len(grid) < 3 or not steps.min() > 0 or np.ptp(steps) > 1e-8 * steps.mean():
        raise Refused("grid must have at least 3 points, rising in equal steps (numpy.linspace)")
    return grid
