"""A Bayesian posterior as a system: U = -(log prior + coupling x log likelihood)."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import Array

from heatbath.core import Control, Items, System, take
from heatbath.core.numeric import float_dtype, widen
from heatbath.errors import Refused


class Posterior(System):
    """log prior + coupling x log likelihood over any pytree of parameters, from plain functions.

    ``log_prior(parameters)``: scalar. ``log_likelihood(parameters, inputs, targets)``: one value for each
    item, shape (n,). ``initial(key)``: starting parameters. ``data``: (inputs, targets), arrays with the
    items as leading axis. The coupling ``likelihood`` (1 if the control does not name it) is the
    experimenter's: 0 is the prior, 1 the posterior, between them lies annealing. ``total``: how many items
    there are, where ``data`` holds only a sample of them, from which the energy is then estimated, while the
    minibatches come from elsewhere (``stream`` of `simulate`). ``sample_prior(key)``: an exact draw from the
    prior, like ``initial``; `heatbath.learning.evidence` is surer and faster where it is given.

    Items are computed in the parameters' own dtype and summed in float64 (where x64 is on);
    ``precise=True`` computes all of it in float64.
    """

    log_prior: Callable[[Any], Array] = eqx.field(static=True)
    log_likelihood: Callable[[Any, Array, Array], Array] = eqx.field(static=True)
    initial: Callable[[Array], Any] = eqx.field(static=True)
    data: tuple[Array, Array]
    precise: bool = eqx.field(static=True, default=False)
    total: int | None = eqx.field(static=True, default=None)
    repeated: int = eqx.field(static=True, default=0)  # items at the end that are there twice: `reordered`
    sample_prior: Callable[[Array], Any] | None = eqx.field(static=True, default=None)

    @property
    def n_items(self) -> int:
        return self.total or self._here

    @property
    def _here(self) -> int:
        return self.data[0].shape[0] - self.repeated

    def reordered(self, order: Array) -> "Posterior":
        data = jax.tree.map(lambda x: x[order], self.data)
        return replace(self, data=data, repeated=order.size - self._here)

    @property
    def precision(self) -> str:
        return "float64" if self.precise else "position"

    def energy(self, position: Any, couplings: Mapping[str, Any], items: Items | None = None) -> Array:
        (inputs, targets), count = self._rows(items)
        if not count:
            raise Refused("there are no data items: give inputs and targets of at least one")
        of_items = self.log_likelihood(position, inputs, targets)
        if jnp.ndim(of_items) and jnp.size(of_items) != count:
            raise Refused(
                f"log_likelihood returns shape {jnp.shape(of_items)} for {count} items: return one value for"
                " each, (n,); inputs or targets broadcast against each other"
            )
        log_likelihood = jnp.sum(of_items, dtype=float_dtype())
        log_likelihood = log_likelihood * (self.n_items / count)
        return -(widen(self.log_prior(position)) + couplings.get("likelihood", 1.0) * log_likelihood)

    def _rows(self, items: Items | None) -> tuple[Any, int]:
        if items is not None:
            return take(self.data, items)
        return jax.tree.map(lambda x: x[: self._here], self.data), self._here

    def init(self, key: Array, control: Control) -> Any:
        return self.initial(key)


def from_equinox(
    module: Any,
    log_prior: Callable[[Any], Array],
    log_likelihood: Callable[[Array, Array], Array],
    data: tuple[Array, Array],
) -> Posterior:
    """A `Posterior` over the arrays of an Equinox module.

    ``log_likelihood(outputs, targets)``: one value for each item, outputs = vmap(module)(inputs). Starts
    at the module's own arrays, each replica moved by 1 % noise.
    """
    arrays, static = eqx.partition(module, eqx.is_inexact_array)

    def likelihood(parameters, inputs, targets):
        outputs = jax.vmap(eqx.combine(parameters, static))(inputs)
        return log_likelihood(outputs, targets)

    return Posterior(log_prior, likelihood, _near(arrays), data)


def from_flax(
    module: Any,
    variables: Any,
    log_prior: Callable[[Any], Array],
    log_likelihood: Callable[[Array, Array], Array],
    data: tuple[Array, Array],
) -> Posterior:
    """A `Posterior` over the parameters of a Flax (linen) module.

    ``variables``: what ``module.init`` returned; a position is ``{"params": ...}`` of it, other collections
    (the running averages of batch normalisation) stay as they are. ``log_likelihood(outputs, targets)``: one
    value for each item, outputs = module.apply(variables, inputs). Starts at ``variables``, each replica
    moved by 1 % noise. Raises `Refused` where there are no parameters.
    """
    if not isinstance(variables, Mapping) or "params" not in variables:
        raise Refused('variables have no "params": give what module.init returned')
    rest = {name: collection for name, collection in variables.items() if name != "params"}

    def likelihood(parameters, inputs, targets):
        return log_likelihood(module.apply({**rest, **parameters}, inputs), targets)

    return Posterior(log_prior, likelihood, _near({"params": variables["params"]}), data)


def _near(parameters: Any) -> Callable[[Array], Any]:
    def initial(key):
        leaves = jax.tree.leaves(parameters)
        keys = jax.random.split(key, len(leaves))
        noisy = [x + 0.01 * jax.random.normal(k, x.shape, x.dtype) for k, x in zip(keys, leaves, strict=True)]
        return jax.tree.unflatten(jax.tree.structure(parameters), noisy)

    return initial
