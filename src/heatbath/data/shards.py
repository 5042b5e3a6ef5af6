"""Data that do not fit into memory: a folder of shards, read a minibatch at a time."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count, islice
from pathlib import Path

import numpy as np

from heatbath.data.text import listed, quoted
from heatbath.errors import Refused

Rows = tuple[np.ndarray, np.ndarray]


class Shards:
    """Minibatches of ``size`` rows from the shards in ``folder``: the ``stream`` of `heatbath.simulate`.

    Either pairs of files ``inputs*.npy`` and ``targets*.npy`` (sorted by name, items leading), which are
    mapped into memory, or Parquet files with the columns ``targets`` and all others as inputs (needs pyarrow;
    a shard is read whole). Without replacement: in each epoch the shards, and the rows within each, come in a
    new random order, a function of ``seed`` and the epoch; the few rows left over at its end are left out.
    Shuffle the rows when the shards are written, for a minibatch comes from one or two of them.
    Floating-point numbers are read as ``dtype``.

    Raises `Refused` where there are no shards, they do not fit together, or hold fewer rows than a minibatch.
    """

    def __init__(
        self,
        folder: Path | str,
        size: int,
        targets: str | Sequence[str] = (),
        seed: int = 0,
        dtype: str = "float32",
    ):
        if not isinstance(seed, int) or seed < 0:
            raise Refused(f"seed is {seed!r:.40}: give a whole number, 0 or more")
        if not isinstance(folder, str | Path):
            raise Refused(f"folder is {folder!r:.40}: give the path of the folder with the shards")
        self.size, self.seed, self.dtype = size, seed, _floating(dtype)
        self.shards = _shards(Path(folder), (targets,) if isinstance(targets, str) else tuple(targets))
        forms, rows = zip(*(shard.described() for shard in self.shards), strict=True)
        for shard, form in zip(self.shards, forms, strict=True):
            if form != forms[0]:
                raise Refused(
                    f"{quoted(shard.name)} holds {form}, {quoted(self.shards[0].name)} {forms[0]}: "
                    "give shards that are alike"
                )
        self.n_items = sum(rows)
        if not isinstance(size, int) or not 1 <= size <= self.n_items:
            raise Refused(f"a minibatch of {size} from {self.n_items} rows: give 1 to {self.n_items}")

    def __call__(self, step: int) -> Iterator[Rows]:
        """The minibatches of step ``step`` and all after it."""
        first, skipped = divmod(step, self.n_items // self.size)
        for epoch in count(first):
            yield from islice(self._epoch(epoch), skipped, None)
            skipped = 0

    def sample(self, rows: int) -> Rows:
        """The first minibatches, ``rows`` rows or somewhat more: what an energy can be estimated from."""
        if not rows >= 1:
            raise Refused(f"rows is {rows!r:.40}: give a whole number, 1 or more")
        found = list(islice(self(0), min(-(-rows // self.size), self.n_items // self.size)))
        return np.concatenate([x for x, _ in found]), np.concatenate([y for _, y in found])

    def _epoch(self, epoch: int) -> Iterator[Rows]:
        rng, waiting = np.random.default_rng([self.seed, epoch]), None
        for number in rng.permutation(len(self.shards)):
            x, y = self.shards[number].read()
            order = rng.permutation(len(x))
            if waiting is not None:  # rows that the last shard left over, filled up from this one
                missing, order = np.split(order, [self.size - len(waiting[0])])
                more = self._rows(x, y, missing)
                waiting = np.concatenate([waiting[0], more[0]]), np.concatenate([waiting[1], more[1]])
                if len(waiting[0]) < self.size:
                    continue
                yield waiting
            whole = len(order) // self.size * self.size
            for start in range(0, whole, self.size):
                yield self._rows(x, y, order[start : start + self.size])
            waiting = self._rows(x, y, order[whole:])

    def _rows(self, x: np.ndarray, y: np.ndarray, rows: np.ndarray) -> Rows:
        chosen = x[rows], y[rows]
        floating = [np.issubdtype(a.dtype, np.floating) for a in chosen]
        x, y = (np.asarray(a, self.dtype if f else None) for a, f in zip(chosen, floating, strict=True))
        return x, y


@dataclass(frozen=True)
class _Arrays:
    """A pair of .npy files."""

    inputs: Path
    targets: Path

    def read(self) -> Rows:
        try:
            x, y = (np.load(path, mmap_mode="r") for path in (self.inputs, self.targets))
        except (OSError, ValueError, EOFError) as error:
            raise Refused(f"{quoted(str(self.inputs))} or its targets: {error!s:.150}") from error
        if not (x.ndim and y.ndim):
            raise Refused(
                f"{quoted(str(self.inputs))} or its targets hold one number: give the items leading"
            )
        if len(x) != len(y):
            raise Refused(f"{quoted(str(self.inputs))} has {len(x)} rows, its targets {len(y)}")
        return x, y

    @property
    def name(self) -> str:
        return str(self.inputs)

    def described(self) -> tuple[str, int]:
        """What an item is, and how many there are."""
        arrays = self.read()
        return " and ".join(f"{_kind(a.dtype)} of shape {a.shape[1:]}" for a in arrays), len(arrays[0])


@dataclass(frozen=True)
class _Parquet:
    """A Parquet file."""

    path: Path
    targets: tuple[str, ...]

    @property
    def name(self) -> str:
        return str(self.path)

    def described(self) -> tuple[str, int]:
        """What an item is, and how many there are."""
        file = self._file()
        schema = file.schema_arrow
        self._inputs(schema.names)
        kinds = [(name, np.dtype(schema.field(name).type.to_pandas_dtype())) for name in schema.names]
        for name, dtype in kinds:
            if dtype.kind not in "biuf":
                raise Refused(f"{quoted(self.name)}: column {quoted(name)} holds no numbers: leave it out")
        return listed([f"{name} ({_kind(dtype)})" for name, dtype in kinds]), file.metadata.num_rows

    def _inputs(self, columns: list[str]) -> list[str]:
        inputs = [name for name in columns if name not in self.targets]
        if set(self.targets).difference(columns) or not inputs:
            raise Refused(f"{quoted(str(self.path))}: columns {listed(columns[:8])}; give some as targets")
        return inputs

    def read(self) -> Rows:
        table = self._file().read()
        inputs = self._inputs(table.column_names)
        for name, column in zip(table.column_names, table.columns, strict=True):
            if column.null_count:
                raise Refused(f"{quoted(self.name)}: column {quoted(name)} has missing values: fill them in")
        x, y = (np.stack([table[n].to_numpy() for n in names], axis=1) for names in (inputs, self.targets))
        return x, y

    def _file(self):
        try:
            from pyarrow import parquet  # pyright: ignore[reportMissingImports]
        except ImportError as error:
            raise Refused("Parquet shards need pyarrow: pip install pyarrow") from error
        try:
            return parquet.ParquetFile(self.path)
        except (OSError, ValueError) as error:
            raise Refused(f"{quoted(str(self.path))} cannot be read: {error!s:.150}") from error


def _kind(dtype: np.dtype) -> str:
    """Floating-point numbers are converted, others are not."""
    return "floats" if np.issubdtype(dtype, np.floating) else str(dtype)


def _floating(dtype: str) -> str:
    try:
        if np.issubdtype(np.dtype(dtype), np.floating):
            return dtype
    except TypeError:
        pass
    raise Refused(f"dtype is {dtype!r:.40}: give a floating-point one, like float32")


def _shards(folder: Path, targets: tuple[str, ...]) -> list[_Arrays] | list[_Parquet]:
    if not folder.is_dir():
        raise Refused(f"{quoted(str(folder))} is not a folder: give the one with the shards")
    parquet = sorted(folder.glob("*.parquet"))
    if parquet and not targets:
        raise Refused(f"{quoted(str(folder))}: which columns of its Parquet files are targets?")
    if parquet:
        return [_Parquet(path, targets) for path in parquet]
    inputs, others = sorted(folder.glob("inputs*.npy")), sorted(folder.glob("targets*.npy"))
    if not inputs or len(inputs) != len(others):
        raise Refused(
            f"{quoted(str(folder))}: {len(inputs)} files inputs*.npy and {len(others)} targets*.npy; "
            "give as many of each, at least one, or Parquet files"
        )
    return [_Arrays(x, y) for x, y in zip(inputs, others, strict=True)]
