"""How numbers with errors print and go to JSON."""

import math
import subprocess
import sys

import pytest

from heatbath.estimate import Estimate, with_error


@pytest.mark.parametrize(
    ("value", "error", "text"),
    [
        (1.23456, 0.0012, "1.2346(12)"),
        (0.3465, 0.01, "0.346(10)"),
        (349.22, 0.19, "349.22(19)"),
        (12345.0, 120.0, "12340(120)"),
        (5.0, 1.3, "5.0(1.3)"),
        (1.0, 0.0996, "1.00(10)"),
        (2.5, 0.0, "2.5"),
        (4 / 3, 6.7e-18, "1.33333 +- 6.7e-18"),
        (2.5, math.inf, "2.5 +- inf"),
        (1.2e27, 3.4e25, "1.2e+27 +- 3.4e+25"),
    ],
)
def test_two_digits_of_the_error(value, error, text):
    assert with_error(value, error) == text


def test_an_unreliable_estimate_says_why():
    estimate = Estimate(1.0, math.inf, 3.0, False, "the tail was not sampled")
    assert str(estimate).endswith("(not reliable: the tail was not sampled)")
    assert estimate.to_dict()["std_error"] is None
    with pytest.raises(ValueError, match="needs a reason"):
        Estimate(1.0, 0.1, reliable=False)


def test_no_jax():
    code = "import sys, heatbath, heatbath.estimate; sys.exit('jax' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
