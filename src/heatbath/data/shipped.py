"""Data sets that come with the package, and the recipe that makes more of the same."""

import dataclasses
import math
import os
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Literal

import numpy as np

from heatbath.data.table import Table, missing_file, read_table
from heatbath.data.text import listed, nearest, quoted
from heatbath.errors import Refused


@dataclass(frozen=True)
class DataSet:
    """A shipped data set: ``train`` and ``test`` are file names in the folder ``files`` of this package."""

    name: str
    title: str
    train: str
    test: str
    targets: tuple[str, ...]
    source: str
    licence: str

    def table(self, part: Literal["train", "test"] = "train") -> Table:
        """The training or test rows. The table's ``path`` is the data set's name, alike on every machine."""
        file = resources.files("heatbath.data") / "files" / (self.train if part == "train" else self.test)
        with resources.as_file(file) as path:
            return dataclasses.replace(read_table(path), path=self.name)


SHIPPED: dict[str, DataSet] = {
    "robot-arm": DataSet(
        name="robot-arm",
        title="MacKay's robot arm: two joint angles to the position of the hand",
        train="robot_arm.csv",
        test="robot_arm_test.csv",
        targets=("y1", "y2"),
        source="D. J. C. MacKay (1991, 1992), by way of github.com/jeremyfix/easykf",
        licence="BSD 3-clause, copyright 2011-2012 Jeremy Fix; text in files/robot_arm.md",
    ),
}


def find(name_or_path: str) -> DataSet | Path:
    """The shipped data set of this name, else the path of an existing file.

    ``robot-arm`` is the shipped set, ``./robot-arm`` a file of that name. Raises ``Refused`` with the
    nearest names if it is neither.
    """
    if name_or_path in SHIPPED:
        return SHIPPED[name_or_path]
    if name_or_path and os.path.exists(name_or_path):
        return Path(name_or_path)
    near = nearest(name_or_path, SHIPPED)
    advice = f"did you mean {listed(near)}?" if near else f"shipped: {listed(SHIPPED)}"
    raise Refused(
        f"{quoted(name_or_path, 90)}: {missing_file(name_or_path)}; not a shipped data set; {advice}"
    )


def robot_arm(n: int, seed: int, noise: float = 0.05) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draw new points of MacKay's robot arm.

    x1 is uniform on [-1.932, -0.453] and [0.453, 1.932], x2 on [0.534, 3.142];
    y1 = 2 cos x1 + 1.3 cos(x1 + x2), y2 = 2 sin x1 + 1.3 sin(x1 + x2), plus Gaussian noise of
    standard deviation ``noise`` on each.

    Returns:
        inputs, targets and targets without noise, each (n, 2).

    Raises:
        Refused: ``n`` below 1, ``seed`` outside 0 to 2^32 - 1, ``noise`` negative or not finite.
    """
    if n < 1:
        raise Refused(f"robot_arm: n is {n}; ask for at least 1 point")
    if not 0 <= seed < 2**32:
        raise Refused(f"robot_arm: seed is {seed}; give one from 0 to 4294967295")
    if not (math.isfinite(noise) and noise >= 0):
        raise Refused(f"robot_arm: noise is {noise}; give a finite number, zero or above")
    rng = np.random.default_rng(seed)
    x1 = rng.choice([-1.0, 1.0], n) * rng.uniform(0.453, 1.932, n)
    x2 = rng.uniform(0.534, 3.142, n)
    exact = np.stack(
        [2.0 * np.cos(x1) + 1.3 * np.cos(x1 + x2), 2.0 * np.sin(x1) + 1.3 * np.sin(x1 + x2)], axis=1
    )
    return np.stack([x1, x2], axis=1), exact + noise * rng.standard_normal((n, 2)), exact
