"""Single files: read without following links, written so that a kill leaves the old bytes or the new ones."""

import contextlib
import errno
import hashlib
import io
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from heatbath.errors import Stopped

LARGEST = 1 << 34
"""Bytes of the largest file that is written or read back; anything bigger is taken for a forgery."""


def show(path: str | os.PathLike[str]) -> str:
    """`path` for a message: control characters escaped, at most 100 characters."""
    escaped = (c if c.isprintable() else c.encode("unicode_escape").decode() for c in os.fspath(path))
    text = "".join(escaped)
    return text if len(text) <= 100 else f"{text[:45]}...{text[-52:]}"


def sha256_of(path: str | os.PathLike[str]) -> str:
    """SHA-256 of the file's bytes, 64 hexadecimal digits. Raises OSError."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256_of_bytes(data: bytes | memoryview) -> str:
    """SHA-256 of `data`, 64 hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()


def open_plain(path: Path, largest: int = LARGEST) -> io.BufferedReader:
    """Open a plain file for reading. Raises OSError for a link, a device or more than `largest` bytes."""
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    file = os.fdopen(fd, "rb")
    info = os.fstat(fd)
    if not stat.S_ISREG(info.st_mode) or info.st_size > largest:
        file.close()
        raise OSError(errno.EINVAL, "not a plain file of a sensible size", str(path))
    return file


def matches(path: Path, sha256: str) -> bool:
    """Whether `path` is a plain file with this SHA-256."""
    try:
        with open_plain(path) as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == sha256
    except OSError:
        return False


def write_all(fd: int, data: bytes | memoryview) -> None:
    """Write all of `data` and wait until it is on the disk. Raises OSError."""
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(fd, rest) :]
    os.fsync(fd)


def write_new(path: Path, data: bytes | memoryview) -> None:
    """Write a file that must not exist yet; nothing is left of it on failure. Raises OSError."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
    try:
        write_all(fd, data)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(path)
        raise
    finally:
        os.close(fd)


def temporary(path: Path) -> Path:
    """The temporary name under which the new bytes of `path` are written."""
    return path.with_name(path.name + ".tmp")


def write_temporary(path: Path, data: bytes | memoryview) -> Path:
    """Write `data` under the temporary name of `path`, over any leftover there. Raises OSError."""
    new = temporary(path)
    new.unlink(missing_ok=True)
    write_new(new, data)
    return new


def replace(path: Path, data: bytes | memoryview) -> None:
    """Give `path` new bytes in one move: the old file or the new one, never a part. Raises OSError."""
    new = write_temporary(path, data)
    try:
        os.replace(new, path)
    except OSError:
        new.unlink()
        raise
    sync_folder(path.parent)


def sync_folder(path: Path) -> None:
    """Wait until the names in a folder are on the disk. Raises OSError."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


@contextlib.contextmanager
def stopping(path: Path) -> Iterator[None]:
    """Turn an OSError (disk full, no permission) into Stopped with one line that names `path`."""
    try:
        yield
    except OSError as error:
        raise Stopped(
            f"cannot write {show(path)}: {error.strerror}; the last finished block is kept: "
            "free space or give write permission, then `heatbath resume` the run"
        ) from error
