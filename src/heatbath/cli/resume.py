"""`heatbath resume`: go on with a run."""

from dataclasses import replace
from pathlib import Path

import click

from heatbath.cli.answer import common
from heatbath.errors import Refused
from heatbath.learning.settings import Settings
from heatbath.store import RunFolder


@click.command("resume", short_help="Go on with an interrupted run, or give a finished one more steps.")
@click.argument("run", type=Path)
@click.option("--more", type=int, help="Steps beyond those asked for so far. [default: 0, finish what was asked]")
@common
def command(run: Path, more: int | None, as_json: bool, quiet: bool) -> int:
    """Take RUN to the number of steps asked for; what comes out is what an undisturbed run gives."""
    if more is not None and more < 1:
        raise Refused(f"--more {more}: give a whole number of steps, at least 1")
    folder = RunFolder.open(run, write=True)
    if folder.config.get("task") != "regression":
        raise Refused(f"{run} is a run of another model: it was not made by `heatbath learn`")
    settings = Settings.from_config(folder.config)
    if more is not None:
        settings = replace(settings, steps=settings.steps + more)
        folder.set_config({**folder.config, **settings.to_config()})
    from heatbath.cli import sampling

    sampling.prepare()
    return sampling.complete(folder, as_json=as_json, quiet=quiet, by_hand=more is not None)
