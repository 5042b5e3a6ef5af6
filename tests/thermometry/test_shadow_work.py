"""Shadow work of SGLD on minibatches, against the exact stationary rate."""

import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from heatbath.core import Constant, Control, simulate
from heatbath.dynamics import SGLD, WithReplacement
from heatbath.errors import Refused
from heatbath.systems import Posterior
from heatbath.theory.langevin_relaxation import sgld_shadow_work
from heatbath.thermometry import shadow_work

STIFFNESS, H, SIZE = 20.0, 0.01, 2
PULLS = np.random.default_rng(0).normal(size=20)
Z_LIMIT = float(stats.norm.isf(5e-6))  # two-sided level 1e-5


def ledger(steps, replicas):
    """From the stationary law of the sampled quadratic, k x^2/2 + sum of the pulls times x."""
    system = Posterior(
        lambda w: -STIFFNESS * jnp.sum(w * w) / 2,
        lambda w, x, y: -x * w[0],
        lambda key: jnp.zeros(1),
        (jnp.asarray(PULLS), jnp.asarray(PULLS)),
    )
    noise = len(PULLS) ** 2 * PULLS.var() / SIZE
    variance = (2 * H + H**2 * noise) / (1 - (1 - H * STIFFNESS) ** 2)
    start = -PULLS.sum() / STIFFNESS + np.sqrt(variance) * np.random.default_rng(1).normal(size=(replicas, 1))
    run = simulate(
        system,
        SGLD(H, WithReplacement(SIZE)),
        Constant(Control(1.0)),
        key=3,
        replicas=replicas,
        steps=steps,
        observers={},
        every=steps,
        ledger="path",
        positions=jnp.asarray(start),
        progress=False,
    )
    return np.asarray(run.ledger.shadow_work), noise


def test_the_stationary_rate_is_that_of_theory_and_what_has_piled_up_is_too_large():
    totals, noise = ledger(200, 4_000)
    found = shadow_work(totals, 1.0, 200)
    expected = float(sgld_shadow_work(STIFFNESS, H, 1.0, noise))
    assert abs(found.per_step.value - expected) < Z_LIMIT * found.per_step.std_error
    assert found.per_step.std_error < 0.02 * expected
    assert not found.exponential.reliable
    assert "have piled up" in found.exponential.reason


def test_little_shadow_work_averages_to_one():
    rng = np.random.default_rng(5)
    totals = 0.5 * 0.3**2 + 0.3 * rng.normal(size=5_000)  # Gaussian: the mean is half the variance
    found = shadow_work(2 * totals, 2.0, 10).exponential
    assert found.reliable
    assert abs(found.value - 1) < Z_LIMIT * found.std_error


@pytest.mark.teeth
def test_a_bias_of_three_percent_of_the_exponential_is_seen():
    totals = 0.5 * 0.3**2 + 0.3 * np.random.default_rng(5).normal(size=5_000) + 0.03
    found = shadow_work(totals, 1.0, 10).exponential
    assert abs(found.value - 1) > 5 * found.std_error


def test_refusals():
    with pytest.raises(Refused, match="ledger='path'"):
        shadow_work([1.0, np.nan], 1.0, 3)
    with pytest.raises(Refused, match="diverged"):
        shadow_work([1e200, -1e200], 1.0, 3)
    with pytest.raises(Refused, match="2 or more replicas"):
        shadow_work([1.0], 1.0, 3)
    with pytest.raises(Refused, match="steps is 0"):
        shadow_work([1.0, 2.0], 1.0, 0)
    for steps in (np.nan, 2.5, None):
        with pytest.raises(Refused, match="number of steps"):
            shadow_work([1.0, 2.0], 1.0, steps)
    with pytest.raises(Refused, match="real numbers"):
        shadow_work(["a", "b"], 1.0, 3)


@pytest.mark.parametrize("mean", [-800, 800])
def test_an_exponential_out_of_range_is_not_reliable(mean):
    totals = mean + 0.1 * np.random.default_rng(6).normal(size=50)
    found = shadow_work(totals, 1.0, 10)
    assert found.per_step.reliable
    assert isinstance(found.per_step.std_error, float)
    assert "out of the range" in found.exponential.reason
    assert found.exponential.ess > 45


def test_no_scatter_is_no_error():
    found = shadow_work(np.zeros(60), 1.0, 10)
    assert "does not vary" in found.per_step.reason
    assert "does not vary" in found.exponential.reason
