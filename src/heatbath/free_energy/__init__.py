"""Free energies from work: arrays in, `Estimate` out. They know no simulator. NumPy and SciPy, no JAX."""

from heatbath.free_energy.bar import bar, check_signs, hysteresis, overlap
from heatbath.free_energy.bootstrap import bootstrap
from heatbath.free_energy.crooks import Crooks, crooks
from heatbath.free_energy.jarzynski import (
    annealed_importance_sampling,
    jarzynski,
    lower_bound,
    second_cumulant,
)
from heatbath.free_energy.mbar import MBAR, mbar
from heatbath.free_energy.sandwich import Sandwich, sandwich
from heatbath.free_energy.thermodynamic_integration import stepping_stones, thermodynamic_integration

__all__ = [
    "MBAR",
    "Crooks",
    "Sandwich",
    "annealed_importance_sampling",
    "bar",
    "bootstrap",
    "check_signs",
    "crooks",
    "hysteresis",
    "jarzynski",
    "lower_bound",
    "mbar",
    "overlap",
    "sandwich",
    "second_cumulant",
    "stepping_stones",
    "thermodynamic_integration",
]
