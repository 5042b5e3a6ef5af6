"""The network with classes: its density written out, its curvature, and its posterior against quadrature."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import expit
from scipy.special import log_softmax as scipy_log_softmax
from scipy.stats import gamma, norm, t

from heatbath.core import Constant, Control, Loaded, Record, Window, simulate
from heatbath.core.numeric import ravel, unravel
from heatbath.dynamics import HMC, Gibbs
from heatbath.systems import ClassificationNetwork, RegressionNetwork, networks

RNG = np.random.default_rng(0)
INPUTS, LABELS = RNG.normal(size=(30, 3)), RNG.integers(0, 4, 30)
NETWORK = ClassificationNetwork(INPUTS, LABELS, 4, (5,), dtype="float64")
PRIORS = [(0.5, 0.05)] * 4 + [(2, 2), (0.5, 0.05)]  # that of the output biases is another
CONTROL = Control(1.3, {"likelihood": 0.7})
START = NETWORK.init(jax.random.key(2), CONTROL)


def test_energy_is_minus_the_log_density_written_out():
    tau = np.exp(np.asarray(START["log_precision"]))
    (l0, l1), log_prior = START["weights"], 0.0
    groups = [l0["b"], *l0["w"], l1["b"], l1["w"] * 5**0.5]
    for precision, group, scale, prior in zip(tau, groups, [1] * 5 + [5**0.5], PRIORS, strict=True):
        log_prior += (norm.logpdf(np.asarray(group), scale=precision**-0.5) + np.log(scale)).sum()
        log_prior += gamma.logpdf(precision, prior[0], scale=1 / prior[1]) + np.log(precision)
    signal = np.tanh(INPUTS @ np.asarray(l0["w"]) + np.asarray(l0["b"]))
    outputs = signal @ np.asarray(l1["w"]) + np.asarray(l1["b"])
    log_likelihood = scipy_log_softmax(outputs, axis=1)[np.arange(30), LABELS].sum()
    got = float(NETWORK.energy(START, CONTROL.couplings))
    assert got == pytest.approx(-(log_prior + 0.7 * log_likelihood), rel=1e-12)


def test_minibatches_are_unbiased():
    halves = [float(NETWORK.energy(START, {}, jnp.arange(30)[part::2])) for part in (0, 1)]
    assert np.mean(halves) == pytest.approx(float(NETWORK.energy(START, {})), rel=1e-12)


@pytest.mark.parametrize(
    "network", [NETWORK, RegressionNetwork(INPUTS, INPUTS[:, :2], (5,), dtype="float64")]
)
def test_windows_loaded_rows_and_other_orders_are_the_items_they_name(network):
    start, rows = network.init(jax.random.key(2), CONTROL), jnp.array([7, 8, 9, 10])
    expected = float(network.energy(start, {}, rows))
    loaded = Loaded((network.inputs.T[rows], network.targets.T[rows]))
    for items in (Window(jnp.asarray(7), 4), loaded):
        assert float(network.energy(start, {}, items)) == pytest.approx(expected, rel=1e-12)
    order = jnp.concatenate([jnp.roll(jnp.arange(30), -9), jnp.array([9, 10])])  # 9, 10, ..., 8, 9, 10
    turned = network.reordered(order)
    assert turned.n_items == 30
    assert float(turned.energy(start, {})) == pytest.approx(float(network.energy(start, {})), rel=1e-12)
    assert float(turned.energy(start, {}, Window(jnp.asarray(28), 4))) == pytest.approx(expected, rel=1e-12)


def test_items_in_single_precision_sums_in_double():
    network = ClassificationNetwork(INPUTS, LABELS, 4, (5,))
    assert ravel(network.init(jax.random.key(2), CONTROL)).dtype == jnp.float32
    position = jax.tree.map(lambda x: x.astype(jnp.float32), START)
    energy = network.energy(position, {})
    assert energy.dtype == jnp.float64
    assert float(energy) == pytest.approx(float(NETWORK.energy(START, {})), rel=1e-5)


def test_curvature_is_the_fisher_information(monkeypatch):
    """Sum over items and classes of p (d ln p)^2, with the prior precisions on the diagonal."""
    weights = START["weights"]

    def log_p(vector):
        return jax.nn.log_softmax(NETWORK.outputs(unravel(vector, weights), NETWORK.inputs), axis=0)

    vector = ravel(weights)
    gradient = np.asarray(jax.jacfwd(log_p)(vector))
    fisher = np.einsum("kn,kni,knj->ij", np.exp(log_p(vector)), gradient, gradient)
    prior = np.asarray(NETWORK.curvature(START, {"likelihood": 0.0}))
    assert (prior == np.diag(np.diag(prior))).all()
    full = np.asarray(NETWORK.curvature(START, {"likelihood": 0.5}))
    np.testing.assert_allclose(full, 0.5 * fisher + prior, rtol=1e-9, atol=1e-12)
    monkeypatch.setattr(networks, "MOST_DENSE", 10)
    np.testing.assert_allclose(NETWORK.curvature(START, {"likelihood": 0.5}), np.diag(full), rtol=1e-9)
    monkeypatch.setattr(networks, "LARGEST_JACOBIAN", 10)
    np.testing.assert_allclose(NETWORK.curvature(START, {"likelihood": 0.5}), np.diag(full), rtol=1e-9)


def test_gibbs_draws_have_the_mean_of_their_gamma():
    """20,000 draws, 6 groups, level 1e-6 each."""
    weights, _ = NETWORK.parts(START)
    keys = jax.random.split(jax.random.key(1), 20_000)
    drawn = np.exp(jax.vmap(lambda k: NETWORK.draw(k, weights, CONTROL)["log_precision"])(keys))
    squares, counts, _ = NETWORK._groups(weights)
    shape, rate = np.array(PRIORS).T
    mean = (shape + counts / 2) / (rate + squares / 2)  # at any temperature
    assert (np.abs(drawn.mean(0) - mean) < 4.9 * drawn.std(0) / np.sqrt(20_000)).all()


# One input, two classes, no hidden layer: only the differences of the two biases and of the two weights
# matter, and with the precisions integrated out each is a Student t a priori.
POINT = RNG.normal(size=40)
CLASS = (RNG.uniform(size=40) < expit(1.5 * POINT - 0.5)).astype(int)
PRIOR = (2.0, 2.0)


def exact() -> np.ndarray:
    """Posterior means of the two differences and of their squares."""
    grid = np.linspace(-12, 12, 1201)
    bias, weight = np.meshgrid(grid, grid, indexing="ij")
    log_p = sum(
        t.logpdf(d / 2**0.5, 2 * PRIOR[0], scale=(PRIOR[1] / PRIOR[0]) ** 0.5) for d in (bias, weight)
    )
    sign = 2 * CLASS - 1
    for x, s in zip(POINT, sign, strict=True):
        log_p -= np.logaddexp(0, -s * (bias + weight * x))
    p = np.exp(log_p - log_p.max())
    p /= p.sum()
    return np.array([(p * value).sum() for value in (bias, weight, bias**2, weight**2)])


def z_scores(coupling: float) -> np.ndarray:
    """Of the sampled means against `exact`; errors from 256 independent replicas."""
    network = ClassificationNetwork(POINT[:, None], CLASS, 2, (), weight_prior=PRIOR, dtype="float64")

    def differences(seen, _):
        (layer,) = seen.position["weights"]
        return jnp.diff(jnp.concatenate([layer["b"][None], layer["w"]]), axis=1)[:, 0]

    run = simulate(
        network,
        Gibbs(HMC(0.35, 5)),
        Constant(Control(1.0, {"likelihood": coupling})),
        key=3,
        replicas=256,
        steps=400,
        every=2,
        observers={"d": Record(differences)},
        ledger="off",
        progress=False,
    )
    seen = run.records["d"][40:]
    means = np.concatenate([seen.mean(axis=0), (seen**2).mean(axis=0)], axis=1)
    return (means.mean(axis=0) - exact()) / (means.std(axis=0, ddof=1) / np.sqrt(len(means)))


def test_the_posterior_is_sampled_right():
    """Level 1e-6 for each of four means: 5.0 standard errors for 255 degrees of freedom."""
    assert (np.abs(z_scores(1.0)) < 5.0).all()


@pytest.mark.teeth
def test_a_likelihood_ten_per_cent_too_strong_is_seen():
    assert np.abs(z_scores(1.1)).max() > 5.0
