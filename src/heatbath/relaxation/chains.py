"""Markov chains of a few states: how far from equilibrium, and what the way there produces. All exact."""

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from heatbath.errors import Refused
from heatbath.theory import _checks

ROUNDING = 1e-9


def relative_entropy(p: ArrayLike, q: ArrayLike) -> float:
    """D(p || q) = sum p ln(p/q) in nats of two distributions (n,); infinite where q is 0 and p is not."""
    p, q = distribution("p", p), distribution("q", q)
    if p.shape != q.shape:
        raise Refused(f"p and q are distributions over {len(p)} and {len(q)} states: give the same states")
    seen = p > 0
    with np.errstate(divide="ignore"):
        return float(p[seen] @ np.log(p[seen] / q[seen]))


class Production(NamedTuple):
    """Entropy production in nats: total = excess + housekeeping, each at least 0 on average."""

    total: float
    excess: float
    housekeeping: float


@dataclass(frozen=True)
class MarkovChain:
    """A chain with ``transition`` P (n, n), rows that sum to 1, in which every state leads to every other."""

    transition: np.ndarray

    def __post_init__(self):
        matrix = _checks.square("transition", self.transition)
        if matrix.min() < 0 or np.abs(matrix.sum(axis=1) - 1).max() > ROUNDING:
            raise Refused("transition must hold probabilities, each row with the sum 1")
        object.__setattr__(self, "transition", matrix)

    @cached_property
    def stationary(self) -> np.ndarray:
        """The law pi (n,) with pi P = pi. Raises `Refused` where not every state leads to every other."""
        return stationary_law(self.transition)

    @property
    def imbalance(self) -> float:
        """Largest |pi_i P_ij - pi_j P_ji|: 0 with detailed balance."""
        flow = self.stationary[:, None] * self.transition
        return float(np.abs(flow - flow.T).max())

    @property
    def spectral_gap(self) -> float:
        """1 less the second largest |eigenvalue|: by so much a deviation shrinks in a step, in the end."""
        sizes = np.sort(np.abs(np.linalg.eigvals(self.transition)))
        return float(1 - sizes[-2]) if len(sizes) > 1 else 1.0

    def laws(self, start: ArrayLike, steps: int) -> np.ndarray:
        """The distributions after 0 ... ``steps`` steps, (steps + 1, n)."""
        laws = [distribution("start", start, len(self.transition))]
        for _ in range(_checks.count("steps", steps, 0)):
            laws.append(laws[-1] @ self.transition)
        return np.array(laws)

    def divergences(self, start: ArrayLike, steps: int) -> np.ndarray:
        """D(p_n || pi) in nats after n = 0 ... ``steps`` steps; it never rises (H-theorem)."""
        rest = self.stationary
        return np.array([relative_entropy(law, rest) for law in self.laws(start, steps)])

    def entropy_production(self, start: ArrayLike, steps: int = 1) -> Production:
        """Mean entropy production of the first ``steps`` steps, for states that are even under time reversal.

        Excess: the fall of D(p_n || pi). Housekeeping: what keeps the stationary currents going; 0 with
        detailed balance (Esposito and Van den Broeck 2010). Infinite where a step has no reverse.
        """
        total = np.zeros(3)
        for law in self.laws(start, steps)[:-1]:
            total += [_mean(law[:, None] * self.transition, s) for s in self._increments(law)]
        return Production(*total.tolist())

    def fluctuation_averages(self, start: ArrayLike, steps: int = 1) -> Production:
        """The averages of exp(-s) over all paths of ``steps`` steps, for s the total, the excess and the
        housekeeping part of a path: each is 1 (integral fluctuation theorems).

        Below 1 for the total where states have no probability at the start, or a step has no reverse.
        """
        ahead = np.ones((3, len(self.transition)))
        for law in self.laws(start, steps)[:-1][::-1]:
            weights = [self.transition * np.exp(-s) for s in self._increments(law)]
            ahead = np.array([w @ a for w, a in zip(weights, ahead, strict=True)])
        start = distribution("start", start, len(self.transition))
        return Production(*(ahead @ start).tolist())

    def _increments(self, law: np.ndarray) -> list[np.ndarray]:
        """Of a step x -> y from ``law``: total, excess and housekeeping entropy production, (n, n) each; 0
        where the step does not happen."""
        rest, step = self.stationary, self.transition
        happens = (law[:, None] > 0) & (step > 0)
        with np.errstate(divide="ignore", invalid="ignore"):
            system = np.log(law)[:, None] - np.log(law @ step)
            resting = np.log(rest)[:, None] - np.log(rest)
            medium = np.log(step) - np.log(step.T)
            parts = [system + medium, system - resting, resting + medium]
        return [np.where(happens, part, 0.0) for part in parts]


def stationary_law(rates: np.ndarray) -> np.ndarray:
    """The stationary law (n,) of jumps i -> j at ``rates`` (n, n) (or probabilities; the diagonal does not
    count), to full relative precision however small (Grassmann, Taksar and Heyman 1985)."""
    rates = rates.copy()
    for last in range(len(rates) - 1, 0, -1):  # take the last state out, its visits count as jumps
        away = rates[last, :last].sum()
        if not away > 0:
            raise Refused("no unique stationary law: not every state leads to every other")
        rates[:last, last] /= away
        rates[:last, :last] += np.outer(rates[:last, last], rates[last, :last])
    law = np.ones(len(rates))
    for k in range(1, len(rates)):
        law[k] = law[:k] @ rates[:k, k]
        law[: k + 1] /= law[: k + 1].max()  # neither over- nor underflow
    if not law.min() >= 0 or not np.isfinite(law).all():
        raise Refused("no stationary law: the rates must be finite and not negative")
    return law / law.sum()


def _mean(weights: np.ndarray, values: np.ndarray) -> float:
    return float(np.sum(weights[weights > 0] * values[weights > 0]))


def distribution(name: str, value: ArrayLike, size: int | None = None) -> np.ndarray:
    """Probabilities (n,). Raises `Refused` where one is negative or their sum is not 1."""
    array = _checks.vector(name, value, size)
    if array.min(initial=0) < 0 or abs(array.sum() - 1) > ROUNDING:
        found = f"{array.min(initial=0):.3g}" if array.min(initial=0) < 0 else f"the sum {array.sum():.9g}"
        raise Refused(f"{name} must hold probabilities with the sum 1, got {found}")
    return array / array.sum()
