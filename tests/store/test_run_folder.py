"""The run folder: creation, phases, lock, repair, links, versions, a full disk, equal bytes."""

import errno
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from heatbath.errors import HeatbathError, Refused, Stopped
from heatbath.store import Entry, RunFolder, next_run_name, sha256_of

CONFIG = {"name": "well", "steps": 100, "dynamics": {"name": "langevin", "step_size": 0.1, "on": True}}
ENVIRONMENT = {"numpy": "2", "device": {"kind": "cpu"}, "a": [1, 2]}


def records(block: int) -> dict[str, np.ndarray]:
    times = np.arange(10 * block, 10 * block + 10)
    return {"time": times, "x": np.sin(times[:, None] * np.arange(1, 4)), "energy": times / 7}


def state(block: int) -> dict[str, np.ndarray]:
    return {"position": np.full((4, 3), block / 3), "step": np.int64(block)}


def add(run: RunFolder, first: int, last: int, phase: str = "sample") -> None:
    """Blocks of 10 steps of one phase that started at block 0."""
    sink = run.phase(phase)
    for block in range(first, last):
        sink.block(10 * (block + 1), records(block), state(block))


def make(path: Path, blocks: int = 4) -> Path:
    with RunFolder.create(path, CONFIG, ENVIRONMENT) as run:
        add(run, 0, blocks)
    return path


def tree(path: Path) -> dict[str, str]:
    files = (file for file in path.rglob("*") if file.is_file() and file.name != "log.txt")
    return {str(file.relative_to(path)): sha256_of(file) for file in files}


def flip(path: Path, at: int | None = None) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2 if at is None else at] ^= 1
    path.write_bytes(data)


def refused(error: pytest.ExceptionInfo[HeatbathError], *parts: str) -> None:
    """The message is one line of at most 300 characters and says `parts`."""
    text = str(error.value)
    assert len(text) <= 300
    assert text.isprintable()
    for part in parts:
        assert part in text


# ---- creation


def test_create_and_open(tmp_path):
    path = make(tmp_path / "deep" / "runs" / "well-001")
    assert sorted(os.listdir(path)) == ["blocks", "config.toml", "environment.json", "journal.jsonl", "state"]
    assert os.listdir(path.parent) == ["well-001"]
    run = RunFolder.open(path)
    assert run.path == path
    assert run.config == {"format": 1, **CONFIG}
    assert run.environment == ENVIRONMENT
    assert run.steps("sample") == 40
    assert run.steps("anneal") == 0
    line = json.loads((path / "journal.jsonl").read_text().splitlines()[2])
    line.pop("crc")
    assert run.entries()[2] == Entry(**line)
    assert (line["block"], line["phase"], line["steps"], line["file"]) == (
        2,
        "sample",
        30,
        "blocks/000002.npz",
    )
    assert line["sha256"] == sha256_of(path / "blocks/000002.npz")


def test_existing_targets_are_refused(tmp_path):
    run = make(tmp_path / "run")
    (tmp_path / "file").write_text("mine")
    (tmp_path / "empty").mkdir()
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    before = tree(tmp_path)
    for name in ("run", "file", "empty", "dangling"):
        with pytest.raises(Refused) as error:
            RunFolder.create(tmp_path / name, CONFIG, {})
        refused(error, name, "choose another --out")
    with pytest.raises(Refused, match=r"heatbath resume .*run`"):
        RunFolder.create(run, CONFIG, {})
    assert tree(tmp_path) == before


@pytest.mark.parametrize("name", ["x" * 300, "/".join(["y" * 100] * 50), "a\0b", "file/run", "\ud800"])
def test_impossible_names_are_refused(tmp_path, name):
    (tmp_path / "file").write_text("")
    with pytest.raises(Refused) as error:
        RunFolder.create(tmp_path / name, CONFIG, {})
    refused(error, "choose another --out")
    assert os.listdir(tmp_path) == ["file"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_unwritable_parent_is_refused(tmp_path):
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(Refused, match="Permission denied"):
            RunFolder.create(tmp_path / "run", CONFIG, {})
    finally:
        tmp_path.chmod(0o700)


def test_a_file_in_place_of_the_parent_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(Refused, match=r"exists, .*/file; choose another --out"):
        RunFolder.create(tmp_path / "file" / "run", CONFIG, {})


def test_failed_creation_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "rename", full_disk)
    with pytest.raises(Refused, match="No space left"):
        RunFolder.create(tmp_path / "run", CONFIG, {})
    with pytest.raises(Refused, match="cannot hold"):
        RunFolder.create(tmp_path / "run", {"a": {"b": None}}, {})
    with pytest.raises(Refused, match="environment"):
        RunFolder.create(tmp_path / "run", CONFIG, {"a": object()})
    assert os.listdir(tmp_path) == []


def test_stale_siblings_are_removed(tmp_path):
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    others = [f".run.{os.getppid()}", f".other.{dead.pid}", ".run.x", "run.1"]
    for name in [f".run.{dead.pid}", f".run.{os.getpid()}", *others]:
        (tmp_path / name / "blocks").mkdir(parents=True)
    make(tmp_path / "run")
    assert sorted(os.listdir(tmp_path)) == sorted([*others, "run"])


def test_next_run_name(tmp_path):
    runs = tmp_path / "runs"
    assert next_run_name(runs, "robot-arm") == runs / "robot-arm-001"
    for name in ("robot-arm-001", "robot-arm-007", "robot-arm-x", "robot-arm-9", "robot-012"):
        (runs / name).mkdir(parents=True)
    assert next_run_name(runs, "robot-arm") == runs / "robot-arm-008"
    (runs / "robot-arm-999").mkdir()
    assert next_run_name(runs, "robot-arm") == runs / "robot-arm-1000"
    assert next_run_name(runs, "../../etc/pass wd\n").parent == runs
    assert next_run_name(runs, "..") == runs / "run-001"


# ---- phases, state, reading


def test_phases_and_the_last_two_states(tmp_path):
    with RunFolder.create(tmp_path / "run", CONFIG, ENVIRONMENT) as run:
        anneal, sample = run.phase("anneal"), run.phase("sample")
        assert anneal.restore() is None
        add(run, 0, 3, "anneal")
        assert sample.restore() is None
        steps, arrays = anneal.restore()
        assert steps == 30
        np.testing.assert_array_equal(arrays["position"], state(2)["position"])
        sample.block(10, records(0), state(7))
        assert anneal.restore()[1]["step"] == 2
        assert sample.restore()[1]["step"] == 7
        assert sorted(os.listdir(run.path / "state")) == ["000002.npz", "000003.npz"]
        sample.block(20, records(1), state(8))
        assert anneal.restore() == (30, {})
        assert sample.restore()[0] == 20
        assert [entry.block for entry in run.entries("sample")] == [3, 4]
        with pytest.raises(Refused, match="20 steps already"):
            sample.block(20, records(1), state(8))
        with pytest.raises(Refused, match="not a name"):
            run.phase("../x")


def test_reading(tmp_path):
    run = RunFolder.open(make(tmp_path / "run"))
    read = run.read("sample", ["x", "time"])
    assert list(read) == ["x", "time"]
    np.testing.assert_array_equal(read["time"], np.arange(40))
    np.testing.assert_array_equal(read["x"], np.concatenate([records(block)["x"] for block in range(4)]))
    assert [sorted(block) for block in run.blocks("sample")] == [["energy", "time", "x"]] * 4
    with pytest.raises(Refused) as error:
        run.read("sample", ["energi"])
    refused(error, "energi", "did you mean energy?")
    with pytest.raises(Refused, match="no finished block"):
        run.read("anneal", ["x"])
    with pytest.raises(Refused, match="reading only"):
        add(run, 4, 5)
    with pytest.raises(Refused, match="reading only"):
        run.log("x")


def test_records_that_cannot_be_joined(tmp_path):
    with RunFolder.create(tmp_path / "run", CONFIG, {}) as run:
        run.phase("a").block(1, {"scalar": np.float64(1), "x": np.zeros((1, 2))}, {})
        run.phase("a").block(2, {"scalar": np.float64(1), "x": np.zeros((1, 3))}, {})
        for name in ("scalar", "x"):
            with pytest.raises(Refused, match="do not join"):
                run.read("a", [name])


def test_tuned(tmp_path):
    arrays = {"mass": np.array([1.0, 2.0]), "step_size": np.float64(0.3)}
    with RunFolder.create(tmp_path / "run", CONFIG, {}) as run:
        assert run.tuned() is None
        add(run, 0, 1, "adapt")
        run.save_tuned(arrays)
        run.save_tuned(dict(reversed(arrays.items())))
        with pytest.raises(Refused, match="another tuned"):
            run.save_tuned({"mass": np.array([1.0, 3.0])})
    assert len((tmp_path / "run/journal.jsonl").read_text().splitlines()) == 2
    run = RunFolder.open(tmp_path / "run")
    np.testing.assert_array_equal(run.tuned()["mass"], [1.0, 2.0])
    flip(tmp_path / "run/state/tuned.npz")
    with pytest.raises(Stopped, match=r"tuned\.npz"):
        run.tuned()


def test_damaged_tuned_is_dropped_or_stops(tmp_path):
    with RunFolder.create(tmp_path / "run", CONFIG, {}) as run:
        add(run, 0, 1, "adapt")
        run.save_tuned({"a": np.ones(3)})
    before = tree(run.path)
    flip(run.path / "state/tuned.npz")
    with RunFolder.open(run.path, write=True) as run:
        assert run.tuned() is None
        run.save_tuned({"a": np.ones(3)})
        assert tree(run.path) == before
        add(run, 0, 1)
    flip(run.path / "state/tuned.npz")
    with pytest.raises(Stopped, match="beyond its last good block"):
        RunFolder.open(run.path, write=True)


def test_set_config_keeps_format_and_lock(tmp_path):
    with RunFolder.create(tmp_path / "run", CONFIG, {}) as run:
        run.set_config({**run.config, "steps": 200})
        assert run.config == {"format": 1, **CONFIG, "steps": 200}
        with pytest.raises(Refused, match="already running"):
            RunFolder.open(run.path, write=True)
    with RunFolder.open(run.path, write=True) as run:
        assert run.config["steps"] == 200
        assert not (run.path / "config.toml.tmp").exists()


def test_log_is_one_line_a_message(tmp_path):
    with RunFolder.create(tmp_path / "run", CONFIG, {}) as run:
        run.log("first\nstill first")
        run.log("second \ud800")
    assert [line[21:] for line in (run.path / "log.txt").read_text().splitlines()] == [
        "first still first",
        "second \\ud800",
    ]


# ---- the lock


def test_lock(tmp_path):
    path = make(tmp_path / "run")
    code = (
        "from heatbath.store import RunFolder\n"
        f"run = RunFolder.open({str(path)!r}, write=True)\n"
        "print(flush=True)\ninput()"
    )
    other = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    other.stdout.readline()
    with pytest.raises(Refused) as error:
        RunFolder.open(path, write=True)
    refused(error, "already running", str(path.name))
    assert RunFolder.open(path).steps("sample") == 40
    other.kill()
    other.communicate()
    RunFolder.open(path, write=True).close()


# ---- interruption and repair end in the same bytes


def test_partial_block(tmp_path):
    reference = tree(make(tmp_path / "reference", 6))
    with RunFolder.create(tmp_path / "run", CONFIG, ENVIRONMENT) as run:
        add(run, 0, 3)
        half = {name: array[:5] for name, array in records(3).items()}
        run.phase("sample").partial(33, half, state(99))
        run.phase("sample").partial(35, half, state(99))
    with RunFolder.open(run.path, write=True) as run:
        assert run.phase("anneal").restore() is None
        sink = run.phase("sample")
        assert sink.partial_records() is None
        steps, arrays = sink.restore()
        assert (steps, arrays["step"]) == (35, 99)
        np.testing.assert_array_equal(sink.partial_records()["time"], half["time"])
        sink.block(40, records(3), state(3))
        assert not (run.path / "state/partial.npz").exists()
        assert sink.restore()[0] == 40
        assert sink.partial_records() is None
        add(run, 4, 6)
    assert tree(run.path) == reference


def test_partial_that_is_unreadable_or_behind_is_ignored(tmp_path):
    path = make(tmp_path / "run")
    partial = path / "state/partial.npz"
    with RunFolder.open(path, write=True) as run:
        run.phase("sample").partial(45, records(4), state(4))
        old = partial.read_bytes()
        flip(partial)
        assert run.phase("sample").restore()[0] == 40
        assert run.phase("sample").partial_records() is None
        add(run, 4, 5)
        partial.write_bytes(old)
        assert run.phase("sample").restore()[0] == 50
    RunFolder.open(path, write=True).close()
    assert not partial.exists()


@pytest.mark.parametrize("tear", ["cut", "no newline", "zeros", "flip"])
def test_torn_last_line(tmp_path, tear):
    reference = tree(make(tmp_path / "reference", 6))
    path = make(tmp_path / "run")
    journal = path / "journal.jsonl"
    data = journal.read_bytes()
    start = data[:-1].rindex(b"\n") + 1
    if tear == "flip":
        flip(journal, data.rindex(b'"steps": 40') + 9)
    else:
        torn = {"cut": data[start : start + 30], "no newline": data[start:-1], "zeros": bytes(40)}[tear]
        journal.write_bytes(data[:start] + torn)
    assert RunFolder.open(path).steps("sample") == 30
    with RunFolder.open(path, write=True) as run:
        assert journal.read_bytes() == data[:start]
        # the state before the last is there, the one cut off is not
        assert os.listdir(path / "state") == ["000002.npz"]
        assert sorted(os.listdir(path / "blocks"))[-1] == "000002.npz"
        assert run.phase("sample").restore()[0] == 30
        add(run, 3, 6)
    assert tree(path) == reference


@pytest.mark.parametrize("name", ["blocks/000003.npz", "state/000003.npz"])
@pytest.mark.parametrize("harm", ["flip", "truncate", "empty", "delete", "zeros", "link"])
def test_damaged_newest_block_is_made_again(tmp_path, name, harm):
    reference = tree(make(tmp_path / "reference", 6))
    path = make(tmp_path / "run")
    file = path / name
    data = file.read_bytes()
    outside = tmp_path / "outside"
    outside.write_bytes(data)
    if harm == "flip":
        flip(file)
    elif harm in ("delete", "link"):
        file.unlink()
        if harm == "link":
            file.symlink_to(outside)
    else:
        file.write_bytes({"truncate": data[:100], "empty": b"", "zeros": bytes(len(data))}[harm])
    with RunFolder.open(path, write=True) as run:
        assert run.phase("sample").restore()[0] == 30
        add(run, 3, 6)
    assert tree(path) == reference
    assert "cut back" in (path / "log.txt").read_text()
    assert outside.read_bytes() == data


def test_only_block_damaged_starts_afresh(tmp_path):
    reference = tree(make(tmp_path / "reference", 2))
    path = make(tmp_path / "run", 1)
    flip(path / "state/000000.npz")
    with RunFolder.open(path, write=True) as run:
        assert run.phase("sample").restore() is None
        add(run, 0, 2)
    assert tree(path) == reference


def test_damage_beyond_the_last_good_block(tmp_path):
    path = make(tmp_path / "run")
    for name in ("state/000002.npz", "state/000003.npz"):
        flip(path / name)
    before = tree(path)
    with pytest.raises(Stopped) as error:
        RunFolder.open(path, write=True)
    refused(error, "damaged beyond its last good block")
    assert tree(path) == before


def test_damaged_middle_block(tmp_path):
    path = make(tmp_path / "run")
    flip(path / "blocks/000001.npz")
    run = RunFolder.open(path)
    blocks = run.blocks("sample")
    next(blocks)
    with pytest.raises(Stopped, match=r"000001\.npz"):
        next(blocks)
    with pytest.raises(Stopped, match=r"000001\.npz"):
        run.read("sample", ["x"])
    (path / "blocks/000001.npz").unlink()
    for write in (False, True):
        with pytest.raises(Stopped, match="block 1 of"):
            RunFolder.open(path, write=write)


def test_leftovers_are_removed_and_strangers_kept(tmp_path):
    path = make(tmp_path / "run")
    before = tree(path)
    for name in (
        "blocks/000004.npz",
        "blocks/000004.npz.tmp",
        "state/000000.npz",
        "state/000004.npz",
        "state/partial.npz.tmp",
        "state/tuned.npz",
        "config.toml.tmp",
        "journal.jsonl.tmp",
    ):
        (path / name).write_bytes(b"x")
    (path / "blocks/notes.txt").write_text("mine")
    RunFolder.open(path).close()
    assert (path / "blocks/000004.npz").exists()
    RunFolder.open(path, write=True).close()
    assert (path / "blocks/notes.txt").read_text() == "mine"
    (path / "blocks/notes.txt").unlink()
    assert tree(path) == before


def test_shortened_journal_does_not_cost_the_blocks(tmp_path):
    path = make(tmp_path / "run")
    journal = path / "journal.jsonl"
    journal.write_bytes(b"")
    with pytest.raises(Stopped, match="shorter than its blocks"):
        RunFolder.open(path, write=True)
    assert len(os.listdir(path / "blocks")) == 4


def test_empty_journal_resumes_from_the_start(tmp_path):
    path = make(tmp_path / "run", 0)
    with RunFolder.open(path, write=True) as run:
        assert run.phase("sample").restore() is None
        add(run, 0, 1)


def test_order_of_keys_and_memory_layout_do_not_change_bytes(tmp_path):
    path = make(tmp_path / "run", 1)
    with RunFolder.create(tmp_path / "other", CONFIG, dict(reversed(ENVIRONMENT.items()))) as run:
        mixed = {name: np.asfortranarray(array) for name, array in reversed(records(0).items())}
        run.phase("sample").block(np.int64(10), mixed, dict(reversed(state(0).items())))
    assert tree(run.path) == tree(path)


# ---- a full disk


def full_disk(*_: object, **__: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("call", ["write", "fsync", "replace", "open"])
@pytest.mark.parametrize("count", range(9))
def test_full_disk_stops_and_resumes_to_the_same_bytes(tmp_path, monkeypatch, call, count):
    """The `count`-th call fails, halfway through for write; the run stops with one line, then goes on."""
    reference = tree(make(tmp_path / "reference", 6))
    path = make(tmp_path / "run", 3)
    true = getattr(os, call)
    left = count

    def limited(*args, **kwargs):
        nonlocal left
        left -= 1
        if left >= 0:
            return true(*args, **kwargs)
        if call == "write" and left == -1:
            return true(args[0], args[1][: len(args[1]) // 2])
        return full_disk()

    with RunFolder.open(path, write=True) as run:
        monkeypatch.setattr(os, call, limited)
        if call == "replace" and count >= 6:  # two for a block, so all three blocks fit
            add(run, 3, 6)
        else:
            with pytest.raises(Stopped) as error:
                add(run, 3, 6)
            refused(error, "No space left on device")
            assert not list(path.rglob("*.tmp"))
        monkeypatch.undo()
        assert run.phase("sample").restore()[0] == run.steps("sample") >= 30
    with RunFolder.open(path, write=True) as run:
        add(run, run.steps("sample") // 10, 6)
    assert tree(path) == reference


def test_goes_on_in_the_same_process_after_a_failed_write(tmp_path, monkeypatch):
    reference = tree(make(tmp_path / "reference", 4))
    with RunFolder.create(tmp_path / "run", CONFIG, ENVIRONMENT) as run:
        add(run, 0, 2)
        true, left = os.fsync, 4

        def interrupted(fd):
            nonlocal left
            left -= 1
            if left < 0:
                raise KeyboardInterrupt
            true(fd)

        monkeypatch.setattr(os, "fsync", interrupted)  # the fifth is the journal line's
        with pytest.raises(KeyboardInterrupt):
            add(run, 2, 3)
        monkeypatch.undo()
        assert run.steps("sample") == 20
        add(run, 2, 4)
    assert tree(run.path) == reference


# ---- what is no run, or a hostile one


@pytest.mark.parametrize("write", [False, True])
def test_not_a_run(tmp_path, write):
    (tmp_path / "file").write_text("")
    (tmp_path / "folder").mkdir()
    for name in ("nothing", "file", "folder"):
        with pytest.raises(Refused) as error:
            RunFolder.open(tmp_path / name, write=write)
        refused(error, name)
    path = make(tmp_path / "run")
    for text in (
        b"",
        b"x = ",
        b"\xff",
        b"x = 1",
        b"format = 'a'",
        b"format = true",
        b"x = " + b"[" * 100_000,
    ):
        (path / "config.toml").write_bytes(text)
        with pytest.raises(Refused) as error:
            RunFolder.open(path, write=write)
        refused(error, "not a heatbath run")
    (path / "config.toml").write_text("format = 2\n")
    with pytest.raises(Refused) as error:
        RunFolder.open(path, write=write)
    refused(error, "run format 2", "reads up to 1", "upgrade heatbath")


@pytest.mark.parametrize("text", ["", "{", "[]", "[" * 100_000])
def test_damaged_environment(tmp_path, text):
    path = make(tmp_path / "run")
    (path / "environment.json").write_text(text)
    with pytest.raises(Refused) as error:
        RunFolder.open(path)
    refused(error, "environment.json")


@pytest.mark.parametrize(
    "name", ["config.toml", "environment.json", "journal.jsonl", "blocks", "state", "log.txt"]
)
def test_links_and_missing_parts_are_refused(tmp_path, name):
    path = make(tmp_path / "run")
    with RunFolder.open(path, write=True) as run:
        run.log("made")
    part, outside = path / name, tmp_path / "outside"
    os.rename(part, outside)
    if name != "log.txt":
        for write in (False, True):
            with pytest.raises(Refused, match="missing"):
                RunFolder.open(path, write=write)
    part.symlink_to(outside)
    for write in (False, True):
        with pytest.raises(Refused) as error:
            RunFolder.open(path, write=write)
        refused(error, name, "link")
    if outside.is_file():
        part.unlink()
        os.link(outside, part)
        with pytest.raises(Refused, match="hard link"):
            RunFolder.open(path, write=True)
        part.unlink()
        os.mkfifo(part)
        with pytest.raises(Refused, match="not a plain file"):
            RunFolder.open(path, write=True)


def test_a_link_to_the_run_works(tmp_path):
    path = make(tmp_path / "run")
    (tmp_path / "link").symlink_to(path)
    with RunFolder.open(tmp_path / "link", write=True) as run:
        assert run.steps("sample") == 40


@pytest.mark.parametrize(
    "bad",
    ["../../etc/passwd", "/etc/passwd", "blocks/../x.npz", "state/1.npz", "\x1b[2J", "blocks/٠٠٠٠٠٣.npz"],
)
@pytest.mark.parametrize("key", ["file", "state_file"])
def test_journal_paths_that_lead_elsewhere_are_refused(tmp_path, key, bad):
    path = make(tmp_path / "run")
    journal = path / "journal.jsonl"
    lines = journal.read_text().splitlines()
    journal.write_text("\n".join([*lines[:-1], json.dumps({**json.loads(lines[-1]), key: bad})]) + "\n")
    for write in (False, True):
        with pytest.raises(Refused) as error:
            RunFolder.open(path, write=write)
        refused(error, "names the file")


@pytest.mark.parametrize("line", ["null", "[]", "5", "{}", '"x"', "", "[" * 100_000, '{"block": 1}', "\x00"])
def test_damaged_journal_lines(tmp_path, line):
    path = make(tmp_path / "run")
    journal = path / "journal.jsonl"
    lines = journal.read_text().splitlines()
    journal.write_text("\n".join([lines[0], line, *lines[2:]]) + "\n")
    with pytest.raises(Stopped) as error:
        RunFolder.open(path, write=True)
    refused(error, "line 2")


def test_any_flipped_bit_in_the_journal_is_seen(tmp_path):
    path = make(tmp_path / "run", 3)
    journal = path / "journal.jsonl"
    data = journal.read_bytes()
    for at in range(len(data)):
        flipped = bytearray(data)
        flipped[at] ^= 1 << (at % 8)
        journal.write_bytes(flipped)
        try:
            steps = RunFolder.open(path).steps("sample")
        except HeatbathError:
            continue
        assert steps in (10, 20)


def test_repeated_and_missing_lines_stop(tmp_path):
    path = make(tmp_path / "run")
    journal = path / "journal.jsonl"
    lines = journal.read_text().splitlines(keepends=True)
    for text in ([*lines, lines[-1]], [lines[0], *lines[2:]], [lines[1], lines[0]]):
        journal.write_text("".join(text))
        with pytest.raises(Stopped, match="skips or repeats"):
            RunFolder.open(path)


def test_moved_run_reads_the_same(tmp_path):
    path = make(tmp_path / "run")
    shutil.copytree(path, tmp_path / "copy")
    np.testing.assert_array_equal(
        RunFolder.open(tmp_path / "copy").read("sample", ["time"])["time"], np.arange(40)
    )


def test_no_jax():
    code = "import sys, heatbath.store; sys.exit('jax' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
