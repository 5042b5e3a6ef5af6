"""Numbers inside modules, and arithmetic on pytrees of positions.

A Python float in a module field is a static value, so every new value would compile again; a bare
``jnp.asarray`` of it is weakly typed, so the same field read back from a file would compile again too.
Hence one converter, `numeric`, for every numeric field.
"""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.core import Tracer

from heatbath.errors import Refused


def numeric(tree: Any) -> Any:
    """Leaves as arrays of strong dtype: float64 where x64 is on, else float32. A list is an array."""
    return jax.tree.map(lambda x: jnp.asarray(x, float_dtype()), tree, is_leaf=lambda x: isinstance(x, list))


def integer(x: Any) -> Array:
    """A count or a step number as an array of strong integer dtype."""
    return jnp.asarray(x, jnp.asarray(0, int).dtype)


def float_dtype():
    """float64 where x64 is on, else float32."""
    return jnp.zeros((), float).dtype


def x64() -> bool:
    return float_dtype() == jnp.float64


def widen(tree: Any) -> Any:
    """Leaves cast to the widest float in use: what energies and ledgers are computed in."""
    return jax.tree.map(lambda x: x.astype(float_dtype()), tree)


def ravel(tree: Any) -> Array:
    """All leaves, one after the other, as one vector of shape (d,)."""
    return jnp.concatenate([jnp.ravel(x) for x in jax.tree.leaves(tree)])


def unravel(vector: Array, like: Any) -> Any:
    """The inverse of `ravel`: slices of `vector` in the shapes of `like`, keeping the vector's dtype."""
    leaves, start = [], 0
    for x in jax.tree.leaves(like):
        leaves.append(jnp.reshape(vector[start : start + x.size], x.shape))
        start += x.size
    return jax.tree.unflatten(jax.tree.structure(like), leaves)


def size(tree: Any) -> int:
    """Number of scalars in a position: d."""
    return sum(x.size for x in jax.tree.leaves(tree))


def dtype_of(tree: Any):
    """The dtype of a position (the common one of its leaves)."""
    return jnp.result_type(*jax.tree.leaves(tree))


def moved(position: Any, displacement: Array) -> Any:
    """``position + displacement`` (a vector of shape (d,)), rounded to the position's dtype."""
    step = unravel(displacement, position)
    return jax.tree.map(lambda x, s: (x + s).astype(x.dtype), position, step)


def all_finite(tree: Any) -> Array:
    """Whether every floating leaf is finite."""
    leaves = [x for x in jax.tree.leaves(tree) if jnp.issubdtype(x.dtype, jnp.floating)]
    return jnp.all(jnp.stack([jnp.all(jnp.isfinite(x)) for x in leaves]))


def select(condition: Array, new: Any, old: Any) -> Any:
    """Leaf by leaf ``new`` where the scalar condition holds, else ``old``."""
    return jax.tree.map(lambda a, b: jnp.where(condition, a, b), new, old)


def traced(x: Any) -> bool:
    """Whether a value is not known yet, because a function is being compiled: checks must let it pass."""
    return isinstance(x, Tracer)


def to_arrays(tree: Any) -> dict[str, np.ndarray]:
    """Leaves as NumPy arrays under their path in the pytree, joined by "/"."""
    return {_name(path): np.asarray(leaf) for path, leaf in jax.tree_util.tree_leaves_with_path(tree)}


def from_arrays(like: Any, arrays: Mapping[str, np.ndarray], extra_axis: bool = False) -> Any:
    """The inverse of `to_arrays` for a pytree of the structure of ``like``.

    ``extra_axis``: the arrays carry one more leading axis than ``like``. Raises `Refused` where an array
    is missing or of another shape: the state belongs to another run.
    """

    def leaf(path, x):
        name = _name(path)
        found = arrays.get(name)
        if found is None or found.shape[1 if extra_axis else 0 :] != x.shape:
            raise Refused(f"the saved state has no '{name}' of shape {x.shape}: it belongs to another model")
        return jnp.asarray(found, x.dtype)

    return jax.tree_util.tree_map_with_path(leaf, like)


def _name(path: Any) -> str:
    return jax.tree_util.keystr(path, simple=True, separator="/")
