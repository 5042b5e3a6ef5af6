"""`Evidence`: what every way of computing the evidence for a model returns. No JAX."""

from dataclasses import dataclass
from typing import Any

from heatbath.estimate import Estimate


@dataclass(frozen=True)
class Evidence:
    """The log evidence of a model, ln p(data | model), in nats, and what it took.

    ``lower`` and ``upper``: stochastic bounds on it, in expectation below and above (Grosse, Ghahramani and
    Adams 2015). ``seconds``: of the computation, compilation included.
    """

    log_evidence: Estimate
    lower: Estimate
    upper: Estimate
    gradient_evaluations: int
    seconds: float

    def to_dict(self, name: str) -> dict[str, Any]:
        """For JSON: what is not finite is None."""
        found = self.log_evidence.to_dict()
        return {
            "name": name,
            "log_evidence": found["value"],
            "std_error": found["std_error"],
            "lower": self.lower.to_dict()["value"],
            "upper": self.upper.to_dict()["value"],
            "reliable": found["reliable"],
            "reason": found["reason"],
            "gradient_evaluations": self.gradient_evaluations,
            "seconds": self.seconds,
        }
