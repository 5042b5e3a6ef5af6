"""The README's Python runs as it stands, and what it says of the command line is there."""

import re

import jax


def blocks(path, language):
    return re.findall(rf"^```{language}\n(.*?)^```", path.read_text(), re.S | re.M)


def test_the_python_example_runs_and_is_right(root, capsys):
    (block,) = blocks(root / "README.md", "python")
    exec(compile(block, "README.md", "exec"), {})
    ours, exact = (
        float(re.sub(r"\(.*", "", line.split()[-1])) for line in capsys.readouterr().out.splitlines()
    )
    assert jax.config.jax_enable_x64
    assert abs(ours - exact) < 0.05  # 10,000 replicas; the weights' spread is 0.7


def test_the_pages_the_readme_names_are_there(root):
    for name in re.findall(r"\]\((docs/[^)]*|[A-Z]+[.a-z]*)\)", (root / "README.md").read_text()):
        assert (root / name).exists(), name
