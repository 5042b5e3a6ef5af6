"""`heatbath run`: repeat a run from its config.toml."""

import tomllib
from pathlib import Path

import click

from heatbath.cli.answer import common
from heatbath.cli.learn import load_problem
from heatbath.data.text import quoted
from heatbath.errors import Refused
from heatbath.learning.problem import Problem
from heatbath.learning.settings import Settings
from heatbath.store import RunFolder, next_run_name


@click.command("run", short_help="Repeat a run from its config.toml, bit for bit.")
@click.argument("config", type=Path)
@click.option("--out", type=Path, help="Run folder. [default: runs/NAME-001, next free number]")
@common
def command(config: Path, out: Path | None, as_json: bool, quiet: bool) -> int:
    """Repeat the run that CONFIG, a config.toml, describes.

    The data are taken from the run folder CONFIG lies in, else from where CONFIG says they were; they must be the same numbers.
    """
    values = read(config)
    problem = data_of(config, values)
    settings = Settings.from_config(values)
    path = next_run_name("runs", problem.name) if out is None else out
    if path.exists():
        raise Refused(f"{path} exists already: choose another --out")
    from heatbath.cli import sampling

    sampling.prepare()
    folder = sampling.new_folder(path, problem, settings)
    return sampling.complete(folder, as_json=as_json, quiet=quiet, by_hand=True)


def read(config: Path) -> dict:
    try:
        values = tomllib.loads(config.read_text(encoding="utf-8"))
    except OSError as error:
        raise Refused(f"cannot read {quoted(str(config), 90)}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Refused(f"{quoted(str(config), 90)} is not TOML: {str(error)[:120]}") from error
    if values.get("task") != "regression" or not {"source", "sha256", "targets"} <= set(values.get("data", {})):
        raise Refused(f"{quoted(str(config), 90)} does not describe a run: give the config.toml of a run folder")
    return values


def data_of(config: Path, values: dict) -> Problem:
    """From the run folder beside the config, else from the source it names; the hash must agree."""
    if (config.parent / "data.npz").is_file() and (config.parent / "journal.jsonl").is_file():
        from heatbath.learning.fit import stored_problem

        return stored_problem(RunFolder.open(config.parent))
    problem = load_problem(values["data"]["source"], ",".join(values["data"]["targets"]))
    if problem.sha256 != values["data"]["sha256"]:
        raise Refused(f"{quoted(problem.source, 90)} has changed since {config} was written: the numbers differ")
    return problem
