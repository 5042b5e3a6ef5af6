"""Dynamics: what moves a system in contact with a heat bath. The conformance tests find them here."""

from heatbath.dynamics.blackjax import BlackJAX
from heatbath.dynamics.curvature import CurvatureWarmUp
from heatbath.dynamics.exchange import ReplicaExchange
from heatbath.dynamics.gibbs import Gibbs
from heatbath.dynamics.hamiltonian import HMC
from heatbath.dynamics.langevin import MALA, OverdampedLangevin
from heatbath.dynamics.metric import Dense, Diagonal, Metric, metric_of
from heatbath.dynamics.microcanonical import MicrocanonicalLangevin
from heatbath.dynamics.tune import WarmUp, tune
from heatbath.dynamics.underdamped import Langevin

__all__ = [
    "HMC",
    "MALA",
    "BlackJAX",
    "CurvatureWarmUp",
    "Dense",
    "Diagonal",
    "Gibbs",
    "Langevin",
    "Metric",
    "MicrocanonicalLangevin",
    "OverdampedLangevin",
    "ReplicaExchange",
    "WarmUp",
    "metric_of",
    "tune",
]
