"""Fluctuation-dissipation relations of training, a test of stationarity, and a schedule. NumPy; no JAX.

With u = (theta - theta')/eta, whatever the optimizer, |theta'|^2 = |theta|^2 - 2 eta theta.u + eta^2 |u|^2,
so that <theta.u> = eta/2 <|u|^2> once <|theta|^2> stands still: for every group of parameters by itself,
momentum, Nesterov, weight decay and injected noise included. Source: Yaida 2018, equation FDR1, in the form
that holds for all of them.

The difference of the two sides over consecutive steps is a change of |theta|^2: it telescopes. Its average
over n steps knows only the two ends, and the usual errors of a mean (too large by about sqrt(n)) do not apply
to it. The errors here come from the variance of |theta|^2; the test asks for a trend of |theta|^2 over the
whole window, which is the same relation with the weights t (n - t) instead of equal ones, and sees more.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import norm, t

from heatbath.errors import Refused
from heatbath.estimate import Estimate
from heatbath.theory._checks import real, short
from heatbath.thermometry import series

ENOUGH_REPLICAS = 8  # from here on the scatter of the replicas is the better error


@dataclass(frozen=True)
class FluctuationDissipation:
    """``left`` <theta.u>, ``right`` eta/2 <|u|^2>, their ``ratio``; and a test that both are stationary.

    ``z``: the trend in its standard errors; above 0 where |theta|^2 falls.
    """

    left: Estimate
    right: Estimate
    ratio: Estimate
    z: float
    p_value: float
    level: float

    @property
    def stationary(self) -> bool:
        """Not rejected: a stationary run is rejected with probability ``level``. Says nothing where the
        ratio is not reliable: too short a run is never rejected."""
        return self.p_value > self.level


def fluctuation_dissipation_relation(
    theta_u, u2, step_size: float, *, every: int = 1, level: float = 0.05
) -> FluctuationDissipation:
    """From the series theta.u and |u|^2 of a group, each (replicas, samples).

    ``every``: steps between samples. Consecutive ones (1) are by far the sharper instrument, for the reason
    given at the top of this module. Theta is the position before the step. Raises `Refused` on bad shapes.
    """
    a, b = series.checked("theta_u", theta_u), series.checked("u2", u2)
    eta = series.positive("step_size", step_size)
    if a.shape != b.shape or a.shape[1] < series.FEWEST_SAMPLES:
        raise Refused(f"theta_u {a.shape} and u2 {b.shape}: give series of one shape and 4 or more samples")
    every, level = series.whole("every", every), series.probability("level", level)
    if not b.mean() > 0:
        raise Refused("|u|^2 is 0 throughout: the parameters do not move; leave frozen groups out")
    left = series.mean(a, "Dissipation: how hard the updates pull towards the origin.")
    right = series.mean(eta / 2 * b, "Fluctuation: how much the updates spread.")
    meaning = (
        "1 where the run is stationary; above 1 where the parameters still shrink, below where they grow."
    )
    if every == 1:
        changes = np.pad(-2 * eta * (a - eta / 2 * b), ((0, 0), (1, 0)))
        squares = np.cumsum(changes, axis=1)  # |theta|^2 less its value at the start
        ratio, z, p_value = _consecutive(squares, a.mean() / right.value, eta * right.value, meaning)
    else:
        ratio = series.ratio(a, eta / 2 * b, meaning, of="|u|^2")
        z = (ratio.value - 1) / ratio.std_error if ratio.std_error > 0 else 0.0
        p_value = 2 * norm.sf(abs(z))
    return FluctuationDissipation(left, right, ratio, z, float(p_value), level)


def fluctuation_dissipation_of_positions(
    positions, step_size: float, *, level: float = 0.05
) -> FluctuationDissipation:
    """The same from n + 1 consecutive iterates, shape (replicas, n + 1, d)."""
    x = series.checked("positions", positions, trailing=1)
    u = (x[:, :-1] - x[:, 1:]) / series.positive("step_size", step_size)
    return fluctuation_dissipation_relation(
        np.sum(x[:, :-1] * u, axis=2), np.sum(u**2, axis=2), step_size, level=level
    )


def _consecutive(
    squares: np.ndarray, value: float, scale: float, meaning: str
) -> tuple[Estimate, float, float]:
    """Ratio, z and p-value; squares: |theta|^2 up to a constant a replica, (replicas, n + 1)."""
    replicas, points = squares.shape
    time = np.arange(points) - (points - 1) / 2
    trends = squares @ time / np.sum(time**2)
    rest = squares - squares.mean(axis=1, keepdims=True) - trends.mean() * time
    ess = series.effective_size(rest)
    spread = rest.std()
    if replicas >= ENOUGH_REPLICAS:
        error, law = trends.std(ddof=1) / np.sqrt(replicas), t(replicas - 1)
    else:
        error, law = spread * np.sqrt(rest.size / ess / replicas / np.sum(time**2)), norm
    z = float(-trends.mean() / error) if error > 0 else 0.0
    reason = series.doubt(rest, ess)
    end_error = spread * np.sqrt(2 / replicas) / (points - 1) / (2 * scale)
    ratio = Estimate(float(value), float(end_error), ess, not reason, reason, meaning)
    return ratio, z, float(2 * law.sf(abs(z)))


def quadratic_fluctuation_dissipation(gradient2, curvature, step_size: float) -> Estimate:
    """<|grad L|^2> over eta/2 <g^T H g>: 1 at stationarity of plain SGD on a quadratic loss.

    gradient2: |grad L|^2 of the full gradient; curvature: g^T H g of the gradient used; (replicas, samples).
    Elsewhere its distance from 1 tells how far the loss is from quadratic at this step. Source: Yaida 2018,
    FDR2.
    """
    a, b = series.checked("gradient2", gradient2), series.checked("curvature", curvature)
    eta = series.positive("step_size", step_size)
    if a.shape != b.shape:
        raise Refused(f"gradient2 {a.shape} and curvature {b.shape} differ in shape")
    meaning = "1 where the loss is quadratic as far as the noise reaches."
    return series.ratio(a, eta / 2 * b, meaning, of="g^T H g")


class Schedule:
    """Lowers the learning rate when training has become stationary: what it can learn at this rate is
    learned.

        schedule = Schedule(0.1)
        for step in ...:
            ...                                            # one step at the rate schedule.step_size
            schedule.update(theta @ u, u @ u)              # theta before the step, u = (theta - theta')/eta

    After ``window`` steps at one rate, and whenever their number has doubled since, the second half of them
    is tested (`fluctuation_dissipation_relation`). Where it has effective samples enough and is not rejected,
    the rate is multiplied by ``factor`` and counting starts again. In PyTorch it is
    `heatbath.torch.ReduceLROnStationarity`; in optax loops `heatbath.optax.relation` gives both numbers. The
    idea is Yaida's (2018, section 3.3).
    """

    def __init__(self, step_size: float, *, factor: float = 0.1, window: int = 1_000, level: float = 0.05):
        self.step_size = series.positive("step_size", step_size)
        self.factor = series.between("factor", factor, 1.0, "number between 0 and 1")
        self.window = series.whole("window", window, 2 * series.FEWEST_SAMPLES)
        self.level = series.probability("level", level)
        self.last_test: FluctuationDissipation | None = None
        self._restart()

    def _restart(self) -> None:
        self._seen: list[tuple[float, float]] = []
        self._next_test = self.window

    def update(self, theta_u: float, u2: float) -> float:
        """Book a step; returns the rate of the next one. One that is not finite starts the counting again."""
        sides = real("theta_u or u2", [theta_u, u2])
        if sides.shape != (2,) or sides[1] < 0:
            raise Refused(f"u2 = {short(u2)}: give two numbers, |u|^2 not below 0")
        if not np.isfinite(sides).all():
            self._restart()
            return self.step_size
        self._seen.append((float(sides[0]), float(sides[1])))
        if len(self._seen) >= self._next_test:
            self._next_test *= 2
            a, b = np.array(self._seen[len(self._seen) // 2 :]).T
            if not b.any():  # nothing moves: no test, no verdict
                return self.step_size
            self.last_test = fluctuation_dissipation_relation(
                a[None], b[None], self.step_size, level=self.level
            )
            if self.last_test.ratio.reliable and self.last_test.stationary:
                self.step_size *= self.factor
                self._restart()
        return self.step_size

    def state_dict(self) -> dict[str, Any]:
        """Plain numbers and lists, for a checkpoint."""
        return {"step_size": self.step_size, "seen": list(self._seen), "next_test": self._next_test}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a checkpoint. Raises `Refused` where the state is not that of a schedule."""
        try:
            step_size, next_test = float(state["step_size"]), int(state["next_test"])
            seen = [(float(a), float(b)) for a, b in state["seen"]]
        except (KeyError, TypeError, ValueError) as error:
            raise Refused("this is not the state of a Schedule: give what state_dict() returned") from error
        self.step_size, self._next_test, self._seen = step_size, next_test, seen
