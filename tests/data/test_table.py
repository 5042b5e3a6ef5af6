import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from heatbath.data import Table, check_columns, read_table
from heatbath.errors import Refused

PLAIN = b"x,y\n1,2.5\n-3e2,4\n"
VALUES = np.array([[1, 2.5], [-300, 4]])


def write(folder: Path, content: bytes, name: str = "t.csv") -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


def refusal(path: Path | str, **options) -> str:
    with pytest.raises(Refused) as caught:
        read_table(path, **options)
    message = str(caught.value)
    assert len(message) <= 300
    assert message.isprintable()
    return message


def test_plain(tmp_path):
    path = write(tmp_path, PLAIN)
    table = read_table(path)
    assert table.columns == ("x", "y")
    assert table.path == str(path)
    assert table.values.dtype == np.float64
    assert not table.values.flags.writeable
    np.testing.assert_array_equal(table.values, VALUES)
    np.testing.assert_array_equal(table.column("y"), VALUES[:, 1])
    np.testing.assert_array_equal(table.select(["y", "x"]), VALUES[:, ::-1])


@pytest.mark.parametrize(
    "content",
    [
        b"\xef\xbb\xbf" + PLAIN,
        PLAIN.replace(b"\n", b"\r\n"),
        b"\xef\xbb\xbf" + PLAIN.replace(b"\n", b"\r\n"),
        PLAIN.removesuffix(b"\n"),
        PLAIN + b"\n\r\n",
        b'"x","y"\n"1","2.5"\n"-3e2","4"\n',
        b'"x","y"\n1,2.5\n-3e2,4\n',
        b'x, "y"\n 1 , "2.5"\n-3e2 ,4',
        b"x,y\n1.0,25e-1\n-300,+4.\n",
        b"x,y\n1\t,\x1c2.5\n-3e2,4\n",
        'x,y\n1,"2.5\x1c"\n\xa0-3e2,4\n'.encode(),
    ],
    ids=[
        "bom",
        "crlf",
        "bom-crlf",
        "no-newline",
        "blank-end",
        "quotes",
        "quoted-header",
        "spaces",
        "spelling",
        "white",
        "quoted-white",
    ],
)
def test_same_result_however_written(tmp_path, content):
    plain = read_table(write(tmp_path, PLAIN))
    other = read_table(write(tmp_path, content, "other.csv"))
    assert other.columns == plain.columns
    assert other.sha256 == plain.sha256
    np.testing.assert_array_equal(other.values, plain.values)


@pytest.mark.parametrize("content", [PLAIN.replace(b"4", b"5"), PLAIN.replace(b"y", b"z"), PLAIN + b"1,2\n"])
def test_hash_depends_on_numbers_and_names(tmp_path, content):
    assert read_table(write(tmp_path, content)).sha256 != read_table(write(tmp_path, PLAIN, "p.csv")).sha256


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", ["line 1", "empty"]),
        (b"\n1,2\n", ["line 1", "first line is empty"]),
        (b"x,y\n", ["line 1", "only a header"]),
        (b"x,y\n\n\n", ["line 1", "only a header"]),
        (PLAIN.decode().encode("utf-16"), ["line 1, column 1", "UTF-16"]),
        (PLAIN.decode().encode("utf-16-be"), ["line 1, column 1", "UTF-16"]),
        (b"x,y\n1,2\n3,\xe9\n", ["line 3, column 2", "not UTF-8", "0xe9", "Latin-1"]),
        (b"x,h\xf6he\n1,2\n", ["line 1, column 2", "not UTF-8"]),
        (b"x,y\n1,2\n3,\x004\n", ["line 3, column 2", "NUL"]),
        (b"x,y\n1,2\n3\n", ["line 3, column 'y'", "1 cells where the header has 2"]),
        (b"x,y\n1,2,3\n", ["line 2, column 3", "3 cells where the header has 2"]),
        (b"x,y\n1,2\n\n3,4\n", ["line 3, column 'x'", "line is empty"]),
        (b"x,y\n1,2\n3,\n", ["line 3, column 'y'", "cell is empty"]),
        (b'x\n1\n""\n', ["line 3, column 'x'", "cell is empty"]),
        (b"x,y\n1,2\n3,high\n", ["line 3, column 'y'", "'high' is text", "leave the column out"]),
        (b"x,y\n1,1_000\n", ["line 2, column 'y'", "'1_000' is text"]),
        (b"x,y\n1,0x10\n", ["line 2, column 'y'", "'0x10' is text"]),
        ("x,y\n1,\u0661\n".encode(), ["line 2, column 'y'", "is text"]),
        ("x,y\n1,\u22124\n".encode(), ["line 2, column 'y'", "is text"]),
        (b"x,y\n1,#2\n", ["line 2, column 'y'", "'#2' is text"]),
        (b"x,y\n1,\x1b[31m\n", ["line 2, column 'y'", "'\\x1b[31m' is text"]),
        (b"x,y\n1,2\nnan,4\n", ["line 3, column 'x'", "'nan' is not a finite number"]),
        (b"x,y\n1,2\n3,-inf\n", ["line 3, column 'y'", "'-inf' is not a finite number"]),
        (b"x,y\n1,1e999\n", ["line 2, column 'y'", "'1e999' overflows single precision"]),
        (b"x,y\n1,2\n-1e39,2\n", ["line 3, column 'x'", "'-1e39' overflows single precision"]),
        (b"x,y,x\n1,2,3\n", ["line 1, column 'x'", "same name as column 1"]),
        (b"x,,y\n1,2,3\n", ["line 1, column 2", "no name"]),
        (b"x,y,\n1,2,\n", ["line 1, column 3", "no name"]),
        (b"x,\x1b[2Jy\n1,2\n", ["line 1, column 2", "invisible characters", "\\x1b[2J"]),
        (b"1,2\n3,4\n", ["line 1, column 1", "no header?"]),
        (b"1;2\n3;4\n", ["line 1, column 1", "no header?"]),
        (b"0,5;1,2\n0,6;1,3\n", ["line 1, column 1", "no header?"]),
        (b"x;y\n1;2\n", ["line 1, column 1", "semicolons", "commas"]),
        (b"x;y\n0,5;1,2\n", ["line 1, column 1", "semicolons"]),
        (b"x\ty\n1\t2\n", ["line 1, column 1", "tabs"]),
        (b"x,y\n1;2\n", ["line 2, column 'y'", "semicolons"]),
        (b'x,y\n"1,5",2\n', ["line 2, column 'x'", "decimal comma in '1,5'"]),
        (b"x,y\n1,5,2,5\n", ["line 2, column 3", "decimal commas?"]),
        (b"x,y\n" + b"1" * 2**20 + b",2\n", ["line 2, column 1", "cell of more than 131072"]),
        (b"x,y\n" + b"1,2\n" * 3 + b'1,"2\n' + b"1,2\n" * 50_000, ["line 5", "quote never closed?"]),
        (b'x,y\n1,"2\n3,4\n', ["line 2", "quote is not closed"]),
        (b'x,y\n1,"2"3\n', ["line 2", "quote"]),
        (b"x,y\r1,2\r3,4\r", ["line 1", "carriage return"]),
        (b"x,y\n1,2\r3,4\n", ["line 2", "carriage return"]),
        (b",".join(b"c%d" % i for i in range(100_000)) + b"\n", ["line 1", "100000 columns", "10000"]),
        (b"x\n" + b"1," * 2**22, ["line 2", "longer than 4 MiB"]),
    ],
)
def test_refused_with_place(tmp_path, content, words):
    message = refusal(write(tmp_path, content))
    assert "t.csv: " in message
    for word in words:
        assert word in message


def test_line_is_counted_in_the_file(tmp_path):
    rows = b"".join(b'1,2,"a\nb"\n' for _ in range(30_000))
    path = write(tmp_path, b"x,y,note\n" + rows + b'1,?,"c"\n')
    assert "line 60002, column 'y': '?' is text" in refusal(path, ignore=["note"])


def test_last_of_many_rows_is_named(tmp_path):
    path = write(tmp_path, b"x,y\n" + b"1,2\n" * 50_000 + b"1,nan\n")
    assert "line 50002, column 'y'" in refusal(path)


def test_ten_thousand_columns_are_read(tmp_path):
    names = ",".join(f"c{i}" for i in range(10_000)).encode()
    assert read_table(write(tmp_path, names + b"\n" + b"1," * 9_999 + b"1\n")).values.shape == (1, 10_000)


def test_ignored_columns_may_hold_anything(tmp_path):
    path = write(tmp_path, b'when,x,note,y\nMonday,1,"a, b",2.5\n,-3e2,nan,4\n')
    table = read_table(path, ignore=["when", "note"])
    assert table.columns == ("x", "y")
    assert table.sha256 == read_table(write(tmp_path, PLAIN, "p.csv")).sha256


def test_ignored_columns_must_exist_and_leave_some(tmp_path):
    path = write(tmp_path, PLAIN)
    assert "no ignored column 'yy'; the columns are 'x', 'y'" in refusal(path, ignore=["yy"])
    assert "every column is ignored" in refusal(path, ignore=["x", "y"])


def test_missing_file_names_near_files(tmp_path):
    write(tmp_path, PLAIN, "weather.csv")
    assert "no such file; near names there: 'weather.csv'" in refusal(tmp_path / "wether.csv")
    assert "no such file; check the path" in refusal(tmp_path / "zzz")
    assert "folder cannot be listed" in refusal(tmp_path / "nowhere" / "t.csv")


def test_folder_and_special_files(tmp_path):
    assert "is a folder" in refusal(tmp_path)
    assert "not a regular file" in refusal("/dev/zero")
    link = tmp_path / "link.csv"
    link.symlink_to("/dev/zero")
    assert "not a regular file" in refusal(link)
    os.mkfifo(tmp_path / "pipe")
    assert "not a regular file" in refusal(tmp_path / "pipe")


def test_links(tmp_path):
    write(tmp_path, PLAIN)
    (tmp_path / "good").symlink_to("t.csv")
    np.testing.assert_array_equal(read_table(tmp_path / "good").values, VALUES)
    (tmp_path / "loop").symlink_to("loop")
    assert "cannot be read" in refusal(tmp_path / "loop")
    (tmp_path / "dangling").symlink_to("nothing")
    assert "no such file" in refusal(tmp_path / "dangling")


def test_unreadable(tmp_path, monkeypatch):
    def no_permission(*arguments):
        raise PermissionError(13, "Permission denied")

    path = write(tmp_path, PLAIN)
    monkeypatch.setattr("builtins.open", no_permission)
    assert "cannot be read: Permission denied" in refusal(path)


def test_too_big_is_refused_unread(tmp_path):
    path = tmp_path / "big.csv"
    with open(path, "wb") as file:
        file.truncate(2**31 + 1)
    assert "the limit is 2 GiB" in refusal(path)


@pytest.mark.parametrize("name", ["a\0b", "x" * 5000, "\x1b[31mred\n.csv", "a\0b/c.csv"])
def test_strange_paths(name):
    assert "error" not in refusal(name)


def test_unusual_names_are_read(tmp_path):
    for name in ("-höhe 'ü' \"q\".csv", "new\nline.csv", os.fsdecode(b"\xff.csv")):
        np.testing.assert_array_equal(read_table(write(tmp_path, PLAIN, name)).values, VALUES)
        assert "is text" in refusal(write(tmp_path, b"x\n?\n", name))


def test_long_names_keep_the_message_short(tmp_path):
    folder = tmp_path / ("f" * 200)
    folder.mkdir()
    names = [f"{letter * 150}.csv" for letter in "abc"] + ["a" * 149 + "b.csv", "a" * 149 + "c.csv"]
    for name in names:
        write(folder, PLAIN, name)
    refusal(folder / ("a" * 148 + ".csv"))
    long = b"c" * 500
    for cell in (b"", b"t" * 1000, b"\x1b" * 1000, b"1" * 1000, b'"' + b"1" * 500 + b"," + b"1" * 500 + b'"'):
        refusal(write(folder, long + b",y\n" + cell + b",1\n"))
    refusal(write(folder, long + b"," + long + b"\n1,2\n"))
    refusal(write(folder, long + b",y,z\n1\n"))


def table_of(*columns: str) -> Table:
    return Table(columns, np.zeros((1, len(columns))), "t.csv", "")


@pytest.mark.parametrize(
    ("columns", "name", "words"),
    [
        (("x", "y"), "z", "t.csv: line 1: no target column 'z'; the columns are 'x', 'y'"),
        ((*(f"size{i}" for i in range(20)), "Weight"), "wieght", "did you mean 'Weight'?"),
        (tuple(f"size{i}" for i in range(20)), "??", "the 20 columns start with 'size0', 'size1', 'size2'"),
        (("q" * 500, "r" * 500), "q" * 499, "the columns are 'qqq"),
    ],
)
def test_missing_column(columns, name, words):
    table = table_of(*columns)
    check_columns(table, columns, "target")
    with pytest.raises(Refused) as caught:
        check_columns(table, [columns[0], name], "target")
    assert words in str(caught.value)
    assert len(str(caught.value)) <= 300
    with pytest.raises(Refused):
        table.column(name)
    with pytest.raises(Refused):
        table.select([name])


def test_at_most_three_near_columns():
    with pytest.raises(Refused) as caught:
        check_columns(table_of(*(f"size{i}" for i in range(20))), ["size"], "input")
    assert str(caught.value).count("size") == 4


def test_no_heavy_imports():
    code = "import sys, heatbath.data; sys.exit(any(m in sys.modules for m in ('jax', 'pandas')))"
    subprocess.run([sys.executable, "-c", code], check=True)


# ---- labels


def test_labels_are_texts_or_numbers_in_one_spelling(tmp_path):
    path = write(tmp_path, b'x,kind\n1,cat\n2,"a, b"\n3,1.0\n4,1e0\n5, -2.50\n6,-0\n')
    table = read_table(path, labels=["kind", "absent"])
    assert table.columns == ("x",)
    assert table.labels == {"kind": ("cat", "a, b", "1", "1", "-2.5", "0")}
    np.testing.assert_array_equal(table.values[:, 0], [1, 2, 3, 4, 5, 6])


def test_the_hash_covers_the_labels(tmp_path):
    first = read_table(write(tmp_path, b"x,k\n1,a\n2,b\n"), labels=["k"])
    same = read_table(write(tmp_path, b'x,k\r\n1.0,"a"\n2, b', "u.csv"), labels=["k"])
    other = read_table(write(tmp_path, b"x,k\n1,a\n2,c\n", "v.csv"), labels=["k"])
    assert first.sha256 == same.sha256 != other.sha256


@pytest.mark.parametrize(
    ("cell", "words"),
    [
        (b"", "empty"),
        (b"nan", "not a finite number"),
        (b"-inf", "not a finite number"),
        (b"1e400", "overflows"),
        (b"a\x1bb", "visible characters"),
        (b"a" * 201, "at most 200"),
    ],
)
def test_labels_that_are_refused(tmp_path, cell, words):
    message = refusal(write(tmp_path, b"x,k\n1,a\n2," + cell + b"\n"), labels=["k"])
    assert words in message
    assert "line 3, column 'k'" in message
