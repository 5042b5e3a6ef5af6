import numpy as np
import pytest
from scipy.special import softmax

from heatbath.papers.digits import coarse, logits, predictive, standardised
from heatbath.papers.wenzel_2020 import coverage, interval


@pytest.fixture
def records():
    rng = np.random.default_rng(5)
    shapes = {"0/w": (9, 4), "0/b": (4,), "1/w": (4, 3), "1/b": (3,)}
    return {f"position/{k}": rng.normal(size=(2, 6, *s)).astype(np.float32) for k, s in shapes.items()}


def test_fine_images_are_averaged_in_squares():
    images = np.arange(2.0 * 28 * 28).reshape(2, 28, 28)
    small = coarse(images)
    assert small.shape == (2, 14, 14)
    assert small[1, 3, 5] == pytest.approx(images[1, 6:8, 10:12].mean())
    assert coarse(images[:, :8, :8]).shape == (2, 8, 8)
    assert standardised(images, images).std() == pytest.approx(1)


def test_predictions_are_means_over_the_second_half(records):
    inputs = np.random.default_rng(6).normal(size=(5, 9)).astype(np.float32)
    found = predictive(records, 1, inputs)
    draws = []
    for save in (3, 4, 5):
        w0, b0, w1, b1 = (records[f"position/{k}"][1, save] for k in ("0/w", "0/b", "1/w", "1/b"))
        hidden = np.maximum(inputs @ w0 * np.sqrt(2 / 9) + b0, 0)
        draws.append(softmax(hidden @ w1 / 2 + b1, axis=1))
    np.testing.assert_allclose(found.probabilities, np.mean(draws, axis=0), rtol=1e-5)
    each = [-(p * np.log(p)).sum(axis=1) for p in (*draws, np.mean(draws, axis=0))]
    np.testing.assert_allclose(found.unfamiliar, each[3] - np.mean(each[:3], axis=0), atol=1e-5)


def test_the_network_is_the_same_for_jax_and_numpy(records):
    import jax.numpy as jnp

    network = [{k: records[f"position/{d}/{k}"][0, 0] for k in "wb"} for d in (0, 1)]
    inputs = np.random.default_rng(7).normal(size=(5, 9)).astype(np.float32)
    in_jax = logits([{k: jnp.asarray(v) for k, v in layer.items()} for layer in network], jnp.asarray(inputs))
    np.testing.assert_allclose(in_jax, logits(network, inputs), rtol=1e-4, atol=1e-5)


def test_interval_of_the_kinetic_temperature_covers_its_level():
    low, high = interval(10_000)
    assert 0.96 < low < 1 < high < 1.04
    assert coverage(10_000, 1.0) == pytest.approx(0.99)
    assert coverage(10_000, 1.05) < 0.2
