"""Shards: every epoch gives every row at most once, whatever the shards; resumable; refusals."""

from itertools import islice

import numpy as np
import pytest

from heatbath.data import Shards
from heatbath.errors import Refused

LENGTHS = (7, 1, 12, 30)
N = sum(LENGTHS)


@pytest.fixture
def folder(tmp_path):
    start = 0
    for number, length in enumerate(LENGTHS):
        rows = np.arange(start, start + length)
        np.save(tmp_path / f"inputs{number}.npy", np.stack([rows, -rows], axis=1).astype(float))
        np.save(tmp_path / f"targets{number}.npy", rows)
        start += length
    return tmp_path


@pytest.mark.parametrize("size", [1, 4, 11, N])
def test_an_epoch_holds_every_row_once_in_a_new_order(folder, size):
    shards = Shards(folder, size, seed=1)
    assert shards.n_items == N
    a_pass = N // size
    epochs = list(islice(shards(0), 2 * a_pass))
    orders = [np.concatenate([y for _, y in part]) for part in (epochs[:a_pass], epochs[a_pass:])]
    for order in orders:
        assert len(order) == a_pass * size
        assert len(set(order)) == len(order)
    assert (orders[0] != orders[1]).any()
    for x, y in epochs:
        assert x.dtype == np.float32
        assert np.issubdtype(y.dtype, np.integer)
        assert (x[:, 0] == y).all()
        assert len(y) == size


def test_the_stream_goes_on_from_any_step(folder):
    shards = Shards(folder, 4, seed=2)
    whole = [y for _, y in islice(shards(0), 40)]
    for step in (0, 1, 12, 13, 30):
        rest = [y for _, y in islice(shards(step), 40 - step)]
        assert all((a == b).all() for a, b in zip(whole[step:], rest, strict=True))
    assert (next(Shards(folder, 4, seed=3)(0))[1] != whole[0]).any()


def test_a_sample_is_of_the_size_asked_for(folder):
    x, y = Shards(folder, 4).sample(10)
    assert x.shape == (12, 2)
    assert y.shape == (12,)


def test_parquet_shards(folder):
    pyarrow = pytest.importorskip("pyarrow", reason="Parquet needs pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    for number in range(2):
        rows = np.arange(number * 10, number * 10 + 10)
        table = pyarrow.table({"a": rows * 1.0, "b": rows * 2.0, "y": rows})
        parquet.write_table(table, folder / f"{number}.parquet")
    shards = Shards(folder, 5, targets="y")
    x, y = (np.concatenate(part) for part in zip(*islice(shards(0), 4), strict=True))
    assert sorted(y[:, 0]) == list(range(20))
    assert (x == y * [1, 2]).all()
    with pytest.raises(Refused, match="which columns"):
        Shards(folder, 5)
    with pytest.raises(Refused, match="columns 'a', 'b', 'y'; give some"):
        Shards(folder, 5, targets="z")


def test_shards_that_differ_are_refused(folder):
    np.save(folder / "inputs9.npy", np.zeros((3, 4)))
    np.save(folder / "targets9.npy", np.zeros(3, int))
    with pytest.raises(Refused, match=r"inputs9.*floats of shape \(4,\).*shards that are alike"):
        Shards(folder, 5)
    np.save(folder / "inputs9.npy", np.zeros((3, 2), int))
    with pytest.raises(Refused, match="int64 of shape"):
        Shards(folder, 5)


def test_parquet_shards_that_cannot_be_used_are_refused(tmp_path):
    pyarrow = pytest.importorskip("pyarrow", reason="Parquet needs pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    good = {"a": [1.0, 2.0], "y": [0, 1]}
    for bad, says in (
        ({"b": [1.0, 2.0], "y": [0, 1]}, "shards that are alike"),
        ({"a": ["one", "two"], "y": [0, 1]}, "column 'a' holds no numbers"),
        ({"a": [1.0, None], "y": [0, 1]}, "column 'a' has missing values"),
    ):
        for number, columns in enumerate((good, bad)):
            parquet.write_table(pyarrow.table(columns), tmp_path / f"{number}.parquet")
        with pytest.raises(Refused, match=says):
            Shards(tmp_path, 4, targets="y").sample(4)


def test_refusals(folder, tmp_path):
    for make in (lambda: Shards(None, 5), lambda: Shards(folder, 5).sample(0)):
        with pytest.raises(Refused):
            make()
    with pytest.raises(Refused, match="give 1 to 50"):
        Shards(folder, 51)
    with pytest.raises(Refused, match="is not a folder"):
        Shards(folder / "nowhere", 5)
    (folder / "targets3.npy").unlink()
    with pytest.raises(Refused, match=r"4 files inputs\*.npy and 3 targets"):
        Shards(folder, 5)
    np.save(folder / "targets3.npy", np.arange(3))
    with pytest.raises(Refused, match="has 30 rows, its targets 3"):
        Shards(folder, 5)
    for bad in (b"no array", b""):
        (folder / "targets3.npy").write_bytes(bad)
        with pytest.raises(Refused, match="inputs3"):
            Shards(folder, 5)
    np.save(folder / "targets3.npy", np.array(1.0))
    with pytest.raises(Refused, match="hold one number"):
        Shards(folder, 5)
    with pytest.raises(Refused, match="seed is -1"):
        Shards(folder, 5, seed=-1)
    with pytest.raises(Refused, match="dtype is 'int32'"):
        Shards(folder, 5, dtype="int32")
