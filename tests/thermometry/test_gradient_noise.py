"""Noise scales on Gaussian linear data, spectra, alignment and tails. Each comparison: false alarm 1e-5."""

import json
import math

import numpy as np
import pytest
from scipy.optimize import brentq
from scipy.stats import levy_stable

from heatbath.errors import Refused
from heatbath.thermometry import (
    alignment,
    covariance_spectrum,
    covariance_trace,
    hessian_noise_scale,
    hill_tail_index,
    noise_scale,
    stable_tail_index,
)
from thermometry.quadratic import assert_close

D = 10
A = np.geomspace(0.05, 1, D)  # covariance of the inputs, and Hessian
DELTA = np.linspace(-1, 1, D)  # distance from the true parameters


def gradients(shape, seed, a=A, delta=DELTA, s2=1.0):
    """Per-example gradients of a linear regression, (*shape, d)."""
    rng = np.random.default_rng(seed)
    x = np.sqrt(a) * rng.standard_normal((*shape, len(a)))
    return x * (x @ delta - math.sqrt(s2) * rng.standard_normal(shape))[..., None]


def exact(a=A, delta=DELTA, s2=1.0):
    """G and Sigma; the data are Gaussian, so fourth moments factorise."""
    g = a * delta
    return g, np.diag(a) * (delta @ g + s2) + np.outer(g, g)


@pytest.mark.parametrize("k", [2, 8])
def test_noise_scales_are_unbiased_at_any_number_of_micro_batches(k):
    means = gradients((4, 2_000, k, 32 // k), seed=k).mean(axis=3)
    g, sigma = exact()
    simple = noise_scale(means, 32 // k)
    assert_close(simple.gradient, g @ g)
    assert_close(simple.noise, np.trace(sigma))
    assert_close(simple.scale, np.trace(sigma) / (g @ g))
    weighted = hessian_noise_scale(means, means * A, 32 // k)
    assert_close(weighted.scale, np.sum(A * np.diag(sigma)) / (g @ (A * g)))


def test_a_single_sample_has_a_jackknife_error():
    """200 single samples: their scatter is the error stated, within 20 % (4 errors of a standard
    deviation)."""
    found = [noise_scale(gradients((1, 1, 32, 64), seed).mean(axis=3), 64).noise for seed in range(200)]
    stated = np.sqrt(np.mean([e.std_error**2 for e in found]))
    assert np.std([e.value for e in found]) == pytest.approx(stated, rel=0.2)
    assert found[0].reliable
    few = noise_scale(gradients((1, 1, 8, 64), 0).mean(axis=3), 64).noise
    assert "8 micro-batches" in few.reason
    assert np.mean([e.value for e in found]) == pytest.approx(np.trace(exact()[1]), abs=5 * stated / 200**0.5)


@pytest.mark.teeth
def test_a_biased_noise_scale_is_seen():
    """|mean gradient|^2 without the subtraction of the noise (off by tr Sigma/B, here a quarter and more)."""
    means = gradients((4, 2_000, 2, 16), seed=1).mean(axis=3)
    g, _ = exact()
    naive = np.mean(np.sum(means.mean(axis=2) ** 2, axis=2))
    found = noise_scale(means, 16).gradient
    assert naive - g @ g > 5 * found.std_error


def test_unresolved_gradients_are_not_reliable():
    means = np.random.default_rng(0).standard_normal((2, 200, 4, 5))
    found = noise_scale(means, 8).scale
    assert "not resolved" in found.reason
    with pytest.raises(Refused, match="one micro-batch"):
        noise_scale(means[:, :, :1], 8)


def test_reference_cases(shared):
    cases = json.loads((shared / "physics" / "sgd_cases.json").read_text())["cases"]
    for case in (c for c in cases if c["id"].startswith("K.gns.d20")):
        d, delta = case["inputs"]["d"], np.array(case["inputs"]["delta"])
        a = np.geomspace(0.01, 1, d)
        means = gradients((4, 1_000, 2, 32), 3, a, delta, case["inputs"]["s2"]).mean(axis=3)
        simple, weighted = noise_scale(means, 32), hessian_noise_scale(means, means * a, 32)
        want = case["expected"]
        assert_close(simple.noise, want["trS"])
        assert_close(simple.gradient, want["G2"])
        spread = simple.gradient.std_error * math.sqrt(simple.gradient.ess)
        assert spread == pytest.approx(want["estimators"]["B64_k2"]["std_G2"], rel=0.3)  # Gaussian guide
        if simple.scale.reliable:
            assert_close(simple.scale, want["B_simple"])
            assert_close(weighted.scale, want["B_noise"])


def test_covariance_trace_and_alignment():
    g = gradients((20_000,), seed=4)
    _, sigma = exact()
    assert_close(covariance_trace(g), np.trace(sigma))
    want = D * np.sum(A * np.diag(sigma)) / (A.sum() * np.trace(sigma))
    assert_close(alignment(g, g * A, A.sum()), want)
    white = np.random.default_rng(5).standard_normal((20_000, D))
    assert_close(alignment(white, white * A, A.sum()), 1.0)


def test_spectrum_is_measured_in_examples_that_did_not_choose_it():
    rng = np.random.default_rng(6)
    spectrum = np.array([9.0, 4.0] + [1.0] * 38)
    many = covariance_spectrum(np.sqrt(spectrum) * rng.standard_normal((20_000, 40)), 2)
    for found, value in zip(many, spectrum, strict=False):
        assert found.reliable
        assert found.value == pytest.approx(value, rel=0.05)
    few = np.sqrt(spectrum) * rng.standard_normal((60, 40))
    plug_in = np.linalg.eigvalsh(np.cov(few.T))[::-1]
    third = covariance_spectrum(few, 3)[2]
    assert plug_in[2] > 2  # the true value is 1
    assert not third.reliable
    assert third.value < 1 + 4 * third.std_error
    with pytest.raises(Refused, match="count"):
        covariance_spectrum(few, 40)


def test_hill_index_of_a_pareto_law():
    x = np.random.default_rng(7).pareto(2.5, size=(8, 20_000)) + 1
    assert_close(hill_tail_index(x), 2.5)
    body = hill_tail_index(np.random.default_rng(8).standard_normal((8, 20_000)), share=0.2)
    assert "not a power law" in body.reason


def test_hill_index_of_sgd_with_multiplicative_noise():
    """Kesten: E|1 - eta x^2|^alpha = 1 for inputs x ~ N(0, 1), batch 1, eta = 1: alpha = 1.0908; 10 %."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(200)
    weights = weights / weights.sum()
    alpha = brentq(lambda p: weights @ np.abs(1 - nodes**2) ** p - 1, 0.5, 3)
    assert alpha == pytest.approx(1.0908, abs=0.02)
    rng = np.random.default_rng(9)
    x, kept = np.zeros(20_000), []
    for t in range(400):
        inputs = rng.standard_normal(len(x))
        x = x - inputs * (inputs * x - rng.standard_normal(len(x)))
        if t >= 100 and t % 30 == 0:
            kept.append(x)
    found = hill_tail_index(np.stack(kept, axis=1), share=0.002)
    assert found.reliable
    assert found.value == pytest.approx(1.0908, rel=0.1)


@pytest.mark.parametrize("alpha", [0.8, 1.5, 2.0])
def test_stable_index_of_stable_laws(alpha):
    x = levy_stable.rvs(alpha, 0, size=200_000, random_state=10)
    assert_close(stable_tail_index(x, 100), alpha)


def test_bad_input_is_refused():
    with pytest.raises(Refused, match="in the tail"):
        hill_tail_index(np.ones((1, 100)))
    with pytest.raises(Refused, match="all equal"):
        hill_tail_index(np.ones((4, 5_000)))
    with pytest.raises(Refused, match=r"block = 2\.5"):
        stable_tail_index(np.ones(100), 2.5)
    with pytest.raises(Refused, match="blocks"):
        stable_tail_index(np.ones(100), 50)
    with pytest.raises(Refused, match="zeros"):
        stable_tail_index(np.zeros(100), 10)
    with pytest.raises(Refused, match="at least 4"):
        covariance_trace(np.ones((2, 3)))
    with pytest.raises(Refused, match="in all"):
        hill_tail_index(np.ones((1, 100)))
    with pytest.raises(Refused, match=r"tail are 0 or all equal"):
        hill_tail_index(np.ones((1, 3_000)))
    with pytest.raises(Refused, match=r"share = abc"):
        hill_tail_index(np.ones((1, 3_000)), share="abc")
    with pytest.raises(Refused, match=r"\|G\|\^2 is 0"):
        noise_scale(np.zeros((2, 50, 4, 3)), 8)
