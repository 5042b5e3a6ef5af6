"""`Claim`: a sentence of a paper, its number, ours, and the verdict computed from the two. No JAX."""

import math
from dataclasses import dataclass, field
from typing import Any, Literal

from heatbath.estimate import Estimate, with_error

Verdict = Literal["holds", "fails", "not run"]
Comparison = Literal["equal", "at least", "at most"]

LIMIT = 4.5
"""Standard errors: a true claim of equality fails with probability 7e-6, one of inequality with 3e-6."""

RESOLVED = 0.1
"""A standard error above this share of the claim's ``scale`` decides nothing."""


@dataclass(frozen=True)
class Claim:
    """``text`` says in our words what the paper claims; ``published`` is its number.

    ``ours``: our number, or None where it was not measured (``reason`` says why). ``comparison``: "equal"
    holds within ``allowed`` + 4.5 standard errors; "at least" and "at most" hold where ours is on that side
    of ``published`` by 4.5 standard errors, ``allowed`` forgiven. ``allowed``: a systematic difference that
    must be there, argued where the claim is made (a step size, digits printed). ``scale``: the size of what
    is compared, |published| unless given; an equality whose standard error is above a tenth of it is not
    decided. ``source``: "printed" (a number of the paper), "derived" (a formula of it, evaluated) or "stated"
    (in words).
    """

    text: str
    published: float
    ours: Estimate | None
    comparison: Comparison = "equal"
    allowed: float = field(default=0.0, kw_only=True)
    scale: float | None = field(default=None, kw_only=True)
    source: Literal["printed", "derived", "stated"] = field(default="derived", kw_only=True)
    reason: str = field(default="", kw_only=True)

    def __post_init__(self):
        if self.ours is None and not self.reason:
            raise ValueError(f"{self.text!r} was not measured: it needs a reason")

    @property
    def undecided(self) -> str:
        """Why there is no verdict; empty where there is one."""
        if self.ours is None:
            return self.reason
        if not self.ours.reliable:
            return self.ours.reason
        scale = abs(self.published) if self.scale is None else self.scale
        if self.comparison == "equal" and self.ours.std_error > RESOLVED * scale:
            return f"standard error {self.ours.std_error:.2g} is too large for a difference of {scale:.2g}"
        return ""

    @property
    def verdict(self) -> Verdict:
        """A number that is not finite fails."""
        if self.ours is None or self.undecided:
            return "not run"
        away, slack = self.ours.value - self.published, LIMIT * self.ours.std_error
        holds = {
            "equal": abs(away) <= self.allowed + slack,
            "at least": away - slack >= -self.allowed,
            "at most": away + slack <= self.allowed,
        }[self.comparison]
        return "holds" if holds else "fails"

    def to_dict(self) -> dict[str, Any]:
        """For JSON: what is not finite, or was not measured, is None."""
        ours = (self.ours or Estimate(math.nan, math.nan)).to_dict()
        return {
            "text": self.text,
            "published": self.published,
            "ours": ours["value"],
            "std_error": ours["std_error"],
            "verdict": self.verdict,
            "comparison": self.comparison,
            "allowed": self.allowed,
            "source": self.source,
            "reason": self.undecided,
        }

    def cells(self) -> tuple[str, str, str]:
        """Published, ours and the verdict, for a reader."""
        sign = {"equal": "", "at least": ">= ", "at most": "<= "}[self.comparison]
        ours = "-" if self.ours is None else with_error(self.ours.value, self.ours.std_error)
        return f"{sign}{self.published:.6g}", ours, self.verdict


def exactly(value: float) -> Estimate:
    """A number without statistical error: a formula evaluated, an integral."""
    return Estimate(float(value), 0.0)
