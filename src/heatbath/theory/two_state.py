"""Two states of energies 0 and e(t): the whole distribution of work, and the cost of erasing a bit."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.integrate import solve_ivp
from scipy.special import entr, expit, rel_entr

from heatbath.errors import Refused
from heatbath.theory import _checks

MOST_ATOMS = 1_000_000


class WorkDistribution(NamedTuple):
    """Values of the work, ascending, and their probabilities; both (atoms,)."""

    work: np.ndarray
    probability: np.ndarray

    @property
    def mean(self) -> float:
        return float(self.probability @ self.work)

    @property
    def variance(self) -> float:
        return float(self.probability @ (self.work - self.mean) ** 2)

    def free_energy(self, temperature: float) -> float:
        """-T ln < exp(-W/T) >, summed over the atoms."""
        least = self.work.min()
        average = self.probability @ np.exp(-(self.work - least) / temperature)
        return float(least - temperature * np.log(average))


class Erasure(NamedTuple):
    """Mean work of setting a bit, the probability of a wrong bit, Landauer's bound T (ln 2 - S_b(error))."""

    work: float
    error: float
    bound: float


def free_energy(energy: float, new_energy: float, temperature: float) -> float:
    """-T ln [(1 + exp(-e1/T)) / (1 + exp(-e0/T))]."""
    temperature = float(_checks.positive("temperature", temperature))
    return float(
        temperature * (np.logaddexp(0, -energy / temperature) - np.logaddexp(0, -new_energy / temperature))
    )


def work_distribution(energies: ArrayLike, update_probability: float, temperature: float) -> WorkDistribution:
    """Starts in equilibrium at the first energy; after every jump one heat-bath update with a probability.

    Paths of equal work (to 12 digits of the largest jump) are one atom: their number grows as N for equal
    jumps, as 2^N for jumps without a common measure (``Refused`` above a million). The reverse process is
    the reversed list of energies.
    """
    levels = _checks.vector("energies", energies)
    temperature = float(_checks.positive("temperature", temperature))
    if not 0 <= update_probability <= 1:
        raise Refused(f"update_probability must lie between 0 and 1, got {update_probability}")
    upper = expit(-levels / temperature)
    work, lows, highs = np.zeros(1), np.array([1 - upper[0]]), np.array([upper[0]])
    unit = 1e-12 * max(np.abs(np.diff(levels)).max(initial=0.0), 1e-300)
    for jump, occupied in zip(np.diff(levels), upper[1:], strict=True):
        values = np.concatenate([work, work + jump])
        _, first, place = np.unique(np.round(values / unit), return_index=True, return_inverse=True)
        if len(first) > MOST_ATOMS:
            raise Refused(f"more than {MOST_ATOMS} values of the work; give jumps of equal size")
        work = values[first]
        low = np.bincount(place[: len(lows)], lows, len(work))
        high = np.bincount(place[len(lows) :], highs, len(work))
        moved = update_probability * (low + high)
        lows = (1 - update_probability) * low + moved * (1 - occupied)
        highs = (1 - update_probability) * high + moved * occupied
    return WorkDistribution(work, lows + highs)


def arrow_of_time(forward: WorkDistribution, reverse: WorkDistribution) -> float:
    """D(P_F(W) || P_R(-W)) in nats: at most the dissipated work over T.

    Equal to it where the work keeps all of the path's irreversibility, as in `work_distribution`. Kawai,
    Parrondo and Van den Broeck, Phys. Rev. Lett. 98, 080602 (2007).
    """
    return float(rel_entr(forward.probability, reverse.probability[::-1]).sum())


def erasure(height: float, time: float, temperature: float = 1.0) -> Erasure:
    """One energy rises linearly from 0 to ``height`` in ``time``, then drops to 0 at once.

    Heat-bath rates, the sum of both is 1. Integrates dp/dt = q(e) - p and dW/dt = p de/dt; error 1e-10.
    """
    height, time = float(_checks.positive("height", height)), float(_checks.positive("time", time))
    temperature = float(_checks.positive("temperature", temperature))

    def flow(t: float, state: np.ndarray) -> list[float]:
        return [expit(-height * t / (time * temperature)) - state[0], height / time * state[0]]

    moved = solve_ivp(flow, (0, time), [0.5, 0.0], method="DOP853", rtol=1e-12, atol=1e-14).y[:, -1]
    error, work = float(moved[0]), float(moved[1] - height * moved[0])
    bound = float(temperature * (np.log(2) - entr(error) - entr(1 - error)))
    return Erasure(work, error, bound)
