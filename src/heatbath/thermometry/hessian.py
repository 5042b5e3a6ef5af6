"""Curvature of a loss: products with the Hessian, top eigenvalues, trace and spectral density (JAX).

A loss here is a scalar function of a pytree of parameters (close over the data). ``group`` restricts
everything to the leaves whose path begins with it, e.g. "layers/0" or "layers/0/weight"; None takes all
parameters.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from scipy.linalg import eigh_tridiagonal
from scipy.sparse.linalg import ArpackNoConvergence, LinearOperator, eigsh

from heatbath.core import numeric
from heatbath.core.numeric import ravel, size, unravel
from heatbath.errors import Refused
from heatbath.estimate import Estimate
from heatbath.thermometry import series

Loss = Callable[[Any], Array]
SMALL = 32  # dimensions up to which the whole matrix is cheaper than an iteration


def hessian_vector_product(loss: Loss, parameters: Any, vector: Any) -> Any:
    """H v, a pytree like ``parameters``; ``vector`` is one too. May be used under jit and vmap."""
    return jax.jvp(jax.grad(loss), (parameters,), (vector,))[1]


class _Operator:
    """v -> H v on flat float64 NumPy vectors of the chosen group, compiled once."""

    def __init__(self, loss: Loss, parameters: Any, group: str | None):
        if not isinstance(group, str | None):
            raise Refused(f"group = {group!r:.60}: give the beginning of a path, or None")
        paths, structure = jax.tree_util.tree_flatten_with_path(parameters)
        if not paths:
            raise Refused("the model has no parameters")
        leaves = [jnp.asarray(leaf) for _, leaf in paths]
        names = [jax.tree_util.keystr(path, simple=True, separator="/") for path, _ in paths]
        chosen = [group is None or name == group or name.startswith(group + "/") for name in names]
        if not any(chosen):
            raise Refused(f"no parameters in group {group!r}: groups begin with one of {names[:8]}")
        for name, leaf, here in zip(names, leaves, chosen, strict=True):
            if here and not jnp.issubdtype(leaf.dtype, jnp.floating):
                raise Refused(
                    f"parameters {name} are {leaf.dtype}: only floating-point ones have a curvature"
                )
        shape = jax.eval_shape(loss, parameters)
        if getattr(shape, "shape", None) != ():
            raise Refused(f"the loss has shape {getattr(shape, 'shape', None)}: it must be one number")
        inside = [leaf for leaf, here in zip(leaves, chosen, strict=True) if here]

        def restricted(inside: list[Array]) -> Array:
            moving = iter(inside)
            all_ = [next(moving) if here else leaf for leaf, here in zip(leaves, chosen, strict=True)]
            return loss(jax.tree_util.tree_unflatten(structure, all_))

        def product(vector: Array) -> Array:
            tangent = jax.tree.map(lambda v, x: v.astype(x.dtype), unravel(vector, inside), inside)
            return ravel(hessian_vector_product(restricted, inside, tangent))

        self.dimension = size(inside)
        self.precision = float(jnp.finfo(jnp.result_type(*inside)).eps)
        self._product = jax.jit(product)

    def __call__(self, vector: np.ndarray) -> np.ndarray:
        out = np.asarray(self._product(numeric(vector)), np.float64)
        if not np.isfinite(out).all():
            raise Refused("the Hessian is not finite at these parameters")
        return out


@dataclass(frozen=True)
class Eigenpairs:
    """``values``, largest first, whose ``std_error`` is the residual |H v - h v|, a bound and no random
    error; ``vectors`` (d, count), in the order of the flattened group."""

    values: tuple[Estimate, ...]
    vectors: np.ndarray


def top_eigenvalues(
    loss: Loss, parameters: Any, count: int = 1, *, group: str | None = None, seed: int = 0
) -> Eigenpairs:
    """The ``count`` largest eigenvalues of the Hessian (ARPACK: Lanczos with restarts), and eigenvectors.

    ``seed``: of the starting vector. Raises `Refused` for an empty group, integer parameters, a loss that is
    not scalar.
    """
    operator = _Operator(loss, parameters, group)
    d = operator.dimension
    if series.whole("count", count) > d:
        raise Refused(f"count = {count}: the group has {d} parameters")
    if d <= max(SMALL, count + 1):
        matrix = np.stack([operator(row) for row in np.eye(d)])
        values, vectors = np.linalg.eigh((matrix + matrix.T) / 2)
    else:
        start = np.random.default_rng(series.seed(seed)).standard_normal(d)
        linear = LinearOperator((d, d), matvec=operator, dtype=np.float64)  # pyright: ignore[reportCallIssue]
        tolerance = operator.precision ** (2 / 3)
        try:
            values, vectors = eigsh(linear, k=count, which="LA", v0=start, tol=tolerance)  # pyright: ignore[reportArgumentType]
        except ArpackNoConvergence as error:
            raise Refused(
                f"{count} eigenvalues did not converge: ask for fewer, or for a spectral_density"
            ) from error
    order = np.argsort(values)[::-1][:count]
    meaning = "Curvature along the sharpest directions; plain SGD is stable below 2/(step size)."
    found = []
    for i in order:
        residual = float(np.linalg.norm(operator(vectors[:, i]) - values[i] * vectors[:, i]))
        found.append(Estimate(float(values[i]), residual, meaning=meaning))
    return Eigenpairs(tuple(found), vectors[:, order])


def hessian_trace(
    loss: Loss, parameters: Any, *, probes: int = 100, seed: int, group: str | None = None
) -> Estimate:
    """tr H from random signs z: the mean of z.Hz over ``probes``. Source: Hutchinson 1990."""
    operator = _Operator(loss, parameters, group)
    signs = _signs(seed, probes, operator.dimension)
    readings = np.array([z @ operator(z) for z in signs])
    return _over_probes(readings, "Sum of the curvatures of all directions.")


@dataclass(frozen=True)
class SpectralDensity:
    """Gauss quadrature of the spectrum for each probe: ``nodes`` and ``weights`` of shape (probes,
    iterations); the weights of a probe sum to 1. ``dimension``: number of eigenvalues."""

    nodes: np.ndarray
    weights: np.ndarray
    dimension: int

    def sum_of(self, function: Callable[[np.ndarray], np.ndarray]) -> Estimate:
        """tr f(H): the sum of ``function`` over all eigenvalues; error from the scatter of the probes."""
        readings = self.dimension * np.sum(self.weights * function(self.nodes), axis=1)
        return _over_probes(readings, "Sum over the eigenvalues of the Hessian.")

    def density(self, at: np.ndarray, width: float) -> tuple[np.ndarray, np.ndarray]:
        """Density of eigenvalues (integral 1), seen through Gaussians of standard deviation ``width``, and
        its standard error; both of the shape of ``at``."""
        series.positive("width", width)
        z = (np.asarray(at, float)[..., None, None] - self.nodes) / width
        seen = np.sum(self.weights * np.exp(-(z**2) / 2), axis=-1) / (width * np.sqrt(2 * np.pi))
        return seen.mean(axis=-1), seen.std(axis=-1, ddof=1) / np.sqrt(len(self.nodes))


def spectral_density(
    loss: Loss,
    parameters: Any,
    *,
    iterations: int = 50,
    probes: int = 10,
    seed: int,
    group: str | None = None,
) -> SpectralDensity:
    """Stochastic Lanczos quadrature with full reorthogonalisation: ``probes`` x ``iterations`` products H v.

    The extreme eigenvalues come out within a few iterations; the bulk is a density. Memory: iterations x d
    numbers. Sources: Ubaru, Chen and Saad 2017; Ghorbani, Krishnan and Xiao 2019.
    """
    series.whole("probes", probes, 2)
    operator = _Operator(loss, parameters, group)
    d = operator.dimension
    size = min(series.whole("iterations", iterations), d)
    nodes, weights = np.zeros((probes, size)), np.zeros((probes, size))
    for i, z in enumerate(_signs(seed, probes, d)):
        diagonal, beside = _lanczos(operator, z / np.sqrt(d), size)
        values, vectors = eigh_tridiagonal(diagonal, beside)
        nodes[i, : len(values)], weights[i, : len(values)] = values, vectors[0] ** 2
    return SpectralDensity(nodes, weights, d)


def _lanczos(operator: _Operator, start: np.ndarray, iterations: int) -> tuple[np.ndarray, np.ndarray]:
    """Diagonal and off-diagonal of the tridiagonal matrix; shorter where the Krylov space ends before."""
    basis, diagonal, beside = [start], [], []
    scale = 0.0
    while True:
        w = operator(basis[-1])
        diagonal.append(float(w @ basis[-1]))
        scale = max(scale, float(np.linalg.norm(w)))
        space = np.stack(basis)
        for _ in range(2):  # twice is enough (Parlett)
            w = w - space.T @ (space @ w)
        norm = float(np.linalg.norm(w))
        if len(diagonal) == iterations or norm <= 10 * operator.precision * scale:
            return np.array(diagonal), np.array(beside)
        beside.append(norm)
        basis.append(w / norm)


def _signs(seed: int, probes: int, d: int) -> np.ndarray:
    shape = series.whole("probes", probes, 2), d
    return np.random.default_rng(series.seed(seed)).choice([-1.0, 1.0], size=shape)


def _over_probes(readings: np.ndarray, meaning: str) -> Estimate:
    """Errors over independent probes; no scatter at all (a diagonal Hessian under random signs) is exact."""
    probes = len(readings)
    error = float(readings.std(ddof=1) / np.sqrt(probes))
    few = "" if probes >= 8 or error == 0 else f"the error is from {probes} probes: give 8 or more"
    return Estimate(float(readings.mean()), error, probes, not few, few, meaning)
