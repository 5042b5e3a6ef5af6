"""The command line: one file per verb, imported when it is called."""

import importlib
import sys
from typing import Any

import click

from heatbath._version import __version__
from heatbath.cli.answer import prepare_streams, run_verb
from heatbath.errors import Refused

VERBS = {
    "learn": "Sample a Bayesian neural network on a table of data.",
    "predict": "Predict new rows with a finished run.",
    "report": "Write the report of a run: one self-contained HTML file.",
    "resume": "Go on with an interrupted run, or give a finished one more steps.",
    "run": "Repeat a run from its config.toml, bit for bit.",
    "thermometer": "Temperatures of a run, layer by layer, and what they say.",
    "work": "Free energies from measured work, with a picture.",
    "evidence": "Compare models of a table by their evidence.",
    "reproduce": "Repeat what a paper of the field claims, and compare.",
    "doctor": "Check versions, devices and the arithmetic of this installation.",
}


class Verbs(click.Group):
    """Subcommands in the order of `VERBS`, each imported from its own file when needed."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command:
        if cmd_name not in VERBS:
            from heatbath.data.text import nearest, quoted  # they bring NumPy

            near = nearest(cmd_name, VERBS)
            advice = f"did you mean {near[0]}?" if near else f"choose one of {', '.join(VERBS)}"
            raise Refused(f"no verb {quoted(cmd_name)}; {advice}")
        return importlib.import_module(f"heatbath.cli.{cmd_name}").command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(VERBS.items()))


@click.group(cls=Verbs, invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="heatbath")
@click.pass_context
def group(context: click.Context) -> None:
    """Learning as relaxation in a heat bath.

    Start with: heatbath learn robot-arm
    """
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


def main(args: list[str] | None = None) -> Any:
    """Entry point of the console script."""
    prepare_streams()
    sys.exit(run_verb(group, args))
