"""Energy landscapes with exact answers: harmonic trap, double well, funnel, Gaussian mixture."""

from collections.abc import Mapping
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import Array

from heatbath.core import Control, Solvable, System, numeric


class HarmonicTrap(Solvable):
    """U = stiffness/2 |x - centre|^2 in ``dimension`` dimensions.

    Couplings: ``stiffness`` (scalar) and ``centre`` (scalar or shape (dimension,)). Position: a vector.
    Moving the centre drags the trap (no change of free energy), moving the stiffness makes it breathe.
    """

    dimension: int = eqx.field(static=True, default=1)
    dtype: str = eqx.field(static=True, default="float64")

    def energy(self, position: Array, couplings: Mapping[str, Any], items: Array | None = None) -> Array:
        away = position - jnp.broadcast_to(couplings["centre"], position.shape)
        return couplings["stiffness"] * jnp.sum(away**2) / 2

    def init(self, key: Array, control: Control) -> Array:
        return self.sample(key, control)

    def log_partition(self, control: Control) -> Array:
        """(d/2) ln(2 pi T/stiffness)."""
        return self.dimension / 2 * jnp.log(2 * jnp.pi * control.temperature / control.couplings["stiffness"])

    def sample(self, key: Array, control: Control) -> Array:
        width = jnp.sqrt(control.temperature / control.couplings["stiffness"])
        noise = jax.random.normal(key, (self.dimension,), width.dtype)
        return (width * noise + jnp.broadcast_to(control.couplings["centre"], noise.shape)).astype(self.dtype)

    @classmethod
    def examples(cls) -> dict[str, tuple[System, Control]]:
        control = Control(0.7, {"stiffness": 1.5, "centre": 0.4})
        return {"trap": (cls(3), control)}


class DoubleWell(Solvable):
    """U = barrier (x^2 - 1)^2 - tilt x: minima near -1 and 1, a barrier of height ``barrier`` at 0.

    Couplings: ``barrier``, ``tilt``. Position: a vector of shape (1,). Exact answers by quadrature on
    a grid over [-4, 4] (trapezoid rule, which converges geometrically here; valid for barrier/T >= 0.05).
    """

    points: int = eqx.field(static=True, default=4001)

    def energy(self, position: Array, couplings: Mapping[str, Any], items: Array | None = None) -> Array:
        return jnp.sum(couplings["barrier"] * (position**2 - 1) ** 2 - couplings["tilt"] * position)

    def init(self, key: Array, control: Control) -> Array:
        return self.sample(key, control)

    def _grid(self, control: Control) -> tuple[Array, Array]:
        x = jnp.linspace(-4.0, 4.0, self.points)
        energy = jax.vmap(lambda y: self.energy(y[None], control.couplings))(x)
        return x, -energy / control.temperature

    def log_partition(self, control: Control) -> Array:
        x, log_density = self._grid(control)
        return jax.scipy.special.logsumexp(log_density) + jnp.log(x[1] - x[0])

    def sample(self, key: Array, control: Control) -> Array:
        """By inversion of the distribution function on the grid, linear between its points."""
        x, log_density = self._grid(control)
        density = jnp.exp(log_density - jnp.max(log_density))
        steps = jnp.concatenate([jnp.zeros(1), jnp.cumsum((density[1:] + density[:-1]) / 2)])
        return jnp.interp(jax.random.uniform(key, (1,)), steps / steps[-1], x)

    @classmethod
    def examples(cls) -> dict[str, tuple[System, Control]]:
        return {"double well": (cls(), Control(0.5, {"barrier": 0.8, "tilt": 0.2}))}


class Funnel(Solvable):
    """Neal's funnel (Slice Sampling, 2003, section 8): v ~ N(0, width^2), x_i ~ N(0, exp(v)).

    U is minus the log density at temperature 1, normalised there; position {"v": (), "x": (dimension,)}.
    Exact at any temperature T: x given v has variance T exp(v), v has variance T width^2 and mean
    dimension (T - 1) width^2/2.
    """

    dimension: int = eqx.field(static=True, default=9)
    width: Array = eqx.field(converter=numeric, default=3.0)

    def energy(
        self, position: dict[str, Array], couplings: Mapping[str, Any], items: Array | None = None
    ) -> Array:
        v, x = position["v"], position["x"]
        log_v = -(v**2) / (2 * self.width**2) - jnp.log(2 * jnp.pi * self.width**2) / 2
        log_x = -jnp.sum(x**2) * jnp.exp(-v) / 2 - self.dimension * (v + jnp.log(2 * jnp.pi)) / 2
        return -(log_v + log_x)

    def init(self, key: Array, control: Control) -> dict[str, Array]:
        return self.sample(key, control)

    def log_partition(self, control: Control) -> Array:
        t, d, s = control.temperature, self.dimension, self.width
        log_x = d / 2 * (jnp.log(t) + (1 - 1 / t) * jnp.log(2 * jnp.pi))
        log_v = (1 - 1 / t) / 2 * jnp.log(2 * jnp.pi * s**2) + jnp.log(t) / 2
        return log_x + log_v + (d * (1 - 1 / t) / 2) ** 2 * t * s**2 / 2

    def sample(self, key: Array, control: Control) -> dict[str, Array]:
        t, d, s = control.temperature, self.dimension, self.width
        noise = jax.random.normal(key, (d + 1,))
        v = d * (t - 1) * s**2 / 2 + jnp.sqrt(t) * s * noise[0]
        return {"v": v, "x": jnp.sqrt(t) * jnp.exp(v / 2) * noise[1:]}

    @classmethod
    def examples(cls) -> dict[str, tuple[System, Control]]:
        return {"funnel": (cls(2, 0.6), Control())}


class GaussianMixture(Solvable):
    """U = -ln sum_k w_k N(x; mean_k, width_k^2), at temperature 1 a normalised density.

    ``weights`` (k,), ``means`` (k, d), ``widths`` (k,). Exact answers at temperature 1 only: any other
    raises ValueError.
    """

    weights: Array = eqx.field(converter=numeric)
    means: Array = eqx.field(converter=numeric)
    widths: Array = eqx.field(converter=numeric)

    def energy(self, position: Array, couplings: Mapping[str, Any], items: Array | None = None) -> Array:
        d = self.means.shape[1]
        distance = jnp.sum((position[None, :] - self.means) ** 2, axis=1)
        log_density = -distance / (2 * self.widths**2) - d / 2 * jnp.log(2 * jnp.pi * self.widths**2)
        return -jax.scipy.special.logsumexp(log_density + jnp.log(self.weights / jnp.sum(self.weights)))

    def init(self, key: Array, control: Control) -> Array:
        return self.sample(key, control)

    def log_partition(self, control: Control) -> Array:
        return eqx.error_if(
            jnp.zeros_like(control.temperature), control.temperature != 1, "exact at temperature 1 only"
        )

    def sample(self, key: Array, control: Control) -> Array:
        which, noise = jax.random.split(key)
        k = jax.random.categorical(which, jnp.log(self.weights))
        x = self.means[k] + self.widths[k] * jax.random.normal(noise, self.means.shape[1:])
        return eqx.error_if(x, control.temperature != 1, "exact at temperature 1 only")

    @classmethod
    def examples(cls) -> dict[str, tuple[System, Control]]:
        mixture = cls([0.3, 0.7], [[-1.0, 0.0], [1.0, 0.5]], [0.7, 0.9])
        return {"mixture": (mixture, Control())}
