"""`heatbath report`: one self-contained HTML file."""

import os
from pathlib import Path

import click

from heatbath.cli.answer import answer, common
from heatbath.errors import Refused
from heatbath.learning.diagnose import diagnose
from heatbath.learning.draws import read_draws
from heatbath.learning.unfamiliar import auroc_of_training
from heatbath.store import RunFolder
from heatbath.store.files import show


@click.command("report", short_help="Write the report of a run: one self-contained HTML file.")
@click.argument("run", type=Path)
@common
def command(run: Path, as_json: bool, quiet: bool) -> int:
    """Write RUN/report.html: the learning as thermodynamics, figure by figure. Works while the run runs."""
    folder = RunFolder.open(run)
    draws = read_draws(folder)
    if not os.access(folder.path, os.W_OK):
        raise Refused(
            f"cannot write into {show(folder.path)}: it is read-only; copy the run, report on the copy"
        )
    from heatbath.report import write_report

    data = folder.data()
    diagnosis = diagnose(draws, data["inputs"])
    path = write_report(folder, draws, diagnosis)
    strange = auroc_of_training(draws, data)
    more = {"unfamiliar_auroc": strange.value} if strange else {}
    answer(
        {"run": str(folder.path), "report": str(path), **diagnosis.summary(), **more},
        [diagnosis.verdict(), f"report: {path}"],
        as_json=as_json,
        quiet=quiet,
    )
    return 0
