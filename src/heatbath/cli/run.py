"""`heatbath run`: repeat a run from its config.toml."""

import tomllib
from pathlib import Path

import click

from heatbath.cli import comparison
from heatbath.cli.answer import common
from heatbath.cli.comparison import Comparison
from heatbath.cli.learn import load_problem
from heatbath.data import find
from heatbath.data.text import quoted
from heatbath.errors import Refused
from heatbath.learning.problem import Problem, stored_problem
from heatbath.learning.settings import Settings, check_config, settings_of_evidence
from heatbath.store import RunFolder, check_free, next_run_name
from heatbath.store.files import open_plain, show
from heatbath.store.layout import LARGEST_TEXT


@click.command("run", short_help="Repeat a run from its config.toml, bit for bit.")
@click.argument("config", type=Path)
@click.option("--out", type=Path, help="Run folder. [default: runs/NAME-001, next free number]")
@common
def command(config: Path, out: Path | None, as_json: bool, quiet: bool) -> int:
    """Repeat the run that CONFIG, a config.toml, describes.

    The data are taken from the run folder CONFIG lies in, else from where CONFIG says they were; they must
    be the same numbers.
    """
    values = read(config)
    compares = "evidence" in values
    models = settings_of_evidence(values) if compares else (Settings.from_config(values),)
    name = values["data"]["name"]
    path = next_run_name("runs", f"{name}-evidence" if compares else name) if out is None else out
    check_free(path)
    problem = data_of(config, values)
    if compares:
        return comparison.begin(Comparison(problem, models, path), as_json=as_json, quiet=quiet)
    models[0].check_rows(len(problem.inputs))
    from heatbath.cli import sampling

    return sampling.begin(path, problem, models[0], as_json=as_json, quiet=quiet)


def read(config: Path) -> dict:
    name = quoted(str(config), 90)
    try:
        with open_plain(config.resolve(), LARGEST_TEXT) as file:
            values = tomllib.loads(file.read().decode())
    except OSError as error:
        raise Refused(
            f"cannot read {name}: {error.strerror}; give the config.toml of a run folder"
        ) from error
    except (ValueError, RecursionError) as error:
        raise Refused(f"{name} is not TOML: {error!s:.120}; give the config.toml of a run folder") from error
    if "evidence" not in values:
        check_config(values)
    return values


def data_of(config: Path, values: dict) -> Problem:
    """From the run folder beside the config, else from the source it names; the hash must agree."""
    if (config.parent / "data.npz").is_file() and (config.parent / "journal.jsonl").is_file():
        folder = RunFolder.open(config.parent)
        if folder.config.get("data") != values["data"]:
            raise Refused(f"[data] of {show(config)} is not that of the run it lies in: move it elsewhere")
        return stored_problem(folder)
    names = values["data"]
    problem = load_problem(find(names["source"]), names["targets"], values["task"], names.get("outliers", ""))
    if problem.sha256 != values["data"]["sha256"]:
        raise Refused(
            f"{quoted(problem.source, 90)} has changed since {config} was written: the numbers differ"
        )
    return problem
