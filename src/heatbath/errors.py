"""What can go wrong, said in one line each: what, why, what to do.

The command line prints the message after ``error: `` and exits with ``exit_code``. No JAX here.
"""


class HeatbathError(Exception):
    """Base of all errors that are addressed to the user."""

    exit_code = 2


class Refused(HeatbathError):
    """Bad request, unusable input or folder: refused before anything was touched (exit code 2)."""

    exit_code = 2


class Stopped(HeatbathError):
    """A run stopped by itself (diverged, disk full) or damaged beyond its last good block (exit code 4)."""

    exit_code = 4


class Interrupted(HeatbathError):
    """Ctrl-C or SIGTERM: the run was saved and can be resumed (exit code 130)."""

    exit_code = 130
