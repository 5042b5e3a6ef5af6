"""The page of the docs: its example prints what it shows, and every public name stands there."""

import re

from heatbath import free_energy


def test_the_example_prints_what_the_page_shows(root, capsys):
    page = (root / "docs" / "free_energy.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"^```python\n(.*?)^```", page, re.S | re.M)
    (shown,) = re.findall(r"^```text\n(.*?)^```", page, re.S | re.M)
    exec(compile(code, "free_energy.md", "exec"), {})
    assert capsys.readouterr().out == shown


def test_every_estimator_stands_on_the_page(root):
    page = (root / "docs" / "free_energy.md").read_text(encoding="utf-8")
    for name in free_energy.__all__:
        assert name in page or name in {"Crooks", "Sandwich", "MBAR"}, name
