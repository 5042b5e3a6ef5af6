"""Any BlackJAX kernel as a dynamics under the same runner and ledger."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import Array

from heatbath.core import Control, Draw, Dynamics, Flow, System, energy_at, numeric
from heatbath.core.numeric import float_dtype
from heatbath.core.system import Position

METROPOLISED = ("hmc", "nuts", "mala", "barker", "adjusted_mclmc", "dynamic_hmc", "elliptical_slice")


class BlackJAXState(eqx.Module):
    inner: Any
    potential: Array


class BlackJAX(Dynamics[BlackJAXState]):
    """A kernel of BlackJAX (Cabezas et al. 2024): ``BlackJAX.of(blackjax.nuts, step_size=..., ...)``.

    ``init`` and ``kernel``: the algorithm's ``init`` and what its ``build_kernel`` returns.
    ``parameters``: the kernel's keyword arguments, as arrays. ``books``: "metropolised" (heat is dU,
    shadow work 0), "mclmc" (shadow work is T times the kernel's ``energy_change``) or "unknown" (no path
    ledger). The momenta of a kernel, where it has any, are not part of the energy here.
    """

    target: ClassVar = "boltzmann"
    init_function: Callable = eqx.field(static=True)
    kernel: Callable = eqx.field(static=True)
    parameters: Mapping[str, Any]
    books: str = eqx.field(static=True)

    @staticmethod
    def of(algorithm: Any, *, kernel: Callable | None = None, **parameters: Any) -> "BlackJAX":
        """``algorithm``: ``blackjax.hmc`` and the like; numbers among ``parameters`` become arrays, whole
        numbers stay whole. ``kernel``: an already built kernel, to change how it is built."""
        name = algorithm.init.__module__.rsplit(".", 1)[-1]
        books = "metropolised" if name in METROPOLISED else "mclmc" if name == "mclmc" else "unknown"
        built: Callable = algorithm.build_kernel() if kernel is None else kernel
        arrays = {k: jnp.asarray(v) if isinstance(v, int) else numeric(v) for k, v in parameters.items()}
        chosen = BlackJAX if books == "metropolised" else _Unadjusted if books == "mclmc" else _Unknown
        return chosen(algorithm.init, built, arrays, books)

    def init(self, system: System, position: Position, control: Control, draw: Draw) -> BlackJAXState:
        log_density = _log_density(system, control)
        extra = inspect.signature(self.init_function).parameters
        key = {"rng_key": draw.key()} if "rng_key" in extra else {}
        state = self.init_function(position, log_density, **key)
        return BlackJAXState(state, energy_at(system, position, control.couplings))

    def refresh(self, system: System, state: BlackJAXState, control: Control) -> BlackJAXState:
        log_density = _log_density(system, control)
        position = state.inner.position
        made = {"logdensity": lambda: log_density(position)}
        made["logdensity_grad"] = lambda: jax.grad(log_density)(position)
        new = {name: make() for name, make in made.items() if name in state.inner._fields}
        return BlackJAXState(state.inner._replace(**new), energy_at(system, position, control.couplings))

    def step(
        self, system: System, state: BlackJAXState, control: Control, draw: Draw
    ) -> tuple[BlackJAXState, Flow]:
        log_density = _log_density(system, control)
        inner, info = self.kernel(draw.key(), state.inner, log_density, **self.parameters)
        new = BlackJAXState(inner, energy_at(system, inner.position, control.couplings))
        change = new.potential - state.potential
        shadow = control.temperature * info.energy_change if self.books == "mclmc" else 0.0
        return new, Flow(change - shadow, shadow, _info(info))

    def position(self, state: BlackJAXState) -> Position:
        return state.inner.position

    def potential(self, state: BlackJAXState) -> Array:
        return state.potential

    def refusal(self) -> str | None:
        if self.books == "unknown":
            return "the heat of this BlackJAX kernel is not known from outside"
        return None

    @classmethod
    def examples(cls) -> dict[str, Any]:
        import blackjax

        return {
            "BlackJAX HMC": cls.of(
                blackjax.hmc, step_size=0.5, inverse_mass_matrix=jnp.ones(1), num_integration_steps=4
            ),
            "BlackJAX MCLMC": cls.of(blackjax.mclmc, step_size=0.5, L=2.0, inverse_mass_matrix=1.0),
        }


class _Unadjusted(BlackJAX):
    target: ClassVar = "boltzmann + O(step)"


class _Unknown(BlackJAX):
    target: ClassVar = "other"


def _log_density(system: System, control: Control) -> Callable[[Position], Array]:
    return lambda position: -energy_at(system, position, control.couplings) / control.temperature


def _info(info: Any) -> dict[str, Array]:
    names = {
        "acceptance_rate": "acceptance",
        "is_divergent": "divergent",
        "num_integration_steps": "gradients",
    }
    found = {new: getattr(info, old) for old, new in names.items() if hasattr(info, old)}
    if hasattr(info, "nonans"):
        found["divergent"] = ~info.nonans
    return {name: jnp.asarray(value, float_dtype()) for name, value in found.items()}
