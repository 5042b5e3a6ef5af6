"""Predictions and scores against sums over all draws, in float64, by other means than the code's."""

import numpy as np
import pytest
from scipy.optimize import brentq
from scipy.stats import norm

from heatbath.errors import Refused
from heatbath.learning.diagnose import diagnose
from heatbath.learning.draws import Draws
from heatbath.learning.predict import log_likelihood, predict, scores
from heatbath.learning.problem import Standardisation

REPLICAS, SAVES = 4, 500
SCALES = Standardisation(
    np.array([1.0, -2.0]), np.array([2.0, 0.5]), np.array([10.0, 0.0]), np.array([3.0, 0.01])
)
INPUTS = np.array([[1.0, -2.0], [3.0, -1.5], [-2.0, -2.2]])
TARGETS = np.array([[9.0, 0.001], [14.0, -0.012], [10.0, 0.0]])


@pytest.fixture(scope="module")
def draws() -> Draws:
    rng = np.random.default_rng(0)

    def normal(*shape: int, spread: float = 0.5) -> np.ndarray:
        return (spread * rng.normal(size=(REPLICAS, SAVES, *shape))).astype(np.float32)

    layers = ({"w": normal(2, 3), "b": normal(3)}, {"w": normal(3, 2), "b": normal(2)})
    return Draws(layers, np.exp(normal(2)), np.exp(normal(4)), "tanh", SCALES)


def mixture(draws: Draws) -> tuple[np.ndarray, np.ndarray]:
    """Means (draws, rows, targets) and standard deviations (draws, targets) in the units of the table."""
    first, second = ({k: v.astype(float) for k, v in layer.items()} for layer in draws.weights)
    x = (INPUTS - SCALES.input_mean) / SCALES.input_scale
    hidden = np.tanh(np.einsum("nf,rsfh->rsnh", x, first["w"]) + first["b"][:, :, None])
    outputs = np.einsum("rsnh,rsho->rsno", hidden, second["w"]) + second["b"][:, :, None]
    means = outputs.reshape(-1, 3, 2) * SCALES.target_scale + SCALES.target_mean
    return means, draws.noise.reshape(-1, 2).astype(float) * SCALES.target_scale


def test_moments(draws):
    means, noise = mixture(draws)
    found = predict(draws, INPUTS)
    np.testing.assert_allclose(found.mean, means.mean(0), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(found.model_std, means.std(0), rtol=1e-4)
    np.testing.assert_allclose(found.noise_std, np.broadcast_to((noise**2).mean(0) ** 0.5, (3, 2)), rtol=1e-5)
    np.testing.assert_allclose(found.std**2, found.noise_std**2 + found.model_std**2, rtol=1e-12)


def test_quantiles(draws):
    """Each draw has one noise value instead of its whole normal: with 2,000 draws the 5 % quantile is right
    to about sqrt(0.05 x 0.95/2000) = 0.005 in probability; 5 of those are allowed."""
    means, noise = mixture(draws)
    found = predict(draws, INPUTS)
    for row in range(3):
        for target in range(2):

            def probability(y, row=row, target=target):
                return norm.cdf(y, means[:, row, target], noise[:, target]).mean()

            assert probability(found.q05[row, target]) == pytest.approx(0.05, abs=0.025)
            assert probability(found.q95[row, target]) == pytest.approx(0.95, abs=0.025)
            middle, width = found.mean[row, target], found.std[row, target]
            exact = brentq(lambda y, p=probability: p(y) - 0.05, middle - 9 * width, middle)
            assert found.q05[row, target] == pytest.approx(exact, abs=0.2 * width)


def test_log_likelihood(draws):
    means, noise = mixture(draws)
    densities = norm.pdf(TARGETS, means, noise[:, None]).prod(axis=2)
    expected = np.log(densities.mean(axis=0)).mean()
    assert log_likelihood(draws, INPUTS, TARGETS) == pytest.approx(expected, rel=1e-5)


def test_scores(draws):
    found = predict(draws, INPUTS)
    result = scores(draws, found, INPUTS, TARGETS)
    error = found.mean - TARGETS
    assert result["rmse"] == pytest.approx(np.sqrt((error**2).mean(axis=0)).tolist())
    assert result["squared_error"] == pytest.approx((error[:, 0] ** 2 + error[:, 1] ** 2).mean())
    assert result["log_likelihood"] == log_likelihood(draws, INPUTS, TARGETS)
    inside = sum(found.q05[i, k] <= TARGETS[i, k] <= found.q95[i, k] for i in range(3) for k in range(2))
    assert result["coverage90"] == pytest.approx(inside / 6)


def test_chunks_change_nothing(draws, monkeypatch):
    whole = predict(draws, INPUTS)
    score = log_likelihood(draws, INPUTS, TARGETS)
    monkeypatch.setattr("heatbath.learning.predict.CHUNK", 1)
    for name, value in vars(predict(draws, INPUTS)).items():
        np.testing.assert_allclose(value, getattr(whole, name), rtol=1e-4, atol=1e-6)
    assert log_likelihood(draws, INPUTS, TARGETS) == pytest.approx(score, rel=1e-5)


def test_rows_beyond_single_precision(draws):
    with pytest.raises(Refused, match="row 2"):
        predict(draws, np.array([[1.0, 1.0], [1e40, 1e40]]))


def test_diagnosis(draws):
    """Independent draws are at equilibrium; a replica of its own mind, and frozen ones, are not."""
    good = diagnose(draws, INPUTS)
    assert good.at_equilibrium
    assert good.rhat.shape == good.ess.shape == (3, 2)
    assert good.summary()["rhat_max"] < 1.02
    assert good.summary()["ess_min"] > 1000

    other = draws.weights[1]["b"].copy()
    other[0] += 2
    weights = (draws.weights[0], draws.weights[1] | {"b": other})
    apart = diagnose(Draws(weights, draws.noise, draws.scale, "tanh", SCALES), INPUTS)
    assert not apart.at_equilibrium
    assert apart.rhat_share == 1
    assert f"1 of {len(draws.noise)} replicas predicts unlike the rest" in apart.verdict()

    frozen = tuple({k: np.repeat(v[:, :1], 8, axis=1) for k, v in layer.items()} for layer in draws.weights)
    still = diagnose(Draws(frozen, draws.noise[:, :8], draws.scale[:, :8], "tanh", SCALES), INPUTS)
    assert not still.at_equilibrium
    short = diagnose(draws.thinned(3), INPUTS)
    assert not short.at_equilibrium
    assert short.summary()["rhat_max"] is None
