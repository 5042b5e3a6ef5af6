"""What is said of the temperatures of the layers; the Laplacian of which they are made."""

import math

import jax
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

from heatbath.estimate import Estimate
from heatbath.learning.phases import POSTERIOR
from heatbath.learning.temperatures import Layer, LayerTemperatures, _derivatives
from heatbath.systems import RegressionNetwork


def said(p_value: float, *layers: tuple[Estimate, Estimate]) -> str:
    """The verdict on layers with these configurational and virial temperatures."""
    named = tuple(Layer(f"layer {i} weights", 4, *pair) for i, pair in enumerate(layers, start=1))
    return LayerTemperatures(named, p_value, Estimate(3.0, 0.1), 16, 100).verdict()


WARM = Estimate(1.01, 0.02), Estimate(0.98, 0.05)


def test_equipartition_is_affirmed_where_every_layer_is_as_hot_as_the_bath():
    assert said(0.5, WARM, WARM).startswith("equipartition: every layer")


def test_equipartition_is_denied_where_it_is_rejected_and_a_layer_is_off():
    hot = said(1e-4, WARM, (Estimate(1.2, 0.03), Estimate(1.0, 0.1)))
    assert "layer 2 weights at 1.200(30)" in hot
    assert hot.endswith("a smaller step size heats less")
    assert "heats less" not in said(1e-4, WARM, (Estimate(0.8, 0.03), Estimate(1.0, 0.1)))
    assert said(1e-4, WARM).startswith("equipartition: every layer")  # 1 % off is no matter


def test_the_layer_that_is_surely_off_is_named_and_not_the_noisiest():
    """A run of 4 replicas gave -13(47) and 1.778(25)."""
    noisy, sure = Estimate(-13.0, 47.0), Estimate(1.778, 0.025)
    verdict = said(4e-4, (noisy, Estimate(0.4, 0.7)), (sure, Estimate(0.5, 0.8)))
    assert verdict.startswith("no equipartition: layer 2 weights at 1.778(25)")
    slightly = Estimate(1.02, 0.001), Estimate(1.0, 0.1)  # of which p is
    assert said(1e-4, slightly, (noisy, Estimate(0.4, 0.7))).startswith("too few samples to tell")


def test_a_wide_error_bar_affirms_nothing():
    """A run of 4 replicas on images gave 3.79(73) and p = 0.13."""
    verdict = said(0.13, WARM, (Estimate(3.79, 0.73), Estimate(1.0, 0.1)))
    assert verdict.startswith("too few samples to tell: layer 2 weights at 3.79(73)")


def test_weights_that_have_not_spread_are_named():
    verdict = said(0.5, WARM, (Estimate(1.0, 0.05), Estimate(0.02, 0.01)))
    assert "stiffest directions alone" in verdict
    assert "layer 2 weights at 0.020(10)" in verdict


def test_no_verdict_of_temperatures_that_cannot_be_relied_on():
    kinks = Estimate(1.0, 0.01, reliable=False, reason="the activation has kinks")
    assert said(0.5, (kinks, Estimate(1.0, 0.1))) == "no verdict: the activation has kinks"


@pytest.mark.slow
def test_the_numbers_of_a_layer_sum_on_average_to_its_laplacian():
    """Hutchinson's estimate at 3,000 copies of one position, against the diagonal of the Hessian. 4.5
    standard errors (chance of a false alarm for 6 groups: 4e-5); the sums are known to about 5 %, so a group
    left out, or counted twice, is seen at once."""
    rng = np.random.default_rng(0)
    inputs = rng.normal(size=(12, 2))
    network = RegressionNetwork(inputs, np.sin(inputs[:, :1]), (3,))
    position = network.init(jax.random.key(1), POSTERIOR)
    copies = jax.tree.map(lambda x: np.broadcast_to(x, (1, 3_000, *x.shape)), position)
    _, _, found = _derivatives(network, copies, jax.random.key(2))

    def energy(flat):
        return network.energy(unravel(flat), POSTERIOR.couplings)

    flat, unravel = ravel_pytree(position)
    exact = unravel(np.diagonal(jax.hessian(energy)(flat)).astype(flat.dtype))
    for numbers, diagonal in zip(jax.tree.leaves(found), jax.tree.leaves(exact), strict=True):
        sums = np.asarray(numbers, float)[0].reshape(3_000, -1).sum(axis=1)
        error = sums.std(ddof=1) / math.sqrt(len(sums))
        assert sums.mean() == pytest.approx(float(diagonal.sum()), abs=4.5 * error + 1e-4 * abs(sums.mean()))
