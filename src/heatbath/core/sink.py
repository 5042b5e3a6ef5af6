"""Where `simulate` hands finished blocks to; `heatbath.store` implements it on disk."""

from collections.abc import Mapping
from typing import Protocol

import numpy as np

Arrays = Mapping[str, np.ndarray]


class Sink(Protocol):
    """Finished blocks go in, the state to go on from comes out."""

    def restore(self) -> tuple[int, Arrays] | None:
        """(steps done, state) to go on from, or None to start afresh."""
        ...

    def partial_records(self) -> Arrays | None:
        """Records of the unfinished block that `restore`'s state belongs to, if it was one."""
        ...

    def block(self, steps: int, records: Arrays, state: Arrays) -> None:
        """A block was finished at ``steps``; records have the saves as leading axis, then replicas."""
        ...

    def partial(self, steps: int, records: Arrays, state: Arrays) -> None:
        """An interrupt came at ``steps``, in the middle of a block."""
        ...
