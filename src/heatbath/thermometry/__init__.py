"""Instruments: temperatures, fluctuation-dissipation relations, noise, curvature, currents, heat, aging.

Arrays or JAX functions in, `heatbath.Estimate` out. What needs JAX is imported when it is first used.
"""

import importlib
from typing import TYPE_CHECKING, Any

from heatbath.thermometry.aging import Aging, effective_temperature, two_time_correlation
from heatbath.thermometry.currents import EntropyProduction, area_rates, entropy_production
from heatbath.thermometry.fluctuation_dissipation import (
    FluctuationDissipation,
    Schedule,
    fluctuation_dissipation_of_positions,
    fluctuation_dissipation_relation,
    quadratic_fluctuation_dissipation,
)
from heatbath.thermometry.gradient_noise import (
    NoiseScale,
    alignment,
    covariance_spectrum,
    covariance_trace,
    hessian_noise_scale,
    hill_tail_index,
    noise_scale,
    stable_tail_index,
)
from heatbath.thermometry.heat_and_work import (
    HeatAndWork,
    LearningEfficiency,
    heat_and_work,
    learning_efficiency,
    medium_entropy,
)
from heatbath.thermometry.optimal_sgd import optimal_momentum, optimal_preconditioner, optimal_step
from heatbath.thermometry.series import per_group
from heatbath.thermometry.shadow_work import ShadowWork, shadow_work
from heatbath.thermometry.temperature import (
    Equipartition,
    KineticTemperature,
    configurational_temperature,
    equipartition,
    heat_capacity,
    kinetic_temperature,
    mode_temperatures,
    noise_temperature,
    variance_flatness,
)

_LAZY = {
    "Eigenpairs": "hessian",
    "SpectralDensity": "hessian",
    "hessian_trace": "hessian",
    "hessian_vector_product": "hessian",
    "spectral_density": "hessian",
    "top_eigenvalues": "hessian",
    "Chains": "local_learning_coefficient",
    "LearningCoefficient": "local_learning_coefficient",
    "coefficient_of_losses": "local_learning_coefficient",
    "sample_learning_coefficient": "local_learning_coefficient",
}

__all__ = [
    "Aging",
    "Chains",
    "Eigenpairs",
    "EntropyProduction",
    "Equipartition",
    "FluctuationDissipation",
    "HeatAndWork",
    "KineticTemperature",
    "LearningCoefficient",
    "LearningEfficiency",
    "NoiseScale",
    "Schedule",
    "ShadowWork",
    "SpectralDensity",
    "alignment",
    "area_rates",
    "coefficient_of_losses",
    "configurational_temperature",
    "covariance_spectrum",
    "covariance_trace",
    "effective_temperature",
    "entropy_production",
    "equipartition",
    "fluctuation_dissipation_of_positions",
    "fluctuation_dissipation_relation",
    "heat_and_work",
    "heat_capacity",
    "hessian_noise_scale",
    "hessian_trace",
    "hessian_vector_product",
    "hill_tail_index",
    "kinetic_temperature",
    "learning_efficiency",
    "medium_entropy",
    "mode_temperatures",
    "noise_scale",
    "noise_temperature",
    "optimal_momentum",
    "optimal_preconditioner",
    "optimal_step",
    "per_group",
    "quadratic_fluctuation_dissipation",
    "sample_learning_coefficient",
    "shadow_work",
    "spectral_density",
    "stable_tail_index",
    "top_eigenvalues",
    "two_time_correlation",
    "variance_flatness",
]

if TYPE_CHECKING:
    from heatbath.thermometry.hessian import (
        Eigenpairs,
        SpectralDensity,
        hessian_trace,
        hessian_vector_product,
        spectral_density,
        top_eigenvalues,
    )
    from heatbath.thermometry.local_learning_coefficient import (
        Chains,
        LearningCoefficient,
        coefficient_of_losses,
        sample_learning_coefficient,
    )


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(importlib.import_module(f"heatbath.thermometry.{_LAZY[name]}"), name)
    raise AttributeError(f"module 'heatbath.thermometry' has no attribute {name!r}")
