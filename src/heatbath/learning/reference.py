"""The start of a path to a network's posterior: the prior, with precisions such as the data ask for."""

from collections.abc import Mapping
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from heatbath.core import Conditional, Control, Items
from heatbath.core.numeric import widen
from heatbath.systems import Network
from heatbath.systems.networks import GammaPrior


class FromReference(Conditional):
    """The straight path in the log density from ``reference`` (coupling ``likelihood`` 0) to ``network`` (1).

    The reference is the network without data and with other gamma priors of its precisions, so it is
    normalised and can be drawn from exactly. Where they lie near the posterior's precisions, the noise and
    the scales of the weights hardly move along the path. From the prior itself, noise and fit would drive
    each other at one coupling: a first-order transition, at which some replicas are left behind. Any
    reference gives the same evidence.
    """

    network: Network
    reference: Network

    @staticmethod
    def of(network: Network, precisions: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> "FromReference":
        """``precisions``: shape and rate of each one's gamma law, by the names of `Network.priors`."""
        weights = GammaPrior(*precisions["log_precision"])
        reference = eqx.tree_at(lambda n: n.weight_prior, network, weights)
        if "log_noise" in precisions:
            noise = GammaPrior(*precisions["log_noise"])
            reference = eqx.tree_at(lambda n: n.noise_prior, reference, noise)
        return FromReference(network, reference)

    @property
    def precision(self) -> str:
        return self.network.precision

    @property
    def n_items(self) -> int:
        return self.network.n_items

    def energy(self, position: Any, couplings: Mapping[str, Any], items: Items | None = None) -> Array:
        change = sum(
            jnp.sum(there.log_density(x) - here.log_density(x))
            for name, there, here in self._laws()
            for x in [widen(position[name])]
        )
        return self.network.energy(position, couplings, items) - (1 - couplings["likelihood"]) * change

    def init(self, key: Array, control: Control) -> Any:
        """An exact draw of the reference."""
        return self.reference.sample_prior(key)

    def parts(self, position: Any) -> tuple[Any, Any]:
        return self.network.parts(position)

    def whole(self, moved: Any, drawn: Any) -> Any:
        return self.network.whole(moved, drawn)

    def draw(self, key: Array, moved: Any, control: Control) -> Any:
        """All precisions given the weights, at temperature 1."""
        coupling = control.couplings["likelihood"]
        found = self.network.conditionals(moved, coupling)
        drawn = {}
        for i, (name, there, here) in enumerate(self._laws()):
            shape, rate = found[name]
            shape = shape + (1 - coupling) * (there.shape - here.shape)
            rate = rate + (1 - coupling) * (there.rate - here.rate)
            precision = jax.random.loggamma(jax.random.fold_in(key, i), shape) - jnp.log(rate)
            drawn[name] = precision.astype(self.network.dtype)
        return drawn

    def _laws(self) -> list[tuple[str, GammaPrior, GammaPrior]]:
        """Name of each vector of log precisions, and its law in the reference and in the network."""
        here, there = self.network.priors(), self.reference.priors()
        return [(name, there[name][0], here[name][0]) for name in here]
