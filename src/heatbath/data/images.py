"""Images and other arrays from an npz file: inputs ``x``, targets ``y``. No pickles."""

import os
import zipfile
import zlib
from collections.abc import Sequence
from typing import Literal

import numpy as np

from heatbath.data.table import (
    MAX_COLUMNS,
    MAX_NUMBER,
    Table,
    check_file,
    label_complaint,
    label_of,
    refused,
    table_of,
    unreadable,
)
from heatbath.data.text import listed

TARGET = "y"


def read_images(
    path: str | os.PathLike[str],
    part: Literal["train", "test"] = "train",
    *,
    labels: Sequence[str] = (),
) -> Table:
    """Read ``x``, (n, ...), and ``y``, (n,), of an npz file; the test part is ``x_test`` and ``y_test``, or
    ``x`` and ``y`` again where they are missing. Without ``y`` the table has inputs only.

    The columns are x0, x1, ... (an image's rows one after the other) and y, which is read as labels if it is
    among ``labels``.

    Raises:
        Refused: for a file that is missing or no npz, for arrays of objects, of wrong or unequal lengths, of
            more than 10,000 inputs, and for what is no finite number or beyond single precision.
    """
    path = os.fspath(path)
    check_file(path)
    arrays = _read(path)
    known = listed(arrays) if arrays else "nothing"
    if "x" not in arrays:
        raise refused(path, f"no array 'x'; it holds {known}: write it with np.savez(FILE, x=..., y=...)")
    names = ("x_test", "y_test") if part == "test" and "x_test" in arrays else ("x", TARGET)
    inputs, targets = arrays[names[0]], arrays.get(names[1])
    if inputs.ndim < 2 or not inputs.size or inputs.dtype.kind not in "uifb":
        raise refused(
            path,
            f"{names[0]} is {inputs.dtype} of shape {inputs.shape}: numbers of shape (n, ...), n at least 1, "
            "are needed",
        )
    flat = inputs.reshape(len(inputs), -1).astype(np.float64)
    if flat.shape[1] >= MAX_COLUMNS:
        raise refused(path, f"{names[0]} has {flat.shape[1]} numbers a row, the limit is {MAX_COLUMNS - 1}")
    _check_numbers(path, names[0], flat)
    columns = tuple(f"x{i}" for i in range(flat.shape[1]))
    found: dict[str, tuple[str, ...]] = {}
    if targets is not None:
        if targets.shape != (len(flat),) or targets.dtype.kind not in "uifbU":
            raise refused(
                path,
                f"{names[1]} is {targets.dtype} of shape {targets.shape}: one number or text a row of "
                f"{names[0]} is needed, ({len(flat)},)",
            )
        if targets.dtype.kind != "U":
            targets = targets.astype(np.float64)
            _check_numbers(path, names[1], targets[:, None])
        if TARGET in labels:
            found = {TARGET: tuple(_label(str(value), path, names[1]) for value in targets.tolist())}
        elif targets.dtype.kind == "U":
            raise refused(path, f"{names[1]} holds text where numbers should be; --task classification?")
        else:
            columns, flat = (*columns, TARGET), np.column_stack([flat, targets])
    shape = inputs.shape[1:] if inputs.ndim > 2 else ()
    return table_of(columns, flat, path, found, shape)


def _label(text: str, path: str, name: str) -> str:
    if complaint := label_complaint(text):
        raise refused(path, f"{name}: {complaint}")
    return label_of(text)


def _read(path: str) -> dict[str, np.ndarray]:
    if not zipfile.is_zipfile(path):
        raise refused(path, "is no npz file; write it with np.savez(FILE, x=..., y=...)")
    try:
        with np.load(path) as file:
            return {name: file[name] for name in file.files}
    except (OSError, ValueError, KeyError, EOFError, zlib.error, zipfile.BadZipFile) as error:
        if "allow_pickle" in str(error):
            raise refused(path, "holds Python objects: save arrays of numbers or text") from None
        raise unreadable(path, error) from None


def _check_numbers(path: str, name: str, values: np.ndarray) -> None:
    bad = ~(np.abs(values) <= MAX_NUMBER).all(axis=1)
    if bad.any():
        row = int(np.argmax(bad))
        raise refused(path, f"{name}[{row}] has a number that is not finite, or beyond single precision")
