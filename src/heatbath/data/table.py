"""Read a table of numbers from a CSV file, strictly: what is not plainly a number is refused."""

import csv
import hashlib
import itertools
import json
import math
import os
import re
import stat
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import BinaryIO

import numpy as np

from heatbath.data.text import listed, nearest, quoted
from heatbath.errors import Refused

MAX_COLUMNS = 10_000
MAX_FILE_BYTES = 2 * 1024**3
MAX_LINE_BYTES = 4 * 1024**2
MAX_CELL = 131_072  # the default of csv.field_size_limit
BLOCK_BYTES = 1024**2
LONGEST_LABEL = 200
MAX_NUMBER = float(np.finfo(np.float32).max)
CELLS_PER_BLOCK = 20_000
NAMES_SEARCHED = 10_000  # of a folder, for a file name that is nearly right


@dataclass(frozen=True, eq=False)
class Table:
    """Named columns of finite numbers, and of labels.

    ``values`` is (rows, columns), float64 and read-only. ``labels``: of each column of labels, one text a
    row. ``shape``: of one row, where the rows are images. ``sha256`` is of the column names, the numbers and
    the labels, not of the bytes of the file: quotes, line ends or a byte order mark do not change it.
    """

    columns: tuple[str, ...]
    values: np.ndarray
    path: str
    sha256: str
    labels: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    shape: tuple[int, ...] = ()

    def column(self, name: str) -> np.ndarray:
        """The numbers of one column, (rows,). Raises ``Refused`` if there is no such column."""
        check_columns(self, [name])
        return self.values[:, self.columns.index(name)]

    def select(self, names: Sequence[str]) -> np.ndarray:
        """The numbers of several columns in the order asked, (rows, len(names)). Raises like ``column``."""
        check_columns(self, names)
        positions = {name: index for index, name in enumerate(self.columns)}
        return self.values[:, [positions[name] for name in names]]


def read_table(
    path: str | os.PathLike[str],
    *,
    ignore: Sequence[str] = (),
    labels: Sequence[str] = (),
    header: Sequence[str] = (),
) -> Table:
    """Read a CSV file: UTF-8, commas, one header line, then only numbers.

    Columns named in ``ignore`` are left out and may hold anything. Those of ``labels`` that are there may
    hold text, and are read as labels (`label_of`). ``header``: the names of the columns, where the file has
    no such line. A byte order mark, CRLF, quotes, spaces around a cell,
    empty lines at the end and a missing final newline make no difference.

    Raises:
        Refused: one line that names file, line and column, for a file that is missing, not a regular file,
            unreadable or over 2 GiB; that is empty, not UTF-8 or not comma-separated; whose header lacks or
            repeats a name, does not know one of ``ignore`` or has over 10,000; and for a row of the wrong
            length or a cell that is empty, text, nan, infinite or beyond single precision.
    """
    path = os.fspath(path)
    check_file(path)
    try:
        with open(path, "rb") as file:
            columns, values, found = _parse(file, path, ignore, labels, header)
    except OSError as error:
        raise unreadable(path, error) from None
    return table_of(columns, values, path, found)


def read_header(path: str | os.PathLike[str]) -> list[str]:
    """The cells of the first line, which nobody has checked. Raises ``Refused`` for a file that is not
    readable text, as `read_table` does."""
    path = os.fspath(path)
    check_file(path)
    try:
        with open(path, "rb") as file:
            return _names(_lines(file, path), path)
    except OSError as error:
        raise unreadable(path, error) from None


def _names(lines: Iterator[str], path: str) -> list[str]:
    """The cells of the first row; no line under it is taken."""
    _, cells = next(_rows(lines, path), (1, []))
    return [cell.strip() for cell in cells]


def table_of(
    columns: tuple[str, ...],
    values: np.ndarray,
    path: str,
    labels: Mapping[str, tuple[str, ...]],
    shape: tuple[int, ...] = (),
) -> Table:
    """The table of these columns, with its hash; ``values`` can no longer be written to."""
    values.flags.writeable = False
    return Table(columns, values, path, _digest(columns, values, labels), labels, shape)


def label_of(cell: str) -> str:
    """The class a label names: its text, or its number in one spelling (1, 1.0 and 1e0 are all "1")."""
    if not is_number(cell):
        return cell
    value = float(cell)
    return str(int(value)) if value.is_integer() else repr(value)


def check_columns(table: Table, wanted: Sequence[str], what: str = "") -> None:
    """Raise ``Refused`` if a wanted column is missing, naming the nearest ones, or all if they are few.

    ``what`` says what the columns are for ("target"): "no target column 'z'".
    """
    known = set(table.columns)
    for name in wanted:
        if name not in known:
            raise no_column(table.path, table.columns, name, what)


def missing_file(path: str) -> str:
    """What to say of a file that does not exist: that, and near names in its folder."""
    folder, name = os.path.split(path)
    try:
        with os.scandir(folder or ".") as entries:
            near = nearest(name, (entry.name for entry in itertools.islice(entries, NAMES_SEARCHED)))
    except (OSError, ValueError):
        return "no such file, and its folder cannot be listed; check the path"
    return f"no such file; near names there: {listed(near)}" if near else "no such file; check the path"


def refused(path: str, complaint: str, line: int | None = None, column: str | int | None = None) -> Refused:
    place = quoted(path, 90) if _odd(path) or len(path) > 90 else path
    if line is not None:
        place += f": line {line}"
    if column is not None:
        place += f", column {column if isinstance(column, int) else quoted(column, 32)}"
    return Refused(f"{place}: {complaint}")


def _odd(text: str) -> bool:
    return not text.isprintable()


def unreadable(path: str, error: Exception) -> Refused:
    reason = error.strerror if isinstance(error, OSError) else error
    return refused(path, f"cannot be read: {reason}; check the path and its permissions")


def no_column(path: str, columns: tuple[str, ...], name: str, what: str = "") -> Refused:
    near = nearest(name, columns)
    if len(columns) <= 8 and len(listed(columns)) <= 100:
        advice = f"the columns are {listed(columns)}"
    elif near:
        advice = f"did you mean {listed(near, 24)}?"
    else:
        advice = f"the {len(columns)} columns start with {listed(columns[:3], 24)}"
    line = None if path.endswith(".npz") else 1
    column = f"{what} column".strip()
    return refused(path, f"no {column} {quoted(name)}; {advice}", line)


def check_file(path: str) -> None:
    """Refuse, before it is opened, what is not a regular file of bearable size (links are followed)."""
    try:
        status = os.stat(path)
    except FileNotFoundError:
        raise refused(path, missing_file(path)) from None
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        raise unreadable(path, error) from None
    if stat.S_ISDIR(status.st_mode):
        raise refused(path, "is a folder; name a file in it")
    if not stat.S_ISREG(status.st_mode):
        raise refused(path, "is not a regular file (a pipe or a device); save the table to a file first")
    if status.st_size > MAX_FILE_BYTES:
        size = status.st_size / 1024**3
        raise refused(path, f"is {size:.1f} GiB, the limit is 2 GiB; keep fewer rows or columns")
    if status.st_size == 0:
        raise refused(path, "is empty; it needs a header line and rows of numbers", line=1)


def _parse(
    file: BinaryIO, path: str, ignore: Sequence[str], labels: Sequence[str], header: Sequence[str]
) -> tuple[tuple[str, ...], np.ndarray, dict[str, tuple[str, ...]]]:
    """Names and numbers of the columns that are neither ignored nor labels, and the labels."""
    lines = _lines(file, path)
    names = list(header) or _names(lines, path)
    _check_header(names, path)
    for name in ignore:
        if name not in names:
            raise no_column(path, tuple(names), name, "ignored")
    kept = [index for index, name in enumerate(names) if name not in ignore and name not in labels]
    texts = [index for index, name in enumerate(names) if name in labels]
    if not kept and not texts:
        raise refused(path, "every column is ignored; keep at least one", line=1)
    columns = tuple(names[index] for index in kept)
    values = None if texts else _at_once(file, len(names))
    if values is not None:
        return columns, np.ascontiguousarray(values[:, kept]), {}
    file.seek(0)
    found: dict[str, list[str]] = {names[index]: [] for index in texts}
    rows = _rows(_lines(file, path), path)
    if not header:
        next(rows)
    values = _row_by_row(rows, names, kept, found, path)
    return columns, values, {name: tuple(column) for name, column in found.items()}


def _at_once(file: BinaryIO, width: int) -> np.ndarray | None:
    """The rows under the header, (rows, width), if all are plain finite numbers, else None."""

    def plain() -> Iterator[str]:
        while block := file.read(BLOCK_BYTES):
            text = (block + file.readline(MAX_LINE_BYTES + 1)).decode("ascii")
            rows = text.removesuffix("\n").split("\n")
            long = [row for row in rows if len(row) > MAX_CELL]
            if "_" in text or "\0" in text or not all(map(str.strip, rows)) or any(map(_too_long, long)):
                raise ValueError("not plain")
            yield from rows

    source = plain()
    try:
        first = next(source)
        values = np.loadtxt(itertools.chain([first], source), delimiter=",", comments=None, ndmin=2)
    except (StopIteration, ValueError):
        return None
    return values if values.shape[1] == width and _usable(values) else None


def _too_long(row: str) -> bool:
    return len(row) > MAX_LINE_BYTES or any(len(cell) > MAX_CELL for cell in row.split(","))


def _row_by_row(
    rows: Iterator[tuple[int, list[str]]],
    names: list[str],
    kept: list[int],
    labels: dict[str, list[str]],
    path: str,
) -> np.ndarray:
    """The kept columns of the rows, (rows, kept), the ``labels`` filled in; what is wrong is refused with its
    place."""
    columns = [names[index] for index in kept]
    blocks: list[np.ndarray] = []
    lines: list[int] = []
    block: list[list[str]] = []
    for line, row in _filled(rows, names, path):
        lines.append(line)
        block.append([row[index] for index in kept])
        for name, column in labels.items():
            cell = row[names.index(name)].strip()
            if complaint := label_complaint(cell):
                raise refused(path, complaint, line, name)
            column.append(label_of(cell))
        if len(block) * len(columns) >= CELLS_PER_BLOCK:
            blocks.append(_numbers(block, lines, columns, path))
            lines, block = [], []
    if block:
        blocks.append(_numbers(block, lines, columns, path))
    if not blocks:
        raise refused(path, "only a header; add rows of numbers under it", line=1)
    return np.concatenate(blocks)


def _usable(values: np.ndarray) -> bool:
    return bool((np.abs(values) <= MAX_NUMBER).all())


def _lines(file: BinaryIO, path: str) -> Iterator[str]:
    """The lines as text with their line ends; refuses what is no UTF-8 text before csv sees it."""
    for line in itertools.count(1):
        raw = file.readline(MAX_LINE_BYTES + 1)
        if not raw:
            return
        if line == 1:
            if raw.startswith((b"\xff\xfe", b"\xfe\xff")):
                raise refused(path, "the file is UTF-16; save it as UTF-8", line, 1)
            raw = raw.removeprefix(b"\xef\xbb\xbf")
        if b"\0" in raw:
            column = raw[: raw.index(b"\0")].count(b",") + 1
            raise refused(path, "a NUL byte (UTF-16, or no text file?); save it as UTF-8 CSV", line, column)
        if len(raw) > MAX_CELL:
            for column, cell in enumerate(raw.split(b","), start=1):
                if len(cell) > MAX_CELL:
                    raise refused(path, f"a cell of more than {MAX_CELL} bytes; is this CSV?", line, column)
            if len(raw) > MAX_LINE_BYTES:
                raise refused(path, "the line is longer than 4 MiB; is this a CSV file?", line)
        try:
            yield raw.decode()
        except UnicodeDecodeError as error:
            column = raw[: error.start].count(b",") + 1
            byte = raw[error.start]
            complaint = f"not UTF-8 (byte 0x{byte:02x}; Latin-1 or Windows text?); save the file as UTF-8"
            raise refused(path, complaint, line, column) from None


def _rows(lines: Iterator[str], path: str) -> Iterator[tuple[int, list[str]]]:
    """The rows with the line of the file on which each starts."""
    reader = csv.reader(lines, skipinitialspace=True, strict=True)
    while True:
        line = reader.line_num + 1
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            if "limit" in str(error):
                complaint = f"a cell of more than {MAX_CELL} characters; is a quote never closed?"
            elif "new-line" in str(error):
                complaint = "a carriage return inside the line; save the file with LF or CRLF line ends"
            else:
                complaint = "a quote is not closed, or not followed by a comma; mend the quotes"
            raise refused(path, complaint, line) from None
        yield line, row


def _filled(
    rows: Iterator[tuple[int, list[str]]], names: list[str], path: str
) -> Iterator[tuple[int, list[str]]]:
    """The rows of the right length; empty lines are allowed only at the end."""
    width = len(names)
    empty_line = None
    for line, row in rows:
        if not row:
            empty_line = empty_line or line
            continue
        if empty_line:
            raise refused(path, "the line is empty; remove it or fill it in", empty_line, names[0])
        if len(row) != width:
            counts = f"{len(row)} cells where the header has {width}"
            if len(row) < width:
                delimiter = "; semicolons or tabs instead of commas?" if re.search("[;\t]", row[-1]) else ""
                raise refused(
                    path, f"missing: {counts}{delimiter or '; fill the row in'}", line, names[len(row)]
                )
            remedy = (
                "decimal commas? write 1.5, not 1,5" if len(row) == 2 * width else "remove the extra cells"
            )
            raise refused(path, f"{counts}; {remedy}", line, width + 1)
        yield line, row


def _check_header(names: list[str], path: str) -> None:
    if not names:
        raise refused(path, "the first line is empty; it must hold the column names", line=1)
    if len(names) > MAX_COLUMNS:
        raise refused(
            path, f"{len(names)} columns, the limit is {MAX_COLUMNS}; keep fewer", 1, MAX_COLUMNS + 1
        )
    if all(is_number(part) for name in names for part in re.split("[;\t]", name)):
        raise refused(path, "only numbers (no header?); put the column names in the first line", 1, 1)
    if len(names) == 1:
        for delimiter, called in ((";", "semicolons"), ("\t", "tabs")):
            if delimiter in names[0]:
                raise refused(path, f"columns are separated by {called}; save the file with commas", 1, 1)
    seen: dict[str, int] = {}
    for column, name in enumerate(names, start=1):
        if not name:
            raise refused(path, "has no name (a comma too many?); name or remove it", 1, column)
        if _odd(name):
            raise refused(
                path, f"control or invisible characters in the name {quoted(name)}; rename it", 1, column
            )
        if name in seen:
            raise refused(path, f"same name as column {seen[name]}; rename one of them", 1, name)
        seen[name] = column


def _numbers(rows: list[list[str]], lines: list[int], columns: list[str], path: str) -> np.ndarray:
    """The cells as (rows, columns) float64. The culprit is looked for only once there is one."""
    cells = [cell.strip() for row in rows for cell in row]
    text = "".join(cells)
    try:
        values = np.array(list(map(float, cells))).reshape(len(rows), len(columns))
    except ValueError:
        values = np.array([math.nan])
    if not _usable(values) or "_" in text or not text.isascii():
        for line, row in zip(lines, rows, strict=True):
            for name, cell in zip(columns, row, strict=True):
                complaint = _complaint(cell.strip())
                if complaint:
                    raise refused(path, complaint, line, name)
    return values


def label_complaint(cell: str) -> str | None:
    """What is wrong with a label, or None."""
    if _odd(cell) or len(cell) > LONGEST_LABEL:
        return f"{quoted(cell)}: a label is at most {LONGEST_LABEL} visible characters; shorten it"
    return _complaint(cell) if not cell or is_number(cell) else None


def _complaint(cell: str) -> str | None:
    """What is wrong with a cell, or None."""
    if not cell:
        return "the cell is empty; fill it in or remove the row"
    if not is_number(cell):
        if re.fullmatch(r"[+-]?\d*,\d+([eE][+-]?\d+)?", cell):
            return f"decimal comma in {quoted(cell)}; write it with a point"
        return f"{quoted(cell)} is text where a number should be; correct it, or leave the column out"
    value = float(cell)
    if math.isnan(value) or not re.search(r"\d", cell):
        return f"{quoted(cell)} is not a finite number; fill it in or remove the row"
    if abs(value) > MAX_NUMBER:
        return f"{quoted(cell)} overflows single precision (largest 3.4e38); rescale the column"
    return None


def is_number(text: str) -> bool:
    """Whether ``float`` takes it, without Python's own underscores and foreign digits."""
    try:
        float(text)
    except ValueError:
        return False
    return text.isascii() and "_" not in text


def _digest(columns: tuple[str, ...], values: np.ndarray, labels: Mapping[str, tuple[str, ...]]) -> str:
    digest = hashlib.sha256(json.dumps(columns).encode())
    digest.update(np.ascontiguousarray(values, dtype="<f8").data)
    if labels:
        digest.update(json.dumps(labels).encode())
    return digest.hexdigest()
