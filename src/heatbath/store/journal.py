"""The journal of a run: one checked line for each finished block, the only truth about what is finished."""

import dataclasses
import json
import os
import re
import zlib
from pathlib import Path
from typing import Any

from heatbath.errors import Refused, Stopped
from heatbath.store.files import open_plain, replace, show, write_all

TUNED = "state/tuned.npz"
_PATH = re.compile(r"blocks/[0-9]{6}\.npz|state/([0-9]{6}|tuned)\.npz", re.ASCII)
_LARGEST = 1 << 29


@dataclasses.dataclass(frozen=True)
class Entry:
    """One finished block. `steps` counts all steps of `phase` at the block's end; paths are in the folder."""

    block: int
    phase: str
    steps: int
    file: str
    sha256: str
    state_file: str
    state_sha256: str


@dataclasses.dataclass(frozen=True)
class Tuned:
    """The frozen dynamics was stored in `tuned` (a path in the folder)."""

    tuned: str
    sha256: str


class Journal:
    """The `lines` of journal.jsonl, and the `entries` (finished blocks) among them; none is torn."""

    def __init__(self, path: Path) -> None:
        """Read the journal. Raises Refused (missing, forbidden paths) or Stopped (damaged before the end)."""
        self.path = path
        self.lines: list[Entry | Tuned] = []
        self.entries: list[Entry] = []
        self.torn = False
        try:
            with open_plain(path, _LARGEST) as file:
                *lines, rest = file.read().split(b"\n")
        except OSError as error:
            raise Refused(f"cannot read {show(path)}: {error.strerror}; put back a copy of it") from error
        for number, line in enumerate(lines, 1):
            try:
                self._add(_decode(line, path))
            except ValueError as error:
                if number < len(lines):
                    raise Stopped(
                        f"line {number} of {show(path)} is damaged; put back a copy of the file"
                    ) from error
                self.torn = True
        self.torn |= rest != b""
        self._check_order()

    @property
    def tuned(self) -> Tuned | None:
        """The line on the frozen dynamics, if there is one."""
        return next((line for line in self.lines if isinstance(line, Tuned)), None)

    def append(self, line: Entry | Tuned) -> None:
        """Add a line and wait until it is on the disk; on failure the file is cut back. Raises OSError."""
        fd = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            size = os.fstat(fd).st_size
            try:
                write_all(fd, _encode(line))
            except BaseException:
                os.ftruncate(fd, size)
                raise
        finally:
            os.close(fd)
        self._add(line)

    def cut(self, keep: int) -> None:
        """Keep the first `keep` lines, nothing of a torn one, in one atomic replacement. Raises OSError."""
        replace(self.path, b"".join(_encode(line) for line in self.lines[:keep]))
        kept, self.lines, self.entries, self.torn = self.lines[:keep], [], [], False
        for line in kept:
            self._add(line)

    def _add(self, line: Entry | Tuned) -> None:
        self.lines.append(line)
        if isinstance(line, Entry):
            self.entries.append(line)

    def _check_order(self) -> None:
        steps: dict[str, int] = {}
        for number, entry in enumerate(self.entries):
            names = (f"blocks/{number:06d}.npz", f"state/{number:06d}.npz")
            if (entry.block, entry.file, entry.state_file) != (number, *names):
                raise Stopped(
                    f"{show(self.path)} skips or repeats block {number}; put back a copy of the file"
                )
            if entry.steps <= steps.get(entry.phase, 0):
                raise Stopped(
                    f"{show(self.path)}: block {number} goes back in steps; put back a copy of the file"
                )
            steps[entry.phase] = entry.steps
        if sum(isinstance(line, Tuned) for line in self.lines) > 1:
            raise Stopped(f"{show(self.path)} names two tuned dynamics; put back a copy of the file")


def _encode(line: Entry | Tuned) -> bytes:
    body = json.dumps(dataclasses.asdict(line))
    return f'{body[:-1]}, "crc": "{zlib.crc32(body.encode()):08x}"}}\n'.encode()


def _decode(line: bytes, path: Path) -> Entry | Tuned:
    """Raises ValueError for what is no line of ours, Refused for paths that lead elsewhere."""
    try:
        fields: dict[str, Any] = dict(json.loads(line))
        for key in ("file", "state_file", "tuned"):
            name = fields.get(key, TUNED)
            if not isinstance(name, str) or not _PATH.fullmatch(name):
                raise Refused(
                    f"{show(path)} names the file {name!a:.80}, which no run writes: do not trust it"
                )
        del fields["crc"]
        entry = Tuned(**fields) if "tuned" in fields else Entry(**fields)
    except (KeyError, TypeError, RecursionError) as error:
        raise ValueError("not a journal line") from error
    if any(type(value) is not _TYPES.get(key, str) for key, value in fields.items()):
        raise ValueError("wrong types")
    if _encode(entry) != line + b"\n":
        raise ValueError("checksum differs")
    return entry


_TYPES: dict[str, type] = {"block": int, "steps": int}
