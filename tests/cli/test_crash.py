"""Killed, stopped and disturbed runs end in the bytes of an undisturbed one, and memory stays flat."""

import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

STEPS = 2500
HEATBATH = f"{sys.executable} -c 'from heatbath.cli import main; main()'"
SMALL = "--target y --hidden 4 --replicas 2 --quiet"


@pytest.fixture(scope="module")
def env(tmp_path_factory) -> dict[str, str]:
    """Programs compiled once are taken from a cache: it changes no result, only the time."""
    cache = {
        "JAX_COMPILATION_CACHE_DIR": str(tmp_path_factory.mktemp("cache")),
        "JAX_PERSISTENT_COMPILATION_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_COMPILATION_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
        "TF_CPP_MIN_LOG_LEVEL": "3",
    }
    return os.environ | cache


def check(script: Path, *arguments: str, env: dict[str, str]) -> None:
    answer = subprocess.run(
        [sys.executable, str(script), *arguments], env=env, capture_output=True, text=True
    )
    assert answer.returncode == 0, answer.stdout + answer.stderr


@pytest.mark.parametrize(("kind", "trials"), [("KILL", 6), ("TERM", 2)])
def test_killed_runs_end_in_the_same_bytes(tiny, shared, env, kind, trials):
    start = f"{HEATBATH} learn {tiny}/tiny.csv {SMALL} --steps {STEPS} --out {{out}}"
    resume = f"{HEATBATH} resume {{out}} --quiet"
    options = ["--signal", kind, "--trials", str(trials), "--ignore", "log.txt"]
    script = shared / "checks" / "crash" / "kill_resume.py"
    check(script, "--start", start, "--resume", resume, *options, env=env)


def test_a_full_disk_is_said_in_one_line_and_loses_nothing(tiny, shared, env):
    """Full in the first block, on the way and in the report; then space is given back and the run resumed."""
    start = f"{HEATBATH} learn {tiny}/tiny.csv {SMALL} --steps {STEPS} --out {{out}}"
    resume = f"{HEATBATH} resume {{out}} --quiet"
    script = shared / "checks" / "crash" / "disk_full.py"
    command = [sys.executable, str(script), "--start", start, "--resume", resume]
    command += ["--sizes", "0.05,0.2,0.4,0.6,0.8", "--ignore", "log.txt"]
    answer = subprocess.run(command, env=env, capture_output=True, text=True)
    if answer.returncode == 2:
        pytest.skip(answer.stdout)  # no user namespaces here
    assert answer.returncode == 0, answer.stdout + answer.stderr
    assert answer.stdout.count(": ok (exit 4: error: ") >= 3, answer.stdout


def test_memory_is_flat_in_the_number_of_steps(tiny, shared, env):
    command = f"{HEATBATH} learn {tiny}/tiny.csv {SMALL} --steps {{steps}} --out {{out}}"
    script = shared / "checks" / "resource" / "rss_flat.py"
    check(script, "--cmd", command, "--steps", "2e3,2e4", "--repeat", "1", env=env)


@pytest.mark.parametrize("delay", [0.0, 3.0, 9.0])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupt_is_130_and_names_the_command(tiny, env, number, delay):
    """Before, while and after it compiles; a second signal on the way out changes nothing."""
    command = shlex.split(f"{HEATBATH} learn tiny.csv {SMALL} --steps 4000000 --out run")
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=env)
    while not Path("run/config.toml").exists():
        time.sleep(0.05)
    time.sleep(delay)
    process.send_signal(number)
    time.sleep(0.1)
    process.send_signal(number)
    _, error = process.communicate(timeout=120)
    assert process.returncode == 130
    assert error.startswith("error: ")
    assert error.endswith("continue: heatbath resume run\n")
    assert error.count("\n") == 1
