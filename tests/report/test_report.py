"""The report of a tiny synthetic run: whole, repeatable, safe, small, and without JAX."""

import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from heatbath.errors import Refused
from heatbath.learning.diagnose import diagnose
from heatbath.learning.draws import read_draws
from heatbath.learning.problem import Standardisation
from heatbath.learning.settings import Settings
from heatbath.report import write_report
from heatbath.report.records import Phase, equilibrium_step, late_band, read_phases
from heatbath.report.relaxation import moving
from heatbath.report.sections import groups
from heatbath.store import RunFolder, sha256_of

HOSTILE = '<script>alert("1")</script>&amp;$x_{$'
HIDDEN, ROWS, SAVES = 3, 20, 50


def data(targets: int) -> dict[str, np.ndarray]:
    inputs = np.random.default_rng(0).normal(size=(ROWS, 2))
    return {"inputs": inputs, "targets": np.tanh(inputs @ np.ones((2, targets))) + 0.01 * np.arange(targets)}


def config(names: list[str], replicas: int, steps: int, source: str) -> dict:
    arrays = data(len(names))
    return {
        "task": "regression",
        "data": {
            "name": HOSTILE,
            "source": source,
            "sha256": "0" * 64,
            "rows": ROWS,
            "inputs": ["a", "b"],
            "targets": names,
        },
        **Settings(hidden=(HIDDEN,), replicas=replicas, steps=steps).to_config(),
        "standardisation": Standardisation.of(arrays["inputs"], arrays["targets"]).to_config(),
    }


def books(rng: np.random.Generator, shape: tuple[int, int], phase: str) -> dict[str, np.ndarray]:
    """Records that every phase has: energy falls in the anneal, work while the coupling rises."""
    annealing = phase == "anneal"
    fall = np.linspace(600, 0, shape[0])[:, None] if annealing else 0.0
    rise = np.minimum(1, np.geomspace(1e-3, 1e3, shape[0]))[:, None] if annealing else np.ones((shape[0], 1))
    heat, shadow = np.cumsum(rng.normal(size=(2, *shape)), axis=1)
    work = np.cumsum(np.diff(rise, axis=0, prepend=rise[:1]), axis=0) * np.ones(shape)
    booked = np.nan if annealing else 1.0
    return {
        "potential": fall - 600 + rng.normal(size=shape),
        "kinetic": rng.chisquare(21, shape) / 2 if annealing else np.zeros(shape),
        "temperature": np.ones(shape),
        "thermometer/configurational": rng.normal(1, 3, shape),
        "thermometer/likelihood": rise * np.ones(shape),
        "ledger/work": work,
        "ledger/heat": heat * booked,
        "ledger/shadow_work": shadow * booked,
        "ledger/energy_change": work + heat + shadow,
    }


def samples(rng: np.random.Generator, shape: tuple[int, int], targets: int) -> dict[str, np.ndarray]:
    sizes = {"0/b": (HIDDEN,), "0/w": (2, HIDDEN), "1/b": (targets,), "1/w": (HIDDEN, targets)}
    found = {f"sample/weights/{k}": 0.3 * rng.normal(size=shape + size) for k, size in sizes.items()}
    found["sample/log_noise"] = rng.normal(3, 0.1, (*shape, targets))
    found["sample/log_precision"] = rng.normal(0, 0.3, (*shape, 5))
    return {k: v.astype(np.float32) for k, v in found.items()}


def make(
    path: Path, names: list[str], replicas: int = 4, blocks: int = 2, anneal: bool = True, saves: int = SAVES
) -> RunFolder:
    """A run of ``blocks`` blocks of sampling, of two that were asked for."""
    rng = np.random.default_rng(1)
    setup = config(names, replicas, 2 * saves * 20, str(path))
    folder = RunFolder.create(path, setup, {"seed": 0, "heatbath": "0"}, data(len(names)))
    state = {"alive": np.ones(replicas, bool)}
    if anneal:
        folder.phase("anneal").block(100, books(rng, (100, replicas), "anneal"), state)
    for i in range(blocks):
        records = books(rng, (saves, replicas), "sample") | samples(rng, (saves, replicas), len(names))
        folder.phase("sample").block((i + 1) * saves * 20, records, state)
    return folder


def report(folder: RunFolder) -> str:
    draws = read_draws(folder)
    return write_report(folder, draws, diagnose(draws, folder.data()["inputs"])).read_text()


def test_saves_without_an_energy_are_left_out(tmp_path):
    """Minibatch dynamics measure it now and then."""
    folder = make(tmp_path / "run", ["y"], anneal=False, blocks=0)
    settings = Settings(replicas=4).with_minibatches("sgld", 10, ROWS)
    assert read_phases(folder, settings) == []
    records = books(np.random.default_rng(0), (SAVES, 4), "sample")
    del records["thermometer/configurational"]
    for name in ("potential", "ledger/energy_change"):
        records[name][np.arange(SAVES) % 10 != 9] = np.nan
    folder.phase("sample").block(SAVES * 20, records, {"alive": np.ones(4, bool)})
    (phase,) = read_phases(folder, settings)
    assert list(phase.steps) == [200, 400, 600, 800, 1000]
    assert np.isfinite(phase.records["potential"]).all()
    assert not phase.thermometer


class Reader(HTMLParser):
    """Counts elements, and checks that what is opened is closed."""

    def __init__(self, html: str):
        super().__init__()
        self.count: dict[str, int] = {}
        self.open: list[str] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.count[tag] = self.count.get(tag, 0) + 1
        if tag != "meta":
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        pass

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> tuple[RunFolder, str]:
    folder = make(tmp_path_factory.mktemp("whole") / "run", [HOSTILE, "y2"])
    return folder, report(folder)


def test_all_figures_are_there_inline_and_beside(whole):
    folder, html = whole
    page = Reader(html)
    assert page.open == []
    assert page.count["svg"] == page.count["figcaption"] == 8
    names = {path.name for path in (folder.path / "figures").iterdir()}
    assert names == {
        "energy.svg",
        "relaxation.svg",
        "temperature.svg",
        "work_and_heat.svg",
        "first_law.svg",
        "predictions.svg",
        "hyperparameters.svg",
        "convergence.svg",
    }
    ids = re.findall(r'\bid="([^"]*)"', html)
    assert len(ids) == len(set(ids))


def test_hostile_names_are_text(whole):
    page = Reader(whole[1])
    assert "script" not in page.count
    assert f"Noise of {HOSTILE}" in page.text


def test_the_page_needs_nothing_else_and_names_no_place(whole):
    folder, html = whole
    links = re.findall(r'(?:src|href)="([^"#][^"]*)"', html)
    assert links == []
    assert str(folder.path) not in html
    assert str(folder.path.parent) not in html


def test_the_same_run_gives_the_same_bytes_whatever_its_folder_is_called(whole, tmp_path):
    first, _ = whole
    with make(tmp_path / "other", [HOSTILE, "y2"]) as second:
        # the place of the data is in config.toml, and must not be in the report
        report(second)
        for name in ["report.html", *(f"figures/{p.name}" for p in (first.path / "figures").iterdir())]:
            assert sha256_of(first.path / name) == sha256_of(second.path / name)


def test_unfinished_without_anneal_one_replica(tmp_path):
    with make(tmp_path / "run", ["y"], replicas=1, blocks=1, anneal=False, saves=2) as folder:
        page = Reader(report(folder))
    assert "the run is not finished" in page.text
    assert "Not at equilibrium" in page.text
    assert page.count["svg"] == 6
    assert not (folder.path / "figures/work_and_heat.svg").exists()


def test_many_replicas_and_targets_stay_small(tmp_path):
    with make(tmp_path / "run", [f"target {i}" for i in range(10)], replicas=26, saves=60) as folder:
        html = report(folder)
    assert len(html) < 3_000_000
    assert "the first 9 of 10 targets" in html


def test_a_report_that_cannot_be_written_is_refused(tmp_path):
    with make(tmp_path / "run", ["y"], blocks=1, saves=4) as folder:
        (folder.path / "figures").write_text("in the way")
        with pytest.raises(Refused, match="cannot write"):
            report(folder)
        (folder.path / "figures").unlink()
        (folder.path / "figures").symlink_to(tmp_path)
        with pytest.raises(Refused, match="is a link"):
            report(folder)
    assert not (folder.path / "report.html").exists()


def test_what_was_booked_and_what_was_not(whole):
    phases = read_phases(whole[0], Settings(replicas=4))
    assert [phase.momenta for phase in phases] == [True, False]
    assert [phase.has_heat for phase in phases] == [False, True]
    assert phases[0].driven_until == 51
    assert phases[1].driven_until is None
    assert phases[1].steps[0] == 120


def test_heat_of_the_anneal_is_what_work_leaves_of_the_energy_change(whole):
    anneal, sampling = read_phases(whole[0], Settings(replicas=4))
    records = anneal.records
    np.testing.assert_allclose(anneal.heat, records["ledger/energy_change"] - records["ledger/work"])
    np.testing.assert_array_equal(sampling.heat, sampling.records["ledger/heat"])
    assert np.abs(sampling.residual).max() < 1e-10


def test_the_relaxation_curve_says_what_it_is(whole):
    html = whole[1]
    assert "Relaxation: shake the bottle and put it down" in html
    assert "It is a lower bound, by data processing" in html
    first, last = re.search(r"From at least ([\d,.e+]+) nats at first to ([\d.e-]+)", html).groups()
    assert float(first.replace(",", "")) > 1e4  # 300 standard deviations when the drive ends: 45,000 nats
    assert float(last) < 0.5
    assert "energy forgets in" in html
    assert "slowest prediction in" in html


def test_a_replica_that_broke_has_no_part_in_the_curve(whole):
    phases = read_phases(whole[0], Settings(replicas=4))
    energies = [phase.records["potential"].copy() for phase in phases]
    energies[0][3, 1] = np.nan
    energies[1][-2:, 2] = 7.0
    assert moving(energies).tolist() == [True, False, False, True]


def test_where_equilibrium_was_reached():
    rng = np.random.default_rng(0)
    noise = rng.normal(size=(300, 8))

    def step(mean: np.ndarray) -> int | None:
        phase = Phase("sampling", np.arange(10, 3010, 10), {"potential": noise + mean[:, None]})
        return equilibrium_step([phase], late_band(phase.records["potential"]))

    assert step(np.zeros(300)) == 10
    assert 410 <= step(np.where(np.arange(300) < 40, 50, 0)) <= 440
    assert step(np.where(np.arange(300) < 220, 50, 0)) is None
    assert step(np.linspace(0, 300, 300)) is None


def test_every_group_of_the_network_has_a_name():
    from heatbath.systems import RegressionNetwork

    network = RegressionNetwork(np.zeros((4, 2)), np.zeros((4, 1)), hidden=(3, 5))
    names = groups(["a", "b"], 3)
    assert len(names) == network.groups
    assert names[:4] == ["layer 1 biases", "weights from a", "weights from b", "layer 2 biases"]


def test_reports_and_figures_import_neither_jax_nor_pyplot():
    unwanted = "{'jax', 'equinox', 'matplotlib.pyplot'}"
    code = f"import sys, heatbath.report; sys.exit(bool({unwanted} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
