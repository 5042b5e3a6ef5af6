"""A new file that a verb writes where the user asked for it."""

import errno
import os
from pathlib import Path

from heatbath.errors import Refused, Stopped
from heatbath.store.files import show, write_new


def check_out(out: Path) -> None:
    """Refused, before anything is computed, where no new file can be made."""
    if os.path.lexists(out):
        raise Refused(f"{show(out)} exists already: choose another --out")
    if not os.path.isdir(out.parent):
        raise Refused(
            f"cannot write {show(out)}: there is no folder {show(out.parent)}; choose another --out"
        )


def write_out(path: Path, data: bytes) -> None:
    """Raises `Stopped` where the disk is full, `Refused` for whatever else is in the way."""
    try:
        write_new(path, data)
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        kind = Stopped if full else Refused
        raise kind(f"cannot write {show(path)}: {error.strerror}; choose another --out") from error
