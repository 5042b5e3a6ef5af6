"""Units of length in which one step size fits all: there and back, curvatures, a dynamics in them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import norm

from heatbath.core import Constant, Control, Window, simulate
from heatbath.core.numeric import ravel
from heatbath.dynamics import SGLD
from heatbath.systems import RegressionNetwork, Whitened, Whitening
from heatbath.systems.whitened import Stretch, layer_precisions

RNG = np.random.default_rng(0)
INPUTS = RNG.normal(size=(40, 3)) @ np.array([[1, 0.9, 0], [0, 0.3, 0], [0, 0, 5]])
NETWORK = RegressionNetwork(INPUTS, np.sin(INPUTS[:, :1]), (4,), dtype="float64")
CONTROL = Control(1.0, {"likelihood": 1.0})
START = NETWORK.init(jax.random.key(1), CONTROL)
PRECISION = np.array([[4.0, 1.8, 0], [1.8, 1.0, 0], [0, 0, 100]])


def test_a_stretch_makes_a_precision_the_unit_matrix():
    stretch = Stretch.of(PRECISION)
    to = np.asarray(stretch.original(jnp.eye(3)), float)
    assert to.T @ PRECISION @ to == pytest.approx(np.eye(3), abs=2e-5)
    assert np.asarray(stretch.whitened(to)) == pytest.approx(np.eye(3), abs=2e-5)


def whitening() -> Whitening:
    layers = layer_precisions(NETWORK, START, CONTROL.couplings)
    scales = {name: jnp.linspace(0.5, 2, START[name].size) for name in ("log_precision", "log_noise")}
    return Whitening(tuple(Stretch.of(np.asarray(p, float)) for p in layers), scales)


def test_there_and_back():
    map_ = whitening().enlarged(jnp.asarray(1.7))
    z = map_.whitened(START)
    assert np.asarray(ravel(map_.original(z))) == pytest.approx(np.asarray(ravel(START)), abs=1e-5)
    system = Whitened(NETWORK, map_)
    for items in (None, jnp.arange(7), Window(jnp.asarray(3), 9)):
        energies = [float(s.energy(x, {}, items)) for s, x in [(system, z), (NETWORK, START)]]
        assert energies[0] == pytest.approx(energies[1], rel=1e-5)
    order = jnp.arange(40)[::-1]
    assert float(system.reordered(order).energy(z, {})) == pytest.approx(
        float(system.energy(z, {})), rel=1e-9
    )


def test_the_last_layer_s_precision_is_its_gauss_newton_matrix():
    """It is linear, with one unit and noise of precision 1: nothing is approximated."""
    weights = START["weights"]
    curvature = np.asarray(NETWORK.curvature(START, CONTROL.couplings))
    last = slice(weights[0]["b"].size + weights[0]["w"].size, None)
    found = layer_precisions(NETWORK, START, CONTROL.couplings)[1]
    assert np.asarray(found) == pytest.approx(curvature[last, last], rel=1e-9)


class Gaussian(RegressionNetwork):
    """A normal density over the weights into the first layer, whatever the data."""

    def energy(self, position, couplings, items=None):
        layer = position["weights"][0]
        x = jnp.concatenate([layer["b"][None], layer["w"]])
        rest = ravel(position["weights"][1]), position["log_precision"], position["log_noise"]
        return jnp.sum(x * (jnp.asarray(PRECISION) @ x)) / 2 + sum(jnp.sum(r**2) for r in rest) / 2


def test_variances_under_langevin_dynamics():
    """In z every direction has curvature 1, so at any step size h the variance of x is the exact one over
    1 - h/2. False alarms: 1e-5. Smallest fault seen: 2 % of a variance (160,000 columns)."""
    h, replicas = 0.5, 40_000
    network = Gaussian(INPUTS[:, :2], INPUTS[:, :1], (4,), dtype="float64")
    scales = {"log_precision": jnp.ones(5), "log_noise": jnp.ones(1)}
    map_ = Whitening((Stretch.of(PRECISION), Stretch.of(np.eye(5))), scales)
    run = simulate(
        Whitened(network, map_),
        SGLD(h),
        Constant(Control(1.0)),
        key=1,
        replicas=replicas,
        steps=40,
        every=40,
        ledger="off",
        progress=False,
    )
    layer = jax.vmap(map_.original)(run.position)["weights"][0]
    x = np.concatenate([np.asarray(layer["b"])[:, None], np.asarray(layer["w"])], axis=1)
    x = np.moveaxis(x, 1, 0).reshape(3, -1)
    exact = np.diagonal(np.linalg.inv(PRECISION)) / (1 - h / 2)
    z = (x.var(axis=1, ddof=1) / exact - 1) / np.sqrt(2 / x.shape[1])
    assert np.abs(z).max() < norm.isf(1e-5 / 6)
