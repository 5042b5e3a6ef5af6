import numpy as np
import pytest

from heatbath.data.outliers import GARMENTS, garments, noise, rotated
from heatbath.errors import Refused


def test_garments_are_silhouettes_that_differ_and_repeat_with_their_seed():
    images = garments(60, 14, 3)
    assert images.shape == (60, 14, 14)
    assert images.min() == 0
    assert 0.6 <= images.max() <= 1
    inked = (images > 0.3).mean(axis=(1, 2))
    assert np.all((inked > 0.1) & (inked < 0.8))
    assert len(np.unique(images.reshape(60, -1), axis=0)) == 60
    np.testing.assert_array_equal(images, garments(60, 14, 3))
    assert not np.array_equal(images, garments(60, 14, 4))


@pytest.mark.parametrize("name", GARMENTS)
def test_polygons_stay_in_the_picture(name):
    corners = np.array([corner for polygon in GARMENTS[name] for corner in polygon])
    assert corners.min() > 0.05
    assert corners.max() < 0.95


def test_noise_is_uniform():
    """Mean of 196,000 pixels: 4.5 standard errors, false alarms 7e-6; sees a shift of 0.003."""
    pixels = noise(1_000, 14, 1)
    assert abs(pixels.mean() - 0.5) < 4.5 * np.sqrt(1 / 12 / pixels.size)
    assert pixels.min() >= 0
    assert pixels.max() < 1


def test_a_quarter_turn():
    image = np.arange(9.0).reshape(1, 3, 3)
    np.testing.assert_array_equal(rotated(image)[0], [[2, 5, 8], [1, 4, 7], [0, 3, 6]])


def test_nothing_to_draw_is_refused():
    with pytest.raises(Refused, match="0 images of 14 x 14"):
        garments(0, 14, 1)
    with pytest.raises(Refused, match="at least 1"):
        noise(2, 0, 1)
