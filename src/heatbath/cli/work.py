"""`heatbath work`: free energies from work values that were measured anywhere."""

import itertools
import math
import os
import sys
import textwrap
from dataclasses import dataclass, replace
from pathlib import Path

import click

from heatbath.cli.answer import CHECK_FAILED, answer, common
from heatbath.errors import Refused
from heatbath.estimate import Estimate, with_error

ONE_DIRECTION = "one direction only: give the work of reverse runs too"
TEXT = 76  # characters of a line of a reason
LARGE = 5_000_000  # bytes of files that take seconds


@click.command("work", short_help="Free energies from measured work, with a picture.")
@click.argument("forward", type=Path)
@click.argument("reverse", required=False, type=Path)
@click.option("--column", default="", help="Column of both files, or FORWARD's and REVERSE's: NAME,NAME.")
@click.option("--temperature", default=1.0, show_default=True, help="kT in the units of the work.")
@click.option("--negate-reverse", is_flag=True, help="REVERSE holds minus the work done on the system.")
@click.option(
    "--out", type=Path, help="The picture, .svg or .png. [default: FORWARD-work-001.svg, next free]"
)
@common
def command(
    forward: Path,
    reverse: Path | None,
    column: str,
    temperature: float,
    negate_reverse: bool,
    out: Path | None,
    as_json: bool,
    quiet: bool,
) -> int:
    """Estimate a free-energy difference from the work of runs that start in equilibrium.

    FORWARD and REVERSE are CSV files, one work value a row; they may be one file with two columns. REVERSE
    holds the work done ON the system in the reversed protocol. Delta F = F(end) - F(start), in kT.

    Exit code 3 where the answer cannot be relied on: no overlap, a sign that looks reversed, a rare tail that
    one direction alone has not sampled, Crooks' theorem broken.

    \b
    heatbath work pulled.csv released.csv --temperature 4.114
    heatbath work cycles.csv cycles.csv --column w_unfold,w_refold --negate-reverse
    """
    if not 1e-30 < temperature < 1e30:
        raise Refused(f"--temperature {temperature:g}: give kT in the units of the work, a positive number")
    if negate_reverse and reverse is None:
        raise Refused("--negate-reverse: there is no REVERSE; give its file")
    from heatbath.cli.out import check_out, write_out
    from heatbath.data import read_cycles, read_work

    path = picture(out, forward)
    check_out(path)
    first, second = columns(column, reverse)
    files = [file for file in dict.fromkeys((forward, reverse)) if file is not None]
    slow = not quiet and sum(file.stat().st_size for file in files if file.is_file()) > LARGE

    def say(what: str) -> None:
        if slow:
            print(f"{what} ...", file=sys.stderr, flush=True)

    say(f"reading {' and '.join(map(str, files))}")
    if reverse == forward and first != second:
        there, back = read_cycles(forward, first, second)
    else:
        there = read_work(forward, first)
        back = None if reverse is None else read_work(reverse, second)
    there = there / temperature
    if back is not None:
        back = (-back if negate_reverse else back) / temperature
    say("estimating")
    found = Found.of(there, back)
    say("drawing")
    write_out(path, found.drawn(there, back, path.suffix))
    result = {
        "forward": str(forward),
        "reverse": None if reverse is None else str(reverse),
        "temperature": temperature,
        "n_forward": len(there),
        "n_reverse": 0 if back is None else len(back),
        **found.to_dict(),
        "figure": str(path),
    }
    if found.complaint:
        result["exit"] = CHECK_FAILED
    answer(result, [*found.lines(), f"figure: {path}"], as_json=as_json, quiet=quiet)
    return CHECK_FAILED if found.complaint else 0


def picture(out: Path | None, forward: Path) -> Path:
    """Where the picture goes."""
    if out is None:
        names = (Path(f"{forward.stem}-work-{i:03d}.svg") for i in itertools.count(1))
        return next(path for path in names if not os.path.lexists(path))
    if out.suffix not in (".svg", ".png"):
        raise Refused(f"--out {str(out)!r:.100}: give a name that ends in .svg or .png")
    return out


def columns(column: str, reverse: Path | None) -> tuple[str, str]:
    """The columns of both files; empty where there is only one to choose."""
    names = [name.strip() for name in column.split(",")]
    if len(names) == 2 and reverse is None:
        raise Refused(f"--column {column!r:.100}: two names need REVERSE too; it may be the same file")
    if len(names) > 2 or (len(names) == 2 and not all(names)):
        raise Refused(f"--column {column!r:.100}: give one name, or one for each of FORWARD and REVERSE")
    return names[0], names[-1]


@dataclass(frozen=True)
class Found:
    """Estimates of the free-energy difference (kT) by their names in the answer, and what else is known;
    ``signs``: why a sign looks reversed, or empty."""

    estimates: dict[str, Estimate]
    slope: Estimate
    dissipated: Estimate
    best: str
    signs: str = ""

    @classmethod
    def of(cls, forward, reverse) -> "Found":
        """From work in kT, (n,) and (m,) or None."""
        from heatbath.free_energy import bar, check_signs, crooks, jarzynski, second_cumulant

        if reverse is None:
            missing = Estimate(math.nan, math.nan, reliable=False, reason=ONE_DIRECTION)
            one = {"jarzynski": jarzynski(forward), "cumulant": second_cumulant(forward)}
            return cls(dict.fromkeys(NAMES, missing) | one, missing, missing, "jarzynski")
        crossing = crooks(forward, reverse)
        signs = check_signs(forward, reverse)
        estimates = {
            "bar": bar(forward, reverse),
            "crooks": crossing.crossing,
            "jarzynski": jarzynski(forward),
            "jarzynski_reverse": turned(jarzynski(reverse)),
            "cumulant": second_cumulant(forward),
            "cumulant_reverse": turned(second_cumulant(reverse)),
        }
        return cls(estimates, crossing.slope, dissipated(forward, reverse, signs), "bar", signs)

    @property
    def complaint(self) -> str:
        """Why there is no answer to rely on; empty where there is one."""
        of_best = self.estimates[self.best].reason
        return self.signs or of_best or (self.slope.reason if self.best == "bar" else "")

    @property
    def verdict(self) -> str:
        if self.complaint:
            remedy = "; --negate-reverse changes that of REVERSE" * bool(self.signs)
            return f"not to be relied on: {self.complaint}{remedy}"
        return f"delta F = {self.estimates[self.best]} kT, by {NAMES[self.best]}"

    def to_dict(self) -> dict:
        found: dict = {name: estimate.to_dict() for name, estimate in self.estimates.items()}
        found["crooks"]["slope"] = self.slope.to_dict()
        return found | {"dissipated": self.dissipated.to_dict(), "verdict": self.verdict}

    def lines(self) -> list[str]:
        """A table for a reader: what was estimated, what is not reliable and why."""
        given = {NAMES[k]: x for k, x in self.estimates.items() if x.reason != ONE_DIRECTION}
        rows = dict(given)
        if self.best == "bar":
            rows |= {
                "slope of ln P_F/P_R (Crooks: 1)": self.slope,
                "dissipated, mean of both": self.dissipated,
            }
        whys: dict[str, list[str]] = {}
        for name, x in given.items():
            if x.reason and x.reason != self.complaint:
                whys.setdefault(x.reason, []).append(name)
        texts = [f"? {', '.join(names)}: {reason}" for reason, names in whys.items()]
        wrapped = [line for text in [*texts, self.verdict] for line in textwrap.wrap(text, TEXT)]
        return [f"{'delta F':<33}kT", *(f"{name:<33}{cell(x)}" for name, x in rows.items()), *wrapped]

    def drawn(self, forward, reverse, suffix: str) -> bytes:
        """The picture, as the bytes of its file."""
        import numpy as np

        from heatbath.plotting import png, svg
        from heatbath.plotting.work import work_histograms

        back = np.empty(0) if reverse is None else reverse
        figure = work_histograms(
            forward, back, self.estimates[self.best], self.estimates["crooks"], self.slope
        )
        return png(figure) if suffix == ".png" else svg(figure, "work").encode()


NAMES = {
    "bar": "Bennett's acceptance ratio",
    "crooks": "crossing (Crooks)",
    "jarzynski": "Jarzynski, forward",
    "jarzynski_reverse": "Jarzynski, reverse",
    "cumulant": "second cumulant, forward",
    "cumulant_reverse": "second cumulant, reverse",
}


def turned(estimate: Estimate) -> Estimate:
    """An estimate of F(start) - F(end) as one of F(end) - F(start)."""
    meaning = estimate.meaning.replace("upwards", "downwards")
    return replace(estimate, value=-estimate.value, meaning=meaning)


def dissipated(forward, reverse, signs: str) -> Estimate:
    """Dissipated work, mean of both directions (kT): no free energy is needed for it."""
    from heatbath.free_energy import hysteresis

    variance = sum(w.var(ddof=1) / len(w) if len(w) > 1 else math.inf for w in (forward, reverse))
    value = hysteresis(forward, reverse) / 2
    return Estimate(value, math.sqrt(variance) / 2, reliable=not signs, reason=signs)


def cell(estimate: Estimate) -> str:
    """The number, with a question mark where it is not reliable; a dash where it says nothing."""
    if not math.isfinite(estimate.std_error):
        return "-"
    return with_error(estimate.value, estimate.std_error) + "?" * (not estimate.reliable)
