"""How every verb answers: exit codes, one line for an error, one JSON object on standard output."""

import json
import math
import os
import signal
import sys
from typing import Any

import click

from heatbath.errors import HeatbathError, Interrupted

LONGEST = 300
CHECK_FAILED = 3


def run_verb(group: click.Group, args: list[str] | None) -> int:
    """Run a verb; its exit code. Errors become one line on standard error (and JSON, where asked for)."""
    arguments = sys.argv[1:] if args is None else args
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        return group.main(arguments, prog_name="heatbath", standalone_mode=False) or 0
    except click.exceptions.Exit as stop:
        return stop.exit_code
    except HeatbathError as error:
        return fail(str(error), error.exit_code, arguments)
    except click.ClickException as error:
        return fail(error.format_message(), 2, arguments)
    except (KeyboardInterrupt, click.Abort):
        return fail("interrupted", Interrupted.exit_code, arguments)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except MemoryError:
        return fail("out of memory: ask for fewer replicas, units or rows", 4, arguments)


def fail(message: str, code: int, arguments: list[str]) -> int:
    line = " ".join(message.split())
    line = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in line)
    line = line if len(line) <= LONGEST - 7 else line[: LONGEST - 10] + "..."
    print(f"error: {line}", file=sys.stderr)
    if "--json" in arguments:
        print(json.dumps({"error": line, "exit": code}))
    return code


def answer(result: dict[str, Any], lines: list[str], *, as_json: bool, quiet: bool = False) -> None:
    """Print the result: one JSON object, or the lines for a reader."""
    if as_json:
        print(json.dumps(_plain(result)))
    elif not quiet:
        for line in lines:
            print(line)


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
