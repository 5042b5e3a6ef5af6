"""Mean field: the Gibbs-Bogoliubov bound on ln Z. In machine learning its name is variational inference.

A trial law q of independent coordinates has the variational free energy F_q = E_q[U] - S(q), and -F_q <= ln Z
(kT = 1). What is minimised, and how, is the same for a posterior (q of normals) and for a magnet (q of
spins).
"""

import math
import time
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array

from heatbath.core import Control, System, numeric, run_key
from heatbath.core.numeric import float_dtype, ravel, unravel, widen, x64
from heatbath.errors import Refused
from heatbath.estimate import Estimate
from heatbath.learning.evidence_prior import refuse_improper
from heatbath.learning.evidence_result import Evidence

Energy = Callable[[Array], Array]
BOUND = "a bound from below: mean field leaves out all correlations"


class Normals(eqx.Module):
    """Independent normals: the trial law of continuous coordinates, (d,)."""

    mean: Array = eqx.field(converter=numeric)
    log_std: Array = eqx.field(converter=numeric)

    def points(self, key: Array, draws: int) -> Array:
        """(draws, d), as functions of the parameters (Kingma and Welling 2014)."""
        normals = jax.random.normal(key, (draws, self.mean.size), self.mean.dtype)
        return self.mean[None, :] + jnp.exp(self.log_std)[None, :] * normals

    def log_density(self, point: Array) -> Array:
        z = (point - self.mean) * jnp.exp(-self.log_std)
        return -jnp.sum(z**2 / 2 + self.log_std) - self.mean.size * math.log(2 * math.pi) / 2


class Spins(eqx.Module):
    """Independent spins +-1 in local ``fields`` (d,), in kT: magnetisation tanh(field)."""

    fields: Array = eqx.field(converter=numeric)

    def points(self, key: Array, draws: int) -> Array:
        """The magnetisations, (1, d): the mean of an energy in which no spin occurs twice in a term (pairs of
        neighbours) is the energy of the means, without noise."""
        return jnp.tanh(self.fields)[None, :]

    def log_density(self, point: Array) -> Array:
        """Its mean, minus the entropy."""
        h = self.fields
        return jnp.sum(h * jnp.tanh(h) - jnp.logaddexp(h, -h))


def free_energies(energy: Energy, law: Any, key: Array, draws: int) -> Array:
    """U + ln q at points of the ``law`` q, whose mean is F_q; without scatter where q is the Boltzmann
    law."""
    return jax.vmap(lambda x: energy(x) + law.log_density(x))(law.points(key, draws))


@eqx.filter_jit
def _minimised(energy: Energy, law: Any, key: Array, steps: Array, draws: int, rate: Array) -> Any:
    def gradient(law, key):
        return jax.grad(lambda q: jnp.mean(free_energies(energy, q, key, draws)))(law)

    def step(t, carry):
        law, state = carry
        updates, state = method.update(gradient(law, jax.random.fold_in(key, t)), state, law)
        return optax.apply_updates(law, updates), state

    method = optax.adam(lambda t: rate * 0.5 * (1 + jnp.cos(jnp.pi * t / steps)))
    return jax.lax.fori_loop(0, steps, step, (law, method.init(law)))[0]


def _need_x64() -> None:
    if not x64():
        raise Refused("mean field needs 64-bit numbers: call jax.config.update('jax_enable_x64', True) first")


def minimised(
    energy: Energy, law: Any, *, seed: int = 0, steps: int = 3_000, draws: int = 8, rate: float = 0.05
) -> Any:
    """The ``law`` (`Normals` or `Spins`) of least variational free energy, from the one given, by Adam with a
    step that falls to 0. ``energy``: of one point (d,), over kT; an `equinox.Module` where it holds
    numbers."""
    _need_x64()
    return _minimised(energy, law, run_key(seed), jnp.asarray(steps), draws, jnp.asarray(rate, float_dtype()))


@eqx.filter_jit
def _values(energy: Energy, law: Any, key: Array, draws: int) -> Array:
    return free_energies(energy, law, key, draws)


def bound(energy: Energy, law: Any, *, seed: int = 1, draws: int = 4_000) -> Estimate:
    """-F_q, a lower bound on ln Z in nats, from fresh draws of ``law``."""
    values = np.asarray(_values(energy, law, run_key(seed), draws))
    if not np.isfinite(values).all():
        return Estimate(
            math.nan, math.nan, reliable=False, reason="the energy of some of the draws is not finite"
        )
    error = values.std(ddof=1) / math.sqrt(len(values)) if len(values) > 1 else 0.0
    return Estimate(-float(values.mean()), float(error), len(values))


class OfPosition(eqx.Module):
    """The energy of a ``system`` at temperature 1 as a function of one vector (d,); ``like``: its
    position."""

    system: System
    like: Any

    def __call__(self, vector: Array) -> Array:
        position = jax.tree.map(lambda x, y: x.astype(y.dtype), unravel(vector, self.like), self.like)
        return self.system.energy(position, {})


def mean_field(
    posterior: System,
    *,
    seed: int = 0,
    starts: int = 4,
    steps: int = 3_000,
    draws: int = 8,
    final: int = 4_000,
) -> Evidence:
    """Lower bound on the log evidence of ``posterior``, in nats, by independent normals of all coordinates.

    The best of ``starts`` starting points drawn by the posterior's ``init``, judged by draws of their own.
    The coordinates are those of the position: of a heatbath network weights and **log** precisions. One law
    fits one of the equivalent modes of a network; the others are left out, and it stays a bound.
    ``log_evidence`` is the bound itself, and never reliable. Raises `Refused` without 64-bit numbers,
    and for an improper prior.
    """
    _need_x64()
    began = time.perf_counter()
    refuse_improper(posterior, run_key(seed))
    found = []
    for start, key in enumerate(jax.random.split(run_key(seed), starts)):
        position = widen(posterior.init(key, Control(1.0)))
        vector = ravel(position)
        energy = OfPosition(posterior, position)
        law = minimised(
            energy, Normals(vector, jnp.full(vector.size, -3.0)), seed=start, steps=steps, draws=draws
        )
        found.append((bound(energy, law, seed=seed, draws=final), law, energy))
    finite = [x for x in found if math.isfinite(x[0].value)]
    if not finite:
        raise Refused("mean field found no finite bound: check the model and its starting points")
    _, law, energy = max(finite, key=lambda x: x[0].value)
    lower = bound(energy, law, seed=(seed + 1) % 2**32, draws=final)
    value = Estimate(lower.value, lower.std_error, lower.ess, False, BOUND)
    none = Estimate(math.nan, math.nan, reliable=False, reason="mean field has no bound from above")
    gradients = starts * steps * draws
    return Evidence(value, lower, none, gradients, time.perf_counter() - began)
