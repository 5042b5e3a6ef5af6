"""A driven harmonic trap: runs under the program's own dynamics, and their exact work statistics."""

from typing import NamedTuple

import numpy as np

from heatbath.core import Control, Dynamics, Ledger, Linear, Reversed, simulate
from heatbath.estimate import Estimate
from heatbath.papers.replicas import mean
from heatbath.papers.reproduction import Job
from heatbath.systems import HarmonicTrap
from heatbath.theory import driven_trap
from heatbath.theory.driven_trap import DrivenWork, Kernel


class Trap(NamedTuple):
    """Stiffness and centre move linearly, in ``moves`` jumps, from their first to their second value."""

    stiffness: tuple[float, float]
    centre: tuple[float, float]
    temperature: float
    moves: int

    @property
    def free_energy(self) -> float:
        """Its difference, end less start, in kT."""
        return float(np.log(self.stiffness[1] / self.stiffness[0]) / 2)

    def run(self, job: Job, dynamics: Dynamics, replicas: int, part: int, *, reverse: bool = False) -> Ledger:
        """The books of ``replicas`` runs from equilibrium; ``reverse`` retraces the controls."""
        first, last = (
            Control(self.temperature, {"stiffness": k, "centre": c})
            for k, c in zip(self.stiffness, self.centre, strict=True)
        )
        protocol = Linear(first, last, self.moves)
        run = simulate(
            HarmonicTrap(),
            dynamics.reversed() if reverse else dynamics,
            Reversed(protocol, self.moves) if reverse else protocol,
            key=job.key(part),
            replicas=replicas,
            steps=self.moves + 1,
            observers={},
            progress=job.progress(f"trap (part {part})"),
        )
        assert run.ledger is not None
        return run.ledger

    def exact(self, kernel: Kernel) -> DrivenWork:
        """What the forward runs must give, at the step size they have."""
        stiffnesses = np.linspace(self.stiffness[0], self.stiffness[1], self.moves + 1)
        centres = np.linspace(self.centre[0], self.centre[1], self.moves + 1)
        return driven_trap.work(stiffnesses, centres, kernel, first_step=True)


def reduced_work(books: Ledger) -> np.ndarray:
    """Of each run, in nats."""
    return np.asarray(books.reduced_work)


def variance(values: np.ndarray) -> Estimate:
    """Of independent values; its bias of order 1/n is small against the error."""
    return mean((values - values.mean()) ** 2)
