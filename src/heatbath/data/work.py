"""Work values from CSV files, the alchemical windows that are shipped, and the hairpin that is not."""

import io
import os
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Literal

import numpy as np

from heatbath.data.sets import FOLDER
from heatbath.data.table import is_number, no_column, read_header, read_table, refused
from heatbath.data.text import listed
from heatbath.errors import Refused

HAIRPIN_FILE = "work/dna_hairpin_cd4_work.csv"


@dataclass(frozen=True, eq=False)
class AlchemicalWindows:
    """Equilibrium samples of K states along a coupling, each sample's energy known in all of them.

    ``du`` (N, K): reduced energy (kT) of each sample in each state, less that in the state it was drawn from;
    ``state`` (N,): that state; ``lambdas`` (K,): the couplings; ``counts`` (K,): samples of each state.
    """

    du: np.ndarray
    state: np.ndarray
    lambdas: np.ndarray
    counts: np.ndarray

    def work(self, start: int, end: int) -> np.ndarray:
        """Work of an instantaneous switch from state ``start`` to ``end``, kT, one value a sample of
        ``start``."""
        return self.du[self.state == start, end]


def benzene(leg: Literal["coulomb", "vdw"]) -> AlchemicalWindows:
    """Benzene in water: its charges ("coulomb", 5 states) or its van der Waals forces ("vdw", 16) are
    switched off; 4,001 samples a state, at 300 K. Values reach 1e23. CC0, source in files/benzene.md."""
    data = (resources.files("heatbath.data") / "files" / f"benzene_{leg}.npz").read_bytes()
    with np.load(io.BytesIO(data)) as arrays:
        return AlchemicalWindows(
            arrays["du_kT"].astype(np.float64), arrays["state"], arrays["lambdas"][:, 0], arrays["N_k"]
        )


def hairpin() -> tuple[np.ndarray, np.ndarray]:
    """A DNA hairpin pulled with optical tweezers: work done on it in 96 unfoldings and 96 refoldings, kT.

    J. Gieseler et al., Adv. Opt. Photon. 13, 74 (2021). Not shipped: read from the folder that the variable
    HEATBATH_DATA names. Raises `Refused`, with the remedy, where it is not there.
    """
    folder = os.environ.get(FOLDER, "")
    if not folder:
        raise Refused(f"the hairpin is not shipped: set {FOLDER} to a folder that holds {HAIRPIN_FILE}")
    table = read_table(Path(folder) / HAIRPIN_FILE)
    # The file integrates both along the stretching direction.
    return table.column("w_unfold_kT"), -table.column("w_refold_kT")


def read_work(path: str | os.PathLike[str], column: str = "") -> np.ndarray:
    """Read work values: one column of a CSV file with a header (the others may hold anything), or a file that
    is one column of numbers without a header.

    ``column`` may be left out where there is one only. Raises `Refused` as `read_table` does, and where the
    column is not named or not there.
    """
    path = os.fspath(path)
    names = read_header(path)
    if len(names) == 1 and is_number(names[0]) and not column:
        return read_table(path, header=["work"]).values[:, 0]
    if not column and len(names) > 1 and not all(map(is_number, names)):
        raise refused(path, f"which --column? the columns are {listed(names[:5], 24)}", 1)
    if column and column not in names:
        raise no_column(path, tuple(names), column)
    return read_table(path, ignore=[name for name in names if column and name != column]).values[:, 0]


def read_cycles(path: str | os.PathLike[str], first: str, second: str) -> tuple[np.ndarray, np.ndarray]:
    """Two columns of one file, as `read_work` reads each."""
    path = os.fspath(path)
    names = read_header(path)
    for column in (first, second):
        if column not in names:
            raise no_column(path, tuple(names), column)
    table = read_table(path, ignore=[name for name in names if name not in (first, second)])
    return table.column(first), table.column(second)
