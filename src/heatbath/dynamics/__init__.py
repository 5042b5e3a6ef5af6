"""Dynamics: what moves a system in contact with a heat bath. The conformance tests find them here."""

from heatbath.dynamics.batches import Batches, FixedOrder, Reshuffled, Windows, WithReplacement
from heatbath.dynamics.blackjax import BlackJAX
from heatbath.dynamics.constant_speed import constant_speed, staircase, thermodynamic_length
from heatbath.dynamics.curvature import CurvatureWarmUp
from heatbath.dynamics.exchange import ReplicaExchange
from heatbath.dynamics.gibbs import Gibbs
from heatbath.dynamics.hamiltonian import HMC
from heatbath.dynamics.langevin import MALA, OverdampedLangevin
from heatbath.dynamics.metric import Dense, Diagonal, Metric, metric_of
from heatbath.dynamics.microcanonical import MicrocanonicalLangevin
from heatbath.dynamics.minibatch import CyclicCosine, Polynomial, Schedule
from heatbath.dynamics.resampling import Resampling
from heatbath.dynamics.sgd import SGD, Optax
from heatbath.dynamics.sghmc import SGHMC, SGNHT
from heatbath.dynamics.sgld import SGLD, SGWORLD, ControlVariateSGLD, PreconditionedSGLD
from heatbath.dynamics.tune import WarmUp, tune
from heatbath.dynamics.underdamped import Langevin

__all__ = [
    "HMC",
    "MALA",
    "SGD",
    "SGHMC",
    "SGLD",
    "SGNHT",
    "SGWORLD",
    "Batches",
    "BlackJAX",
    "ControlVariateSGLD",
    "CurvatureWarmUp",
    "CyclicCosine",
    "Dense",
    "Diagonal",
    "FixedOrder",
    "Gibbs",
    "Langevin",
    "Metric",
    "MicrocanonicalLangevin",
    "Optax",
    "OverdampedLangevin",
    "Polynomial",
    "PreconditionedSGLD",
    "ReplicaExchange",
    "Resampling",
    "Reshuffled",
    "Schedule",
    "WarmUp",
    "Windows",
    "WithReplacement",
    "constant_speed",
    "metric_of",
    "staircase",
    "thermodynamic_length",
    "tune",
]
