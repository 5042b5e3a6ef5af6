"""The grammar: a system, moved by a dynamics, driven by a protocol, with a ledger that keeps the books."""

from heatbath.core.control import Control
from heatbath.core.dynamics import Draw, Dynamics, Flow, MinibatchDynamics
from heatbath.core.ensemble import EnsembleMove
from heatbath.core.ledger import Ledger
from heatbath.core.numeric import from_arrays, integer, numeric, to_arrays
from heatbath.core.observer import Average, Observer, Positions, Record, Snapshot
from heatbath.core.progress import Progress
from heatbath.core.protocol import (
    Constant,
    Cyclic,
    Exponential,
    FromFunction,
    Geometric,
    Linear,
    PerReplica,
    Piecewise,
    Protocol,
    Quench,
    Reversed,
)
from heatbath.core.simulate import Diverged, Run, run_key, simulate
from heatbath.core.sink import Sink
from heatbath.core.stream import Stream
from heatbath.core.system import (
    Conditional,
    Items,
    Loaded,
    Solvable,
    System,
    Window,
    batch_gradient,
    energy_and_gradient,
    energy_at,
    take,
)

__all__ = [
    "Average",
    "Conditional",
    "Constant",
    "Control",
    "Cyclic",
    "Diverged",
    "Draw",
    "Dynamics",
    "EnsembleMove",
    "Exponential",
    "Flow",
    "FromFunction",
    "Geometric",
    "Items",
    "Ledger",
    "Linear",
    "Loaded",
    "MinibatchDynamics",
    "Observer",
    "PerReplica",
    "Piecewise",
    "Positions",
    "Progress",
    "Protocol",
    "Quench",
    "Record",
    "Reversed",
    "Run",
    "Sink",
    "Snapshot",
    "Solvable",
    "Stream",
    "System",
    "Window",
    "batch_gradient",
    "energy_and_gradient",
    "energy_at",
    "from_arrays",
    "integer",
    "numeric",
    "run_key",
    "simulate",
    "take",
    "to_arrays",
]
