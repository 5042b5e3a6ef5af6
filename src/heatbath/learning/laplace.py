"""Laplace's approximation of the evidence (MacKay 1992): a normal law around the best mode."""

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from scipy.optimize import minimize
from scipy.special import gammaln
from threadpoolctl import threadpool_limits

from heatbath.core import Control, System, run_key
from heatbath.core.numeric import ravel, unravel, widen, x64
from heatbath.errors import Refused
from heatbath.estimate import Estimate
from heatbath.learning.evidence_prior import refuse_improper
from heatbath.learning.evidence_result import Evidence
from heatbath.systems import Network

LOG_2PI = math.log(2 * math.pi)
RHAT_LIMIT, RHAT_SHARE_LIMIT = 1.05, 0.05
DRAWS = 400  # of each start's normal law, for R-hat
ROUNDS, A_ROUND, MOST = 30, 200, 3_000  # of re-estimated precisions; gradients in each, and in the last
STILL = 0.01  # largest change of a log precision that counts as none
NO_BOUND = "Laplace's approximation is no bound"


@dataclass(frozen=True)
class Mode:
    """A mode of exp(-U): ``at`` (d,), log density and ``hessian`` (d, d) of U there; ``extra``: what else
    goes into the log evidence (precisions integrated apart). Of a network: its ``position``, and the shape
    and rate of a gamma law of each precision, by name."""

    at: np.ndarray
    log_density: float
    hessian: np.ndarray
    extra: float = 0.0
    position: Any = None
    precisions: Mapping[str, tuple[np.ndarray, np.ndarray]] = field(default_factory=dict)

    @property
    def curvatures(self) -> np.ndarray:
        return np.linalg.eigvalsh(self.hessian)

    @property
    def log_evidence(self) -> float:
        """ln p(mode) + d/2 ln 2pi - 1/2 ln det H; NaN where H is not positive definite."""
        found = self.curvatures
        if not found.min() > 0:
            return math.nan
        return self.log_density + self.at.size * LOG_2PI / 2 - float(np.log(found).sum()) / 2 + self.extra


@dataclass(frozen=True)
class Modes:
    """What `modes` found, one for each start, and what it took."""

    found: tuple[Mode, ...]
    gradient_evaluations: int
    seconds: float

    @property
    def log_evidences(self) -> np.ndarray:
        """(starts,); NaN where a Hessian is not positive definite."""
        return np.array([mode.log_evidence for mode in self.found])

    @property
    def best(self) -> Mode:
        """Of the largest log evidence, or of the largest density where no mode has one."""
        known = [mode for mode in self.found if math.isfinite(mode.log_evidence)]
        return max(known or self.found, key=lambda m: m.log_evidence if known else m.log_density)


def modes(posterior: System, *, seed: int = 0, starts: int = 5) -> Modes:
    """Modes of ``posterior`` from ``starts`` starting points. Raises `Refused` without 64-bit numbers, and
    for an improper prior."""
    if not x64():
        raise Refused(
            "Laplace's approximation needs float64: call jax.config.update('jax_enable_x64', True) first"
        )
    began = time.perf_counter()
    refuse_improper(posterior, run_key(seed))
    counter = [0]
    find: Any = _network_mode if isinstance(posterior, Network) else _mode
    compiled: dict[str, Any] = {}
    keys = jax.random.split(run_key(seed), starts)
    starting = [widen(posterior.init(key, Control(1.0))) for key in keys]
    found = tuple(find(posterior, position, compiled, counter) for position in starting)
    return Modes(found, counter[0], time.perf_counter() - began)


def laplace(posterior: System, *, seed: int = 0, starts: int = 5, found: Modes | None = None) -> Evidence:
    """Log evidence of ``posterior``, in nats, from the normal law around the best of the modes found from
    ``starts`` starting points (``found``: those of `modes`, where they are known already).

    Any posterior: in the coordinates of its position, all of them at once. A heatbath `Network`: in its
    weights, at precisions re-estimated as MacKay (1992, eqs. 2.21 to 2.24) does, which are then integrated as
    a normal law of each **log** precision of curvature a + gamma/2 (a: shape of its gamma prior; gamma:
    number of the group's weights that the data determine); plus ln(H! 2^H) for each layer of H tanh units (ln
    H! for others), for so many modes are copies.

    Reliable only where the Hessian is positive definite and the runs agree: rank-normalised R-hat of the
    predictions (never of weights) above 1.05 at no more than 5 % of the items. It has no error bar of its
    own. Raises `Refused` as `modes`.
    """
    found = modes(posterior, seed=seed, starts=starts) if found is None else found
    began = time.perf_counter() - found.seconds
    values, predicted = found.log_evidences, []
    predict = _predictor(posterior)
    for key, mode in zip(jax.random.split(run_key(seed), len(found.found)), found.found, strict=True):
        if math.isfinite(mode.log_evidence):
            normals = jax.random.normal(jax.random.fold_in(key, 1), (DRAWS, mode.at.size))
            scaled = np.linalg.solve(np.linalg.cholesky(mode.hessian).T, np.asarray(normals).T).T
            predicted.append(predict(mode, jnp.asarray(mode.at + scaled)))
    good = np.isfinite(values)
    best = float(values[good].max()) if good.any() else math.nan
    reason = _why_not(good, predicted)
    meaning = "a normal law around the best mode; its error is not known"
    value = Estimate(
        best + _symmetries(posterior), math.nan, reliable=not reason, reason=reason, meaning=meaning
    )
    none = Estimate(math.nan, math.nan, reliable=False, reason=NO_BOUND)
    return Evidence(value, none, none, found.gradient_evaluations, time.perf_counter() - began)


def _why_not(good: np.ndarray, predicted: list[np.ndarray]) -> str:
    if not good.any():
        return "at no mode is the Hessian positive definite"
    if len(predicted) < 2:
        return "one mode only was found: a second start must agree"
    from arviz_stats.base.array import array_stats

    chains = np.stack(predicted)
    with np.errstate(divide="ignore", invalid="ignore"):
        rhat = np.asarray(array_stats.rhat(chains, chain_axis=0, draw_axis=1))
    share = float(np.mean(~(rhat <= RHAT_LIMIT)))
    if share > RHAT_SHARE_LIMIT:
        return f"the runs disagree: R-hat of the predictions is above 1.05 at {share:.0%} of the items"
    return ""


def _symmetries(posterior: System) -> float:
    if not isinstance(posterior, Network):
        return 0.0
    signs = math.log(2) if posterior.activation == "tanh" else 0.0
    return float(sum(gammaln(h + 1) + h * signs for h in posterior.hidden))


def _predictor(posterior: Any) -> Callable[[Mode, Array], np.ndarray]:
    """Predictions at the items, (draws, items): outputs of a network; else the items' log likelihoods."""
    if isinstance(posterior, Network):
        like = jax.eval_shape(lambda: posterior.init(jax.random.key(0), Control(1.0)))["weights"]
        of = jax.jit(jax.vmap(lambda v: posterior.outputs(unravel(v, like), widen(posterior.inputs)).ravel()))
    else:
        position = posterior.init(jax.random.key(0), Control(1.0))
        of = jax.jit(jax.vmap(lambda v: posterior.log_likelihood(unravel(v, position), *posterior.data)))
    return lambda mode, points: np.asarray(of(points))


def _minimised(gradient: Any, start: np.ndarray, counter: list[int], most: int, *fixed: Any) -> Any:
    def function(x: np.ndarray):
        counter[0] += 1
        value, slope = gradient(x, *fixed)
        return float(value), np.asarray(slope, float)

    options = {"maxiter": most, "maxfun": most, "maxcor": 30, "ftol": 1e-13, "gtol": 1e-7}
    with threadpool_limits(1):  # of the optimiser's linear algebra, which is too small for more
        return minimize(function, start, jac=True, method="L-BFGS-B", options=options)


def _mode(system: System, position: Any, compiled: dict[str, Any], counter: list[int]) -> Mode:
    if not compiled:
        compiled.update(_compiled(lambda v: system.energy(unravel(v, position), {})))
    found = _minimised(compiled["gradient"], np.asarray(ravel(position)), counter, MOST)
    hessian = np.asarray(compiled["hessian"](found.x))
    counter[0] += found.x.size
    return Mode(found.x, -float(found.fun), (hessian + hessian.T) / 2)


def _network_mode(network: Network, position: Any, compiled: dict[str, Any], counter: list[int]) -> Mode:
    """Weights and precisions in turn, until the precisions stand still; then the weights once more."""
    weights, drawn = network.parts(position)
    if not compiled:
        compiled.update(_compiled(lambda v, d: network.energy(network.whole(unravel(v, weights), d), {})))
        compiled["scales"] = jax.jit(
            lambda v, d: _scales(network, network.whole(unravel(v, weights), d)),
        )
    x = np.asarray(ravel(weights))
    still = False
    for round in range(ROUNDS + 1):
        last = still or round == ROUNDS
        found = _minimised(compiled["gradient"], x, counter, MOST if last else A_ROUND, drawn)
        x = found.x
        hessian = np.asarray(compiled["hessian"](x, drawn))
        counter[0] += x.size
        new, curvatures = _re_estimated(network, hessian, *compiled["scales"](x, drawn))
        if last:
            break
        still = all(np.abs(new[name] - np.asarray(drawn[name])).max() < STILL for name in new)
        drawn = new
    extra = sum(float(np.sum(LOG_2PI - np.log(c))) / 2 for c in curvatures.values())
    precisions = {name: (c, c / np.exp(np.asarray(drawn[name]))) for name, c in curvatures.items()}
    position = network.whole(unravel(jnp.asarray(x), weights), drawn)
    return Mode(x, -float(found.fun), (hessian + hessian.T) / 2, extra, position, precisions)


def _compiled(energy: Callable[..., Array]) -> dict[str, Any]:
    """Gradient and Hessian of ``energy``, a function of a vector and what is held fixed."""
    return {"gradient": jax.jit(jax.value_and_grad(energy)), "hessian": jax.jit(jax.hessian(energy))}


def _scales(network: Network, position: Any) -> tuple[Array, dict[str, Array]]:
    """Prior precisions of the weights, and the rate of each precision's gamma law given them."""
    rates = {name: rate for name, (_, rate) in network.conditionals(position["weights"], 1.0).items()}
    return network.prior_precisions(position), rates


def _re_estimated(
    network: Network, hessian: np.ndarray, precisions: Array, rates: dict[str, Array]
) -> tuple[Any, dict[str, np.ndarray]]:
    """Log precisions at the maximum of the evidence, and the curvature along each: a + gamma/2.

    gamma of a group of k weights: k - trace of the precision times the covariance (MacKay 1992, eq. 2.21); of
    the noise: items minus the weights that are determined, in equal parts of each target.
    """
    values, vectors = np.linalg.eigh((hessian + hessian.T) / 2)
    variances = np.sum(
        vectors**2 / np.maximum(np.abs(values), 1e-12), axis=1
    )  # a saddle on the way is no harm
    counts = network.counts()
    undetermined = np.split(np.asarray(precisions) * variances, np.cumsum(counts)[:-1])
    gammas = np.array([k - part.sum() for k, part in zip(counts, undetermined, strict=True)])
    determined = {"log_precision": np.maximum(gammas, 0.0)}
    if "log_noise" in rates:
        targets = rates["log_noise"].size
        each = max(network.n_items - max(gammas.sum(), 0.0) / targets, 1.0)
        determined["log_noise"] = np.full(targets, each)
    new, curvatures = {}, {}
    for name, gamma in determined.items():
        curvatures[name] = np.asarray(network.priors()[name][0].shape) + gamma / 2
        new[name] = np.log(curvatures[name]) - np.log(np.asarray(rates[name]))
    return new, curvatures
