"""The example of docs/relaxation.md, and that the package itself needs no JAX."""

import subprocess
import sys

import numpy as np


def test_the_example_runs(root, capsys):
    text = (root / "docs" / "relaxation.md").read_text(encoding="utf-8")
    names: dict = {}
    exec(text.split("```python\n")[1].split("```")[0], names)
    assert "<=" in capsys.readouterr().out
    assert names["lag"].value < names["bound"].value
    assert names["bound"].reliable
    assert np.all(np.diff(names["chain"].divergences(20, [2.0], [[0.1]])) < 0)


def test_the_page_names_all_that_is_public(root):
    import heatbath.relaxation as relaxation

    text = (root / "docs" / "relaxation.md").read_text(encoding="utf-8")
    results = {"Curve", "Production", "Bounds", "SteinTest", "relative_entropy"}
    assert [name for name in set(relaxation.__all__) - results if name not in text] == []


def test_importing_it_does_not_import_jax():
    code = "import sys, heatbath.relaxation; sys.exit('jax' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
