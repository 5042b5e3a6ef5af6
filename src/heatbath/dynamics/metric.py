"""Metrics: the coordinates in which a dynamics moves.

With ``covariance = A A^T`` (a guess of the target's), a displacement u in whitened coordinates moves the
position by A u, and a gradient g becomes A^T g. Momenta are mass-weighted: kinetic energy is |p|^2/2
whatever the metric, so the mass matrix is the inverse of A A^T.
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import Array

from heatbath.core import numeric


def as_stored(factor: Any) -> Array:
    """A large matrix keeps its precision: casting it in every step would cost as much as using it."""
    return factor if getattr(factor, "dtype", None) == jnp.float32 else numeric(factor)


class Metric(eqx.Module):
    """A linear change of coordinates of vectors of shape (d,)."""

    def displace(self, whitened: Array) -> Array:
        """A u."""
        raise NotImplementedError

    def pull_back(self, gradient: Array) -> Array:
        """A^T g."""
        raise NotImplementedError

    def whiten(self, displacement: Array) -> Array:
        """A^-1 x: the inverse of `displace`."""
        raise NotImplementedError


class Diagonal(Metric):
    """A is diagonal: ``scale``, a scalar or shape (d,), the standard deviations. 1 is the identity."""

    scale: Array = eqx.field(converter=numeric, default=1.0)

    def displace(self, whitened: Array) -> Array:
        return self.scale.astype(whitened.dtype) * whitened

    def pull_back(self, gradient: Array) -> Array:
        return self.scale.astype(gradient.dtype) * gradient

    def whiten(self, displacement: Array) -> Array:
        return displacement / self.scale.astype(displacement.dtype)


class Dense(Metric):
    """A is a lower triangle: ``factor``, shape (d, d), a Cholesky factor of the covariance."""

    factor: Array = eqx.field(converter=as_stored)

    def displace(self, whitened: Array) -> Array:
        return self.factor.astype(whitened.dtype) @ whitened

    def pull_back(self, gradient: Array) -> Array:
        return gradient @ self.factor.astype(gradient.dtype)

    def whiten(self, displacement: Array) -> Array:
        factor = self.factor.astype(displacement.dtype)
        return jax.scipy.linalg.solve_triangular(factor, displacement, lower=True)


def metric_of(curvature: Array, dtype: Any) -> Metric:
    """The metric whose covariance is the inverse of ``curvature``: (d, d), or (d,) for a diagonal one."""
    if curvature.ndim == 1:
        return Diagonal(curvature**-0.5)
    return Dense(covariance_factor(curvature).astype(dtype))


def covariance_factor(precision: Array) -> Array:
    """The lower triangle A with A A^T = precision^-1, for a positive definite ``precision`` (d, d)."""
    flipped = jnp.linalg.cholesky(precision[::-1, ::-1])[::-1, ::-1]  # upper triangle R, R R^T = precision
    identity = jnp.eye(precision.shape[0], dtype=precision.dtype)
    return jax.scipy.linalg.solve_triangular(flipped, identity, lower=False).T
