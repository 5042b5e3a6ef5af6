"""Work from CSV files; the shipped windows of benzene; the hairpin, which is never shipped."""

from importlib import resources

import numpy as np
import pytest

from heatbath.data import benzene, hairpin, read_work
from heatbath.errors import Refused
from heatbath.free_energy import bar

FILES = resources.files("heatbath.data") / "files"


@pytest.fixture
def written(tmp_path):
    def write(text: str):
        path = tmp_path / "work.csv"
        path.write_text(text)
        return path

    return write


def test_one_column_with_a_header_or_without(written):
    for text in ("w\n1.5\n-2\n", "1.5\n-2\n\n", "\ufeff1.5\r\n-2\r\n", "  1.5 \n-2"):
        np.testing.assert_array_equal(read_work(written(text)), [1.5, -2])


def test_the_other_columns_may_hold_anything(written):
    path = written("run,w,note\n1,0.5,fine\n2,1e23,nan\n")
    np.testing.assert_array_equal(read_work(path, "w"), [0.5, 1e23])


@pytest.mark.parametrize(
    ("text", "column", "words"),
    [
        ("", "", "is empty"),
        ("w\n", "", "only a header"),
        ("\nw\n1\n", "", "the first line is empty"),
        ("a,work,c\n1,2,3\n", "", "which --column? the columns are 'a', 'work', 'c'"),
        ("a,work,c\n1,x,3\n", "wrk", "no column 'wrk'; the columns are 'a', 'work', 'c'"),
        (",".join(f"work_{i}" for i in range(30)) + "\n", "wrk_7", "did you mean 'work_7'"),
        ("1\n2\n", "w", "the columns are '1'"),
        ("1,2\n3,4\n", "", "no header?"),
        ("1\nnan\n", "", "line 2, column 'work': 'nan' is not a finite number"),
        ("1\n2 3\n", "", "line 2, column 'work': '2 3' is text"),
        ("w\n1\n-inf\n", "w", "line 3, column 'w': '-inf' is not a finite number"),
    ],
)
def test_bad_files(written, text, column, words):
    with pytest.raises(Refused) as caught:
        read_work(written(text), column)
    assert words in str(caught.value)
    assert len(str(caught.value)) <= 300


def test_benzene_has_the_states_of_its_readme():
    coulomb, vdw = benzene("coulomb"), benzene("vdw")
    for data, states in ((coulomb, 5), (vdw, 16)):
        assert data.du.shape == (4_001 * states, states)
        assert data.du.dtype == np.float64
        assert set(data.counts) == {4_001}
        np.testing.assert_array_equal(np.bincount(data.state), data.counts)
        np.testing.assert_array_equal(data.du[np.arange(len(data.du)), data.state], 0)
        assert (data.lambdas[0], data.lambdas[-1]) == (0, 1)
    assert vdw.du.max() > 1e23


def test_benzene_adds_up_to_the_published_sums():
    """Sums of pairwise BAR, from the description of the data: 3.04439 and -3.03293."""
    for leg, expected in (("coulomb", 3.04439), ("vdw", -3.03293)):
        data = benzene(leg)
        steps = [bar(data.work(i, i + 1), data.work(i + 1, i)).value for i in range(len(data.counts) - 1)]
        assert abs(sum(steps) - expected) < 1e-5


def test_benzene_is_verbatim(shared):
    for leg in ("coulomb", "vdw"):
        with (
            np.load(shared / "data" / "work" / f"benzene_{leg}.npz") as original,
            resources.as_file(FILES / f"benzene_{leg}.npz") as path,
            np.load(path) as ours,
        ):
            assert set(ours) == {"du_kT", "state", "lambdas", "N_k"}
            for name in ours:
                np.testing.assert_array_equal(ours[name], original[name])


def test_source_and_licence_of_benzene_are_shipped():
    text = (FILES / "benzene.md").read_text(encoding="utf-8")
    for words in ("alchemtest 1.0.0", "Ian Kenney", "CC0 1.0"):
        assert words in text


def test_the_hairpin_is_read_from_the_folder_of_data(shared, monkeypatch):
    monkeypatch.setenv("HEATBATH_DATA", str(shared / "data"))
    unfolding, refolding = hairpin()
    assert (len(unfolding), len(refolding)) == (96, 96)
    assert abs(unfolding.mean() - 351.367) < 1e-3
    assert abs(refolding.mean() + 347.058) < 1e-3


def test_the_hairpin_is_not_shipped(tmp_path, monkeypatch):
    assert not [file.name for file in FILES.iterdir() if "hairpin" in file.name]
    monkeypatch.delenv("HEATBATH_DATA", raising=False)
    with pytest.raises(
        Refused, match=r"set HEATBATH_DATA to a folder that holds work/dna_hairpin_cd4_work\.csv"
    ):
        hairpin()
    monkeypatch.setenv("HEATBATH_DATA", str(tmp_path))
    with pytest.raises(Refused, match="no such file"):
        hairpin()
