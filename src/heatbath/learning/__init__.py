"""Learning from tables and images: Bayesian networks sampled, diagnosed and used for prediction.

The functions `fit`, `predict`, `classify`, `diagnose` and `unfamiliar` are in the modules of the same names.
"""

import importlib
from typing import Any

_WHERE = {
    "Classification": "classify",
    "Diagnosis": "diagnose",
    "Draws": "draws",
    "Evidence": "evidence_result",
    "Prediction": "predict",
    "Problem": "problem",
    "Settings": "settings",
    "Standardisation": "problem",
    "auroc": "unfamiliar",
    "classification_problem": "problem",
    "create": "fit",
    "evidence": "evidence_sampling",
    "guess_task": "problem",
    "network": "fit",
    "read_draws": "draws",
    "regression_problem": "problem",
}

__all__ = list(_WHERE)


def __getattr__(name: str) -> Any:
    """Imported when first used: predictions and reports need no JAX."""
    if name in _WHERE:
        return getattr(importlib.import_module(f"heatbath.learning.{_WHERE[name]}"), name)
    raise AttributeError(f"module 'heatbath.learning' has no attribute {name!r}")
