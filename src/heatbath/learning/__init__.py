"""Learning from tables: Bayesian networks sampled, diagnosed and used for prediction.

The functions `fit`, `predict` and `diagnose` are in the modules of the same names.
"""

import importlib
from typing import Any

_WHERE = {
    "Diagnosis": "diagnose",
    "Draws": "draws",
    "Prediction": "predict",
    "Problem": "problem",
    "Settings": "settings",
    "Standardisation": "problem",
    "create": "fit",
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
