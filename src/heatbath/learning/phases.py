"""What the two ways of sampling a network share: where the coupling starts and ends, and what is recorded."""

from collections.abc import Mapping

import jax
import numpy as np

from heatbath.core import Control, Snapshot

START_COUPLING = 1e-3
POSTERIOR = Control(1.0, {"likelihood": 1.0})
START = Control(1.0, {"likelihood": START_COUPLING})


def coupling(seen: Snapshot) -> jax.Array:
    """To the data."""
    return seen.control.couplings["likelihood"]


class InMemory:
    """A sink that keeps the records and cannot be resumed. Its blocks have the shapes of stored ones, so what
    follows does not compile again; with a sink, Ctrl-C ends the phase in good order."""

    def __init__(self):
        self._blocks: list[Mapping[str, np.ndarray]] = []

    def restore(self) -> None:
        return None

    def partial_records(self) -> None:
        return None

    def block(self, steps: int, records: Mapping[str, np.ndarray], state: Mapping[str, np.ndarray]) -> None:
        self._blocks.append(records)

    def partial(self, steps: int, records: Mapping[str, np.ndarray], state: Mapping[str, np.ndarray]) -> None:
        pass

    def records(self) -> dict[str, np.ndarray]:
        """All blocks, joined: (saves, replicas, ...)."""
        return {name: np.concatenate([b[name] for b in self._blocks]) for name in self._blocks[0]}
