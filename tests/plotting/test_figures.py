"""Every figure from synthetic arrays; equal bytes; hostile names; matplotlib's own settings stay."""

import math
import re
import xml.etree.ElementTree as ET

import matplotlib
import numpy as np
import pytest
from matplotlib.figure import Figure

from heatbath import plotting
from heatbath.estimate import Estimate
from heatbath.free_energy import bar, crooks
from heatbath.plotting import Trace
from heatbath.plotting.style import span

HOSTILE = '<script>alert("1")</script> --> $x_{ $\n\x00 &amp; 温度'


def trace(replicas: int = 5, saves: int = 40, title: str = "sampling", seed: int = 0) -> Trace:
    values = np.random.default_rng(seed).normal(1, 0.1, (saves, replicas))
    return Trace(title, np.arange(1, saves + 1) * 10, values)


def energy(replicas: int = 5) -> Figure:
    coupling = np.geomspace(1e-3, 1, 40)[:, None] * np.ones(replicas)
    phases = [trace(replicas, title="annealing"), trace(replicas, seed=1)]
    return plotting.energy_trace(phases, [coupling, np.ones_like(coupling)], (0.9, 1.1), 200)


def temperature() -> Figure:
    still = trace()._replace(values=np.zeros((40, 5)))
    bath = [np.ones((40, 5)), np.full((40, 5), 2.0)]
    return plotting.temperature_trace([trace(), still], [trace(), trace(seed=1)], bath, 10)


def work_and_heat() -> Figure:
    return plotting.work_and_heat(trace(title="work"), trace(title="heat"), 200)


def first_law() -> Figure:
    residual = trace()._replace(values=np.eye(40, 5) * 1e-13)
    return plotting.first_law(residual, np.full(40, 1e-12), trace(title="shadow work"))


def parity(name: str = "y") -> Figure:
    mean = np.random.default_rng(2).normal(size=(30, 2))
    return plotting.parity([name, "b"], mean + 0.1, mean, mean - 1, mean + 1)


def hyperparameters(name: str = "noise") -> Figure:
    draws = np.exp(np.random.default_rng(3).normal(size=(4, 50)))
    return plotting.hyperparameters([(plotting.label(name), draws)], [("layer 1 biases", draws)])


def convergence() -> Figure:
    rhat = np.array([[1.0, 1.01], [1.2, np.nan], [np.inf, 1.03]])
    return plotting.convergence(rhat, np.full((3, 2), 50.0), 1.05, 100)


def confusion(name: str = "cat") -> Figure:
    rows, share = np.array([1, 20, 300]), np.array([0.2, 0.6, 1.0])
    return plotting.confusion([name, "b"], np.array([[30, 2], [0, 0]]), rows, share, share[::-1])


def confusion_of_many() -> Figure:
    return plotting.confusion(list(map(str, range(40))), np.eye(40, dtype=int), *np.ones((3, 1)))


def familiarity() -> Figure:
    rng = np.random.default_rng(4)
    return plotting.familiarity([("a", rng.gamma(1, 1, 50), np.ones(3)), ("b", np.zeros(50), None)])


def gallery() -> Figure:
    return plotting.gallery(np.random.default_rng(5).uniform(size=(7, 4, 3)), list("abcdefg"))


def coloured_gallery() -> Figure:
    return plotting.gallery(np.full((1, 4, 3, 3), 255.0), ["a"])


def work_histograms() -> Figure:
    forward, reverse = np.random.default_rng(6).normal(0.5, 1, (2, 200))
    found = crooks(forward, reverse)
    return plotting.work_histograms(forward, reverse, bar(forward, reverse), found.crossing, found.slope)


def work_of_one_direction() -> Figure:
    unknown = Estimate(math.nan, math.nan, reliable=False, reason="one direction only")
    return plotting.work_histograms(np.arange(9.0), np.empty(0), Estimate(1.0, 0.5), unknown, unknown)


def relaxation() -> Figure:
    steps, fall = np.arange(1, 41), np.geomspace(1e4, 1e-2, 40)
    fall[3], fall[4] = np.inf, -1.0
    phases = [("annealing", steps, fall, 0.1 * fall), ("sampling", 20 * steps, np.zeros(40), np.ones(40))]
    return plotting.relaxation(phases, 0.2, {"energy forgets in": 70.0, "slowest prediction in": 200.0})


FIGURES = [energy, temperature, work_and_heat, first_law, parity, hyperparameters, convergence]
FIGURES += [confusion, confusion_of_many, familiarity, gallery, coloured_gallery]
FIGURES += [work_histograms, work_of_one_direction, relaxation]


@pytest.mark.parametrize("make", FIGURES, ids=lambda make: make.__name__)
def test_a_figure_is_well_formed_svg_and_repeats_its_bytes(make):
    text = plotting.svg(make(), "one")
    assert ET.fromstring(text).tag.endswith("svg")
    assert text == plotting.svg(make(), "one")
    ids = re.findall(r'\bid="([^"]*)"', text)
    assert len(ids) == len(set(ids))
    assert all(name.startswith("one-") for name in ids)
    used = set(re.findall(r'href="#([^"]*)"|url\(#([^)]*)\)', text))
    assert {a or b for a, b in used} <= set(ids)


def test_png_repeats_its_bytes():
    assert plotting.png(work_and_heat()) == plotting.png(work_and_heat())


@pytest.mark.parametrize("make", [parity, hyperparameters, confusion])
def test_a_hostile_name_is_text_and_nothing_else(make):
    text = plotting.svg(make(HOSTILE), "x")
    ET.fromstring(text)
    assert "<script" not in text


def test_a_label_is_one_short_line_without_mathematics():
    assert plotting.label("a$b\nc") == r"a\$b c"
    assert len(plotting.label("x" * 100)) == 28


def test_the_size_does_not_grow_with_the_replicas():
    assert len(plotting.svg(energy(400), "x")) < 600_000


def test_a_replica_that_is_not_finite_is_left_out_of_the_mean():
    values = np.array([[1.0, 3.0, np.nan], [np.inf, 5.0, 7.0], [np.nan, np.nan, np.nan]])
    np.testing.assert_equal(plotting.replica_mean(values), [2.0, 6.0, np.nan])


def test_limits_of_constant_and_of_empty_values():
    assert span(np.ones(3)) == (0.5, 1.5)
    low, high = span(np.array([np.nan]))
    assert low < high


@pytest.mark.parametrize(
    ("forward", "reverse"),
    [
        ([2.0], [-2.0]),
        ([5.0] * 30, [5.0] * 30),
        ([1.0, 2.0, 1e23], [-1.0, -2.0, -1.5]),
        ([1e30] * 3, [1e30] * 3),
        ([1e30], [2.0]),
    ],
)
def test_work_of_any_size_is_drawn(forward, reverse):
    """One value, one value again and again, overlapping atoms: bins are finite, the number of them too."""
    found = crooks(forward, reverse)
    best = bar(forward, reverse)
    figure = plotting.work_histograms(np.array(forward), np.array(reverse), best, found.crossing, found.slope)
    assert len(plotting.svg(figure, "x")) < 200_000


def test_the_settings_of_matplotlib_stay():
    before = dict(matplotlib.rcParams)
    plotting.svg(work_and_heat(), "x")
    assert dict(matplotlib.rcParams) == before
