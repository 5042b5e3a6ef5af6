"""How every verb answers: exit codes, one line for an error, one JSON object on standard output."""

import json
import math
import os
import signal
import sys
from typing import Any

import click

from heatbath.errors import HeatbathError, Interrupted, Stopped

LONGEST = 300
CHECK_FAILED = 3


def run_verb(group: click.Group, args: list[str] | None) -> int:
    """Run a verb; its exit code. Errors become one line on standard error (and JSON, where asked for)."""
    arguments = sys.argv[1:] if args is None else args
    try:
        with group.make_context("heatbath", list(arguments)) as context:
            return group.invoke(context) or 0
    except click.exceptions.Exit as stop:
        return stop.exit_code
    except HeatbathError as error:
        return fail(str(error), error.exit_code, arguments)
    except click.UsageError as error:
        verb = error.ctx.command_path if error.ctx else "heatbath"
        return fail(f"{error.format_message().rstrip('.?')}; see {verb} --help", 2, arguments)
    except KeyboardInterrupt:
        return fail("interrupted; nothing was written", Interrupted.exit_code, arguments)
    except BrokenPipeError:
        _silence(sys.stdout)
        return 0
    except MemoryError:
        return fail("out of memory: ask for fewer replicas, units or rows", Stopped.exit_code, arguments)
    except OSError as error:
        return fail(f"{error}; check disk, path and permissions", Stopped.exit_code, arguments)
    except RuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        return fail("out of memory: ask for fewer replicas, units or rows", Stopped.exit_code, arguments)


def prepare_streams() -> None:
    """Standard streams that are closed become /dev/null, before a file takes their number; names that a
    terminal cannot show are escaped; SIGTERM is treated as Ctrl-C."""
    while (free := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(free)
    sys.stdout = sys.stdout or open(os.devnull, "w")
    sys.stderr = sys.stderr or open(os.devnull, "w")
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    for number in (signal.SIGTERM, signal.SIGALRM):
        signal.signal(number, signal.default_int_handler)
    sys.unraisablehook = _not_lost


def _not_lost(unraisable: Any) -> None:
    """A Ctrl-C that fell into a callback, where Python drops it (JAX has one in the garbage collection), is
    raised again a moment later."""
    if unraisable.exc_type is KeyboardInterrupt:
        signal.setitimer(signal.ITIMER_REAL, 0.02)
    else:
        sys.__unraisablehook__(unraisable)


def leave() -> None:
    """After an interrupt was noticed: further ones are ignored, so that the way out is not cut short."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGALRM):
        signal.signal(number, signal.SIG_IGN)


def fail(message: str, code: int, arguments: list[str]) -> int:
    if code == Interrupted.exit_code:
        leave()
    line = " ".join(message.split())
    line = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in line)
    line = line if len(line) <= LONGEST - 7 else line[: LONGEST - 10] + "..."
    _write(f"error: {line}", sys.stderr)
    if "--json" in arguments:
        _write(json.dumps({"error": line, "exit": code}), sys.stdout)
    return code


def answer(result: dict[str, Any], lines: list[str], *, as_json: bool, quiet: bool = False) -> None:
    """Print the result: one JSON object, or the lines for a reader. Raises `Stopped` where they cannot be
    written; a reader who has gone is none of our business."""
    text = json.dumps(_plain(result)) if as_json else "" if quiet else "\n".join(lines)
    problem = _write(text, sys.stdout) if text else None
    if problem is not None and not isinstance(problem, BrokenPipeError):
        raise Stopped(f"cannot write the answer to standard output: {problem.strerror}")


def _write(text: str, stream: Any) -> OSError | None:
    try:
        print(text, file=stream, flush=True)
    except OSError as error:
        _silence(stream)
        return error
    return None


def _silence(stream: Any) -> None:
    """Drop what the stream still holds, so that the interpreter's exit does not complain."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def json_file(value: Any) -> bytes:
    """What a file of JSON holds: no NaN, which strict readers refuse."""
    return (json.dumps(_plain(value), indent=1) + "\n").encode()


def _plain(value: Any) -> Any:
    """JSON has no NaN or infinity: they become null."""
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def common(command: Any) -> Any:
    """The options every verb has."""
    command = click.option("--quiet", is_flag=True, help="Show no progress and no summary.")(command)
    return click.option("--json", "as_json", is_flag=True, help="Print one JSON object and nothing else.")(
        command
    )
