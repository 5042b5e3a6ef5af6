"""What an import brings and changes."""

import subprocess
import sys


def python(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout


def test_the_simulator_brings_neither_optax_nor_matplotlib():
    heavy = ("optax", "matplotlib", "scipy", "pandas", "rich", "click", "arviz_stats", "blackjax", "torch")
    assert python(
        f"import sys\nfrom heatbath import simulate\nprint([m for m in {heavy} if m in sys.modules])"
    ) == ("[]\n")


def test_free_energies_and_their_picture_do_without_scipy_stats():
    """It takes longer to import than most estimates to compute."""
    code = "import sys\nimport heatbath.free_energy, heatbath.plotting.work\n"
    assert python(code + "print('scipy.stats' in sys.modules)") == "False\n"


def test_the_library_never_switches_64_bit_numbers_on():
    packages = "core, dynamics, systems, learning, store, data, plotting, report, theory, thermometry"
    code = f"from heatbath import {packages}, simulate\nimport heatbath.learning.fit, jax\n"
    assert python(code + "print(jax.config.jax_enable_x64, jax.numpy.ones(1).dtype)") == "False float32\n"


def test_the_simulator_brings_only_equinox_on_top_of_jax():
    """What costs time at import, without a clock; benchmarks/imports.py has the seconds."""
    code = "import sys, jax, jax.numpy\nbefore = set(sys.modules)\nfrom heatbath import simulate\n"
    code += "new = {m.split('.')[0] for m in set(sys.modules) - before} - sys.stdlib_module_names\n"
    brought = {"equinox", "heatbath", "jax", "jaxtyping", "numpy", "wadler_lindig"}
    assert eval(python(code + "print(new)")) <= brought
