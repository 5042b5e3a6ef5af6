"""What a run folder is made of: its parts, its two text files, its lock, its free names."""

import difflib
import fcntl
import json
import os
import re
import shutil
import stat
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from heatbath.errors import Refused
from heatbath.store.files import open_plain, show
from heatbath.store.toml import write_toml

FORMAT = 1
LARGEST_TEXT = 1 << 24
_PARTS = {  # name in the folder: (is it a folder, must it be there)
    "config.toml": (False, True),
    "environment.json": (False, True),
    "journal.jsonl": (False, True),
    "blocks": (True, True),
    "state": (True, True),
    "log.txt": (False, False),
    "data.npz": (False, False),
}


def next_run_name(parent: str | os.PathLike[str], name: str) -> Path:
    """`parent/NAME-001`, or the number after the highest in use; strange characters in `name` become "-".

    Raises Refused if `parent` cannot be listed.
    """
    stem = re.sub(r"[^\w.-]+", "-", name).strip(".-")[:40] or "run"
    try:
        used = os.listdir(parent)
    except FileNotFoundError:
        used = []
    except (OSError, ValueError) as error:
        raise Refused(
            f"cannot look for runs in {show(parent)}: {error!s:.80}; choose another --out"
        ) from error
    found = (re.fullmatch(rf"{re.escape(stem)}-([0-9]{{3,9}})", other) for other in used)
    return Path(parent) / f"{stem}-{max((int(match[1]) for match in found if match), default=0) + 1:03d}"


def config_text(config: Mapping[str, Any]) -> bytes:
    """The bytes of config.toml. Raises Refused for values that TOML cannot hold."""
    rest = {key: value for key, value in config.items() if key != "format"}
    return write_toml({"format": FORMAT, **rest}).encode()


def environment_text(environment: Mapping[str, Any]) -> bytes:
    """The bytes of environment.json. Raises Refused for values that JSON cannot hold."""
    try:
        return (json.dumps(environment, sort_keys=True, indent=1) + "\n").encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise Refused(
            f"the environment cannot be stored as JSON: {error!s:.120}; use plain values"
        ) from error


def read_config(folder: Path) -> dict[str, Any]:
    """config.toml. Raises Refused if it is unreadable or of a newer format."""
    path = folder / "config.toml"
    try:
        with open_plain(path, LARGEST_TEXT) as file:
            config = tomllib.loads(file.read().decode())
    except (OSError, ValueError, RecursionError) as error:
        raise Refused(
            f"{show(folder)} is not a heatbath run: config.toml is not readable ({error!s:.80})"
        ) from error
    version = config.get("format")
    if type(version) is not int or version < 1:
        raise Refused(f"{show(folder)} is not a heatbath run: its config.toml has no `format = {FORMAT}`")
    if version > FORMAT:
        raise Refused(
            f"{show(folder)} has run format {version!s:.20}, this one reads up to {FORMAT}: upgrade heatbath"
        )
    return config


def read_environment(folder: Path) -> dict[str, Any]:
    """environment.json. Raises Refused if it is unreadable."""
    path = folder / "environment.json"
    try:
        with open_plain(path, LARGEST_TEXT) as file:
            environment = json.loads(file.read())
        if not isinstance(environment, dict):
            raise ValueError("not an object")
    except (OSError, ValueError, RecursionError) as error:
        raise Refused(f"{show(path)} is damaged ({error!s:.80}): put back a copy of it") from error
    return environment


def check_parts(folder: Path, write: bool) -> None:
    """Raises Refused unless all parts are there and none is a link (for writing: nor a hard link)."""
    if not os.path.isdir(folder):
        raise Refused(f"no run at {show(folder)}: {_near(folder)}")
    for name, (is_folder, required) in _PARTS.items():
        path = folder / name
        try:
            info = path.lstat()
        except OSError as error:
            if required:
                raise Refused(
                    f"{show(folder)} is not a heatbath run, or not a whole one: {name} is missing"
                ) from error
            continue
        if not (stat.S_ISDIR if is_folder else stat.S_ISREG)(info.st_mode):
            raise Refused(
                f"{show(path)} is a link or not a plain {'folder' if is_folder else 'file'}: replace it"
            )
        if write and not is_folder and info.st_nlink > 1:
            raise Refused(f"{show(path)} has a second name (hard link): replace it by a copy of its own")


def _near(folder: Path) -> str:
    """What to do about a folder that is not there."""
    try:
        there = [
            name for name in os.listdir(folder.parent) if (folder.parent / name / "config.toml").is_file()
        ]
    except OSError:
        there = []
    here, parent = Path.cwd(), folder.parent
    parent = parent.relative_to(here) if parent.is_relative_to(here) else parent
    near = difflib.get_close_matches(folder.name, there, 1)
    if near:
        return f"did you mean {show(parent / near[0])}?"
    return "give a folder that `heatbath learn` made" + (
        f", like {show(parent / max(there))}" if there else ""
    )


def check_free(path: Path) -> None:
    """Raises Refused unless a new folder can be made at `path`; nothing is touched."""
    if len(os.fsencode(path.name)) > 200:
        raise Refused(f"the name {show(path)} is too long: choose another --out, at most 200 bytes")
    if os.path.lexists(path):
        run = (path / "config.toml").is_file()
        resume = f", or `heatbath resume {show(path)}`" if run else ""
        raise Refused(f"{show(path)} exists already: choose another --out{resume}")
    above = next((parent for parent in path.absolute().parents if os.path.lexists(parent)), Path("/"))
    why = "" if os.access(above, os.W_OK | os.X_OK) else "read-only"
    if not above.is_dir():
        why = "a file exists"
    if why:
        raise Refused(f"cannot make the folder {show(path)}: {why}, {show(above)}; choose another --out")


def lock_config(config: Path) -> int:
    """The descriptor of config.toml, locked until it is closed or the process ends. Raises Refused."""
    try:
        fd = os.open(config, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        raise Refused(f"cannot write {show(config)}: {error.strerror}; check its permissions") from error
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if not os.path.samestat(os.fstat(fd), os.stat(config)):
            raise BlockingIOError
    except OSError as error:
        os.close(fd)
        why = "already running in another process: wait for it, or stop it first"
        if not isinstance(error, BlockingIOError):
            why = f"on a disk that cannot lock files ({error.strerror}): choose another one"
        raise Refused(f"{show(config.parent)} is {why}") from error
    return fd


def remove_stale(target: Path) -> None:
    """Remove what killed processes left of building `target`."""
    prefix = f".{target.name}."
    for name in os.listdir(target.parent):
        pid = name.removeprefix(prefix)
        if name.startswith(prefix) and pid.isdecimal() and not _alive(int(pid)):
            shutil.rmtree(target.with_name(name), ignore_errors=True)


def _alive(pid: int) -> bool:
    """Whether another process has this number: our own means that a dead one had it before."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return pid != os.getpid()
