"""Stochastic gradient descent, and any optax optimizer, as dynamics without a heat bath of known density."""

from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import Array

from heatbath.core import Control, Draw, System, numeric
from heatbath.core.numeric import traced
from heatbath.core.system import Position
from heatbath.dynamics.minibatch import Drawn, StochasticGradient, Walker
from heatbath.dynamics.point import check_share

NO_DENSITY = "its noise comes from the minibatches alone and has no known density; use ledger='energy'"


class SGD(StochasticGradient):
    """Stochastic gradient descent, as PyTorch has it: v' = mu v + (1 - dampening) g, x' = x - eta v'
    (Nesterov: x' = x - eta (g + mu v')), g the minibatch's gradient plus ``weight_decay`` x.

    The temperature of the control is not used: the noise is that of the minibatches, and the stationary state
    is not exp(-U/T). ``step_size`` multiplies gradients of the summed energy: eta/n for a mean over n items.
    """

    target: ClassVar = "other"
    momentum: Array = eqx.field(converter=numeric, default=0.0)
    dampening: Array = eqx.field(converter=numeric, default=0.0)
    weight_decay: Array = eqx.field(converter=numeric, default=0.0)
    nesterov: bool = eqx.field(static=True, default=False)

    def __check_init__(self):
        check_share("momentum", self.momentum)
        if not traced(self.dampening) and bool(jnp.any((self.dampening != 0) & (self.momentum == 0))):
            raise ValueError(f"dampening is {self.dampening}, but there is no momentum: leave it out")

    def start(self, system: System, position: Position, control: Control, draw: Draw) -> Position:
        """Velocities of 0."""
        return jax.tree.map(jnp.zeros_like, position)

    def noise_rows(self) -> int:
        return 0

    def move(self, system: System, state: Walker, control: Control, drawn: Drawn, items: Any) -> Walker:
        gradient = self.gradient_at(system, state.position, control, items)
        force = jax.tree.map(lambda g, x: g + self.weight_decay.astype(x.dtype) * x, gradient, state.position)

        def velocity(v, g):
            return self.momentum.astype(v.dtype) * v + (1 - self.dampening).astype(v.dtype) * g

        v = jax.tree.map(velocity, state.memory, force)
        u = jax.tree.map(lambda g, v: g + self.momentum.astype(v.dtype) * v, force, v) if self.nesterov else v
        position = jax.tree.map(lambda x, u: x - (drawn.step_size * u).astype(x.dtype), state.position, u)
        return Walker(position, state.potential, v)

    def refusal(self) -> str:
        return NO_DENSITY

    @classmethod
    def examples(cls) -> dict[str, Any]:
        return {"SGD": cls(0.1), "Nesterov": cls(0.05, momentum=0.8, nesterov=True)}


class Optax(StochasticGradient):
    """Any optax ``GradientTransformation`` as a dynamics; its own learning rate is the step size.

    The transformation gets gradients of the summed energy times ``scale`` (1/n: those of the mean loss).
    """

    target: ClassVar = "other"
    transformation: Any = eqx.field(static=True, default=None)
    scale: Array = eqx.field(converter=numeric, default=1.0)

    def __init__(self, transformation: Any, batches: Any = None, scale: Any = 1.0):
        super().__init__(1.0, batches)
        self.transformation, self.scale = transformation, numeric(scale)

    def start(self, system: System, position: Position, control: Control, draw: Draw) -> Any:
        return self.transformation.init(position)

    def noise_rows(self) -> int:
        return 0

    def move(self, system: System, state: Walker, control: Control, drawn: Drawn, items: Any) -> Walker:
        gradient = self.gradient_at(system, state.position, control, items)
        gradient = jax.tree.map(lambda g: self.scale.astype(g.dtype) * g, gradient)
        updates, memory = self.transformation.update(gradient, state.memory, state.position)
        position = jax.tree.map(lambda x, u: x + u.astype(x.dtype), state.position, updates)
        return Walker(position, state.potential, memory)

    def refusal(self) -> str:
        return NO_DENSITY

    @classmethod
    def examples(cls) -> dict[str, Any]:
        import optax

        return {"Adam": cls(optax.adam(0.02))}
