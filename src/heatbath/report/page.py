"""The page around the figures: HTML without scripts, without the network, without a clock."""

import math
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

import numpy as np

from heatbath.learning.diagnose import ESS_LIMIT, RHAT_LIMIT, RHAT_SHARE_LIMIT, Diagnosis
from heatbath.learning.draws import Draws
from heatbath.learning.settings import CLASSIFICATION, Settings
from heatbath.report.story import Section

MOST_NAMES = 30

CSS = """
:root { --ink: #1b2430; --soft: #5a6472; --line: #dfe3e8; --paper: #ffffff; --back: #f4f6f8; }
* { box-sizing: border-box; }
body { margin: 0; background: var(--back); color: var(--ink);
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", "Helvetica Neue", "DejaVu Sans", sans-serif; }
main { max-width: 62rem; margin: 2rem auto; padding: 2.5rem 3rem; background: var(--paper);
  border: 1px solid var(--line); border-radius: 8px; }
h1 { font-size: 1.9rem; line-height: 1.2; margin: 0; overflow-wrap: anywhere; }
h2 { font-size: 1.25rem; margin: 3rem 0 .4rem; }
.kind, .found, .more { color: var(--soft); }
.kind { margin: 0 0 .2rem; font-size: .8rem; letter-spacing: .06em; text-transform: uppercase; }
.verdict { margin: 1.5rem 0; padding: 1rem 1.3rem; border-left: 6px solid; border-radius: 4px; }
.verdict strong { display: block; font-size: 1.15rem; }
.good { background: #e8f5ef; border-color: #009e73; }
.bad { background: #fdf3e1; border-color: #e69f00; }
table { border-collapse: collapse; width: 100%; font-size: .93rem; font-variant-numeric: tabular-nums; }
th, td { text-align: left; vertical-align: top; padding: .38rem .6rem .38rem 0;
  border-bottom: 1px solid var(--line); overflow-wrap: anywhere; }
th { font-weight: 500; color: var(--soft); width: 15rem; }
pre { background: var(--back); border: 1px solid var(--line); border-radius: 4px; padding: .7rem 1rem;
  overflow-x: auto; font: .88rem/1.5 ui-monospace, "DejaVu Sans Mono", monospace; }
.pair { display: grid; grid-template-columns: 1fr 1fr; gap: 0 3rem; align-items: start; }
.pair table { font-size: .85rem; }
.pair th { width: 10rem; }
figure { margin: .8rem 0 0; }
figure svg { display: block; width: 100%; height: auto; }
figcaption { margin: .2rem 0 .6rem; }
.found { margin: 0; font-size: .88rem; }
@media (max-width: 50rem) { .pair { display: block; }
  main { margin: 0; padding: 1.2rem; border: 0; } th { width: 9rem; } }
@media print {
  body { background: none; font-size: 10pt; }
  main { max-width: none; margin: 0; padding: 0; border: 0; }
  section { break-inside: avoid; }
  .verdict { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
}
"""

PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<title>{title} - heatbath</title>
<style>{css}</style>
</head>
<body>
<main>
<header>
<p class="kind">heatbath: a Bayesian neural network, learned in a heat bath</p>
<h1>{title}</h1>
</header>
<div class="verdict {colour}"><strong>{headline}</strong>{facts}</div>
{numbers}
<p>Predict new rows (RUN is the folder this report lies in; NEW.csv has the columns of the inputs):</p>
<pre>heatbath predict RUN NEW.csv</pre>
{figures}
<section>
<h2>How it was made</h2>
<p>The same versions on the same kind of processor repeat this run bit for bit, from the same data:</p>
<pre>heatbath run RUN/config.toml</pre>
<div class="pair">
{asked}
{found}
</div>
</section>
</main>
</body>
</html>
"""


def page(
    config: Mapping[str, Any],
    environment: Mapping[str, Any],
    done: Mapping[str, int],
    draws: Draws,
    diagnosis: Diagnosis,
    parts: Sequence[Section],
    drawn: Mapping[str, str],
) -> str:
    """The whole page. ``done``: finished steps of each phase; ``drawn``: the SVG of each of ``parts``."""
    headline, _, facts = diagnosis.verdict().partition(": ")
    return PAGE.format(
        css=CSS,
        policy="default-src 'none'; style-src 'unsafe-inline'; img-src data:",
        title=_text(config["data"]["name"]),
        colour="good" if diagnosis.at_equilibrium else "bad",
        headline=_text(headline[:1].upper() + headline[1:]),
        facts=_text(facts),
        numbers=_table(_numbers(config, done, draws, diagnosis)),
        figures="\n".join(_figure(i, part, drawn[part.name]) for i, part in enumerate(parts, 1)),
        asked=_table(_asked(config)),
        found=_table((name.replace("_", " "), str(value)) for name, value in environment.items()),
    )


def _numbers(
    config: Mapping[str, Any], done: Mapping[str, int], draws: Draws, diagnosis: Diagnosis
) -> Iterable[tuple[str, str]]:
    settings, data = Settings.from_config(config), config["data"]
    yield "Data", f"{data['rows']:,} rows"
    yield "Inputs", _names(data["inputs"])
    yield "Targets", _names(data["targets"])
    yield (
        "Hidden layers",
        f"{len(settings.hidden)}, of {', '.join(map(str, settings.hidden))} {settings.activation} units",
    )
    yield "Dynamics", _dynamics(settings, data["rows"])
    alive = draws.shape[0]
    yield (
        "Replicas",
        f"{settings.replicas}" + (f", {alive} of them alive" if alive < settings.replicas else ""),
    )
    unfinished = (
        f" of {settings.steps:,} asked for: the run is not finished"
        if done["sample"] < settings.steps
        else ""
    )
    yield (
        "Steps",
        f"{done['anneal']:,} of annealing, {settings.equilibrate:,} of equilibration (thrown away), "
        f"{done['sample']:,} of sampling{unfinished}",
    )
    yield "Draws of the posterior", f"{draws.shape[0] * draws.shape[1]:,}"
    share = f"at {100 * diagnosis.rhat_share:.1f} % of the points"
    yield f"R-hat above {RHAT_LIMIT:g}", f"{share} (at most {100 * RHAT_SHARE_LIMIT:.0f} % wanted)"
    size = f"median {np.median(diagnosis.ess):,.0f}, smallest {diagnosis.ess.min():,.0f}"
    yield "Effective sample size", f"{size} (a median of {ESS_LIMIT} wanted)"
    if draws.classes:
        yield "Classes", _names(draws.classes)
        return
    noise = draws.noise * draws.standardisation.target_scale
    mean, spread = noise.mean(axis=(0, 1)), noise.std(axis=(0, 1))
    for name, value, sd in zip(data["targets"], mean, spread, strict=True):
        yield f"Noise of {name}", f"{value:.4g} ± {sd:.2g} (standard deviation, in the units of the table)"


def _dynamics(settings: Settings, rows: int) -> str:
    if not settings.batch:
        return f"{settings.dynamics}, all rows at every step"
    share = settings.heating(rows)
    heating = "" if math.isnan(share) else f" by about {100 * share:.0f} % at this step size"
    return (
        f"{settings.dynamics}, minibatches of {settings.batch:,} rows. Their noise heats "
        f"the stiffest direction{heating} (heatbath thermometer RUN measures every layer). The "
        "ledger is one of energies: heat and shadow work are not told apart"
    )


def _asked(config: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    """What was asked for, without the place where the data lay."""
    unused = ["noise_prior"] if config["task"] == CLASSIFICATION else []
    for table in ("model", "prior", "run"):
        for name, value in config.get(table, {}).items():
            if name in unused:
                continue
            values = value if isinstance(value, list) else [value]
            yield name.replace("_", " "), ", ".join(map(str, values))


def _figure(number: int, part: Section, svg: str) -> str:
    named = svg.replace("<svg ", f'<svg role="img" aria-label="{_text(part.title)}" ', 1)
    return (
        f"<section>\n<h2>{number}. {_text(part.title)}</h2>\n"
        f"<figure>\n{named}<figcaption>{_text(part.expect)}</figcaption>\n</figure>\n"
        f'<p class="found">{_text(part.found)}</p>\n</section>'
    )


def _names(names: Sequence[str]) -> str:
    more = f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else ""
    return f"{len(names)}: {', '.join(names[:MOST_NAMES])}{more}"


def _table(rows: Iterable[tuple[str, str]]) -> str:
    lines = (f"<tr><th>{_text(name)}</th><td>{_text(value)}</td></tr>" for name, value in rows)
    return "<table>\n" + "\n".join(lines) + "\n</table>"


def _text(text: str) -> str:
    """Escaped, and without control characters."""
    return escape("".join(c if c.isprintable() else " " for c in text))
