import numpy as np
import pytest

from heatbath.errors import Refused
from heatbath.theory.least_squares import gaussian_critical_step
from heatbath.theory.tail_index import tail_index


@pytest.mark.parametrize(("batch", "dimension"), [(1, 1), (5, 1), (1, 4), (3, 2)])
def test_two_at_the_edge_of_the_variance(batch, dimension):
    edge = gaussian_critical_step(dimension, 1.0, batch)
    assert tail_index(edge, batch, dimension) == pytest.approx(2, rel=1e-8)


def test_four_where_the_fourth_moment_diverges():
    """E (1 - eta x^2)^4 = 1 with E x^2k = 1, 3, 15, 105: -4 + 18 eta - 60 eta^2 + 105 eta^3 = 0."""
    roots = np.roots([105, -60, 18, -4])
    step = roots[np.abs(roots.imag) < 1e-12].real[0]
    assert tail_index(step) == pytest.approx(4, rel=1e-8)


def test_step_and_variance_enter_as_a_product():
    assert tail_index(0.2, 2, 1, 3.0) == pytest.approx(tail_index(0.6, 2, 1, 1.0), rel=1e-9)


@pytest.mark.parametrize(("batch", "dimension"), [(1, 2), (2, 3)])
def test_norm_of_a_product_by_sampling(batch, dimension):
    """E |M e|^alpha = 1 over 1e6 matrices, 4.4 standard errors (false alarms 1e-5)."""
    step = 1.2 * gaussian_critical_step(dimension, 1.0, batch)
    alpha = tail_index(step, batch, dimension)
    x = np.random.default_rng(0).normal(size=(1_000_000, batch, dimension))
    moved = -step / batch * np.einsum("nbi,nb->ni", x, x[:, :, 0])
    moved[:, 0] += 1
    powers = np.linalg.norm(moved, axis=1) ** alpha
    assert abs(powers.mean() - 1) < 4.4 * powers.std() / 1e3


def test_refusals():
    with pytest.raises(Refused, match="no stationary law"):
        tail_index(10.0)
    with pytest.raises(Refused, match="above 200"):
        tail_index(1e-3)
