"""Bad input: one clear line, exit code 2 (4 for damage), nothing touched, no JAX, no traceback."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from heatbath.store import RunFolder, sha256_of

from .conftest import synthetic_run, write_table

LEARN = ("learn", "tiny.csv", "--target", "y", "--out", "run")


def files(folder: Path) -> dict[str, str]:
    return {str(p.relative_to(folder)): sha256_of(p) for p in folder.rglob("*") if p.is_file()}


# ---- learn: the table


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "empty"),
        (b"a,y\n", "only a header"),
        (b"a,y\n1,2\n", "one row"),
        (b"a,y\n1,2\n2,2\n3,2\n", "'y' is constant"),
        (b"a,y\n1,0.1\n2,0.1\n3,0.1\n", "'y' is constant"),
        (b"a,y\n1,0\n2,1e-200\n", "rounding"),
        (b"a,y\n1,2\n2,three\n", "line 3, column 'y'"),
        (b"a,y\n1,nan\n2,3\n", "line 2, column 'y'"),
        (b"a,y\n1,2\n-inf,3\n", "line 3, column 'a'"),
        (b"a,y\n1,1e39\n2,3\n", "overflows"),
        (b"a,y\n1\n2,3\n", "line 2"),
        (b"y\n1\n2\n", "no input is left"),
        (b"\xe4,y\n1,2\n2,3\n", "UTF-8"),
        (b"a\x1b[31m,y\n1,2\n2,3\n", "control"),
        (b"a,Y,other\n1,2,3\n2,3,4\n", "no target column 'y'; the columns are 'a', 'Y', 'other'"),
        (b"a,y,y\n1,2,3\n2,3,4\n", "same name"),
        (b"PK\x03\x04\0\0", "NUL"),
    ],
)
def test_tables(tiny, refused, content, words):
    (tiny / "tiny.csv").write_bytes(content)
    assert words in refused(*LEARN)
    assert os.listdir(tiny) == ["tiny.csv"]


def test_nearest_column_of_many(tiny, refused):
    header = ",".join(f"column_{i}" for i in range(30))
    row = ",".join(str(i) for i in range(30))
    (tiny / "tiny.csv").write_text(f"{header}\n{row}\n{row}\n")
    assert "did you mean 'column_7'" in refused("learn", "tiny.csv", "--target", "colum_7")


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ("tny.csv", "near names there: 'tiny.csv'"),
        ("robot-arn", "did you mean 'robot-arm'"),
        (".", "is a folder"),
        ("/dev/zero", "not a regular file"),
        ("", "no such file"),
        ("n" * 5000, "no such file"),
    ],
)
def test_files(tiny, refused, data, words):
    assert words in refused("learn", data, "--target", "y")


# ---- learn: the request


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ([], "'a', 'b', 'y'"),
        (["--target", "y,y"], "named twice"),
        (["--target", "a,b,y"], "no input is left"),
        (["--target", "y", "--steps", "0"], "steps is 0"),
        (["--target", "y", "--steps", "-3"], "steps is -3"),
        (["--target", "y", "--steps", "1.5"], "'1.5' is not a valid integer"),
        (["--target", "y", "--steps", "4294967296"], "steps is 4294967296"),
        (["--target", "y", "--replicas", "0"], "replicas is 0"),
        (["--target", "y", "--replicas", "1000000000"], "at most 100000"),
        (["--target", "y", "--seed", "-1"], "seed is -1: give a whole number from 0 to 4294967295"),
        (["--target", "y", "--seed", "4294967296"], "seed is 4294967296"),
        (["--target", "y", "--seed", "1" + "0" * 40], "seed is 1000"),
        (["--target", "y", "--hidden", "0"], "hidden is [0]"),
        (["--target", "y", "--hidden", "16,-4"], "hidden is [16, -4]"),
        (["--target", "y", "--hidden", ""], "16,16"),
        (["--target", "y", "--hidden", "a" * 5000], "16,16"),
        (["--target", "y", "--hidden", "10000,10000"], "GiB"),
        (["--target", "y", "--activation", "thanh"], "'tanh', 'relu'"),
        (["--target", "y", "--budget", "0"], "seconds"),
        (["--target", "y", "--budget", "-1"], "seconds"),
        (["--target", "y", "--budget", "nan"], "seconds"),
        (["--target", "y", "--budget", "1"], "too small"),
        (["--target", "y", "--budget", "60", "--steps", "10"], "exclude each other"),
        (["--targt", "y"], "--target"),
    ],
)
def test_requests(tiny, refused, options, words):
    assert words in refused("learn", "tiny.csv", *options)
    assert os.listdir(tiny) == ["tiny.csv"]


@pytest.mark.parametrize(
    ("out", "words"),
    [
        ("tiny.csv", "exists already: choose another --out\n"),
        ("made", "or `heatbath resume made`"),
        ("dangling", "exists already"),
        ("tiny.csv/run", "a file exists"),
        ("n" * 5000, "too long"),
    ],
)
def test_places_for_a_run(made, refused, out, words):
    Path("dangling").symlink_to("nowhere")
    before = files(Path())
    assert words in refused("learn", "tiny.csv", "--target", "y", "--out", out)
    assert files(Path()) == before


def test_read_only_places(made, refused, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # who runs this may be allowed everything
    assert "read-only" in refused(*LEARN)
    assert "read-only" in refused("report", "made")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["lern"], "did you mean learn"),
        (["xyz"], "choose one of learn, predict"),
        (["--foo"], "--foo"),
        (["learn"], "Missing argument 'DATA'; see heatbath learn --help"),
        (["predict", "run"], "Missing argument 'NEW'"),
        (["resume", "x", "--more", "0"], "--more 0"),
        (["resume", "x", "--more", "many"], "'many' is not a valid integer"),
    ],
)
def test_verbs_and_options(tiny, refused, arguments, words):
    assert words in refused(*arguments)


def test_json_errors(heatbath, tiny):
    answer = heatbath("learn", "tiny.csv", "--target", "q", "--json")
    found = json.loads(answer.out)
    assert answer.code == 2
    assert set(found) == {"error", "exit"}
    assert found["exit"] == 2
    assert answer.err == f"error: {found['error']}\n"


# ---- run: config.toml


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("replicas = 3", "replicas = 0", "replicas is 0"),
        ("replicas = 3", "replicas = true", "replicas is True"),
        ("replicas = 3", 'replicas = "3"', "replicas is '3'"),
        ("replicas = 3", "replica = 3", "unknown key [run] 'replica'; did you mean replicas?"),
        ("seed = 0", "seed = -1", "seed is -1"),
        ("seed = 0", "seed = 0.5", "seed is 0.5"),
        ("step_size = 0.6", "step_size = -0.6", "step_size is -0.6"),
        ("step_size = 0.6", "step_size = nan", "step_size is nan"),
        ("step_size = 0.6", "step_size = inf", "step_size is inf"),
        ("step_size = 0.6", "step_size = 1e39", "step_size is 1e+39"),
        ("step_size = 0.6", 'step_size = "a"', "step_size is 'a'"),
        ("hidden = [4]", "hidden = [4.5]", "hidden is [4.5]"),
        ("hidden = [4]", "hidden = []", "hidden is []"),
        ("hidden = [4]", "hidden = 4", "hidden"),
        ("weight_prior = [", "weight_prior = [1.0, ", "weight_prior is [1.0"),
        ("noise_prior = [0", "noise_prior = [-0", "noise_prior shape is -0.5"),
        ("noise_prior = ", "noise_prior = 1 #", "noise_prior is 1"),
        ("every = 20", "every = 200", "no sample would be kept"),
        ("[model]", "[modle]", "did you mean model?"),
        ("[prior]", "[data.prior]", "unknown key [data] 'prior'"),
        ("[model]\nhidden", "[model.x]\n[model]\nhidden", "unknown key [model] 'x'"),
        ('task = "regression"', 'task = "water"', "another model"),
        ('targets = ["y"]', 'targets = "y"', "[data] targets is 'y': give a list of names"),
        ("rows = 40", 'rows = "40"', "[data] rows"),
        ("[data]", "[data", "is not TOML"),
        ("seed = 0", "seed = " + "1" * 5000, "is not TOML"),
        ("seed = 0", "seed = " + "[" * 50_000, "is not TOML"),
    ],
)
def test_configs(made, refused, old, new, words):
    text = (made / "config.toml").read_text()
    assert old in text
    Path("changed.toml").write_text(text.replace(old, new, 1))
    before = files(Path())
    assert words in refused("run", "changed.toml", "--out", "new")
    assert files(Path()) == before


def test_config_with_a_number_for_a_table(made, refused):
    text = (made / "config.toml").read_text()
    Path("changed.toml").write_text("prior = 3\n" + text.replace("[prior]", "[run.x]"))
    assert "prior is 3: it must be a table" in refused("run", "changed.toml", "--out", "new")


def test_config_files(made, refused, tiny):
    assert "No such file" in refused("run", "missing.toml")
    assert "Is a directory" in refused("run", "made")
    assert "plain file" in refused("run", "/dev/zero")
    Path("latin.toml").write_bytes(b'a = "\xe4"')
    assert "not TOML" in refused("run", "latin.toml")
    assert "exists already" in refused("run", "made/config.toml", "--out", "made")


def test_config_with_other_data_than_its_folder(made, refused):
    text = (made / "config.toml").read_text()
    (made / "other.toml").write_text(text.replace('targets = ["y"]', 'targets = ["a"]'))
    assert "not that of the run" in refused("run", "made/other.toml", "--out", "new")


def test_changed_data(made, refused):
    shutil.copy(made / "config.toml", "copy.toml")
    write_table(Path("tiny.csv"), rows=41)
    assert "has changed" in refused("run", "copy.toml", "--out", "new")
    os.remove("tiny.csv")
    assert "no such file" in refused("run", "copy.toml", "--out", "new")


# ---- run folders

USES = [("predict", "made", "tiny.csv"), ("report", "made"), ("resume", "made")]
uses = pytest.mark.parametrize("use", USES, ids=[use[0] for use in USES])


@uses
def test_not_a_run(tiny, refused, use):
    assert "no run at" in refused(*use)
    Path("made").mkdir()
    assert "not a heatbath run" in refused(*use)


def test_nearest_run(made, refused):
    assert "did you mean made?" in refused("report", "mede")
    Path("runs").mkdir()
    made.rename("runs/made")
    assert "did you mean runs/made?" in refused("report", "runs/mede")
    assert "like runs/made" in refused("report", "runs/x")


@uses
def test_newer_version(made, refused, use):
    text = (made / "config.toml").read_text()
    (made / "config.toml").write_text(text.replace("format = 1", "format = 2"))
    assert "upgrade heatbath" in refused(*use)


@uses
def test_another_model(tiny, refused, use):
    synthetic_run(tiny / "made", tiny / "tiny.csv", ["y"], task="water")
    assert "another model" in refused(*use)


@uses
def test_damaged_config(tiny, refused, use):
    synthetic_run(tiny / "made", tiny / "tiny.csv", ["y"], run={"replicas": "three"})
    assert "replicas is 'three'" in refused(*use)


@pytest.mark.parametrize("use", USES[:2])
@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({}, "its keys are not"),
        ({"input_mean": ["x", "y"]}, "could not convert"),
        ({"input_scale": [1.0, 0.0]}, "input_scale must be positive"),
        ({"target_mean": [float("nan")]}, "finite"),
        ({"input_mean": [1.0], "input_scale": [1.0]}, "as many columns"),
    ],
)
def test_damaged_standardisation(tiny, refused, use, change, words):
    good = {"input_mean": [0.0, 0.0], "input_scale": [1.0, 1.0], "target_mean": [0.0], "target_scale": [1.0]}
    synthetic_run(tiny / "made", tiny / "tiny.csv", ["y"], standardisation=good | change if change else {})
    assert words in refused(*use)


@pytest.mark.parametrize("use", USES[:2])
def test_no_samples_yet(tiny, refused, use):
    synthetic_run(tiny / "made", tiny / "tiny.csv", ["y"], saves=0)
    assert "no samples yet" in refused(*use)


@uses
def test_damaged_beyond_the_last_good_block(made, refused, use):
    for name in ("000000", "000001"):
        path = made / "blocks" / f"{name}.npz"
        path.write_bytes(path.read_bytes()[:-100])
    assert "damaged" in refused(*use, code=4)


def test_run_that_is_being_written(made, refused):
    with RunFolder.open(made, write=True):
        assert "already running" in refused("resume", "made")
    before = files(made)
    assert "already running" not in refused("report", "made2")
    assert files(made) == before


# ---- predict: the new table


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("a\n1\n", "no input column 'b'"),
        ("a,b,c\n1,2,3\n", "the run knows no column 'c'"),
        ("a,b,y\n1,2,nan\n", "line 2, column 'y'"),
        ("a,b\n1,two\n", "line 2, column 'b'"),
        ("a,b\n", "only a header"),
        ("a,b\n1,1e39\n", "overflows"),
    ],
)
def test_new_tables(made, refused, content, words):
    Path("new.csv").write_text(content)
    before = files(Path())
    assert words in refused("predict", "made", "new.csv")
    assert files(Path()) == before


def test_some_targets_only(tiny, refused):
    synthetic_run(tiny / "made", write_table(tiny / "two.csv", 2), ["y", "z"])
    Path("new.csv").write_text("a,b,z\n1,2,3\n")
    assert "no target column 'y'" in refused("predict", "made", "new.csv")


@pytest.mark.parametrize(
    ("out", "words"),
    [
        ("made", "exists already"),
        ("tiny.csv", "exists already"),
        ("dangling", "exists already"),
        ("no/such/p.csv", "there is no folder no/such"),
        ("tiny.csv/p.csv", "there is no folder tiny.csv"),
        ("n" * 5000, "too long"),
    ],
)
def test_places_for_predictions(made, refused, out, words):
    Path("dangling").symlink_to("nowhere")
    before = files(Path())
    assert words in refused("predict", "made", "tiny.csv", "--out", out)
    assert files(Path()) == before


# ---- as a user calls it: time and the standard streams


def call(*arguments, stdout=subprocess.PIPE, shell: str = "", cwd=None):
    command = [sys.executable, "-c", "from heatbath.cli import main; main()", *map(str, arguments)]
    if shell:
        command = ["sh", "-c", f'"$@" {shell}', "sh", *command]
    return subprocess.run(command, stdout=stdout, stderr=subprocess.PIPE, text=True, cwd=cwd, timeout=60)


def test_refusals_are_short_and_do_not_wait_for_jax(made, tiny):
    code = "import atexit, sys; atexit.register(lambda: print('jax' in sys.modules)); "
    code += "from heatbath.cli import main; main()"
    for arguments in (["learn", "tiny.csv", "--target", "q"], ["report", "nothing"], ["lern"]):
        command = [sys.executable, "-c", code, *arguments]
        answer = subprocess.run(command, capture_output=True, text=True, cwd=tiny)
        assert (answer.returncode, answer.stdout) == (2, "False\n")
        assert answer.stderr.startswith("error: ")
        assert answer.stderr.count("\n") == 1


def test_reader_who_goes_away(made, tiny):
    assert call("learn", "--help", shell="| head -1", cwd=tiny).stderr == ""
    answer = call("predict", made, "tiny.csv", "--out", "p.csv", shell="| true", cwd=tiny)
    assert answer.stderr == ""
    assert Path("p.csv").exists()


def test_closed_streams(made, tiny):
    answer = call("predict", made, "tiny.csv", "--out", "p.csv", shell=">&- 2>&-", cwd=tiny)
    assert answer.returncode == 0
    assert Path("p.csv").read_text().startswith("y_mean,")
    answer = call("report", "nothing", "--json", shell="2>&-", cwd=tiny)
    assert json.loads(answer.stdout)["exit"] == 2


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_full_output(made, tiny):
    with open("/dev/full", "w") as full:
        answer = call("predict", made, "tiny.csv", "--out", "p.csv", stdout=full, cwd=tiny)
    assert answer.returncode == 4
    assert answer.stderr.startswith("error: cannot write the answer")
    assert answer.stderr.count("\n") == 1


def test_names_that_the_terminal_cannot_show(made, tiny):
    out = os.fsencode(tiny) + b"/\xff \xc3\xa9.csv"
    command = [sys.executable, "-c", "from heatbath.cli import main; main()", "predict", "made", "tiny.csv"]
    env = os.environ | {"PYTHONIOENCODING": "ascii"}
    answer = subprocess.run([*command, "--out", out], cwd=tiny, env=env, capture_output=True, timeout=60)
    assert (answer.returncode, answer.stderr) == (0, b"")
    assert os.path.exists(out)
