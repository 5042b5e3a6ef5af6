"""Arrays in npz files: equal bytes, no pickle, sizes checked before anything is allocated."""

import io
import tracemalloc
import zipfile

import numpy as np
import pytest

from heatbath.errors import HeatbathError, Refused, Stopped
from heatbath.store.arrays import load, pack

ARRAYS = {
    "float/x": np.linspace(0, 1, 12).reshape(3, 4),
    "scalar": np.float32(2.5),
    "empty": np.zeros((0, 3)),
    "bool": np.array([True, False]),
    "complex": np.array([1 + 2j]),
    "big endian": np.arange(3, dtype=">i4"),
    "text": np.array(["a", "bß"]),
    "bytes": np.array([b"xy"]),
    "['θ'].w": np.arange(5, dtype=np.uint8),
}


def archive(**members: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        for name, data in members.items():
            file.writestr(f"{name}.npy", data)
    return buffer.getvalue()


def npy(header: str, data: bytes = b"", version: bytes = b"\x01\x00") -> bytes:
    return b"\x93NUMPY" + version + len(header).to_bytes(2, "little") + header.encode("latin-1") + data


def saved(**arrays: object) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=True, **{name: np.asarray(array) for name, array in arrays.items()})
    return buffer.getvalue()


def test_round_trip_and_numpy_reads_it(tmp_path):
    path = tmp_path / "a.npz"
    path.write_bytes(pack(ARRAYS))
    back = load(path)
    assert list(back) == sorted(ARRAYS)
    with np.load(path) as numpy_back:
        for name, array in ARRAYS.items():
            for other in (back[name], numpy_back[name]):
                assert other.dtype == np.asarray(array).dtype
                np.testing.assert_array_equal(other, array)
    assert list(load(path, ["text", "bool"])) == ["text", "bool"]


def test_bytes_depend_on_the_values_only():
    data = bytes(pack(ARRAYS))
    assert (
        bytes(
            pack(
                {
                    name: np.asfortranarray(ARRAYS[name]).reshape(np.shape(ARRAYS[name]))
                    for name in reversed(ARRAYS)
                }
            )
        )
        == data
    )
    with zipfile.ZipFile(io.BytesIO(data)) as file:
        assert {info.date_time for info in file.infolist()} == {(1980, 1, 1, 0, 0, 0)}
        assert {info.compress_type for info in file.infolist()} == {zipfile.ZIP_STORED}


@pytest.mark.parametrize(
    "array",
    [
        np.array([None]),
        np.array([object()]),
        np.zeros(2, dtype="f8,i4"),
        np.zeros(2, dtype="V2"),
        np.array(["2020"], dtype="M8[D]"),
    ],
)
def test_other_types_are_refused(array):
    with pytest.raises(Refused, match="cannot store"):
        pack({"a": array})


def test_too_much_is_refused_before_it_is_written():
    with pytest.raises(Refused, match="16 GiB"):
        pack({"a": np.broadcast_to(np.float64(0), (1 << 20, 1 << 20))[:0], "b": Huge()})


class Huge:
    """Looks like an array of 8 TiB."""

    def __array__(self, dtype=None, copy=None):
        return np.lib.stride_tricks.as_strided(np.zeros(1), (1 << 40,), (0,))


@pytest.mark.parametrize("name", ["", "a\0b", "a\nb", "x" * 1001])
def test_strange_names_are_refused(name):
    with pytest.raises(Refused, match="array name"):
        pack({name: np.zeros(1)})


def test_unknown_name_names_the_nearest(tmp_path):
    path = tmp_path / "a.npz"
    path.write_bytes(pack({"position": np.zeros(1), "energy": np.zeros(1)}))
    with pytest.raises(Refused, match="did you mean position"):
        load(path, ["positions"])


GOOD = "{'descr': '<f8', 'fortran_order': False, 'shape': (2,), }\n"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"PK",
        saved(a=np.array([{}], dtype=object)),
        saved(a=np.zeros(2, dtype="f8,i4")),
        archive(a=npy(GOOD)),
        archive(a=npy(GOOD, bytes(15))),
        archive(a=npy(GOOD, bytes(17))),
        archive(a=npy(GOOD.replace("(2,)", f"({1 << 40},)"), bytes(16))),
        archive(a=npy(GOOD.replace("(2,)", f"(0, {1 << 62}, {1 << 62})"))),
        archive(a=npy(GOOD.replace("(2,)", f"({1 << 40},)").replace("<f8", "<U0"))),
        archive(a=npy(GOOD.replace("<f8", "<f3"), bytes(6))),
        archive(a=npy(GOOD.replace("<f8", "|O8"), bytes(16))),
        archive(a=npy(GOOD.replace("(2,)", "(-2,)"), bytes(16))),
        archive(a=npy(GOOD.replace("False", "__import__('os')"), bytes(16))),
        archive(a=npy("[" * 60_000)),
        archive(a=npy(GOOD, bytes(16), b"\x02\x00")),
        archive(a=b"\x93NUMPY\x01\x00\xff"),
        archive(a=b"").replace(b"a.npy", b"a.exe"),
        archive(a=npy(GOOD, bytes(16)), b=npy(GOOD, bytes(16))).replace(b"b.npy", b"a.npy"),
    ],
)
def test_hostile_files_stop(tmp_path, data):
    path = tmp_path / "a.npz"
    path.write_bytes(data)
    with pytest.raises(Stopped) as error:
        load(path)
    assert len(str(error.value)) <= 300
    assert str(error.value).isprintable()


def test_bomb_is_refused_unread(tmp_path):
    path = tmp_path / "a.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("a.npy", npy(GOOD.replace("(2,)", f"({1 << 22},)"), bytes(8 << 22)))
    tracemalloc.start()
    with pytest.raises(Stopped, match="compressed"):
        load(path)
    assert tracemalloc.get_traced_memory()[1] < 1 << 20
    tracemalloc.stop()


def test_sparse_giant_link_and_device_are_refused(tmp_path):
    path = tmp_path / "a.npz"
    with open(path, "wb") as file:
        file.truncate(1 << 40)
    (tmp_path / "link.npz").symlink_to(path)
    for name in (path, tmp_path / "link.npz", tmp_path / "missing.npz", tmp_path, "/dev/zero"):
        with pytest.raises(Stopped):
            load(tmp_path / name)


def test_every_flipped_byte_and_every_cut_is_seen_or_harmless(tmp_path):
    """Checksums guard the values; a flip elsewhere may pass, but then the arrays are right or refused."""
    arrays = {"x": np.arange(4.0), "y": np.arange(3)}
    data = bytes(pack(arrays))
    path = tmp_path / "a.npz"
    variants = [data[:cut] for cut in range(len(data))]
    variants += [data[:at] + bytes([data[at] ^ (1 << (at % 8))]) + data[at + 1 :] for at in range(len(data))]
    for variant in variants:
        path.write_bytes(variant)
        try:
            back = load(path, ["x", "y"])
        except HeatbathError:
            continue
        for name, array in arrays.items():
            np.testing.assert_array_equal(back[name], array)
