"""Local learning coefficient of a minimum of any mean loss, by Langevin chains tied to it (JAX).

The chains sample exp(-n beta L(w) - gamma |w - w0|^2/2) by SGLD, w' = w - eps/2 (n beta g + gamma (w - w0)) +
sqrt(eps) xi, and the coefficient is n beta (<L> - L(w0)). Sources: Watanabe 2013 (n beta = n/ln n); Lau et
al. 2023 (the localised chains). Step and minibatches heat the chains and make the plain estimate too large;
here that is taken out.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from heatbath.core import numeric
from heatbath.core.numeric import ravel, size, unravel
from heatbath.errors import Refused
from heatbath.estimate import Estimate
from heatbath.theory import _checks
from heatbath.theory.learning_coefficient import quadratic_coefficient
from heatbath.thermometry import series

MOST_QUADRATIC = 2_000  # parameters up to which the whole Hessian is held


@dataclass(frozen=True)
class Chains:
    """How to sample: n beta, the tie ``gamma``, SGLD step ``step_size`` (eps), examples in a batch (None:
    all, no minibatch noise), number of replicas, steps thrown away and kept, steps between evaluations of the
    full loss."""

    nbeta: float
    gamma: float = 1.0
    step_size: float = 1e-4
    batch_size: int | None = None
    replicas: int = 16
    burn_in: int = 2_000
    steps: int = 10_000
    every: int = 10

    def __post_init__(self):
        for name in ("nbeta", "gamma", "step_size"):
            series.positive(name, getattr(self, name))
        for name in ("replicas", "steps", "every"):
            series.whole(name, getattr(self, name))
        if self.burn_in != 0:
            series.whole("burn_in", self.burn_in)
        if self.batch_size is not None:
            series.whole("batch_size", self.batch_size)
        if self.steps // self.every < series.FEWEST_SAMPLES:
            raise Refused(f"steps = {self.steps} with every = {self.every}: give steps for 4 or more samples")


@dataclass(frozen=True)
class LearningCoefficient:
    """``corrected``: at zero step and without minibatch noise, but at the given n beta and gamma.

    ``plain``: what the chains say; ``step`` and ``minibatch``: the parts of it that were taken out;
    ``localisation``: by how much twice the tie would lower it, which is not taken out (the coefficient is
    defined with its tie) and should be small. ``method``: "quadratic" or "measured".
    """

    corrected: Estimate
    plain: Estimate
    step: Estimate
    minibatch: Estimate
    localisation: Estimate
    method: str


def coefficient_of_losses(losses, at_minimum: float, nbeta: float) -> Estimate:
    """n beta (<L> - L(w0)) from **full** mean losses (replicas, samples) of chains after their burn-in."""
    excess = series.checked("losses", losses) - _checks.number("at_minimum", at_minimum)
    found = series.scaled(series.mean(excess), series.positive("nbeta", nbeta), _MEANING)
    if found.value < -series.RESOLVED * found.std_error:
        return series.doubted(
            found, "the loss falls away from the given point: it is not a minimum; train on"
        )
    return found


_MEANING = "Effective number of parameters of the minimum, counted in halves (d/2 for a regular one)."


def sample_learning_coefficient(
    loss: Callable[[Any, Any], Array],
    minimum: Any,
    items: Any,
    chains: Chains,
    *,
    seed: int,
    quadratic: bool = False,
) -> LearningCoefficient:
    """Samples around ``minimum`` and takes the bias of step and minibatches out.

    ``loss(parameters, items)``: the mean loss of some items, a number; ``items``: a pytree of arrays with the
    examples on the first axis (or None, for a loss without data, ``loss(parameters, None)``). Batches are
    drawn with replacement.

    ``quadratic=True`` removes the bias in closed form, from Hessian and gradient covariance at the minimum:
    one set of chains, right where the loss is quadratic as far as they reach, which is checked (not reliable
    where the chains disagree with the formula by 4 errors). Otherwise the bias is measured: with half the
    step (twice the steps) and with twice the batch; its leading order, linear in both, is taken out. Raises
    `Refused` where a chain diverges.
    """
    if not isinstance(chains, Chains):
        raise Refused(f"chains is a {type(chains).__name__}: give Chains(nbeta=...)")
    if chains.batch_size is not None and (items is None or chains.batch_size > _count(items)):
        raise Refused(
            f"batch_size = {chains.batch_size}: give items, at least as many, or None for no batches"
        )
    leaves = [jnp.asarray(leaf) for leaf in jax.tree.leaves(minimum)]
    if not sum(leaf.size for leaf in leaves):
        raise Refused("the model has no parameters")
    if not all(jnp.issubdtype(leaf.dtype, jnp.floating) for leaf in leaves):
        raise Refused(
            "the minimum holds numbers that are not floating-point: keep them out of the parameters"
        )
    run = partial(_run, loss, minimum, items, seed=series.seed(seed))
    plain = run(chains, stream=0)
    localised = _difference(plain, run(replace(chains, gamma=2 * chains.gamma), stream=3), 1.0, _TIE)
    if quadratic:
        return _in_closed_form(loss, minimum, items, chains, plain, localised)
    longer = {"burn_in": 2 * chains.burn_in, "steps": 2 * chains.steps, "every": 2 * chains.every}
    finer = run(replace(chains, step_size=chains.step_size / 2, **longer), stream=1)
    both = _difference(plain, finer, 2.0, "Excess that is due to the finite step, with its minibatch noise.")
    if chains.batch_size is None:
        minibatch = Estimate(0.0, 0.0, meaning=_BATCH)
    else:
        minibatch = _difference(
            plain, run(replace(chains, batch_size=2 * chains.batch_size), stream=2), 2.0, _BATCH
        )
    step = _combined(both, minibatch, 1.0, -1.0, _STEP)
    corrected = _combined(finer, plain, 2.0, -1.0, _MEANING)
    if not abs(both.value) < 0.5 * abs(plain.value):
        corrected = series.doubted(
            corrected, "step and batch make up over half of the estimate: take a smaller step"
        )
    return LearningCoefficient(corrected, plain, step, minibatch, localised, "measured")


_STEP = "Excess that is due to the finite step."
_BATCH = "Excess that is due to minibatch noise."
_TIE = "What twice the tie to the minimum would take away."


def _in_closed_form(loss, minimum, items, chains: Chains, plain: Estimate, localised: Estimate):
    curvature, noise = _quadratic(loss, minimum, items)
    of_step = partial(quadratic_coefficient, curvature, chains.nbeta, chains.gamma)
    exact, full = of_step(), of_step(step_size=chains.step_size)
    as_run = full
    if chains.batch_size is not None:
        as_run = of_step(step_size=chains.step_size, gradient_noise=noise, batch=chains.batch_size)
    corrected = series.shifted(plain, plain.value - (as_run - exact))
    if abs(plain.value - as_run) > 4 * plain.std_error:
        text = f"a quadratic loss would have given {as_run:.4g}: it is not quadratic here; measure the bias"
        corrected = series.doubted(corrected, text)
    step = Estimate(full - exact, 0.0, meaning=_STEP)
    minibatch = Estimate(as_run - full, 0.0, meaning=_BATCH)
    return LearningCoefficient(corrected, plain, step, minibatch, localised, "quadratic")


def _quadratic(loss, minimum: Any, items: Any) -> tuple[np.ndarray, np.ndarray]:
    """Hessian eigenvalues at the minimum, and variance of one example's gradient along the eigenvectors."""
    minimum = numeric(minimum)
    d, start = size(minimum), ravel(minimum)
    if d > MOST_QUADRATIC:
        raise Refused(
            f"{d} parameters: the closed form takes at most {MOST_QUADRATIC}; measure the bias instead"
        )

    def flat(w: Array, some: Any) -> Array:
        return loss(unravel(w, minimum), some)

    curvature, vectors = np.linalg.eigh(np.asarray(jax.jit(jax.hessian(flat))(start, items), float))
    curvature = np.maximum(curvature, 0.0)  # a minimum: what is below 0 is rounding
    if items is None:
        return curvature, np.zeros(d)

    def moments(total, item):
        one = jnp.asarray(vectors).T @ jax.grad(flat)(start, jax.tree.map(lambda x: x[None], item))
        return (total[0] + one, total[1] + one**2), None

    zero = jnp.zeros(d, start.dtype)
    (first, second), _ = jax.jit(lambda: jax.lax.scan(moments, (zero, zero), items))()
    n = _count(items)
    return curvature, np.asarray(second / n - (first / n) ** 2, float)


def _run(loss, minimum: Any, items: Any, chains: Chains, *, seed: int, stream: int) -> Estimate:
    """One set of chains; ``stream`` keeps the random numbers of different sets apart."""
    n = 0 if items is None else _count(items)
    minimum = numeric(minimum)
    at_minimum = loss(minimum, items)
    if jnp.shape(at_minimum) != () or not jnp.isfinite(at_minimum):
        raise Refused(f"the loss at the minimum is {at_minimum}: it must be one finite number")
    key = jax.random.fold_in(jax.random.key(seed), stream)
    keys = jax.random.split(key, chains.replicas)
    numbers = {name: getattr(chains, name) for name in ("nbeta", "gamma", "step_size", "burn_in", "every")}
    shape = chains.batch_size, n, chains.steps // chains.every
    losses = np.asarray(_sample(loss, shape, jax.tree.map(jnp.asarray, numbers), minimum, items, keys), float)
    if not np.isfinite(losses).all():
        raise Refused(f"chains diverge at step_size = {chains.step_size:g}: take a smaller one")
    return coefficient_of_losses(losses, float(at_minimum), chains.nbeta)


@partial(jax.jit, static_argnums=(0, 1))
def _sample(
    loss, shape: tuple[int | None, int, int], numbers: dict[str, Array], minimum: Any, items: Any, keys: Array
) -> Array:
    """Full losses of the chains, (replicas, samples); ``shape``: batch size, number of items, samples."""
    batch_size, n, samples = shape
    start = ravel(minimum)
    nbeta, gamma, eps = (numbers[name].astype(start.dtype) for name in ("nbeta", "gamma", "step_size"))
    burn_in, every = numbers["burn_in"], numbers["every"]

    def full(w: Array) -> Array:
        return loss(unravel(w, minimum), items)

    def gradient(w: Array, key: Array) -> Array:
        if batch_size is None:
            return jax.grad(full)(w)
        chosen = jax.random.randint(key, (batch_size,), 0, n)
        some = jax.tree.map(lambda x: x[chosen], items)
        return jax.grad(lambda w: loss(unravel(w, minimum), some))(w)

    def chain(key: Array) -> Array:
        def step(t: Array, w: Array) -> Array:
            batch, noise = jax.random.split(jax.random.fold_in(key, t))
            drift = nbeta * gradient(w, batch) + gamma * (w - start)
            return w - eps / 2 * drift + jnp.sqrt(eps) * jax.random.normal(noise, w.shape, w.dtype)

        def sample(w: Array, i: Array) -> tuple[Array, Array]:
            first = burn_in + i * every
            w = jax.lax.fori_loop(first, first + every, step, w)
            return w, full(w)

        w = jax.lax.fori_loop(0, burn_in, step, start)
        return jax.lax.scan(sample, w, jnp.arange(samples))[1]

    return jax.vmap(chain)(keys)


def _count(items: Any) -> int:
    sizes = {len(x) for x in jax.tree.leaves(items)}
    if len(sizes) != 1 or 0 in sizes:
        raise Refused(f"items have first axes of lengths {sorted(sizes)}: give arrays of one length above 0")
    return sizes.pop()


def _combined(a: Estimate, b: Estimate, x: float, y: float, meaning: str) -> Estimate:
    """x a + y b of independent estimates."""
    error = float(np.hypot(x * a.std_error, y * b.std_error))
    reason = a.reason or b.reason
    ess = float(np.nanmin([a.ess, b.ess]))
    return Estimate(x * a.value + y * b.value, error, ess, not reason, reason, meaning)


def _difference(a: Estimate, b: Estimate, factor: float, meaning: str) -> Estimate:
    return _combined(a, b, factor, -factor, meaning)
