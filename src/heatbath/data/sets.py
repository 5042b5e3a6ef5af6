"""Data sets by name: shipped with the package, of other packages, or in the folder HEATBATH_DATA names."""

import bz2
import dataclasses
import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Literal

import numpy as np

from heatbath.data.images import TARGET
from heatbath.data.table import Table, label_of, missing_file, read_table, table_of
from heatbath.data.text import listed, nearest, quoted
from heatbath.errors import Refused

Part = Literal["train", "test"]
FOLDER = "HEATBATH_DATA"
MNIST_FILE = "mnist/mnist_8k.npz"
MNIST_SHA256 = "e939e383ab171d27a71f75cae21a4d3ba1082b9da0257c36c91776f340e75b67"
A9A_FEATURES = 123


@dataclass(frozen=True)
class DataSet:
    """A data set with a name. ``table(part)``: its training or test rows; the table's ``path`` is the name,
    alike on every machine. It raises `Refused`, with the remedy, where the data are not on this machine."""

    name: str
    title: str
    targets: tuple[str, ...]
    source: str
    licence: str
    read: Callable[[Part], Table]

    def table(self, part: Part = "train") -> Table:
        return dataclasses.replace(self.read(part), path=self.name)


@dataclass(frozen=True, eq=False)
class Arrays:
    """A data set as arrays: ``inputs`` (n, ...) in the set's own units, images in their shape; ``targets``
    (n,), the numbers of the classes in the order of ``classes``, or (n, outputs) where there are none.
    ``name`` says which data they are, ``title`` what."""

    name: str
    title: str
    inputs: np.ndarray
    targets: np.ndarray
    test_inputs: np.ndarray
    test_targets: np.ndarray
    classes: tuple[str, ...]


def dataset(*names: str) -> Arrays:
    """The first of the data sets ``names`` that this machine has: ``dataset("mnist-8k", "digits")``.

    Raises `Refused` for an unknown name, with the nearest, and with the remedy where none of them is here.
    """
    refusals = []
    for name in names:
        if name not in SETS:
            raise Refused(f"no data set {quoted(name)}; {_known(name)}")
        try:
            return _arrays(SETS[name])
        except Refused as refusal:
            refusals.append(str(refusal))
    raise Refused("; ".join(refusals) or "which data set? give a name")


def find(name_or_path: str) -> DataSet | Path:
    """The data set of this name, else the path of an existing file.

    ``robot-arm`` is the shipped set, ``./robot-arm`` a file of that name. Raises ``Refused`` with the
    nearest names if it is neither.
    """
    if name_or_path in SETS:
        return SETS[name_or_path]
    if name_or_path and os.path.exists(name_or_path):
        return Path(name_or_path)
    complaint = f"{missing_file(name_or_path)}; not a data set; {_known(name_or_path)}"
    raise Refused(f"{quoted(name_or_path, 90)}: {complaint}")


def _known(name: str) -> str:
    near = nearest(name, SETS)
    return f"did you mean {listed(near)}?" if near else f"data sets: {listed(SETS)}"


def classes_of(labels: tuple[str, ...]) -> tuple[str, ...]:
    """The different labels: numbers in their order, before texts in theirs."""

    def order(label: str) -> tuple[bool, float, str]:
        try:
            return False, float(label), label
        except ValueError:
            return True, 0.0, label

    return tuple(sorted(set(labels), key=order))


def indices_of(labels: tuple[str, ...], classes: tuple[str, ...]) -> np.ndarray:
    """The place of each label in ``classes``, (n,); -1 where it is none of them."""
    places = {name: place for place, name in enumerate(classes)}
    return np.array([places.get(label, -1) for label in labels])


def _arrays(data: DataSet) -> Arrays:
    train, test = data.table("train"), data.table("test")
    classes: tuple[str, ...] = ()
    if train.labels:
        classes = classes_of(train.labels[TARGET])

    def split(table: Table) -> tuple[np.ndarray, np.ndarray]:
        names = [name for name in table.columns if name not in data.targets]
        inputs = table.select(names).reshape(len(table.values), *(table.shape or [len(names)]))
        labels = table.labels.get(TARGET)
        return inputs, indices_of(labels, classes) if labels else table.select(data.targets)

    return Arrays(data.name, data.title, *split(train), *split(test), classes)


def _shipped(name: str) -> bytes:
    return (resources.files("heatbath.data") / "files" / name).read_bytes()


def _robot_arm(part: Part) -> Table:
    name = "robot_arm.csv" if part == "train" else "robot_arm_test.csv"
    with resources.as_file(resources.files("heatbath.data") / "files" / name) as path:
        return read_table(path)


def _a9a(part: Part) -> Table:
    lines = bz2.decompress(_shipped("a9a.bz2" if part == "train" else "a9a.t.bz2")).decode().splitlines()
    labels = []
    values = np.zeros((len(lines), A9A_FEATURES))
    for row, line in zip(values, lines, strict=True):
        label, *pairs = line.split()
        labels.append(label_of(label))
        row[[int(pair.partition(":")[0]) - 1 for pair in pairs]] = 1
    columns = tuple(f"x{i}" for i in range(1, A9A_FEATURES + 1))
    return table_of(columns, values, "a9a", {TARGET: tuple(labels)})


def _digits(part: Part) -> Table:
    """Every fifth of scikit-learn's digits is a test row."""
    try:
        from sklearn.datasets import load_digits
    except ImportError:
        raise Refused("the digits come with scikit-learn: pip install scikit-learn") from None
    pixels, labels = load_digits(return_X_y=True)
    test = np.arange(len(pixels)) % 5 == 4
    chosen = test if part == "test" else ~test
    return _images("digits", pixels.reshape(-1, 8, 8)[chosen], labels[chosen])


def _mnist(part: Part) -> Table:
    folder = os.environ.get(FOLDER)
    if not folder:
        raise Refused(
            f"mnist-8k does not come with heatbath: set {FOLDER} to a folder that holds {MNIST_FILE}, "
            "or take digits"
        )
    path = Path(folder) / MNIST_FILE
    try:
        with open(path, "rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        where = quoted(str(path), 120)
        raise Refused(f"mnist-8k: {where}: {error.strerror}; set {FOLDER} to the folder above it") from None
    if found != MNIST_SHA256:
        raise Refused(f"mnist-8k: {quoted(str(path), 120)} is another file (sha256 {found[:12]}...)")
    with np.load(path) as arrays:
        return _images("mnist-8k", arrays[f"X_{part}"], arrays[f"y_{part}"])


def _images(name: str, images: np.ndarray, labels: np.ndarray) -> Table:
    columns = tuple(f"x{i}" for i in range(images[0].size))
    values = images.reshape(len(images), -1).astype(np.float64)
    found = {TARGET: tuple(str(label) for label in labels.tolist())}
    return table_of(columns, values, name, found, images.shape[1:])


SHIPPED: dict[str, DataSet] = {
    "robot-arm": DataSet(
        name="robot-arm",
        title="MacKay's robot arm: two joint angles to the position of the hand",
        targets=("y1", "y2"),
        source="D. J. C. MacKay (1991, 1992), by way of github.com/jeremyfix/easykf",
        licence="BSD 3-clause, copyright 2011-2012 Jeremy Fix; text in files/robot_arm.md",
        read=_robot_arm,
    ),
    "a9a": DataSet(
        name="a9a",
        title="Adult: does a person of the 1994 census earn more than 50,000 dollars? 123 binary features",
        targets=(TARGET,),
        source="B. Becker and R. Kohavi (UCI, 1996), made binary by J. Platt (1998) and C.-J. Lin",
        licence="CC BY 4.0; attribution in files/a9a.md",
        read=_a9a,
    ),
}

SETS: dict[str, DataSet] = SHIPPED | {
    "digits": DataSet(
        name="digits",
        title="1,797 handwritten digits of 8 x 8 pixels, of scikit-learn",
        targets=(TARGET,),
        source="E. Alpaydin and C. Kaynak (UCI, 1998), by way of scikit-learn",
        licence="CC BY 4.0",
        read=_digits,
    ),
    "mnist-8k": DataSet(
        name="mnist-8k",
        title="8,000 handwritten digits of 28 x 28 pixels, from the test file of MNIST",
        targets=(TARGET,),
        source="Y. LeCun, C. Cortes and C. Burges",
        licence="CC BY-SA 3.0",
        read=_mnist,
    ),
}
