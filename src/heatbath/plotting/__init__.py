"""Figures from arrays: matplotlib's object-oriented API, no pyplot, no run folders. No JAX."""

from heatbath.plotting.books import first_law, work_and_heat
from heatbath.plotting.classes import confusion, familiarity, gallery
from heatbath.plotting.posterior import convergence, hyperparameters, parity
from heatbath.plotting.relaxation import relaxation
from heatbath.plotting.style import Trace, label, png, replica_mean, svg
from heatbath.plotting.traces import energy_trace, temperature_trace
from heatbath.plotting.work import work_histograms

__all__ = [
    "Trace",
    "confusion",
    "convergence",
    "energy_trace",
    "familiarity",
    "first_law",
    "gallery",
    "hyperparameters",
    "label",
    "parity",
    "png",
    "relaxation",
    "replica_mean",
    "svg",
    "temperature_trace",
    "work_and_heat",
    "work_histograms",
]
