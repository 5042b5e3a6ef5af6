"""learn with minibatches on a tiny table, sampled once; what comes of it; refusals."""

import json
import math
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from heatbath.cli import group
from heatbath.cli.answer import run_verb
from heatbath.cli.sampling import heating_lines, of_minibatches
from heatbath.learning.settings import Settings
from heatbath.store import RunFolder

from .test_classes import write_kinds
from .test_main_job import tree

LEARN = ("--target", "kind", "--hidden", "4", "--replicas", "2", "--steps", "100")
SGHMC = ("--dynamics", "sghmc", "--batch", "10")


@pytest.fixture(scope="session")
def stirred(tmp_path_factory) -> Path:
    """A folder with kinds.csv and the run of `learn --dynamics sghmc` on it; copy it before you change it."""
    folder = tmp_path_factory.mktemp("stirred")
    data = write_kinds(folder / "kinds.csv")
    arguments = ["learn", data, *LEARN, *SGHMC, "--out", folder / "run", "--quiet"]
    assert run_verb(group, list(map(str, arguments))) == 0
    return folder


def test_the_config_holds_the_dynamics_and_its_numbers(stirred):
    run = RunFolder.open(stirred / "run").config["run"]
    assert (run["dynamics"], run["batch"], run["step_size"]) == ("sghmc", 10, 0.25)
    assert not {"decoherence_length", "gibbs_every"} & set(run)


def test_what_is_stored(stirred):
    folder = RunFolder.open(stirred / "run")
    names = ["potential", "ledger/heat", "ledger/energy_change", "sample/weights/0/w", "sample/log_precision"]
    found = folder.read("sample", names)
    assert found["sample/weights/0/w"].shape == (2, 2, 2, 4)
    assert np.isfinite(found["potential"][-1]).all()
    assert np.isfinite(found["ledger/energy_change"][-1]).all()
    assert np.isnan(found["ledger/heat"]).all()


def test_the_answer_and_the_report(stirred, tmp_path, heatbath):
    run = Path(shutil.copytree(stirred / "run", tmp_path / "run"))
    answer = heatbath("resume", run, "--json", "--quiet")
    assert (answer.code, answer.err) == (0, "")
    found = json.loads(answer.out)
    assert (found["dynamics"], found["batch"], found["acceptance"]) == ("sghmc", 10, None)
    assert found["minibatch_heating"] == pytest.approx(0.375)
    assert found["gradient_evaluations"] == 2 * (2000 + 100 + 100)
    assert tree(run) == tree(stirred / "run")
    assert json.loads((run / "verdict.json").read_text(), parse_constant=pytest.fail)["acceptance"] is None
    page = (run / "report.html").read_text()
    for words in (
        "sghmc, minibatches of 10 rows",
        "by about 38 %",
        "ledger is one of energies",
        "shadow work",
    ):
        assert words in page
    assert {"energy", "work_and_heat", "predictions"} <= {p.stem for p in (run / "figures").iterdir()}


def test_thermometer(stirred, tmp_path, heatbath):
    run = Path(shutil.copytree(stirred / "run", tmp_path / "run"))
    answer = heatbath("thermometer", run)
    assert answer.code == 0
    assert "minibatches heat the stiffest direction by about 38 %" in answer.out


def test_no_heating_is_foretold_of_psgld(stirred, tmp_path, heatbath):
    run = Path(shutil.copytree(stirred / "run", tmp_path / "run"))
    config = run / "config.toml"
    config.write_text(config.read_text().replace('"sghmc"', '"psgld"'))
    assert "by about" not in heatbath("thermometer", run).out
    assert heatbath("report", run).code == 0
    assert "noise heats the stiffest direction (heatbath thermometer" in (run / "report.html").read_text()
    folder = RunFolder.open(run)
    settings = Settings.from_config(folder.config)
    assert math.isnan(of_minibatches(settings, folder)["minibatch_heating"])  # null in JSON
    assert "only a measurement tells" in heating_lines(settings, folder, math.nan)[0]


def test_steps_that_are_too_large_are_told(made):
    folder = RunFolder.open(made)
    settings = Settings.from_config(folder.config)
    assert "reject 12% of the steps" in heating_lines(settings, folder, 0.88)[0]
    assert heating_lines(settings, folder, 0.95) == heating_lines(settings, folder, math.nan) == []


@pytest.mark.slow
def test_run_repeats_bit_for_bit_and_more_steps_are_a_longer_run(stirred, tmp_path, heatbath):
    config = stirred / "run" / "config.toml"
    assert heatbath("run", config, "--out", tmp_path / "again", "--quiet").code == 0
    assert tree(tmp_path / "again") == tree(stirred / "run")
    assert heatbath("resume", tmp_path / "again", "--more", "50", "--quiet").code == 0
    (tmp_path / "config.toml").write_text(config.read_text().replace("steps = 100", "steps = 150"))
    assert heatbath("run", tmp_path / "config.toml", "--out", tmp_path / "longer", "--quiet").code == 0
    assert tree(tmp_path / "again") == tree(tmp_path / "longer")


@pytest.mark.slow
@pytest.mark.parametrize("dynamics", ["sgld", "psgld", "sgnht"])
def test_every_dynamics_runs_in_regression(tiny, heatbath, dynamics):
    asked = ("--target", "y", "--hidden", "4", "--replicas", "2", "--steps", "50", "--dynamics", dynamics)
    found = json.loads(heatbath("learn", "tiny.csv", *asked, "--json", "--quiet").out)
    assert (found["dynamics"], found["batch"], found["minibatch_heating"]) == (dynamics, 40, 0.0)
    assert found["divergences"] == 0


def test_a_step_size_that_diverges_is_stopped_and_named(tiny, refused):
    write_kinds(Path("kinds.csv"))
    asked = (
        *LEARN,
        "--task",
        "classification",
        "--dynamics",
        "sgld",
        "--step-size",
        "1e6",
        "--out",
        "run",
        "--quiet",
    )
    message = refused("learn", "kinds.csv", *asked, code=4)
    assert "diverged" in message
    assert "smaller step size (--step-size)" in message
    assert "kept in run" in message
    assert RunFolder.open("run").steps("anneal") == 2000


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--dynamics", "sgld", "--batch", "41"), "batch is 41, more than the 40 rows of the data"),
        (("--dynamics", "sgld", "--batch", "0"), "batch is 0"),
        (("--dynamics", "sgld", "--batch", "-1"), "batch is -1"),
        (("--batch", "10"), "takes all the data at every step: choose --dynamics sgld"),
        (("--dynamics", "sgdl"), "'sgld'"),
        (("--dynamics", "sgld", "--step-size", "0"), "step_size is 0"),
        (("--dynamics", "sgld", "--step-size", "nan"), "step_size is nan"),
        (("--step-size", "-1"), "step_size is -1"),
    ],
)
def test_requests_that_are_refused(tiny, refused, arguments, words):
    assert words in refused("learn", "tiny.csv", "--target", "y", *arguments, "--out", "run")
    assert not Path("run").exists()


def test_refusals_need_no_jax(tiny):
    code = (
        "import sys, heatbath.cli as c; from heatbath.cli.answer import run_verb\n"
        "assert run_verb(c.group, sys.argv[1:]) == 2\n"
        "assert 'jax' not in sys.modules"
    )
    asked = ["learn", "tiny.csv", "--target", "y", "--dynamics", "sgld", "--batch", "41"]
    subprocess.run([sys.executable, "-c", code, *asked], cwd=tiny, check=True, capture_output=True)


def test_configs_with_wrong_numbers(stirred, tmp_path, refused):
    text = (stirred / "run" / "config.toml").read_text()
    for old, new, words in [
        ("batch = 10", "batch = 400", "batch is 400, more than the 40 rows"),
        ("batch = 10", "gibbs_every = 20", "unknown key [run] 'gibbs_every'"),
        ('"sghmc"', '"sghcm"', "dynamics 'sghcm' is unknown"),
        ('dynamics = "sghmc"', 'dynamics = "microcanonical"', "unknown key [run] 'batch'"),
    ]:
        assert old in text
        (tmp_path / "config.toml").write_text(text.replace(old, new))
        assert words in refused("run", tmp_path / "config.toml", "--out", tmp_path / "again")
