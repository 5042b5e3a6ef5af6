"""The evidence for a Bayesian network: annealed from draws of a reference to the posterior, and back."""

import math
import time
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from scipy.ndimage import uniform_filter1d

from heatbath.core import Control, Piecewise, Progress, Record, Run, Snapshot, run_key, simulate
from heatbath.dynamics.constant_speed import staircase
from heatbath.dynamics.resampling import Resampling
from heatbath.errors import Refused
from heatbath.estimate import Estimate
from heatbath.free_energy import jarzynski
from heatbath.free_energy.sandwich import WIDEST_GAP
from heatbath.learning.evidence_result import Evidence
from heatbath.learning.laplace import Modes, modes
from heatbath.learning.phases import InMemory
from heatbath.learning.prior_scaled import PriorScaledHMC
from heatbath.learning.reference import FromReference
from heatbath.systems import Network

RUNGS = 48  # couplings above 0 that have a step size of their own
EVERY = 2  # steps at each of them; steps between saves and between resamplings
TUNINGS = 4  # of the step sizes
PILOTS = 8, 4, 2  # there and back, with this part of the steps each, where that is enough
FIRST_STEP, ACCEPTANCE, GAIN = 0.5, 0.8, 2.0
SMOOTHED = 5  # saves
FIRST_WORK = 0.05  # kT, at the first move: at most that in 95 % of the reference's draws
FLOOR = 0.5  # share of the time that is spread evenly over the rungs


def annealed(
    network: Network,
    *,
    seed: int = 0,
    steps: int = 1_000,
    replicas: int = 32,
    populations: int = 4,
    found: Modes | None = None,
    progress: bool = False,
) -> Evidence:
    """Log evidence of ``network``, in nats, by population annealing in both directions.

    The path starts at the prior with the precisions' laws that belong to the best of the modes of Laplace's
    approximation (``found``, where they are known already), and goes straight to the posterior
    (`FromReference`); its start is normalised and drawn from exactly, so it changes the effort, not the
    answer.

    Forward: ``populations`` of ``replicas`` each follow the coupling from 0 to 1 in ``steps`` moves and are
    resampled on the way; each is unbiased for the evidence, so the log of their mean bounds it from below in
    expectation. Back: half of as many populations start from their ends, half from the mode; they rest for
    a third of ``steps`` at the posterior and are then annealed back, a bound from above as far as they came
    to rest (Grosse, Ghahramani and Adams 2015); of the two starts the higher one counts, so a mode that one
    of them has missed opens the gap. The value is the middle of both bounds; its error holds half their gap,
    and beyond 2 nats of gap it is not reliable. Raises `Refused` for too few ``steps``, ``replicas`` or
    ``populations``.

    Step sizes and the speed of the coupling are those of pilots, which are thrown away: they measure what is
    dissipated where, and time goes where it is (Sivak and Crooks 2012).
    """
    if populations < 4 or populations % 2 or replicas < 2:
        raise Refused(
            "the evidence needs 4 populations (or 6, 8, ...) of 2 replicas or more: no error bar otherwise"
        )
    if steps < 2 * RUNGS:
        raise Refused(f"steps={steps}: the evidence needs at least {2 * RUNGS} moves of each annealing run")
    found = modes(network, seed=seed) if found is None else found
    return _Annealer(network, found, seed, replicas, populations, progress).evidence(steps)


class _Annealer:
    """The runs that one evidence takes; all of them are one compiled program."""

    def __init__(
        self, network: Network, found: Modes, seed: int, replicas: int, populations: int, progress: bool
    ):
        self.system = FromReference.of(network, found.best.precisions)
        self.mode = found.best.position
        self.began = time.perf_counter() - found.seconds
        self.replicas, self.populations, self.progress = replicas, populations, progress
        self.key, self.runs, self.gradients = run_key(seed), 0, float(found.gradient_evaluations)
        self.random = np.random.default_rng(seed)
        self.draw = jax.jit(jax.vmap(self.system.reference.sample_prior))
        self.log_steps = np.full(RUNGS, math.log(FIRST_STEP))
        self.slope = Record(lambda seen, _: self.change(seen.position))

    def evidence(self, steps: int) -> Evidence:
        self.stairs = self._couplings()
        self.log_couplings = np.log(self.stairs[1:])
        self._tune()
        knots = respaced(self.stairs, np.ones(RUNGS))
        for moves in [steps // n for n in PILOTS if steps // n > 2 * RUNGS] or [2 * RUNGS]:
            ahead = self.run(ramp(knots, moves), self.prior(), moves, "pilot")
            back = self.back(knots, self.ends([ahead]), moves, "pilot")
            self._retune(knots, ahead, back)
            knots = by_dissipation(knots, self.stairs, _slope(ahead), _slope(back))
        forward = [
            self.run(ramp(knots, steps), self.prior(), steps, "annealing") for _ in range(self.populations)
        ]
        starts = [lambda: self.ends(forward), self.at_the_mode]
        reverse = [
            [self.back(knots, start(), steps, "annealing back") for _ in range(self.populations // 2)]
            for start in starts
        ]
        lower = jarzynski([_free_energy(run) for run in forward])
        return combined(
            Estimate(-lower.value, lower.std_error),
            [np.array([_free_energy(run) for run in runs]) for runs in reverse],
            round(self.gradients),
            time.perf_counter() - self.began,
        )

    def back(self, knots: np.ndarray, positions: Any, steps: int, label: str) -> Run:
        """From ``positions``, left for a third of ``steps`` at the posterior, back to the reference."""
        rest = steps // 3
        still = ramp(np.ones(2 * RUNGS + 1), 2 * RUNGS)
        rested = self.run(still, positions, rest, "equilibrating").position
        return self.run(ramp(knots[::-1], steps), rested, steps, label, back=True)

    def ends(self, runs: list[Run]) -> Any:
        """Drawn from the ends of ``runs`` by their weights."""
        log_weights = -np.concatenate([_work(run) for run in runs])
        weights = np.exp(log_weights - log_weights.max())
        parents = self.random.choice(len(weights), self.replicas, p=weights / weights.sum())
        return jax.tree.map(lambda *x: jnp.concatenate(x)[parents], *[run.position for run in runs])

    def at_the_mode(self) -> Any:
        """All replicas at the best mode."""
        like = self.prior()
        return jax.tree.map(lambda x, y: jnp.broadcast_to(x, y.shape).astype(y.dtype), self.mode, like)

    def prior(self) -> Any:
        self.runs += 1
        return self.draw(jax.random.split(jax.random.fold_in(self.key, self.runs), self.replicas))

    def run(self, protocol: Piecewise, positions: Any, steps: int, label: str, *, back: bool = False) -> Run:
        self.runs += 1
        kept = InMemory()
        run = simulate(
            self.system,
            PriorScaledHMC(self.log_couplings, self.log_steps, precisions_first=back),
            protocol,
            key=jax.random.fold_in(self.key, self.runs),
            replicas=self.replicas,
            steps=steps + 1,
            every=EVERY,
            observers={"acceptance": ACCEPTED, "slope": self.slope},
            moves=[Resampling(0.5, every=EVERY)],
            positions=positions,
            sink=kept,
            progress=Progress(label) if self.progress else False,
        )
        self.gradients += float(run.means["gradients"].sum()) * run.steps
        return replace(run, records={name: x.swapaxes(0, 1) for name, x in kept.records().items()})

    def change(self, position: Any) -> Array:
        """Of the energy from the reference to the posterior: the slope dU/dc at every coupling c."""
        ends = [self.system.energy(position, {"likelihood": jnp.asarray(c)}) for c in (0.0, 1.0)]
        return ends[1] - ends[0]

    def _couplings(self) -> np.ndarray:
        """0, then equal factors up to 1."""
        work = np.abs(jax.jit(jax.vmap(self.change))(self.prior()))
        first = min(FIRST_WORK / float(np.quantile(work, 0.95)), 0.1)
        return np.array([0.0, *np.geomspace(first, 1.0, RUNGS)])

    def _tune(self) -> None:
        """The step size at each rung, by pilots."""
        protocol = staircase([_control(c) for c in self.stairs], EVERY)
        for _ in range(TUNINGS):
            run = self.run(protocol, self.prior(), EVERY * len(self.stairs) - 1, "tuning")
            acceptance = run.records["acceptance"].mean(axis=0)[1:]
            self.log_steps = self.log_steps + GAIN * (acceptance - ACCEPTANCE)

    def _retune(self, knots: np.ndarray, ahead: Run, back: Run) -> None:
        """Step sizes by the worse acceptance of both directions: replicas lag behind on either side."""
        seen = [run.records["acceptance"].mean(axis=0) for run in (ahead, back)]
        worse = uniform_filter1d(np.minimum(seen[0], seen[1][::-1]), SMOOTHED)
        place = np.linspace(0, 1, len(knots))
        couplings = np.interp(np.linspace(0, 1, len(worse)), place, knots)
        self.log_steps = self.log_steps + np.interp(self.stairs[1:], couplings, worse) - ACCEPTANCE


def combined(lower: Estimate, reverse: list[np.ndarray], gradients: int, seconds: float) -> Evidence:
    """``reverse``: of each of the starts, ln Z as its populations have it. The bound from above is that of
    the start that has it highest; its error is the scatter about both, for two populations have none of
    their own."""
    values = [jarzynski(each).value for each in reverse]
    scatter = math.sqrt(float(np.mean([each.var(ddof=1) / each.size for each in reverse])))
    upper = Estimate(max(values), scatter)
    gap = upper.value - lower.value
    error = math.hypot(lower.std_error, upper.std_error)
    reason = ""
    if gap > WIDEST_GAP:
        reason = f"the bounds are {gap:.3g} nats apart, over {WIDEST_GAP:g}: give more --steps"
    elif gap < -max(WIDEST_GAP, 3 * error):
        reason = f"the bounds are in the wrong order, by {-gap:.3g} nats: give more --steps"
    middle = Estimate(
        (lower.value + upper.value) / 2, math.hypot(error, gap) / 2, reliable=not reason, reason=reason
    )
    above = "a bound from above, as far as the runs back started in equilibrium"
    return Evidence(
        middle,
        replace(lower, meaning="a bound from below, in expectation"),
        replace(upper, meaning=above),
        gradients,
        seconds,
    )


def by_dissipation(knots: np.ndarray, stairs: np.ndarray, ahead: np.ndarray, back: np.ndarray) -> np.ndarray:
    """Knots re-spaced so that every piece dissipates alike, from dU/dc at the saves of runs through them and
    back: where they differ the runs lag. What a piece dissipates is inverse to the time spent in it; least in
    all is dissipated where the time is as the square root (Sivak and Crooks 2012, eq. 14). A share of the
    time is spread evenly over the ``stairs``."""
    place = np.linspace(0, 1, len(knots))
    lag = uniform_filter1d(ahead[:-1] - back[-2::-1], SMOOTHED)  # at the same couplings
    lag = np.interp((place[1:] + place[:-1]) / 2, np.linspace(0, 1, len(ahead) + 1)[1:-1], lag)
    length = np.sqrt(np.maximum(lag * np.diff(knots), 0))
    even = np.diff(np.interp(knots, stairs, np.arange(len(stairs))))
    return respaced(knots, length + FLOOR * max(float(length.mean()), 1e-9) * even / even.mean())


def respaced(couplings: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """2 RUNGS + 1 couplings at equal distances, the ``lengths`` being those between the given ones."""
    along = np.concatenate([[0.0], np.cumsum(lengths + 1e-6 * (lengths.max() or 1.0))])
    return np.interp(np.linspace(0, along[-1], 2 * RUNGS + 1), along, couplings)


def ramp(knots: np.ndarray, moves: int) -> Piecewise:
    """Through the couplings ``knots``, equal times between them, in ``moves`` moves."""
    return Piecewise(
        [_control(c) for c in knots], np.linspace(0, moves, len(knots)).round().astype(int).tolist()
    )


def _control(coupling: float) -> Control:
    return Control(1.0, {"likelihood": float(coupling)})


def _free_energy(run: Run) -> float:
    """Of one population, f_1 - f_0."""
    return jarzynski(_work(run)).value


def _work(run: Run) -> np.ndarray:
    assert run.ledger is not None
    return np.asarray(run.ledger.reduced_work)


def _slope(run: Run) -> np.ndarray:
    """dU/dc, median over the replicas, at each save."""
    return np.median(run.records["slope"], axis=0)


def _acceptance(seen: Snapshot, _: Any) -> Array:
    return seen.info["acceptance"]


ACCEPTED = Record(_acceptance)
