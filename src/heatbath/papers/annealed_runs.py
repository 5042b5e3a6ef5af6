"""Annealing a posterior by its coupling to the data: what the papers on annealed importance sampling run."""

from typing import Any

import jax
import numpy as np

from heatbath.core import Control, Piecewise, Run, simulate
from heatbath.dynamics import HMC
from heatbath.papers.reproduction import Job
from heatbath.systems import Posterior


def powers(moves: int, power: float = 4.0) -> np.ndarray:
    """Couplings (k/moves)^power, k from 0 to ``moves``."""
    return np.linspace(0, 1, moves + 1) ** power


def annealed(
    job: Job, part: int, posterior: Posterior, couplings: np.ndarray, dynamics: HMC, start: Any
) -> Run:
    """From replicas in equilibrium at the first coupling through all the others, one step at each."""
    controls = [Control(1.0, {"likelihood": float(b)}) for b in couplings]
    return simulate(
        posterior,
        dynamics,
        Piecewise(controls, range(len(couplings))),
        key=job.key(part),
        replicas=len(jax.tree.leaves(start)[0]),
        steps=len(couplings),
        positions=start,
        progress=job.progress(f"annealing in {len(couplings) - 1} moves"),
    )


def reduced_work(run: Run) -> np.ndarray:
    """In nats, of each replica: minus the log weight."""
    assert run.ledger is not None
    return np.where(run.alive, np.asarray(run.ledger.reduced_work), np.inf)
