"""The run folder: made in one move, locked while it is written, repaired when it is opened for writing."""

import os
import re
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np

from heatbath.errors import Refused, Stopped
from heatbath.store import arrays as npz
from heatbath.store.files import (
    matches,
    replace,
    sha256_of_bytes,
    show,
    stopping,
    sync_folder,
    temporary,
    write_all,
    write_new,
    write_temporary,
)
from heatbath.store.journal import TUNED, Entry, Journal, Tuned
from heatbath.store.layout import (
    check_free,
    check_parts,
    config_text,
    environment_text,
    lock_config,
    read_config,
    read_environment,
    remove_stale,
)

PARTIAL = "state/partial.npz"
DATA = "data.npz"
_OURS = re.compile(r"([0-9]{6}|tuned|partial)\.npz(\.tmp)?", re.ASCII)
_PHASE = re.compile(r"[a-z0-9_-]{1,40}", re.ASCII)


class RunFolder:
    """One run on the disk. Make it with `create` or `open`; close it, or use it as a context manager.

    `path` is absolute; `config` is config.toml as read back (with `format`), `environment` environment.json.
    Methods that write raise Refused in a folder opened for reading, and Stopped when the disk is full or the
    permission is missing: what the journal holds stays good.
    """

    path: Path
    config: dict[str, Any]
    environment: dict[str, Any]

    def __init__(self, path: Path, lock: int | None) -> None:
        """Not for callers: `lock` is the locked descriptor of config.toml, or None for reading only."""
        self.path = path
        self._lock = lock
        self._intact: set[int] = set()
        self.config = read_config(path)
        self.environment = read_environment(path)
        self._journal = Journal(path / "journal.jsonl")

    @classmethod
    def create(
        cls,
        path: str | os.PathLike[str],
        config: Mapping[str, Any],
        environment: Mapping[str, Any],
        data: Mapping[str, np.ndarray] | None = None,
    ) -> Self:
        """A new folder, locked and open for writing; it appears complete, in one move, or not at all.

        `data`: what the run learns from, kept in data.npz so that the folder needs nothing else. Raises
        Refused if `path` exists, cannot be made, or the values cannot be stored.
        """
        target = Path(path).absolute()
        files = {
            "config.toml": config_text(config),
            "environment.json": environment_text(environment),
            "journal.jsonl": b"",
        }
        if data is not None:
            files[DATA] = bytes(npz.pack(data))
        try:
            check_free(target)
            target.parent.mkdir(parents=True, exist_ok=True)
            build = target.with_name(f".{target.name}.{os.getpid()}")
            remove_stale(target)
            build.mkdir()
        except (OSError, ValueError) as error:
            why = f"{error.strerror}, {show(error.filename)}" if isinstance(error, OSError) else error
            raise Refused(f"cannot make the folder {show(target)}: {why}; choose another --out") from error
        lock = None
        try:
            for name, content in files.items():
                write_new(build / name, content)
            for name in ("blocks", "state"):
                (build / name).mkdir()
            sync_folder(build)
            lock = lock_config(build / "config.toml")
            os.rename(build, target)
            sync_folder(target.parent)
            return cls(target, lock)
        except BaseException as error:
            if lock is not None:
                os.close(lock)
            shutil.rmtree(build, ignore_errors=True)
            if isinstance(error, OSError):
                raise Refused(
                    f"cannot make {show(target)}: {error.strerror}; choose another --out"
                ) from error
            raise

    @classmethod
    def open(cls, path: str | os.PathLike[str], *, write: bool = False) -> Self:
        """An existing run. For writing it is locked, cut back to its last good block, cleared of leftovers.

        Raises Refused for what is no run, was written by a newer version, holds links, or is being written by
        another process; Stopped if it is damaged beyond its last good block.
        """
        folder = Path(path).absolute()
        check_parts(folder, write)
        if not write:
            run = cls(folder, None)
            run._check_blocks(run.entries())
            return run
        lock = lock_config(folder / "config.toml")
        try:
            run = cls(folder, lock)
            with stopping(folder):
                run._repair()
                run._clear()
        except BaseException:
            os.close(lock)
            raise
        return run

    def close(self) -> None:
        """Give up the lock; afterwards the folder can only be read."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def phase(self, name: str) -> "PhaseSink":
        """Where one phase of the run ("anneal", "sample") is written. Raises Refused for a strange name."""
        if not _PHASE.fullmatch(name):
            raise Refused(f"phase {name!a:.60} is not a name: use at most 40 of a-z, 0-9, - and _")
        return PhaseSink(self, name)

    def entries(self, phase: str | None = None) -> list[Entry]:
        """The finished blocks, of all phases or of one, in order."""
        return [entry for entry in self._journal.entries if phase in (None, entry.phase)]

    def steps(self, phase: str) -> int:
        """Steps of `phase` that are finished according to the journal."""
        return next((entry.steps for entry in reversed(self._journal.entries) if entry.phase == phase), 0)

    def blocks(self, phase: str) -> Iterator[dict[str, np.ndarray]]:
        """The records of each finished block, one in memory at a time. Raises Stopped at a damaged one."""
        for entry in self.entries(phase):
            yield self._block(entry)

    def read(self, phase: str, names: Sequence[str]) -> dict[str, np.ndarray]:
        """The named records over the whole phase, shape (saved steps, ...): blocks joined along axis 0.

        Raises Refused for a name that is not there (with the nearest that is), for a phase without a finished
        block and for records that cannot be joined; Stopped at a damaged block.
        """
        parts = [self._block(entry, names) for entry in self.entries(phase)]
        if not parts:
            raise Refused(f"{show(self.path)} has no finished block of phase {phase!a:.60}: resume it first")
        try:
            return {name: np.concatenate([part[name] for part in parts]) for name in names}
        except ValueError as error:
            raise Refused(
                f"the blocks of {show(self.path)} do not join along time: {error!s:.80}; use blocks()"
            ) from error

    def data(self) -> dict[str, np.ndarray]:
        """What was stored as `data` at the start. Raises Stopped if it is missing or damaged."""
        return npz.load(self.path / DATA)

    def reopen(self, phase: str) -> None:
        """Before a finished run gets more steps: take back the last block of `phase` if the run's end cut it
        short, so that it is made again in full and the blocks are those of a run that was longer from the
        start. A single block is always taken back."""
        self._check_writable()
        lines, entries = self._journal.lines, self.entries(phase)
        if not entries or lines[-1] != entries[-1]:
            return
        full = len(entries) > 1 and entries[-1].steps - entries[-2].steps >= entries[0].steps
        if not full:
            with stopping(self.path):
                self._journal.cut(len(lines) - 1)
                self._intact.clear()
                self._clear()

    def save_tuned(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Freeze the dynamics. Saving the same arrays again is fine; others are Refused."""
        self._check_writable()
        data = npz.pack(arrays)
        line = Tuned(TUNED, sha256_of_bytes(data))
        if self._journal.tuned == line:
            return
        if self._journal.tuned is not None:
            raise Refused(f"{show(self.path)} has another tuned dynamics already: choose another --out")
        with stopping(self.path):
            replace(self.path / TUNED, data)
            self._journal.append(line)

    def tuned(self) -> dict[str, np.ndarray] | None:
        """The frozen dynamics, None before it is saved. Raises Stopped if it is damaged."""
        line = self._journal.tuned
        return None if line is None else self._load(line.tuned, line.sha256)

    def log(self, message: str) -> None:
        """Append one line with the time (UTC) to log.txt."""
        self._check_writable()
        log_line(self.path, message)

    def set_config(self, config: Mapping[str, Any]) -> None:
        """Replace config.toml in one move; the lock passes to the new file."""
        self._check_writable()
        path = self.path / "config.toml"
        data = config_text(config)
        with stopping(path):
            lock = lock_config(write_temporary(path, data))
            try:
                os.replace(temporary(path), path)
            except OSError:
                os.close(lock)
                temporary(path).unlink()
                raise
            self.close()
            self._lock = lock
            sync_folder(self.path)
        self.config = read_config(self.path)

    def _check_writable(self) -> None:
        if self._lock is None:
            raise Refused(f"{show(self.path)} is open for reading only: open it with write=True")

    def _load(self, file: str, sha256: str, names: Sequence[str] | None = None) -> dict[str, np.ndarray]:
        path = self.path / file
        if not matches(path, sha256):
            last = any(file == entry.file for entry in self.entries()[-1:])
            other = "`heatbath resume` the run: it is made again" if last else "run again with another --out"
            raise Stopped(f"{show(path)} is missing or damaged: put back a copy of it, or {other}")
        return npz.load(path, names)

    def _block(self, entry: Entry, names: Sequence[str] | None = None) -> dict[str, np.ndarray]:
        """Hashed at the first reading only; later ones still check the checksum of each array."""
        if entry.block in self._intact:
            return npz.load(self.path / entry.file, names)
        records = self._load(entry.file, entry.sha256, names)
        self._intact.add(entry.block)
        return records

    def _partial(self, names: Sequence[str] | None = None) -> dict[str, np.ndarray] | None:
        """The arrays of partial.npz, None if it is unreadable or not ahead of the journal."""
        try:
            found = npz.load(self.path / PARTIAL, names)
            phase, block, steps = str(found["phase"]), int(found["block"]), int(found["steps"])
        except (Stopped, Refused, KeyError, TypeError, ValueError):
            return None
        ahead = block == len(self.entries()) and steps > self.steps(phase)
        return found if ahead else None

    def _check_blocks(self, entries: Sequence[Entry]) -> None:
        for entry in entries:
            path = self.path / entry.file
            if path.is_symlink() or not path.is_file():
                raise Stopped(
                    f"block {entry.block} of {show(self.path)} is missing or a link: put back {entry.file}"
                    + (", or `heatbath resume` the run" if entry == self.entries()[-1] else "")
                )

    def _good(self, entry: Entry) -> bool:
        files = ((entry.file, entry.sha256), (entry.state_file, entry.state_sha256))
        return all(matches(self.path / file, sha256) for file, sha256 in files)

    def _repair(self) -> None:
        """Cut the journal back over a torn line, a damaged last block or a damaged last line on the tuned."""
        lines, entries, tuned = self._journal.lines, self.entries(), self._journal.tuned
        keep = len(lines)
        damaged = Stopped(
            f"{show(self.path)} is damaged beyond its last good block: put back a copy of its files, "
            "or run again with another --out"
        )
        self._check_blocks(entries[:-1])
        numbers = [
            int(name[:6]) for name in os.listdir(self.path / "blocks") if re.fullmatch(r"[0-9]{6}\.npz", name)
        ]
        if max(numbers, default=0) > len(entries) + 1:
            raise Stopped(
                f"journal.jsonl of {show(self.path)} is shorter than its blocks: put back a copy of it, "
                "or run again with another --out"
            )
        if tuned is not None and not matches(self.path / TUNED, tuned.sha256):
            if lines[-1] != tuned:
                raise damaged
            keep -= 1
        if entries and not self._good(entries[-1]):
            if len(entries) > 1 and not self._good(entries[-2]):
                raise damaged
            keep = lines.index(entries[-1])
        if keep < len(lines) or self._journal.torn:
            self.log(
                f"journal cut back from {len(lines)} to {keep} lines (torn line, or damaged newest files)"
            )
            self._journal.cut(keep)

    def _clear(self) -> None:
        """Remove what a kill left behind and no undisturbed run has."""
        entries = self.entries()
        kept = {entry.file for entry in entries} | {entry.state_file for entry in entries[-2:]}
        if self._journal.tuned is not None:
            kept.add(TUNED)
        if self._partial(["phase", "block", "steps"]) is not None:
            kept.add(PARTIAL)
        for folder in ("blocks", "state"):
            for name in os.listdir(self.path / folder):
                if _OURS.fullmatch(name) and f"{folder}/{name}" not in kept:
                    (self.path / folder / name).unlink()
        for name in ("config.toml", "journal.jsonl"):
            temporary(self.path / name).unlink(missing_ok=True)


class PhaseSink:
    """What the simulator writes one phase of a run to. Block numbers are global over the phases."""

    def __init__(self, folder: RunFolder, name: str) -> None:
        self.name = name
        self._folder = folder
        self._partial_records: dict[str, np.ndarray] | None = None

    def restore(self) -> tuple[int, dict[str, np.ndarray]] | None:
        """(steps done, state arrays) to go on from; None to start the phase afresh.

        The newest of the phase's last block and its interrupted block. The states of the last two blocks of
        the run are kept: once later phases have two blocks, the state of this finished phase is gone and {}
        is given with its steps. Raises Stopped if the state is damaged.
        """
        self._partial_records = None
        partial = self._folder._partial()
        if partial is not None and str(partial["phase"]) == self.name:
            self._partial_records = _inside("records/", partial)
            return int(partial["steps"]), _inside("state/", partial)
        entries = self._folder.entries(self.name)
        if not entries:
            return None
        last = entries[-1]
        if last not in self._folder.entries()[-2:]:
            return last.steps, {}
        return last.steps, self._folder._load(last.state_file, last.state_sha256)

    def partial_records(self) -> dict[str, np.ndarray] | None:
        """Records of the unfinished block, saved by `partial`, if `restore` gave its state; else None."""
        return self._partial_records

    def block(self, steps: int, records: Mapping[str, np.ndarray], state: Mapping[str, np.ndarray]) -> None:
        """Finish a block; when this returns, it is on the disk and in the journal.

        `steps` counts all steps of the phase so far. `records` are arrays with the saved steps along axis 0,
        `state` arrays of any shapes. Raises Refused for steps that do not grow and types that cannot be
        stored, Stopped when the disk does not take them.
        """
        folder = self._folder
        self._check(steps)
        entries = folder.entries()
        number = len(entries)
        if number > 999_999:
            raise Stopped(f"{show(folder.path)} has a million blocks: start a new run with fewer saved steps")
        file, state_file = f"blocks/{number:06d}.npz", f"state/{number:06d}.npz"
        with stopping(folder.path):
            sha256 = _store(folder.path / file, records)
            state_sha256 = _store(folder.path / state_file, state)
            entry = Entry(number, self.name, int(steps), file, sha256, state_file, state_sha256)
            folder._journal.append(entry)
            self._partial_records = None
            (folder.path / PARTIAL).unlink(missing_ok=True)
            for older in entries[-2:-1]:
                (folder.path / older.state_file).unlink(missing_ok=True)

    def partial(self, steps: int, records: Mapping[str, np.ndarray], state: Mapping[str, np.ndarray]) -> None:
        """Save an interrupted block, with arrays as in `block`; it is gone once the block is finished."""
        self._check(steps)
        arrays = {
            "phase": np.array(self.name),
            "block": np.array(len(self._folder.entries()), dtype=np.int64),
            "steps": np.array(int(steps), dtype=np.int64),
        }
        arrays |= {f"records/{name}": array for name, array in records.items()}
        arrays |= {f"state/{name}": array for name, array in state.items()}
        with stopping(self._folder.path):
            _store(self._folder.path / PARTIAL, arrays)

    def _check(self, steps: int) -> None:
        self._folder._check_writable()
        done = self._folder.steps(self.name)
        if steps <= done:
            raise Refused(
                f"phase {self.name} has {done} steps already: a block must end later than step {steps}"
            )


def _store(path: Path, arrays: Mapping[str, np.ndarray]) -> str:
    data = npz.pack(arrays)
    replace(path, data)
    return sha256_of_bytes(data)


def _inside(prefix: str, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {name[len(prefix) :]: array for name, array in arrays.items() if name.startswith(prefix)}


def log_line(folder: Path, message: str) -> None:
    """Append one line with the time (UTC) to the log.txt of ``folder``, which this process writes."""
    text = " ".join(message.splitlines())
    line = f"{time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime())} {text}\n"
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    with stopping(folder / "log.txt"):
        fd = os.open(folder / "log.txt", flags, 0o644)
        try:
            write_all(fd, line.encode("utf-8", "backslashreplace"))
        finally:
            os.close(fd)
