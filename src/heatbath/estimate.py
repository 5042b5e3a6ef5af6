"""`Estimate`: every number the program reports. Plain NumPy; no JAX here."""

import math
import sys
from dataclasses import dataclass


@dataclass(frozen=True)
class Estimate:
    """A value with its standard error, effective sample size, and whether it can be relied on.

    ``reason`` says in one sentence why not, where ``reliable`` is False; ``meaning``, where it is given, what
    the number says to a reader. Prints as ``0.3465(12)``.
    """

    value: float
    std_error: float
    ess: float = math.nan
    reliable: bool = True
    reason: str = ""
    meaning: str = ""

    def __post_init__(self):
        if not self.reliable and not self.reason:
            raise ValueError("an unreliable estimate needs a reason")

    def __str__(self) -> str:
        text = with_error(self.value, self.std_error)
        return text if self.reliable else f"{text} (not reliable: {self.reason})"

    def to_dict(self) -> dict:
        """For JSON: NaN and infinities become None."""

        def number(x: float) -> float | None:
            return float(x) if math.isfinite(x) else None

        return {
            "value": number(self.value),
            "std_error": number(self.std_error),
            "ess": number(self.ess),
            "reliable": bool(self.reliable),
            "reason": self.reason,
            "meaning": self.meaning,
        }


def with_error(value: float, std_error: float) -> str:
    """A value with two digits of its standard error in parentheses: ``1.2346(12)``."""
    rounding = sys.float_info.epsilon * abs(value)
    if not (math.isfinite(value) and math.isfinite(std_error)) or std_error <= rounding:
        return f"{value:.6g}" if not std_error > 0 else f"{value:.6g} +- {std_error:.2g}"
    if std_error >= 1e9:
        return f"{value:.2g} +- {std_error:.2g}"
    digits = 1 - math.floor(math.log10(std_error))
    scaled = round(std_error * 10**digits)
    if scaled >= 100:
        digits, scaled = digits - 1, round(scaled / 10)
    if digits <= 0:
        return f"{round(value, digits):.0f}({round(std_error, digits):.0f})"
    if digits == 1:
        return f"{value:.1f}({scaled / 10:.1f})"
    return f"{value:.{digits}f}({scaled})"
