"""optax: the thermometer for JAX training loops, as a gradient transformation around an optimizer."""

from heatbath.thermometry.adapters.optax import read, relation, statistics, thermometer

__all__ = ["read", "relation", "statistics", "thermometer"]
