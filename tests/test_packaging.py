"""The README's two commands, the pinned versions, and what a release holds."""

import importlib.util
import os
import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest

LARGEST = 6_000_000


def sh_blocks(text: str) -> list[str]:
    return re.findall(r"^```sh\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)


def test_first_two_blocks_of_the_readme_are_one_command_each(root: Path):
    blocks = sh_blocks((root / "README.md").read_text(encoding="utf-8"))
    assert len(blocks) >= 2
    for block in blocks[:2]:
        assert block.count("\n") == 1, block
        assert block.startswith("python3 -m venv .venv && .venv/bin/pip install ")
    assert "heatbath learn robot-arm" in blocks[0]
    assert "pytest" in blocks[1]


def test_continuous_integration_runs_the_second_block_of_the_readme(root: Path):
    awk = """/^```sh$/ { i++; inside = (i == n); next } /^```/ { inside = 0 } inside"""
    assert awk in (root / ".ci" / "run").read_text(encoding="utf-8")
    readme = root / "README.md"
    found = subprocess.run(["awk", "-v", "n=2", awk, str(readme)], capture_output=True, text=True, check=True)
    assert found.stdout == sh_blocks(readme.read_text(encoding="utf-8"))[1]


def test_constraints_pin_every_line_and_name_no_address(root: Path):
    lines = (root / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = [line for line in lines if line and not line.startswith("#")]
    assert "://" not in "\n".join(lines)
    for line in pins:
        assert re.fullmatch(r"[A-Za-z0-9._-]+==[0-9][A-Za-z0-9.]*(; python_version.*)?", line), line
    assert len(pins) == len({line.split("==")[0].lower() for line in pins})


def test_broken_versions_of_jax_are_excluded(root: Path):
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    jax = next(d for d in project["dependencies"] if d.startswith("jax"))
    assert "!=0.10.2" in jax
    assert "!=0.11.0" in jax


def test_version_stands_in_one_place(root: Path):
    written = re.search(
        r'__version__ = "(.+)"', (root / "src/heatbath/_version.py").read_text(encoding="utf-8")
    )
    assert written is not None
    citation = (root / "CITATION.cff").read_text(encoding="utf-8")
    assert f"version: {written[1]}\n" in citation
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert "version" not in project


def test_no_source_file_is_longer_than_500_lines(root: Path):
    long = {
        str(path.relative_to(root)): lines
        for path in (root / "src").rglob("*.py")
        if (lines := len(path.read_text(encoding="utf-8").splitlines())) > 500
    }
    assert not long


@pytest.fixture(scope="module")
def release(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the sdist and the wheel."""
    for tool in ("build", "hatchling"):
        if importlib.util.find_spec(tool) is None:
            pytest.skip(f"needs {tool} (extra `test`) to build a release without a network")
    folder = tmp_path_factory.mktemp("release")
    command = [sys.executable, "-m", "build", "--no-isolation", "--sdist", "--wheel", "--outdir", str(folder)]
    # A fixed date, so that the test cannot depend on the day.
    environment = {**os.environ, "SOURCE_DATE_EPOCH": "1767225600"}
    done = subprocess.run([*command, str(root)], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def test_sdist_holds_the_sources_and_nothing_else(release: Path):
    (path,) = release.glob("*.tar.gz")
    assert path.stat().st_size < LARGEST
    with tarfile.open(path) as archive:
        names = [name.split("/", 1)[1] for name in archive.getnames()]
    allowed = {"src", "tests", "benchmarks", "docs", "README.md", "LICENSE", "CHANGELOG.md", "CITATION.cff"}
    allowed |= {"CONTRIBUTING.md", "VISION.md", "constraints.txt", "pyproject.toml", "PKG-INFO", ".gitignore"}
    assert {name.split("/")[0] for name in names} <= allowed
    assert not [name for name in names if "__pycache__" in name or "site-packages" in name]
    assert {"src/heatbath/_version.py", "src/heatbath/py.typed", "tests/conftest.py"} <= set(names)


def test_wheel_holds_the_package_with_its_data(release: Path, root: Path):
    (path,) = release.glob("*.whl")
    assert path.stat().st_size < LARGEST
    names = set(zipfile.ZipFile(path).namelist())
    files = root / "src" / "heatbath" / "data" / "files"
    wanted = {f"heatbath/data/files/{file.name}" for file in files.iterdir() if file.is_file()}
    assert wanted | {"heatbath/py.typed", "heatbath/_version.py"} <= names
    assert {name.split("/")[0].split("-")[0] for name in names} == {"heatbath"}
