"""The figures of a report with classes, and with outliers: what they say of synthetic draws."""

import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest

from heatbath import plotting
from heatbath.learning.draws import Draws
from heatbath.learning.problem import Standardisation
from heatbath.report.classes import class_sections, drawable, familiarity
from heatbath.report.story import Story

ROWS = 60


def story(
    shape: tuple[int, ...] = (), outliers: bool = False, classes: tuple[str, ...] = ("a", "b")
) -> Story:
    """Draws whose second class is the more probable the larger the first input, all of one slope; far from
    the data, at a large second input, each is as sure of another class."""
    rng = np.random.default_rng(0)
    normal = rng.normal(size=(3, 40, 4, 2))
    first = np.zeros((3, 40, 4, 2)) + np.eye(4)[:, :2]
    outputs = np.zeros((3, 40, 2, max(len(classes), 1)))
    outputs[..., 0, -1], outputs[..., 1, -1] = 5.0, 20 * normal[..., 0, 0]
    layers = (
        {"w": 0.2 * first, "b": np.zeros((3, 40, 2))},
        {"w": outputs, "b": np.zeros((3, 40, outputs.shape[-1]))},
    )
    layers = tuple({k: v.astype(np.float32) for k, v in layer.items()} for layer in layers)
    scales = Standardisation(np.zeros(4), np.ones(4), np.zeros(1), np.ones(1))
    noise = np.ones((3, 40, 0 if classes else 1))
    draws = Draws(layers, noise, np.ones((3, 40, 7)), "tanh", scales, classes)
    inputs = rng.normal(size=(ROWS, 4)) * [2, 0.01, 1, 1]
    targets = (inputs[:, :1] > 0).astype(int)
    far = rng.normal(np.array([0, 20, 0, 0]), 1, (20, 4)) if outliers else None
    return Story([], draws, None, ["y"], list("abcd"), inputs, targets, shape, far)


def test_what_is_said_of_classes():
    predictions, familiar = class_sections(story())
    assert (predictions.name, familiar.name) == ("predictions", "familiarity")
    assert "Accuracy 100.0 %" in predictions.found
    assert "60 of 60 rows" in predictions.found
    assert "outlier" not in familiar.found.lower()


def test_outliers_and_images():
    sections = list(class_sections(story((2, 2), outliers=True)))
    assert [section.name for section in sections] == ["predictions", "familiarity", "images"]
    assert re.search(r"with probability 1 \(area", sections[1].found)
    assert "20 outliers and 60 rows" in sections[1].found
    for section in sections:
        text = plotting.svg(section.figure, section.name)
        assert ET.fromstring(text).tag.endswith("svg")


def test_outliers_in_regression():
    found = familiarity(story(outliers=True, classes=()))
    assert "with probability 1 (area" in found.found
    assert len(found.figure.axes) == 1


@pytest.mark.parametrize(
    ("shape", "picture"),
    [
        ((), False),
        ((8, 8), True),
        ((8, 8, 1), True),
        ((8, 8, 3), True),
        ((3, 8, 8), False),
        ((2, 2, 2, 2), False),
    ],
)
def test_what_can_be_drawn(shape, picture):
    assert drawable(shape) == picture
