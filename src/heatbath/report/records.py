"""What the replicas did, read from the run folder: energies, temperatures and books of each phase."""

from dataclasses import dataclass

import numpy as np

from heatbath.learning.settings import Settings
from heatbath.plotting import Trace, replica_mean
from heatbath.store import RunFolder

TITLES = {"anneal": "annealing", "sample": "sampling"}
LEDGER = ("work", "heat", "shadow_work", "energy_change")
STAY = 0.9
WINDOWS = 100


@dataclass(frozen=True)
class Phase:
    """One phase: ``records`` (saves, replicas) at ``steps`` (saves,), counted on from the phase before; only
    saves at which the energy was measured."""

    title: str
    steps: np.ndarray
    records: dict[str, np.ndarray]

    def trace(self, name: str) -> Trace:
        return Trace(self.title, self.steps, self.records[name])

    def in_kt(self, name: str) -> np.ndarray:
        """An entry of the ledger, accumulated, in kT."""
        return self.records[f"ledger/{name}"] / self.records["temperature"]

    @property
    def has_heat(self) -> bool:
        """Whether heat was booked; where the dynamics adapts, it is NaN."""
        return bool(np.isfinite(self.records["ledger/heat"]).any())

    @property
    def thermometer(self) -> bool:
        """Whether the configurational temperature was recorded: minibatches do not tell it."""
        return "thermometer/configurational" in self.records

    @property
    def momenta(self) -> bool:
        """Whether the dynamics has kinetic energy."""
        return bool(self.records["kinetic"].any())

    @property
    def driven_until(self) -> int | None:
        """The last step that changed the coupling to the data; None if it never changed."""
        moved = np.any(np.diff(self.records["thermometer/likelihood"], axis=0) != 0, axis=1)
        return int(self.steps[1:][moved][-1]) if moved.any() else None

    @property
    def heat(self) -> np.ndarray:
        """Accumulated heat in kT; where it was not booked, what work leaves of the energy change: the heat
        of a Metropolised dynamics, heat and shadow work of one with minibatches."""
        return self.in_kt("heat") if self.has_heat else self.in_kt("energy_change") - self.in_kt("work")

    @property
    def residual(self) -> np.ndarray:
        """Of the first law, in kT."""
        parts = [self.in_kt(name) for name in ("work", "heat", "shadow_work")]
        return self.in_kt("energy_change") - sum(parts)

    @property
    def rounding(self) -> np.ndarray:
        """Size (saves,) expected of the residual, in kT: that of the rounding of one float64 sum as large as
        the largest entry so far, times the root of the number of steps."""
        largest = np.nanmax([np.abs(self.in_kt(name)) for name in LEDGER], axis=(0, 2))
        walked = np.sqrt(self.steps - self.steps[0] + 1)
        return np.finfo(float).eps * np.maximum.accumulate(largest) * walked

    @property
    def shadow_per_step(self) -> Trace:
        """Shadow work per step, in kT, averaged over at most 100 stretches of the phase."""
        ends = np.unique(np.linspace(0, len(self.steps) - 1, min(len(self.steps), WINDOWS + 1)).astype(int))
        taken = np.diff(self.steps[ends])[:, None]
        mean = np.diff(self.in_kt("shadow_work")[ends], axis=0) / taken
        return Trace("shadow work", self.steps[ends[1:]], mean)

    @property
    def running_mean(self) -> Trace:
        """Configurational temperature of each replica, averaged since the phase began."""
        values = self.records["thermometer/configurational"]
        mean = np.cumsum(values, axis=0) / np.arange(1, len(values) + 1)[:, None]
        return Trace(f"{self.title}: average since its start", self.steps, mean)


def read_phases(folder: RunFolder, settings: Settings) -> list[Phase]:
    """The phases that have a finished block with an energy in it, in order. Columns beyond the replicas are
    padding."""
    names = ["potential", "kinetic", "temperature", "thermometer/likelihood"]
    names += [] if settings.batch else ["thermometer/configurational"]
    names += [f"ledger/{name}" for name in LEDGER]
    phases, before = [], 0
    for name, title in TITLES.items():
        if folder.entries(name):
            records = {k: v[:, : settings.replicas] for k, v in folder.read(name, names).items()}
            done, saves = folder.steps(name), len(records["potential"])
            steps = before + np.arange(1, saves + 1) * (done // max(saves, 1))
            measured = np.isfinite(records["potential"]).any(axis=1)
            if measured.any():
                kept = {k: v[measured] for k, v in records.items()}
                phases.append(Phase(title, steps[measured], kept))
            before += done
    return phases


def late_band(potential: np.ndarray) -> tuple[float, float]:
    """Mean -+ 2 standard deviations of the replicas' mean energy in the last quarter of ``potential``
    (saves, replicas)."""
    late = replica_mean(potential)[3 * len(potential) // 4 :]
    return float(late.mean() - 2 * late.std()), float(late.mean() + 2 * late.std())


def equilibrium_step(phases: list[Phase], band: tuple[float, float]) -> int | None:
    """The first saved step at which the replicas' mean energy lies in ``band`` and from which on it does so
    at nine of ten saved steps; None if that is in the second half of the last phase, or never."""
    means = np.concatenate([replica_mean(phase.records["potential"]) for phase in phases])
    steps = np.concatenate([phase.steps for phase in phases])
    inside = (means >= band[0]) & (means <= band[1])
    share = np.cumsum(inside[::-1])[::-1] / np.arange(len(means), 0, -1)
    late = len(steps) - (len(phases[-1].steps) + 1) // 2
    found = np.flatnonzero((inside & (share >= STAY))[:late])
    return int(steps[found[0]]) if found.size else None
