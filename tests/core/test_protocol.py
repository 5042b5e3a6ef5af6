"""Protocols: where they start, where they end, when they move."""

import jax.numpy as jnp
import numpy as np
import pytest

from heatbath.core import (
    Constant,
    Control,
    Cyclic,
    Exponential,
    Geometric,
    Linear,
    Piecewise,
    Quench,
    Reversed,
)

LOW, HIGH = Control(1.0, {"k": 2.0}), Control(4.0, {"k": 8.0})
PROTOCOLS = {
    "constant": Constant(LOW),
    "linear": Linear(LOW, HIGH, 4),
    "geometric": Geometric(LOW, HIGH, 4),
    "exponential": Exponential(LOW, HIGH, 4, time_constant=2.0),
    "quench": Quench(LOW, HIGH, 3),
    "cyclic": Cyclic(LOW, HIGH, 6),
    "piecewise": Piecewise([LOW, HIGH, LOW], [0, 2, 5]),
    "reversed": Reversed(Linear(LOW, HIGH, 4), 4),
}


def values(protocol, steps=8):
    return [float(protocol(jnp.asarray(t), jnp.asarray(0)).temperature) for t in range(steps)]


def test_values():
    assert values(PROTOCOLS["linear"]) == [1.0, 1.75, 2.5, 3.25, 4.0, 4.0, 4.0, 4.0]
    np.testing.assert_allclose(values(PROTOCOLS["geometric"])[:5], [1, 2**0.5, 2, 2**1.5, 4])
    relaxed = values(PROTOCOLS["exponential"])
    assert relaxed[0] == 1.0
    assert relaxed[4] == 4.0
    np.testing.assert_allclose(relaxed[1], 1 + 3 * (1 - np.exp(-0.5)) / (1 - np.exp(-2)))
    assert values(PROTOCOLS["quench"]) == [1.0] * 3 + [4.0] * 5
    np.testing.assert_allclose(values(PROTOCOLS["cyclic"])[:7], [1, 1.75, 3.25, 4, 3.25, 1.75, 1], atol=1e-12)
    np.testing.assert_allclose(values(PROTOCOLS["piecewise"]), [1, 2.5, 4, 3, 2, 1, 1, 1])
    assert values(PROTOCOLS["reversed"], 5) == values(PROTOCOLS["linear"], 5)[::-1]


@pytest.mark.parametrize("name", PROTOCOLS)
def test_moves_says_when_the_control_changes(name):
    protocol, found = PROTOCOLS[name], values(PROTOCOLS[name])
    for t in range(1, 8):
        if found[t] != found[t - 1]:
            assert bool(protocol.moves(jnp.asarray(t)))
    if name in ("constant", "quench", "linear"):
        assert not bool(protocol.moves(jnp.asarray(7)))


def test_every_number_moves_together():
    control = PROTOCOLS["geometric"](jnp.asarray(2), jnp.asarray(0))
    assert float(control.couplings["k"]) == pytest.approx(4.0)


def test_bad_protocols_are_refused():
    with pytest.raises(ValueError, match="index 1 is 0"):
        Piecewise([LOW, HIGH], [0, 0])
    with pytest.raises(ValueError, match="same couplings"):
        Linear(LOW, Control(1.0, {"stiffness": 1.0}), 3)
    with pytest.raises(ValueError, match="positive"):
        Geometric(Control(1.0, {"k": 0.0}), LOW, 3)
