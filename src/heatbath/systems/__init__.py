"""Systems: energy landscapes with exact answers, and posteriors."""

from heatbath.systems.landscapes import DoubleWell, Funnel, GaussianMixture, HarmonicTrap
from heatbath.systems.networks import ClassificationNetwork, GammaPrior, Network, RegressionNetwork
from heatbath.systems.posterior import Posterior, from_equinox, from_flax
from heatbath.systems.whitened import Whitened, Whitening

__all__ = [
    "ClassificationNetwork",
    "DoubleWell",
    "Funnel",
    "GammaPrior",
    "GaussianMixture",
    "HarmonicTrap",
    "Network",
    "Posterior",
    "RegressionNetwork",
    "Whitened",
    "Whitening",
    "from_equinox",
    "from_flax",
]
