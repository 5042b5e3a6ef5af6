"""How far from equilibrium: Kullback-Leibler divergences in nats, exact where they can be, else estimated.

No JAX until a chain is made from a dynamics.
"""

from heatbath.relaxation.chains import MarkovChain, Production, relative_entropy
from heatbath.relaxation.curve import Curve, relaxation_curve
from heatbath.relaxation.dissipation import dissipation_bound, speed_limit
from heatbath.relaxation.driven_network import DrivenNetwork
from heatbath.relaxation.estimates import (
    Bounds,
    gaussian_fit,
    neighbour_divergence,
    neighbour_divergence_between,
    reversibility_sandwich,
)
from heatbath.relaxation.fokker_planck import FokkerPlanck
from heatbath.relaxation.from_dynamics import grid_chain, linear_chain
from heatbath.relaxation.gaussian import LinearChain, ornstein_uhlenbeck, wasserstein_distance
from heatbath.relaxation.stein import SteinTest, stein_test

__all__ = [
    "Bounds",
    "Curve",
    "DrivenNetwork",
    "FokkerPlanck",
    "LinearChain",
    "MarkovChain",
    "Production",
    "SteinTest",
    "dissipation_bound",
    "gaussian_fit",
    "grid_chain",
    "linear_chain",
    "neighbour_divergence",
    "neighbour_divergence_between",
    "ornstein_uhlenbeck",
    "relative_entropy",
    "relaxation_curve",
    "reversibility_sandwich",
    "speed_limit",
    "stein_test",
    "wasserstein_distance",
]
