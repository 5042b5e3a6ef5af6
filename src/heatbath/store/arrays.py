"""Named arrays in one npz file: same arrays, same bytes; read back without pickle, sizes checked first."""

import difflib
import io
import math
import re
import struct
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from heatbath.errors import Refused, Stopped
from heatbath.store.files import LARGEST, open_plain, show

_KINDS = "biufcUS"
_HEADER = re.compile(
    rf"\{{'descr': '([<>|][{_KINDS}][0-9]{{1,9}})', 'fortran_order': False, 'shape': \(([0-9, ]*)\), \}} *\n"
)


def pack(arrays: Mapping[str, np.ndarray]) -> memoryview:
    """The bytes of an uncompressed npz file: members sorted by name, C order, fixed dates.

    Arrays of any shape hold booleans, numbers or fixed-width texts. Raises Refused for other types (objects,
    records, bfloat16), for names with control characters and for more than 16 GiB.
    """
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(arrays):
            if not name or len(name) > 1000 or not name.isprintable():
                raise Refused(f"array name {name!a:.80} cannot be stored: use printable characters")
            array = np.asarray(arrays[name])
            if array.dtype.kind not in _KINDS or array.dtype.itemsize == 0:
                raise Refused(
                    f"array {name:.80} has type {array.dtype!s:.60}, which a run cannot store: "
                    "convert it to a plain numeric type first"
                )
            if buffer.tell() + array.nbytes > LARGEST:
                raise Refused(
                    f"array {name:.80} makes its block exceed {LARGEST >> 30} GiB: store less often or less"
                )
            member = zipfile.ZipInfo(name + ".npy", date_time=(1980, 1, 1, 0, 0, 0))
            with archive.open(member, "w", force_zip64=True) as file:
                np.lib.format.write_array(
                    file, np.asarray(array, order="C"), version=(1, 0), allow_pickle=False
                )
    return buffer.getbuffer()


def load(path: Path, names: Sequence[str] | None = None) -> dict[str, np.ndarray]:
    """The arrays of an npz file that `pack` wrote, or only those called `names`, in that order.

    Raises Refused for a name that is not there, and Stopped for a file that is missing, damaged or not ours:
    compressed, with object arrays, or with sizes that do not add up to the file's.
    """
    try:
        with open_plain(path) as file, zipfile.ZipFile(file) as archive:
            members = _members(archive, file.seek(0, io.SEEK_END))
            wanted = list(members) if names is None else names
            for name in wanted:
                if name not in members:
                    raise Refused(_unknown(name, list(members), path))
            return {name: _array(archive, members[name]) for name in wanted}
    except (
        OSError,
        EOFError,
        ValueError,
        TypeError,
        RuntimeError,
        struct.error,
        zipfile.BadZipFile,
    ) as error:
        raise Stopped(
            f"{show(path)} is missing or damaged ({type(error).__name__}: {str(error)!a:.60}); "
            "put back a copy of it, or run again with another --out"
        ) from error


def _unknown(name: str, known: list[str], path: Path) -> str:
    near = difflib.get_close_matches(name, known, 1) or sorted(known)[:1]
    hint = f"did you mean {near[0]:.60}?" if near else "it holds no arrays"
    return f"no array {name!a:.60} in {show(path)}: {hint}"


def _members(archive: zipfile.ZipFile, size: int) -> dict[str, zipfile.ZipInfo]:
    members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
    infos = members.values()
    if len(members) != len(archive.infolist()) or not all(info.filename.endswith(".npy") for info in infos):
        raise ValueError("names are doubled or strange")
    if any(info.compress_type != zipfile.ZIP_STORED or info.flag_bits & 1 for info in infos):
        raise ValueError("compressed or encrypted")
    if any(info.file_size != info.compress_size for info in infos) or sum(i.file_size for i in infos) > size:
        raise ValueError("sizes exceed the file's")
    return members


def _array(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> np.ndarray:
    with archive.open(member) as file:
        start = file.read(10)
        if start[:8] != b"\x93NUMPY\x01\x00" or len(start) < 10:
            raise ValueError("not an npy member")
        length = int.from_bytes(start[8:], "little")
        header = _HEADER.fullmatch(file.read(length).decode("latin-1"))
    if header is None:
        raise ValueError("array type not allowed")
    shape = [int(n) for n in header[2].replace(",", " ").split()]
    itemsize = np.dtype(header[1]).itemsize
    if itemsize == 0 or math.prod(shape) * itemsize != member.file_size - 10 - length:
        raise ValueError("shape does not fit the size")
    with archive.open(member) as file:
        return np.lib.format.read_array(file, allow_pickle=False)
