"""Bayesian neural networks with Neal's hierarchical priors, as systems."""

from collections.abc import Mapping, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.scipy.special import gammaln, logsumexp

from heatbath.core import Conditional, Control, Items, Loaded, Window, numeric
from heatbath.core.numeric import float_dtype, ravel, size, unravel, widen

ACTIVATIONS = {"tanh": jnp.tanh, "relu": jax.nn.relu}
LOG_2PI = float(np.log(2 * np.pi))
MOST_ITEMS = 256  # in a curvature
MOST_DENSE = 1_000  # weights with a full one
OUTPUT_BIAS_PRIOR = (2.0, 2.0)  # of a network with classes
LARGEST_JACOBIAN = 2**24  # numbers held at once


class GammaPrior(eqx.Module):
    """A precision tau ~ Gamma(a, rate) in the coordinate ln tau: p = rate^a/Gamma(a) tau^a e^(-rate tau)."""

    shape: Array = eqx.field(converter=numeric)
    rate: Array = eqx.field(converter=numeric)

    def log_density(self, log_precision: Array) -> Array:
        normal = self.shape * jnp.log(self.rate) - gammaln(self.shape)
        return normal + self.shape * log_precision - self.rate * jnp.exp(log_precision)

    def conditional(self, count: Array, squares: Array) -> tuple[Array, Array]:
        """Shape and rate given ``squares``, the sum of squares of ``count`` normals of precision tau."""
        return self.shape + count / 2, self.rate + squares / 2


class Columns(eqx.Module):
    """The data, items last, which is what vectorises: ``inputs`` (features, n), ``targets`` (outputs, n).
    ``repeated``: items at the end that are there twice (`Network.reordered`)."""

    inputs: Array
    targets: Array
    repeated: int = eqx.field(static=True, default=0)

    @property
    def count(self) -> int:
        return self.inputs.shape[1] - self.repeated

    def take(self, items: Items | None) -> tuple[Array, Array]:
        """Inputs and targets of the ``items``, all if None."""
        if isinstance(items, Loaded):
            inputs, targets = items.data
            return inputs.T, targets.T
        both = self.inputs, self.targets
        if isinstance(items, Window):
            start, size = items.start, items.size
            inputs, targets = (jax.lax.dynamic_slice_in_dim(x, start, size, axis=1) for x in both)
        else:
            inputs, targets = (x[:, : self.count] if items is None else x[:, items] for x in both)
        return inputs, targets


class Network(Conditional):
    """A multilayer perceptron, its hyperparameters sampled with the weights: what all likelihoods share.

    Model (Neal 1996, chapter 3): weights of a group are normal with a common precision, every precision has
    a gamma prior. The groups are the weights out of each input (automatic relevance determination: an input
    that does not matter is turned off), the biases of each layer and the weights of each later layer. The
    precision of weights out of a hidden layer is multiplied by its width, so that the prior over functions
    has a limit.

    Position: {"weights": a tuple of {"w": (fan_in, fan_out), "b": (fan_out,)}, "log_precision": (groups,)}
    and the other precisions that `priors` names. The coupling ``likelihood`` multiplies the log likelihood:
    0 is the prior, 1 (the default) Bayes.
    """

    data: Columns
    weight_prior: GammaPrior
    hidden: tuple[int, ...] = eqx.field(static=True)
    activation: str = eqx.field(static=True)

    def priors(self) -> dict[str, tuple[GammaPrior, int]]:
        """Of each vector of log precisions: prior, and how many there are."""
        return {"log_precision": (self.weight_prior, self.groups)}

    def log_likelihood(self, position: Any, items: Items | None = None) -> Array:
        """ln p(targets | inputs, position), summed over the items in the widest float (over ``items`` only,
        scaled to all)."""
        raise NotImplementedError

    def conditionals(self, weights: Any, coupling: Any) -> dict[str, tuple[Array, Array]]:
        """Shape and rate of the precisions of `priors`, given the weights."""
        squares, counts, _ = self._groups(weights)
        return {"log_precision": self.weight_prior.conditional(counts, squares)}

    def unit_information(self, position: Any, outputs: Array) -> Array:
        """A function of one item's outputs, (outputs,), whose Jacobian J gives the Fisher information of
        the item's target as J^T J."""
        raise NotImplementedError

    @property
    def inputs(self) -> Array:
        """Of all items, (features, n)."""
        return self.data.take(None)[0]

    @property
    def targets(self) -> Array:
        """Of all items, (outputs, n)."""
        return self.data.take(None)[1]

    @property
    def n_items(self) -> int:
        return self.data.count

    def reordered(self, order: Array) -> "Network":
        inputs, targets = self.data.take(order)
        return eqx.tree_at(lambda s: s.data, self, Columns(inputs, targets, order.size - self.n_items))

    @property
    def dtype(self) -> Any:
        """Of positions and data."""
        return self.data.inputs.dtype

    @property
    def precision(self) -> str:
        return "position"

    @property
    def widths(self) -> tuple[int, ...]:
        """Units of every layer, inputs and outputs included."""
        return (self.data.inputs.shape[0], *self.hidden, self.data.targets.shape[0])

    @property
    def groups(self) -> int:
        """Number of groups of weights: in the order of the leaves, biases before weights."""
        return 2 * len(self.hidden) + 1 + self.data.inputs.shape[0]

    def outputs(self, weights: Any, inputs: Array) -> Array:
        """The network's outputs (outputs, n) at ``inputs`` (features, n)."""
        return self.signals(weights, inputs)[-1]

    def signals(self, weights: Any, inputs: Array) -> list[Array]:
        """What goes into each layer, (fan_in, n), and the outputs."""
        act = ACTIVATIONS[self.activation]
        found = [inputs]
        for i, layer in enumerate(weights, start=1):
            outputs = _affine(layer, found[-1])
            found.append(act(outputs) if i < len(weights) else outputs)
        return found

    def energy(self, position: Any, couplings: Mapping[str, Any], items: Items | None = None) -> Array:
        log_precision = widen(position["log_precision"])
        squares, counts, scales = self._groups(position["weights"])
        log_prior = sum(
            jnp.sum(prior.log_density(widen(position[name]))) for name, (prior, _) in self.priors().items()
        )
        log_prior += jnp.sum(counts * (log_precision + jnp.log(scales) - LOG_2PI)) / 2
        log_prior -= jnp.sum(jnp.exp(log_precision) * squares) / 2
        return -(log_prior + couplings.get("likelihood", 1.0) * self.log_likelihood(position, items))

    def chosen(self, items: Items | None) -> tuple[Array, Array, float]:
        """Inputs and targets of the ``items`` (all if None), and what scales their sum to all."""
        inputs, targets = self.data.take(items)
        return inputs, targets, self.n_items / inputs.shape[1]

    def counts(self) -> np.ndarray:
        """Number of weights in each group."""
        counts = [self.widths[1]] + [self.widths[1]] * self.widths[0]
        for fan_in, fan_out in zip(self.widths[1:-1], self.widths[2:], strict=True):
            counts += [fan_out, fan_in * fan_out]
        return np.asarray(counts)

    def _groups(self, weights: Any) -> tuple[Array, Array, Array]:
        """Of each group: sum of squares (times the scale), number of weights, scale of the precision."""
        squares, scales = [], []
        for i, layer in enumerate(weights):
            fan_in = layer["w"].shape[0]
            inputs, scale = (fan_in, 1) if i == 0 else (1, fan_in)
            squares += [jnp.sum(widen(layer["b"]) ** 2)[None]]
            squares += [scale * jnp.sum(widen(layer["w"]).reshape(inputs, -1) ** 2, axis=1)]
            scales += [1] + [scale] * inputs
        counts = jnp.asarray(self.counts(), float_dtype())
        return jnp.concatenate(squares), counts, jnp.asarray(scales, float_dtype())

    def init(self, key: Array, control: Control) -> Any:
        """Small random weights, precisions of 1."""
        sizes = zip(self.widths[:-1], self.widths[1:], strict=True)
        shapes = tuple({"b": jnp.zeros((m,)), "w": jnp.zeros((n, m))} for n, m in sizes)
        normals = unravel(jax.random.normal(key, (size(shapes),), self.dtype), shapes)
        weights = tuple(
            jax.tree.map(lambda x, n=n: 0.5 * n**-0.5 * x, layer)
            for n, layer in zip(self.widths, normals, strict=False)
        )
        ones = {name: jnp.zeros(count, self.dtype) for name, (_, count) in self.priors().items()}
        return {"weights": weights, **ones}

    def sample_prior(self, key: Array) -> Any:
        """A position drawn from the prior: precisions from their gammas, then weights, exactly."""
        precisions, normals = jax.random.split(key)
        position = self.init(normals, Control(1.0))
        keys = jax.random.split(precisions, len(self.priors()))
        for one, (name, (prior, count)) in zip(keys, self.priors().items(), strict=True):
            shape, rate = jnp.broadcast_to(prior.shape, count), jnp.broadcast_to(prior.rate, count)
            position[name] = (jax.random.loggamma(one, shape) - jnp.log(rate)).astype(self.dtype)
        weights = jax.random.normal(normals, (size(position["weights"]),), float_dtype())
        weights = (weights * self.prior_precisions(position) ** -0.5).astype(self.dtype)
        return {**position, "weights": unravel(weights, position["weights"])}

    def parts(self, position: Any) -> tuple[Any, Any]:
        return position["weights"], {name: position[name] for name in self.priors()}

    def whole(self, moved: Any, drawn: Any) -> Any:
        return {"weights": moved, **drawn}

    def draw(self, key: Array, moved: Any, control: Control) -> Any:
        """All precisions given the weights. At temperature T a gamma of shape a and rate b, raised to 1/T in
        the coordinate ln tau, is the gamma of shape a/T and rate b/T."""
        found = self.conditionals(moved, control.couplings.get("likelihood", 1.0))
        shape, rate = (
            jnp.concatenate(both) / control.temperature for both in zip(*found.values(), strict=True)
        )
        drawn = (jax.random.loggamma(key, shape) - jnp.log(rate)).astype(self.dtype)
        ends = np.cumsum([shape.size for shape, _ in found.values()])
        return dict(zip(found, jnp.split(drawn, ends[:-1]), strict=True))

    def prior_precisions(self, position: Any) -> Array:
        """Of every weight, (d,)."""
        return jnp.repeat(
            jnp.exp(position["log_precision"]) * self._groups(position["weights"])[2], self.counts()
        )

    def curvature(self, position: Any, couplings: Mapping[str, Any]) -> Array:
        """Gauss-Newton precision of the weights, shape (d, d): the Fisher information at no more than 256
        items, evenly spaced, scaled to all, plus the prior precisions. Of more than 1,000 weights only the
        diagonal is returned, shape (d,)."""
        weights = position["weights"]
        vector = ravel(weights)
        inputs = self.inputs[:, :: -(-self.n_items // MOST_ITEMS)]

        def outputs(v, x):
            return self.unit_information(position, self.outputs(unravel(v, weights), x[:, None])[:, 0])

        prior = self.prior_precisions(position)
        scale = couplings.get("likelihood", 1.0) * self.n_items / inputs.shape[1]
        numbers = inputs.shape[1] * self.widths[-1] * vector.size
        if vector.size > MOST_DENSE and numbers > LARGEST_JACOBIAN:  # one item after the other

            def add(total, x):
                return total + jnp.sum(jax.jacrev(outputs)(vector, x) ** 2, axis=0), None

            return scale * jax.lax.scan(add, jnp.zeros_like(vector), inputs.T)[0] + prior
        jacobian = jax.vmap(jax.jacrev(outputs), in_axes=(None, 1))(vector, inputs)
        jacobian = jacobian.reshape(-1, vector.size)
        if vector.size > MOST_DENSE:
            return scale * jnp.sum(jacobian**2, axis=0) + prior
        return scale * (jacobian.T @ jacobian) + jnp.diag(prior)


class RegressionNetwork(Network):
    """A `Network` for regression: targets are normal around the outputs, with one precision for each target.

    ``inputs`` (n, features) and ``targets`` (n, outputs), standardised. The position has "log_noise", the
    log precisions of the targets, (outputs,), as well.
    """

    noise_prior: GammaPrior

    def __init__(
        self,
        inputs: Any,
        targets: Any,
        hidden: Sequence[int] = (16,),
        activation: str = "tanh",
        weight_prior: tuple[float, float] = (0.5, 0.005),
        noise_prior: tuple[float, float] = (0.5, 5e-5),
        dtype: str = "float32",
    ):
        """``weight_prior``, ``noise_prior``: shape and rate of the precisions' gamma priors."""
        self.data = Columns(
            jnp.asarray(np.asarray(inputs).T, dtype), jnp.asarray(np.asarray(targets).T, dtype)
        )
        self.hidden, self.activation = tuple(hidden), activation
        self.weight_prior, self.noise_prior = GammaPrior(*weight_prior), GammaPrior(*noise_prior)

    def priors(self) -> dict[str, tuple[GammaPrior, int]]:
        return {**super().priors(), "log_noise": (self.noise_prior, self.data.targets.shape[0])}

    def log_likelihood(self, position: Any, items: Items | None = None) -> Array:
        log_noise = widen(position["log_noise"])
        errors = self.squared_errors(position["weights"], items)
        return jnp.sum(self.n_items * (log_noise - LOG_2PI) - jnp.exp(log_noise) * errors) / 2

    def squared_errors(self, weights: Any, items: Items | None = None) -> Array:
        """Sum over the items of each target's squared error, shape (outputs,), summed in the widest float
        (over ``items`` only, scaled to all)."""
        inputs, targets, scale = self.chosen(items)
        residuals = self.outputs(weights, inputs) - targets
        return scale * jnp.sum(residuals**2, axis=1, dtype=float_dtype())

    def conditionals(self, weights: Any, coupling: Any) -> dict[str, tuple[Array, Array]]:
        errors = self.squared_errors(weights)
        items = jnp.broadcast_to(coupling * self.n_items, errors.shape)
        noise = self.noise_prior.conditional(items, coupling * errors)
        return {**super().conditionals(weights, coupling), "log_noise": noise}

    def unit_information(self, position: Any, outputs: Array) -> Array:
        return outputs * jnp.exp(position["log_noise"] / 2)


class ClassificationNetwork(Network):
    """A `Network` for classification: the classes' probabilities are the softmax of the outputs.

    ``inputs`` (n, features), standardised; ``labels`` (n,), whole numbers from 0 to ``classes`` - 1. There is
    one output for each class, so that the prior prefers none (Neal 1996, section 4.1).
    """

    def __init__(
        self,
        inputs: Any,
        labels: Any,
        classes: int,
        hidden: Sequence[int] = (16,),
        activation: str = "tanh",
        weight_prior: tuple[float, float] = (0.5, 0.05),
        dtype: str = "float32",
    ):
        """``weight_prior``: shape and rate of the precisions' gamma prior, but for the output biases. Their
        common level does not matter, so a wide prior would let it, and their precision, wander for ever."""
        # one row of zeros and ones for each class: looking labels up does not vectorise
        targets = jnp.asarray(np.asarray(labels) == np.arange(classes)[:, None], dtype)
        self.data = Columns(jnp.asarray(np.asarray(inputs).T, dtype), targets)
        self.hidden, self.activation = tuple(hidden), activation
        shape, rate = (np.full(self.groups, value) for value in weight_prior)
        output_biases = self.groups - 2 if self.hidden else 0
        shape[output_biases], rate[output_biases] = OUTPUT_BIAS_PRIOR
        self.weight_prior = GammaPrior(shape, rate)

    def log_likelihood(self, position: Any, items: Items | None = None) -> Array:
        inputs, targets, scale = self.chosen(items)
        outputs = self.outputs(position["weights"], inputs)
        each = jnp.sum(targets * outputs, axis=0) - logsumexp(outputs, axis=0)
        return scale * jnp.sum(each, dtype=float_dtype())

    def unit_information(self, position: Any, outputs: Array) -> Array:
        """2 sqrt(p): the sum over the classes of p (d ln p)^2 is that of (d 2 sqrt(p))^2."""
        return 2 * jnp.exp(jax.nn.log_softmax(outputs) / 2)


def _affine(layer: Mapping[str, Array], signal: Array) -> Array:
    """w^T s + b for signals (fan_in, n)."""
    return layer["w"].T @ signal + layer["b"][:, None]
