"""`heatbath resume`: go on with a run."""

from dataclasses import replace
from pathlib import Path

import click

from heatbath.cli import comparison
from heatbath.cli.answer import common
from heatbath.errors import Refused
from heatbath.learning.settings import Settings, check_config
from heatbath.store import RunFolder


@click.command("resume", short_help="Go on with an interrupted run, or give a finished one more steps.")
@click.argument("run", type=Path)
@click.option(
    "--more", type=int, help="Steps beyond those asked for so far. [default: 0, finish what was asked]"
)
@common
def command(run: Path, more: int | None, as_json: bool, quiet: bool) -> int:
    """Take RUN to the number of steps asked for; what comes out is what an undisturbed run gives."""
    if more is not None and more < 1:
        raise Refused(f"--more {more}: give a whole number of steps, at least 1")
    from heatbath.cli import sampling

    with sampling.resumable(run), RunFolder.open(run, write=True) as folder:
        if "evidence" in folder.config:
            if more is not None:
                raise Refused("--more is for runs of learn: give `heatbath evidence` more --steps")
            return comparison.resume(folder, as_json=as_json, quiet=quiet)
        check_config(folder.config)
        settings = Settings.from_config(folder.config)
        if more is not None:
            longer = replace(settings, steps=settings.steps + more, steps_by_hand=True)
            if folder.steps("sample") == settings.steps:
                folder.reopen("sample")
            folder.set_config({**folder.config, **longer.to_config()})
        sampling.prepare()
        return sampling.complete(folder, as_json=as_json, quiet=quiet)
