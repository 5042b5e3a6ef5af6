"""The papers there are, the job of reproducing one, and what comes out. No JAX."""

import ast
import importlib
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from heatbath.data.text import nearest, quoted
from heatbath.errors import Refused
from heatbath.papers.claims import Claim

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from heatbath.core import Progress

FOLDER = Path(__file__).parent


@dataclass(frozen=True)
class Job:
    """How a paper is reproduced. ``smoke``: in seconds, with the errors that this leaves."""

    smoke: bool = False
    seed: int = 0
    quiet: bool = True

    def either(self, full: Any, smoke: Any) -> Any:
        """The one or the other."""
        return smoke if self.smoke else full

    def key(self, part: int) -> int:
        """The seed of part ``part`` of the job, for `simulate` and NumPy alike."""
        return int(np.random.SeedSequence([self.seed, part]).generate_state(1)[0])

    def progress(self, label: str) -> "Progress | bool":
        """For `simulate`; nothing where the job is quiet."""
        from heatbath.core import Progress

        return False if self.quiet else Progress(label)

    def say(self, text: str) -> None:
        """A line on standard error at the start of what takes longer than two seconds."""
        if not self.quiet:
            print(f"{text} ...", file=sys.stderr, flush=True)


@dataclass(frozen=True)
class Reproduction:
    """Claims in the order of the paper; ``figures`` by file name; ``data``: which data they rest on."""

    claims: Sequence[Claim]
    figures: Mapping[str, "Figure"] = field(default_factory=dict)
    data: str = "none: made by the simulation"

    @property
    def failed(self) -> bool:
        return any(claim.verdict == "fails" for claim in self.claims)


@dataclass(frozen=True)
class Paper:
    """A file of this folder: ``id`` is its name with hyphens, ``title`` the first line of its docstring."""

    id: str
    title: str

    def reproduce(self, job: Job) -> Reproduction:
        """Runs ``reproduce(job)`` of the paper's file. JAX's 64-bit numbers must be on."""
        return importlib.import_module(f"heatbath.papers.{self.id.replace('-', '_')}").reproduce(job)


def papers() -> dict[str, Paper]:
    """The papers by id, sorted: the files of this folder that define ``reproduce``, read and not imported."""
    found = map(_paper, sorted(FOLDER.glob("*.py")))
    return {paper.id: paper for paper in found if paper is not None}


def find(name: str) -> Paper:
    """The paper of this id, or of the only one that begins with these authors: ``prigogine``.

    Raises `Refused`, with the nearest, where there is none.
    """
    known = papers()
    by_author = [one for one in known if one.startswith(f"{name}-")]
    if len(by_author) == 1:
        return known[by_author[0]]
    if name not in known:
        near = nearest(name, known)
        advice = f"did you mean {near[0]}?" if near else "`heatbath reproduce --list` shows them"
        raise Refused(f"no paper {quoted(name)}; {advice}")
    return known[name]


def _paper(path: Path) -> Paper | None:
    module = ast.parse(path.read_text(encoding="utf-8"))
    if not any(isinstance(part, ast.FunctionDef) and part.name == "reproduce" for part in module.body):
        return None
    text = ast.get_docstring(module) or ""
    return Paper(path.stem.replace("_", "-"), text.partition("\n")[0].rstrip("."))
