"""A network in units of length of its own, in which its curvature is about the same in all directions."""

from collections.abc import Mapping
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jax import Array

from heatbath.core import Control, Items, System
from heatbath.core.numeric import unravel
from heatbath.core.system import Position
from heatbath.systems.networks import Network

MOST_ITEMS = 2_048  # whose signals are looked at
DIRECTIONS = 64  # of the inputs of a layer that are stretched, at most


class Stretch(eqx.Module):
    """x = scale (z + sum over k of (factor_k - 1) u_k u_k.z) for the columns of z, shape (rows, columns).

    ``scale``: (rows,). ``directions``: orthonormal u_k, (rows, k). ``factors``: (k,).
    """

    scale: Array
    directions: Array
    factors: Array

    @staticmethod
    def of(precision: np.ndarray) -> "Stretch":
        """The one that takes the matrix ``precision`` (rows, rows) to one of unit diagonal, and then its 64
        largest eigenvalues to 1."""
        scale = np.diagonal(precision) ** -0.5
        values, vectors = np.linalg.eigh(precision * np.outer(scale, scale))
        found = scale, vectors[:, -DIRECTIONS:], values[-DIRECTIONS:] ** -0.5
        return Stretch(*(jnp.asarray(x, jnp.float32) for x in found))

    def original(self, z: Array) -> Array:
        return self.scale[:, None] * self._along(z, self.factors)

    def whitened(self, x: Array) -> Array:
        return self._along(x / self.scale[:, None], 1 / self.factors)

    def _along(self, z: Array, factors: Array) -> Array:
        return z + self.directions @ ((factors - 1)[:, None] * (self.directions.T @ z))


class Whitening(eqx.Module):
    """Of the position of a `Network`: a `Stretch` for the biases and weights into each layer (biases first,
    then a row for each input), and scales of the vectors of log precisions by their names."""

    layers: tuple[Stretch, ...]
    scales: dict[str, Array]

    def original(self, z: Position) -> Position:
        return self._mapped(z, [stretch.original for stretch in self.layers], self.scales)

    def whitened(self, x: Position) -> Position:
        inverse = {name: 1 / scale for name, scale in self.scales.items()}
        return self._mapped(x, [stretch.whitened for stretch in self.layers], inverse)

    def enlarged(self, factor: Array) -> "Whitening":
        """With all lengths times ``factor``."""
        layers = tuple(Stretch(s.scale * factor, s.directions, s.factors) for s in self.layers)
        return Whitening(layers, {name: scale * factor for name, scale in self.scales.items()})

    def _mapped(self, position: Position, maps: list[Any], scales: Mapping[str, Array]) -> Position:
        weights = []
        for layer, of_layer in zip(position["weights"], maps, strict=True):
            found = of_layer(jnp.concatenate([layer["b"][None], layer["w"]]))
            weights.append({"b": found[0].astype(layer["b"].dtype), "w": found[1:].astype(layer["w"].dtype)})
        rest = {name: position[name] * scale.astype(position[name].dtype) for name, scale in scales.items()}
        return {"weights": tuple(weights), **rest}


class Whitened(System):
    """``network`` in the coordinates z of a ``whitening``: one step size fits all. The map is linear, so the
    density of x is that of the network."""

    network: Network
    whitening: Whitening

    def energy(self, position: Position, couplings: Mapping[str, Any], items: Items | None = None) -> Array:
        return self.network.energy(self.whitening.original(position), couplings, items)

    def init(self, key: Array, control: Control) -> Position:
        return self.whitening.whitened(self.network.init(key, control))

    @property
    def n_items(self) -> int:
        return self.network.n_items

    def reordered(self, order: Array) -> "Whitened":
        return Whitened(self.network.reordered(order), self.whitening)

    @property
    def precision(self) -> str:
        return self.network.precision


def layer_precisions(network: Network, position: Position, couplings: Mapping[str, Any]) -> list[Array]:
    """Of the biases and weights into each layer, (1 + fan_in, 1 + fan_in): the Kronecker factor of the Fisher
    information (Martens and Grosse 2015, equation 1) that the layer's inputs make, times the mean of the
    other one over the units, plus the prior precisions."""
    weights = position["weights"]
    curvature = network.curvature(position, couplings)
    curvature = unravel(jnp.diagonal(curvature) if curvature.ndim == 2 else curvature, weights)
    prior = unravel(network.prior_precisions(position), weights)
    signals = network.signals(weights, network.inputs[:, :: -(-network.n_items // MOST_ITEMS)])
    found = []
    for signal, informed, before in zip(signals[:-1], curvature, prior, strict=True):
        rows = jnp.concatenate([jnp.ones_like(signal[:1]), signal])
        strength = jnp.mean(informed["b"] - before["b"])
        diagonal = jnp.concatenate([before["b"][:1], before["w"][:, 0]])
        found.append(strength / rows.shape[1] * (rows @ rows.T) + jnp.diag(diagonal))
    return found
