import subprocess
import sys

from heatbath import theory


def test_table_of_names():
    assert theory.names() == sorted(theory.QUANTITIES)
    assert len(theory.QUANTITIES) == sum(map(len, theory.FAMILIES.values()))
    for name, quantity in theory.QUANTITIES.items():
        assert name == f"{quantity.__module__.rsplit('.', 1)[-1]}.{quantity.__name__}"
        assert quantity.__doc__


def test_needs_no_jax():
    check = "import sys, heatbath.theory; assert 'jax' not in sys.modules"
    subprocess.run([sys.executable, "-c", check], check=True)
