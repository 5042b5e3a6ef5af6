"""Systems: energy landscapes with exact answers, and posteriors."""

from heatbath.systems.landscapes import DoubleWell, Funnel, GaussianMixture, HarmonicTrap
from heatbath.systems.networks import GammaPrior, RegressionNetwork
from heatbath.systems.posterior import Posterior, from_equinox, from_flax

__all__ = [
    "DoubleWell",
    "Funnel",
    "GammaPrior",
    "GaussianMixture",
    "HarmonicTrap",
    "Posterior",
    "RegressionNetwork",
    "from_equinox",
    "from_flax",
]
