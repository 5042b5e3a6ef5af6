"""Classes: probabilities against sums over all draws, and the scores against their definitions."""

import numpy as np
import pytest
from scipy.special import softmax
from scipy.stats import mannwhitneyu

from heatbath.errors import Refused
from heatbath.learning.classify import calibration_error, classify, scores
from heatbath.learning.diagnose import diagnose, log_odds
from heatbath.learning.draws import Draws
from heatbath.learning.problem import Standardisation
from heatbath.learning.unfamiliar import auroc, of_regression, unfamiliar

REPLICAS, SAVES = 4, 250
SCALES = Standardisation(np.array([1.0, -2.0]), np.array([2.0, 0.5]), np.zeros(1), np.ones(1))
INPUTS = np.random.default_rng(1).normal([1, -2], [2, 0.5], (60, 2))


@pytest.fixture(scope="module")
def draws() -> Draws:
    rng = np.random.default_rng(0)

    def normal(*shape: int) -> np.ndarray:
        return rng.normal(size=(REPLICAS, SAVES, *shape)).astype(np.float32)

    layers = ({"w": normal(2, 3), "b": normal(3)}, {"w": normal(3, 3), "b": normal(3)})
    return Draws(layers, normal(0), np.exp(normal(6)), "tanh", SCALES, ("a", "b", "c"))


def each(draws: Draws) -> np.ndarray:
    """Probabilities (draws, rows, classes)."""
    first, second = ({k: v.astype(float) for k, v in layer.items()} for layer in draws.weights)
    x = (INPUTS - SCALES.input_mean) / SCALES.input_scale
    hidden = np.tanh(np.einsum("nf,rsfh->rsnh", x, first["w"]) + first["b"][:, :, None])
    outputs = np.einsum("rsnh,rsho->rsno", hidden, second["w"]) + second["b"][:, :, None]
    return softmax(outputs, axis=-1).reshape(-1, 60, 3)


def entropy(p: np.ndarray) -> np.ndarray:
    return -(p * np.log(p)).sum(axis=-1)


def test_probabilities_entropy_and_its_model_part(draws):
    p, found = each(draws), classify(draws, INPUTS)
    mean = p.mean(axis=0)
    np.testing.assert_allclose(found.probabilities, mean, rtol=1e-5)
    np.testing.assert_allclose(found.entropy, entropy(mean), rtol=1e-5)
    np.testing.assert_allclose(found.unfamiliar, entropy(mean) - entropy(p).mean(0), rtol=1e-4)
    np.testing.assert_array_equal(found.predicted, mean.argmax(1))
    np.testing.assert_array_equal(unfamiliar(draws, INPUTS), found.unfamiliar)


def test_the_model_part_is_the_information_that_the_weights_give(draws):
    """The mutual information also is the mean divergence of the draws' predictions from their mean."""
    p = each(draws)
    divergence = (p * np.log(p / p.mean(0))).sum(-1).mean(0)
    np.testing.assert_allclose(classify(draws, INPUTS).unfamiliar, divergence, rtol=1e-4)
    one = classify(draws.thinned(1), INPUTS)  # four draws: it is not more than ln 4
    assert (one.unfamiliar <= np.log(4)).all()


def test_scores(draws):
    found = classify(draws, INPUTS)
    labels = np.random.default_rng(2).integers(0, 3, 60)
    labels[[3, 7]] = -1
    known = labels >= 0
    result = scores(found, labels)
    assert result["unknown_labels"] == 2
    assert result["accuracy"] == np.mean(found.predicted[known] == labels[known])
    picked = found.probabilities[known, labels[known]]
    assert result["log_likelihood"] == pytest.approx(np.log(picked).mean(), rel=1e-12)
    confidence, right = found.probabilities.max(1)[known], (found.predicted == labels)[known]
    expected = 0.0
    for low in np.arange(15) / 15:
        inside = (confidence >= low) & (confidence < low + 1 / 15)
        if inside.any():
            expected += inside.mean() * abs(confidence[inside].mean() - right[inside].mean())
    assert result["calibration_error"] == pytest.approx(expected, rel=1e-9)
    assert np.isnan(scores(found, np.full(60, -1))["accuracy"])


def test_calibration_error_of_certain_predictions():
    assert calibration_error(np.ones(4), np.array([True, True, True, False])) == 0.25


def test_probabilities_of_nearly_0_and_1(draws):
    """Outputs in the thousands: the likelihood of a class with probability exp(-5000) stays finite."""
    sharp = tuple({k: 1e3 * v for k, v in layer.items()} for layer in draws.weights)
    found = classify(Draws(sharp, draws.noise, draws.scale, "tanh", SCALES, draws.classes).thinned(1), INPUTS)
    assert np.isfinite(found.log_probabilities).all()
    assert np.isfinite(found.entropy).all()
    assert found.log_probabilities.min() < -745


def test_rows_beyond_single_precision(draws):
    with pytest.raises(Refused, match="row 2"):
        classify(draws, np.array([[1.0, 1.0], [1e40, 1e40]]))


def test_chunks_change_nothing(draws, monkeypatch):
    whole = classify(draws, INPUTS)
    monkeypatch.setattr("heatbath.learning.predict.CHUNK", 1)
    for name, value in vars(classify(draws, INPUTS)).items():
        np.testing.assert_allclose(value, getattr(whole, name), rtol=1e-4, atol=1e-6)


def test_diagnosis_of_the_probabilities(draws):
    good = diagnose(draws, INPUTS)
    assert good.rhat.shape == good.ess.shape == (60, 3)
    assert good.at_equilibrium
    other = draws.weights[1]["b"].copy()
    other[0, :, 1] += 3
    weights = (draws.weights[0], draws.weights[1] | {"b": other})
    apart = diagnose(Draws(weights, draws.noise, draws.scale, "tanh", SCALES, draws.classes), INPUTS)
    assert not apart.at_equilibrium


def test_log_odds():
    outputs = np.random.default_rng(3).normal(size=(50, 4))
    p = softmax(outputs, axis=-1)
    np.testing.assert_allclose(log_odds(outputs), np.log(p / (1 - p)), rtol=1e-9)
    assert np.isfinite(log_odds(np.array([[900.0, -900.0]]))).all()


def test_auroc_is_that_of_mann_and_whitney():
    rng = np.random.default_rng(4)
    familiar, strange = rng.integers(0, 9, 80), rng.integers(2, 12, 50)  # with ties
    expected = mannwhitneyu(strange, familiar).statistic / (80 * 50)
    assert auroc(familiar, strange).value == pytest.approx(expected, rel=1e-12)
    assert auroc(familiar, familiar).value == pytest.approx(0.5, abs=1e-12)
    assert not auroc(familiar, strange[:1]).reliable


def test_error_of_the_auroc():
    """Normals one standard deviation apart: area 0.7602. 2,000 repetitions: z has mean 0 and variance 1 at
    five standard errors (the variance within 5 %, for the z of so few rows is not quite normal)."""
    rng = np.random.default_rng(5)
    found = [auroc(rng.normal(size=60), rng.normal(1, 1, 40)) for _ in range(2_000)]
    values, errors = np.array([(area.value, area.std_error) for area in found]).T
    assert abs(values.mean() - 0.760250) < 5 * values.std() / np.sqrt(2_000)
    assert errors.mean() == pytest.approx(values.std(), rel=0.05 + 5 / np.sqrt(2 * 2_000))


def test_the_model_part_in_regression():
    """For normals: the information between a target of variance m^2 + s^2 and its mean of variance m^2."""
    from heatbath.learning.predict import Prediction

    noise, model = np.array([[0.1, 2.0]]), np.array([[0.3, 0.5]])
    std = np.hypot(noise, model)
    found = of_regression(Prediction(std, std, noise, model, std, std))
    np.testing.assert_allclose(found, 0.5 * np.log1p((model / noise) ** 2).sum(axis=1))
