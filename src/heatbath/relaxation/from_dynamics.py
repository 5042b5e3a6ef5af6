"""Exact chains made from a dynamics itself: its own steps, no samples. Needs JAX's 64-bit numbers."""

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from heatbath.errors import Refused
from heatbath.relaxation.chains import MarkovChain
from heatbath.relaxation.fokker_planck import even_grid
from heatbath.relaxation.gaussian import LinearChain
from heatbath.theory import _checks

if TYPE_CHECKING:
    from heatbath.core import Control, Dynamics, System

LINEAR = 1e-9
LOST = 1e-6


def linear_chain(
    dynamics: "Dynamics", system: "System", control: "Control", positions: ArrayLike
) -> LinearChain:
    """The chain that ``dynamics`` makes of a quadratic energy, in its full phase space: (x), or (x, p).

    By differentiation of ``dynamics.step_given`` at the vector ``positions`` (d,). Raises `Refused` where a
    step is not linear in its state and normal noise: the energy is not quadratic, or the step is
    Metropolised.
    """
    import equinox as eqx
    import jax
    import jax.numpy as jnp

    origin = jnp.asarray(_checks.vector("positions", positions))
    first, noise = _start(dynamics, system, control, origin)
    has_momenta = dynamics.momenta(first) > 0  # pyright: ignore[reportArgumentType]
    vector = jnp.concatenate([origin, origin]) if has_momenta else origin

    def step(vector: Any, noise: Any) -> Any:
        state, _ = _start(dynamics, system, control, vector[: len(origin)])
        if has_momenta:
            state = eqx.tree_at(lambda s: s.momentum, state, vector[len(origin) :])
        state, _ = dynamics.step_given(system, state, control, noise)  # pyright: ignore[reportAttributeAccessIssue]
        position = dynamics.position(state)
        return jnp.concatenate([position, state.momentum]) if has_momenta else position

    if not isinstance(noise, jax.Array):
        raise Refused(f"{type(dynamics).__name__} is not linear: it has more than normal noise")
    matrix, spread = (np.asarray(m) for m in jax.jacfwd(step, (0, 1))(vector, 0 * noise))
    spread = spread.reshape(len(vector), -1)
    shift = np.asarray(step(vector, 0 * noise)) - matrix @ np.asarray(vector)
    away, kick = 1.7 * vector + 0.9, noise + 0.3
    predicted = matrix @ np.asarray(away) + spread @ np.asarray(kick).ravel() + shift
    found = np.asarray(step(away, kick))
    if not np.allclose(found, predicted, rtol=LINEAR, atol=LINEAR):
        raise Refused(f"{type(dynamics).__name__} is not linear here: give a quadratic energy")
    return LinearChain(matrix, spread @ spread.T, shift)


def grid_chain(
    dynamics: "Dynamics", system: "System", control: "Control", grid: ArrayLike
) -> tuple[MarkovChain, np.ndarray]:
    """The kernel of `OverdampedLangevin` or `MALA` in one dimension as a matrix on an even ``grid`` (n,), and
    the chain's target exp(-U/T) on it.

    P_ij is the density of the step from x_i to x_j times the spacing and the chance of acceptance, which the
    dynamics itself gives; rejections stay. Errors of this rule vanish exponentially once the step is wider
    than the spacing; MALA keeps detailed balance with the target exactly. Raises `Refused` where proposals
    are narrower than the spacing or, without Metropolis, more than 1e-6 of a row leaves the grid.
    """
    import jax
    import jax.numpy as jnp

    x = even_grid(grid)
    spacing = float(x[1] - x[0])
    state, noise = _start(dynamics, system, control, jnp.asarray(x[:1]))
    shapes = [part.shape for part in jax.tree.leaves(noise)]
    if shapes not in ([(1, 1)], [(1, 1), ()]) or dynamics.momenta(state) > 0:
        raise Refused(f"{type(dynamics).__name__} has no normal proposals in one dimension: give a MALA")
    metropolised = len(shapes) == 2

    def step(start: Any, normal: Any) -> Any:
        state, _ = _start(dynamics, system, control, start[None])
        given = normal[None, None]
        given = (given, jnp.zeros(())) if metropolised else given  # a uniform number of 0 accepts
        state, flow = dynamics.step_given(system, state, control, given)  # pyright: ignore[reportAttributeAccessIssue]
        return dynamics.position(state)[0], flow.info.get("acceptance", jnp.ones(()))

    def energy(start: Any) -> Any:
        return dynamics.potential(_start(dynamics, system, control, start[None])[0])  # pyright: ignore[reportArgumentType]

    move = jax.jit(jax.vmap(step))
    means, _ = move(x, np.zeros(len(x)))
    widths = np.asarray(move(x, np.ones(len(x)))[0]) - np.asarray(means)
    if not widths.min() > spacing:
        raise Refused(f"a step is {widths.min():.3g} wide: give a grid finer than that (now {spacing:.3g})")
    normals = (x - np.asarray(means)[:, None]) / widths[:, None]
    _, accepted = jax.jit(jax.vmap(jax.vmap(step, (None, 0))))(x, normals)
    matrix = np.exp(-(normals**2) / 2) / np.sqrt(2 * np.pi) * spacing / widths[:, None] * np.asarray(accepted)
    left = 1 - matrix.sum(axis=1)
    energies = np.asarray(jax.vmap(energy)(x)) / float(control.temperature)
    target = np.exp(energies.min() - energies)
    if metropolised:
        matrix[np.diag_indices_from(matrix)] += left
    elif np.abs(left).max() > LOST:
        raise Refused(f"a step leaves the grid with probability {left.max():.2g}: give a wider grid")
    return MarkovChain(matrix / matrix.sum(axis=1, keepdims=True)), target / target.sum()


def _start(dynamics: "Dynamics", system: "System", control: "Control", position: Any) -> tuple[Any, Any]:
    """State and noise of the dynamics at a position; what the noise is does not matter."""
    import jax

    from heatbath.core import Draw

    if not hasattr(dynamics, "noise"):
        raise Refused(f"{type(dynamics).__name__} does not name its noise: no exact chain can be made of it")
    draw = Draw(jax.random.key(0), jax.numpy.zeros((), int))
    state = dynamics.init(system, position, control, draw)
    return state, dynamics.noise(state, draw)  # pyright: ignore[reportAttributeAccessIssue]
