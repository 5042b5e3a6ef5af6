"""What a report tells, and a part of it."""

from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure

from heatbath.learning.diagnose import Diagnosis
from heatbath.learning.draws import Draws
from heatbath.report.records import Phase


@dataclass(frozen=True)
class Section:
    """``expect``: one sentence, how the figure should look; ``found``: what was measured, and how."""

    name: str
    title: str
    expect: str
    found: str
    figure: Figure


@dataclass(frozen=True)
class Story:
    """All that the figures show: ``phases``, ``draws``, and the table, ``inputs`` and ``targets`` (n, ...)
    with the ``names`` of the targets and the ``input_names``; ``shape`` of the inputs that are images, and
    ``outliers`` (m, features), as of a `Problem`. ``minibatches``: whether the dynamics took those."""

    phases: list[Phase]
    draws: Draws
    diagnosis: Diagnosis
    names: list[str]
    input_names: list[str]
    inputs: np.ndarray
    targets: np.ndarray
    shape: tuple[int, ...] = ()
    outliers: np.ndarray | None = None
    minibatches: bool = False
