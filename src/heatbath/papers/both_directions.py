"""Work of runs in both directions, as the papers on Crooks' theorem look at it. NumPy; no JAX."""

import numpy as np
from matplotlib.figure import Figure

from heatbath.estimate import Estimate
from heatbath.free_energy import bar, crooks
from heatbath.plotting import work_histograms


def fitted(estimate: Estimate) -> Estimate:
    """Of `crooks`, with its error only: a slope off 1 makes the fit unreliable, and here it is the claim that
    judges the slope."""
    return Estimate(estimate.value, estimate.std_error)


def histograms(forward: np.ndarray, reverse: np.ndarray) -> Figure:
    """Both distributions and the logarithm of their ratio."""
    fit = crooks(forward, reverse)
    return work_histograms(forward, reverse, bar(forward, reverse), fit.crossing, fit.slope)
