"""`heatbath reproduce`: what a paper claims, and what we find."""

import textwrap
import time
from pathlib import Path

import click

from heatbath.cli.answer import CHECK_FAILED, answer, common, json_file
from heatbath.cli.sampling import prepare
from heatbath.errors import Refused, Stopped
from heatbath.papers import Job, Paper, Reproduction, find, papers
from heatbath.store import check_free, next_run_name
from heatbath.store.files import show, write_new

SEEDS = 2**32
TEXT = 76  # characters of a line of a claim


@click.command("reproduce", short_help="Repeat what a paper of the field claims, and compare.")
@click.argument("paper", required=False, metavar="ID")
@click.option("--list", "as_list", is_flag=True, help="List the papers there are.")
@click.option("--smoke", is_flag=True, help="In seconds, with the larger errors that this leaves.")
@click.option("--seed", default=0, show_default=True, help="Seed of the random numbers.")
@click.option("--out", type=Path, help="Folder of the figures. [default: runs/reproduce-ID-001, next free]")
@common
def command(
    paper: str | None, as_list: bool, smoke: bool, seed: int, out: Path | None, as_json: bool, quiet: bool
) -> int:
    """Repeat what the paper ID claims: its numbers beside ours, with a verdict, and its figures.

    Exit code 3 where a claim fails.
    """
    if as_list:
        known = [{"id": one.id, "title": one.title} for one in papers().values()]
        lines = [f"{one['id']:<32}{one['title']}" for one in known]
        answer({"papers": known}, lines, as_json=as_json, quiet=quiet)
        return 0
    if paper is None:
        raise Refused("which paper? give an ID; `heatbath reproduce --list` lists them")
    chosen = find(paper)
    if not 0 <= seed < SEEDS:
        raise Refused(f"--seed {seed}: give a whole number from 0 to {SEEDS - 1}")
    path = next_run_name("runs", f"reproduce-{chosen.id}") if out is None else out
    check_free(path)
    prepare()
    began = time.perf_counter()
    found = chosen.reproduce(Job(smoke, seed, quiet))
    result = {
        "id": chosen.id,
        "claims": [claim.to_dict() for claim in found.claims],
        "figures": write(path, chosen, found),
        "data": found.data,
        "seed": seed,
        "smoke": smoke,
        "seconds": round(time.perf_counter() - began, 1),
    }
    if found.failed:
        result["exit"] = CHECK_FAILED
    answer(result, [chosen.title, *table(found, path)], as_json=as_json, quiet=quiet)
    return CHECK_FAILED if found.failed else 0


def write(path: Path, paper: Paper, found: Reproduction) -> list[str]:
    """The figures and claims.json, in a new folder; the figures' paths. Raises `Stopped` where it cannot."""
    from heatbath.plotting import svg

    claims = {"id": paper.id, "data": found.data, "claims": [claim.to_dict() for claim in found.claims]}
    try:
        path.mkdir(parents=True)
        write_new(path / "claims.json", json_file(claims))
        for name, figure in found.figures.items():
            write_new(path / f"{name}.svg", svg(figure, name).encode())
    except OSError as error:
        raise Stopped(f"cannot write {show(path)}: {error.strerror}; choose another --out") from error
    return [str(path / f"{name}.svg") for name in found.figures]


def table(found: Reproduction, path: Path) -> list[str]:
    """The claims with published, ours and verdict; where there is none, why; the data and the folder."""
    lines = ["", f"{'published':<14}{'ours':<20}{'verdict':<9}claim"]
    for claim in found.claims:
        text = claim.text + (f" ({claim.undecided})" if claim.undecided else "")
        first, *rest = textwrap.wrap(text, TEXT)
        published, ours, verdict = claim.cells()
        lines += [f"{published:<14}{ours:<20}{verdict:<9}{first}", *(" " * 43 + line for line in rest)]
    names = ", ".join(f"{name}.svg" for name in found.figures) or "no figures"
    return [*lines, "", f"data: {found.data}", f"{show(path)}: claims.json, {names}"]
