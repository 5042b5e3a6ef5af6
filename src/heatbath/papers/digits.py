"""A small Bayesian network on handwritten digits, which several papers' experiments share.

A perceptron with one hidden layer of rectified units. Its parameters are standard normal a priori; a layer
divides by the root of its fan-in, so that one step size fits all of them.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from scipy.special import log_softmax

from heatbath.data import dataset
from heatbath.learning.classify import Classification
from heatbath.systems import Posterior

HIDDEN = 50
UNTRAINED = "the networks are hardly trained in a smoke run"
FINEST = 14  # pixels of a side; finer images are averaged in squares


@dataclass(frozen=True)
class Digits:
    """Images (n, side, side) from 0 to 1 and labels (n,), the network's posterior, and which data."""

    source: str
    images: np.ndarray
    labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray
    system: Posterior

    def inputs(self, images: np.ndarray) -> np.ndarray:
        """What the network reads of ``images`` (n, side, side): standardised with the training pixels'
        common mean and deviation, (n, pixels)."""
        return standardised(images, self.images)


def digits() -> Digits:
    """mnist-8k where this machine has it, else the digits of scikit-learn."""
    arrays = dataset("mnist-8k", "digits")
    images, test_images = (coarse(x / arrays.inputs.max()) for x in (arrays.inputs, arrays.test_inputs))
    inputs = jnp.asarray(standardised(images, images))
    ones = jnp.asarray(arrays.targets[:, None] == np.arange(len(arrays.classes)), jnp.float32)
    start = initial(inputs.shape[1], HIDDEN, ones.shape[1])
    system = Posterior(log_prior, log_likelihood, start, (inputs, ones))
    source = f"{arrays.name}: {arrays.title}"
    return Digits(source, images, arrays.targets, test_images, arrays.test_targets, system)


def coarse(images: np.ndarray) -> np.ndarray:
    """Means over squares of pixels until a side has no more than 14."""
    n, side, _ = images.shape
    block = -(-side // FINEST)
    return images.reshape(n, side // block, block, side // block, block).mean(axis=(2, 4))


def standardised(images: np.ndarray, training: np.ndarray) -> np.ndarray:
    flat = (images - training.mean()) / training.std()
    return flat.reshape(len(images), -1).astype(np.float32)


def initial(*widths: int) -> Callable[[jax.Array], Any]:
    """Draws weights from the prior, biases 0."""

    def draw(key):
        keys = jax.random.split(key, len(widths) - 1)
        sizes = zip(keys, widths[:-1], widths[1:], strict=True)
        return tuple(
            {"w": jax.random.normal(k, (n, m), jnp.float32), "b": jnp.zeros(m, jnp.float32)}
            for k, n, m in sizes
        )

    return draw


def cooled(system: Posterior, key: int, temperatures: np.ndarray) -> Any:
    """A start for each of ``temperatures``: a prior draw times sqrt(T)."""
    keys = jax.random.split(jax.random.key(key), len(temperatures))
    roots = jnp.sqrt(jnp.asarray(temperatures, jnp.float32))
    return jax.vmap(lambda k, root: jax.tree.map(lambda x: root * x, system.initial(k)))(keys, roots)


def log_prior(parameters: Any) -> jax.Array:
    squares = [jnp.sum(x**2, dtype=float) for x in jax.tree.leaves(parameters)]
    return -jnp.sum(jnp.stack(squares)) / 2


def logits(parameters: Any, inputs: Any) -> Any:
    """Of one network, for JAX and NumPy arrays alike: (n, classes)."""
    signal = inputs
    for depth, layer in enumerate(parameters):
        fan_in = layer["w"].shape[0]
        scale = np.float32(np.sqrt((1 if depth else 2) / fan_in))
        signal = scale * (signal if depth == 0 else signal * (signal > 0)) @ layer["w"] + layer["b"][None]
    return signal


def log_likelihood(parameters: Any, inputs: jax.Array, ones: jax.Array) -> jax.Array:
    """``ones``: the label's place is 1, the others 0: looking labels up does not vectorise."""
    found = logits(parameters, inputs)
    return jnp.sum(found * ones, axis=1) - jax.nn.logsumexp(found, axis=1)


def predictive(records: dict[str, np.ndarray], replica: int, inputs: np.ndarray) -> Classification:
    """What one replica's saves of the second half of a run predict together at ``inputs`` (n, pixels)."""
    saves = next(iter(records.values())).shape[1]
    chosen = range(saves // 2, saves)
    probabilities, single = np.zeros(()), np.zeros(())
    for save in chosen:
        each = log_softmax(logits(network(records, replica, save), inputs).astype(float), axis=1)
        probabilities = probabilities + np.exp(each) / len(chosen)
        single = single + entropy(each) / len(chosen)
    mean = np.log(np.maximum(probabilities, np.finfo(float).tiny))
    return Classification(mean, entropy(mean), np.maximum(entropy(mean) - single, 0))


def network(records: dict[str, np.ndarray], replica: int, save: int) -> list[dict[str, np.ndarray]]:
    """Its parameters, from the records of a run that stored the positions."""
    return [
        {name: records[f"position/{depth}/{name}"][replica, save] for name in ("w", "b")} for depth in (0, 1)
    ]


def entropy(log_probabilities: np.ndarray) -> np.ndarray:
    return -(np.exp(log_probabilities) * log_probabilities).sum(axis=1)
