"""The temperature of a sampled network, layer by layer, from the stored samples."""

import math
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from rich.console import Console
from rich.progress import Progress as Bar
from scipy.stats import t as student

from heatbath.estimate import Estimate, with_error
from heatbath.learning.draws import Draws, read_draws
from heatbath.learning.fit import network
from heatbath.learning.phases import POSTERIOR
from heatbath.learning.problem import stored_problem
from heatbath.learning.settings import Settings
from heatbath.store import RunFolder
from heatbath.thermometry import configurational_temperature, heat_capacity

MOST_SAVES = 2_000  # of each replica
PART = 50  # saves at a time
MOST_WORK = 4e10  # saves x rows x weights: about a minute
FEWEST_REPLICAS = 4  # for an error from their scatter
BATH = float(POSTERIOR.temperature)
LEVEL, TOLERANCE, PRECISION = 0.01, 0.05, 0.1
SURE = 4.0  # standard errors


@dataclass(frozen=True)
class Layer:
    """``configurational``: <|grad U|^2>/<laplacian U> (Rugh 1997); ``virial``: <(theta - c).grad U>/d."""

    name: str
    size: int
    configurational: Estimate
    virial: Estimate

    @property
    def z(self) -> float:
        """Standard errors between the configurational temperature and the bath's."""
        return abs(self.configurational.value - BATH) / self.configurational.std_error


@dataclass(frozen=True)
class LayerTemperatures:
    """``p_value``: of equipartition, all layers at the bath's temperature, by Bonferroni over the
    configurational temperatures; ``heat_capacity``: Var(U)/T^2."""

    layers: tuple[Layer, ...]
    p_value: float
    heat_capacity: Estimate
    replicas: int
    saves: int

    def verdict(self) -> str:
        """One sentence. Equipartition is denied where it is rejected at 1 % and a layer is more than 5 % off;
        it is affirmed only where every standard error is at most 10 %. The surest of such layers is named."""
        doubts = [x.configurational.reason for x in self.layers if not x.configurational.reliable]
        if doubts:
            return f"no verdict: {doubts[0]}"
        chance, bath = f"p = {self.p_value:.2g}", f"the bath at {BATH:g}"
        worst = max(self.layers, key=lambda x: (abs(x.configurational.value / BATH - 1) > TOLERANCE, x.z))
        off = abs(worst.configurational.value / BATH - 1) > TOLERANCE
        if off and max(self.p_value, chance_of(worst.z, self.replicas, len(self.layers))) < LEVEL:
            found = f"{worst.name} at {worst.configurational} in the stiffest directions"
            cure = "; a smaller step size heats less" if worst.configurational.value > BATH else ""
            return f"no equipartition: {found}, {bath} ({chance}){cure}"
        blurred = max(self.layers, key=lambda x: x.configurational.std_error)
        if blurred.configurational.std_error > PRECISION * BATH:
            return f"too few samples to tell: {blurred.name} at {blurred.configurational}, {bath} ({chance})"
        slow = min(self.layers, key=lambda x: x.virial.value + SURE * x.virial.std_error)
        if slow.virial.value + SURE * slow.virial.std_error < BATH:
            found = f"{slow.name} at {with_error(slow.virial.value, slow.virial.std_error)} by its positions"
            return f"equipartition in the stiffest directions alone ({chance}): {found}, not yet spread"
        return f"equipartition: every layer is as hot as the bath, {BATH:g} ({chance})"

    def summary(self) -> dict[str, Any]:
        """For JSON."""
        layers = [
            {
                "layer": layer.name,
                "size": layer.size,
                "configurational": layer.configurational.to_dict(),
                "virial": layer.virial.to_dict(),
            }
            for layer in self.layers
        ]
        return {
            "layers": layers,
            "bath": BATH,
            "p_value": self.p_value,
            "heat_capacity": self.heat_capacity.to_dict(),
            "replicas": self.replicas,
            "saves": self.saves,
            "verdict": self.verdict(),
        }


def layer_temperatures(folder: RunFolder, *, progress: bool = False) -> LayerTemperatures:
    """Of the run in ``folder``, at up to 2,000 saves of each replica, evenly spaced; fewer of large networks
    on large data.

    The virial theorem holds for any c that does not know theta: c is the mean over the other half of the same
    replica, which is close to theta and so keeps the noise down. Activations with kinks have no Laplacian:
    their configurational temperatures are not reliable. Raises `Refused` where there are no samples.
    """
    draws = read_draws(folder)
    posterior = network(stored_problem(folder), Settings.from_config(folder.config))
    weights = sum(part[0, 0].size for layer in draws.weights for part in layer.values())
    work = draws.shape[0] * posterior.n_items * weights
    draws = draws.thinned(min(MOST_SAVES, max(1, int(MOST_WORK / work))))
    position = _position(draws)
    energy, gradient, curvature = _in_parts(posterior, position, draws.shape[1], progress)
    found = []
    for (name, x), (_, g), (_, h) in zip(*map(_groups, (position, gradient, curvature)), strict=True):
        size = x.shape[2]
        virial = configurational_temperature(x - _centre(x), g, centre=np.zeros(size))
        squares = (g**2).sum(axis=2).mean(axis=1), h.sum(axis=2).mean(axis=1)
        found.append(Layer(name, size, _ratio(*squares, smooth=draws.activation == "tanh"), virial))
    replicas, saves = draws.shape
    p_value = chance_of(max(layer.z for layer in found), replicas, len(found))
    return LayerTemperatures(tuple(found), p_value, heat_capacity(energy, BATH), replicas, saves)


def chance_of(z: float, replicas: int, layers: int) -> float:
    """That one of so many layers at the bath's temperature is ``z`` standard errors off, at most."""
    return float(min(1.0, 2 * student.sf(z, max(replicas - 1, 1)) * layers))


def _ratio(squares: np.ndarray, laplacian: np.ndarray, *, smooth: bool) -> Estimate:
    """Ratio of the means over the replicas, with the error of their scatter (delta method)."""
    replicas, value = len(squares), float(squares.mean() / laplacian.mean())
    scatter = squares - value * laplacian
    error = float(np.sqrt((scatter**2).sum() / max(replicas - 1, 1) / replicas)) / abs(
        float(laplacian.mean())
    )
    reason = "" if smooth else "the activation has kinks, so the energy has no Laplacian"
    if replicas < FEWEST_REPLICAS:
        reason = f"{replicas} replicas are too few to tell an error from"
        error = error if replicas > 1 else math.nan
    return Estimate(
        value, error, replicas, not reason, reason, "Temperature of the layer by force and curvature."
    )


def _centre(x: np.ndarray) -> np.ndarray:
    """For each sample of (replicas, saves, d) the mean over the other half of its replica; 0 for a single
    one."""
    half = x.shape[1] // 2
    if half == 0:
        return np.zeros_like(x)
    first, second = (part.mean(axis=1, keepdims=True) for part in (x[:, :half], x[:, half:]))
    return np.repeat(np.concatenate([second, first], axis=1), [half, x.shape[1] - half], axis=1)


def _position(draws: Draws) -> dict[str, Any]:
    """As the network has it, (replicas, saves, ...)."""
    log_precision, log_noise = -2 * np.log(draws.scale), -2 * np.log(draws.noise)
    return {"weights": draws.weights, "log_precision": log_precision, "log_noise": log_noise}


def _in_parts(posterior: Any, position: Any, saves: int, progress: bool) -> tuple[np.ndarray, Any, Any]:
    """`_derivatives` of 50 saves at a time, so that there is progress to show."""
    parts = []
    shown = progress and sys.stderr.isatty()
    with Bar(console=Console(stderr=True), disable=not shown, transient=True) as bar:
        for first in bar.track(range(0, saves, PART), description="temperatures"):
            part = jax.tree.map(lambda x, i=first: x[:, i : i + PART], position)
            found = _derivatives(posterior, part, jax.random.key(first))
            parts.append(jax.tree.map(np.asarray, found))
    return jax.tree.map(lambda *x: np.concatenate(x, axis=1), *parts)


@eqx.filter_jit
def _derivatives(posterior: Any, position: Any, key: Array) -> tuple[Array, Any, Any]:
    """At every sample the energy, its gradient, and numbers of the position's shapes that sum, on average, to
    the Laplacian of each group: v (H v) with random signs v (Hutchinson)."""
    leaves, structure = jax.tree.flatten(position)
    keys = jax.random.split(key, len(leaves))
    signs = [jax.random.rademacher(k, x.shape, x.dtype) for k, x in zip(keys, leaves, strict=True)]

    def energy(x):
        return posterior.energy(x, POSTERIOR.couplings)

    def of_one(x, v):
        (value, gradient), (_, turned) = jax.jvp(jax.value_and_grad(energy), (x,), (v,))
        return value, gradient, jax.tree.map(jnp.multiply, v, turned)

    both = position, jax.tree.unflatten(structure, signs)
    by_save = jax.tree.map(lambda x: jnp.moveaxis(x, 1, 0), both)
    found = jax.lax.map(lambda both: jax.vmap(of_one)(*both), by_save)
    return jax.tree.map(lambda x: jnp.moveaxis(x, 0, 1), found)


def _groups(tree: Any) -> Iterator[tuple[str, np.ndarray]]:
    """Name and numbers (replicas, saves, d) of each layer of ``tree``, of a position's structure."""
    named = []
    for i, layer in enumerate(tree["weights"], start=1):
        named += [(f"layer {i} weights", layer["w"]), (f"layer {i} biases", layer["b"])]
    named += [("prior precisions", tree["log_precision"]), ("noise levels", tree["log_noise"])]
    for name, values in named:
        if values.shape[2:] == (0,):  # classes have no noise
            continue
        yield name, np.asarray(values, float).reshape(*values.shape[:2], -1)
