"""What an import brings, changes and costs."""

import subprocess
import sys

LIMIT = 0.35  # seconds on top of JAX's own import


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


def test_the_simulator_adds_little_to_the_import_of_jax():
    """CPU seconds, the least of three; benchmarks/imports.py has the median of the wall clock."""
    code = "import jax, jax.numpy, time\nbegan = time.process_time()\nfrom heatbath import simulate\n"
    code += "print(time.process_time() - began)"
    assert min(float(python(code)) for _ in range(3)) < LIMIT
