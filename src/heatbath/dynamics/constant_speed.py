"""Protocols at constant thermodynamic speed, frozen from what a pilot run measured."""

from collections.abc import Sequence

import jax
import numpy as np

from heatbath.core import Control, Piecewise


def staircase(controls: Sequence[Control], settle: int) -> Piecewise:
    """``controls`` one after the other, ``settle`` (at least 2) steps at each: the protocol of a pilot. With
    ``every=settle``, the saves' ``ledger.reduced_work`` tell the work of each move."""
    if settle < 2:
        raise ValueError(f"settle is {settle}: give at least 2 steps at each control")
    both = [control for control in controls for _ in range(2)]
    at = [settle * i + end for i in range(len(controls)) for end in (0, settle - 1)]
    return Piecewise(both, at)


def thermodynamic_length(work: np.ndarray) -> np.ndarray:
    """Length along the controls, shape (moves + 1,), from 0, in standard deviations of E/T.

    ``work``: reduced work of each move, (moves, replicas), made in equilibrium; a move is as long as its
    standard deviation over the replicas (Crooks 2007). Raises ValueError for less than two replicas.
    """
    work = np.asarray(work, float)
    if work.ndim != 2 or work.shape[1] < 2 or not np.isfinite(work).all():
        raise ValueError("work must be finite numbers of shape (moves, replicas), of 2 replicas at least")
    return np.concatenate([[0.0], np.cumsum(work.std(axis=1, ddof=1))])


def constant_speed(controls: Sequence[Control], work: np.ndarray, steps: int) -> Piecewise:
    """The path through ``controls`` in ``steps`` moves of equal thermodynamic length.

    ``work``: see `thermodynamic_length`; a pilot's. To first order in 1/steps such a protocol dissipates
    least along its path, length^2/(2 steps) kT where each step relaxes (Salamon and Berry 1983; Sivak and
    Crooks 2012). Between two controls of the pilot the path is straight.
    """
    length = thermodynamic_length(work)
    if len(controls) != len(length):
        raise ValueError(
            f"{len(controls)} controls but work of {len(length) - 1} moves: give one more control"
        )
    if steps < 1:
        raise ValueError(f"steps is {steps}: give at least 1")
    if not length[-1] > 0:
        raise ValueError("the pilot's work does not fluctuate: its controls have no length")
    length = length + 1e-9 * length[-1] * np.linspace(0, 1, len(length))  # moves of no length have an order
    place = np.interp(np.linspace(0, length[-1], steps + 1), length, np.arange(len(length)))
    lower = np.minimum(place.astype(int), len(controls) - 2)
    share = place - lower

    def between(i: int, s: float) -> Control:
        return jax.tree.map(lambda a, b: (1 - s) * a + s * b, controls[i], controls[i + 1])

    return Piecewise(
        [between(i, s) for i, s in zip(lower.tolist(), share.tolist(), strict=True)], range(steps + 1)
    )
