"""How minibatches are drawn: the stationary state depends on it, so the scheme is part of the dynamics.

A scheme draws rows for many steps at once; a row is turned into the ``items`` of `System.energy`.
"""

from math import gcd
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from heatbath.core import System, Window
from heatbath.dynamics.counter import BATCH_STREAM, below, words
from heatbath.errors import Refused

SORTED = 512  # up to that many items a permutation is made by sorting
ROUNDS = 6


def _whole(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        raise Refused(f"a minibatch of {value!r:.40}: give a whole number of items, and of passes")
    return int(value)


class Batches(eqx.Module):
    """Minibatches of ``size`` items out of n.

    ``correction(n)`` is the covariance of the minibatch's mean gradient over that of one item, at a fixed
    position and over all draws: 1/B with replacement, (N - B)/(B (N - 1)) without. Successive minibatches are
    ``independent`` or not.
    """

    size: int = eqx.field(static=True, converter=_whole)
    independent: ClassVar[bool] = True

    def check(self, system: System) -> None:
        """Raises `Refused` where ``system`` has no items, or fewer than a minibatch."""
        if system.n_items == 0:
            raise Refused(
                f"{type(system).__name__} has no data items to draw minibatches from; use batches=None"
            )
        if not 1 <= self.size <= system.n_items:
            raise Refused(
                f"a minibatch of {self.size} from {system.n_items} items: give 1 to {system.n_items}"
            )

    def rows(self, key: Array, steps: Array, n: int) -> Array:
        """What chooses the minibatches of ``steps``, which are consecutive: leading axis len(steps)."""
        raise NotImplementedError

    def items(self, row: Array) -> Any:
        """Indices of shape (size,), or a `Window`."""
        return row

    def shuffle_every(self, n: int) -> int:
        """Steps after which the items are put in a new random order; 0: never."""
        return 0

    def correction(self, n: int) -> float:
        return (n - self.size) / (self.size * (n - 1)) if n > 1 else 0.0


class WithReplacement(Batches):
    """Every item of every minibatch drawn independently."""

    def rows(self, key: Array, steps: Array, n: int) -> Array:
        return below(words(key, steps, self.size, BATCH_STREAM), n)

    def correction(self, n: int) -> float:
        return 1 / self.size


class Windows(Batches):
    """Contiguous slices, each at a random offset (wrapping around), of data that is shuffled now and then.

    The fastest scheme: rows that lie together are read twice as fast as rows picked at random. Given the
    order the minibatches are independent; over orders their gradients have the covariance of sampling without
    replacement. ``shuffle``: passes over the data (in items seen) between two shuffles, which all replicas
    share.
    """

    shuffle: int = eqx.field(static=True, converter=_whole, default=100)

    def rows(self, key: Array, steps: Array, n: int) -> Array:
        return below(words(key, steps, 1, BATCH_STREAM)[:, 0], n)

    def items(self, row: Array) -> Window:
        return Window(row, self.size)

    def shuffle_every(self, n: int) -> int:
        return max(1, self.shuffle * n // self.size)


class FixedOrder(Batches):
    """The items in the order of the data, for ever, wrapping around at the end."""

    independent: ClassVar = False

    def rows(self, key: Array, steps: Array, n: int) -> Array:
        period = n // gcd(n, self.size)
        return ((steps % period)[:, None] * self.size + jnp.arange(self.size)[None]) % n

    def check(self, system: System) -> None:
        super().check(system)
        n = system.n_items
        if n // gcd(n, self.size) * self.size >= 2**31:
            raise Refused(
                f"a fixed order of {n} items in minibatches of {self.size} repeats too late:"
                " make one a multiple of the other"
            )


class Reshuffled(Batches):
    """Without replacement: a new random order each epoch, of n // size minibatches; what is left over when
    the size does not divide n is left out of that epoch, other items each time.

    The order is a function of (replica key, epoch): up to 512 items a uniform permutation by sorting random
    words, above that a Feistel network with cycle walking (Luby and Rackoff 1988), which permutes one item at
    a time without a table.
    """

    independent: ClassVar = False

    def rows(self, key: Array, steps: Array, n: int) -> Array:
        per_epoch = n // self.size
        epochs, within = steps // per_epoch, steps % per_epoch
        places = within[:, None] * self.size + jnp.arange(self.size)[None]
        if n <= SORTED:
            begun = epochs[0] + jnp.arange(-(-steps.size // per_epoch) + 1)
            order = jnp.argsort(words(key, begun, n, BATCH_STREAM), axis=1)
            return order[(epochs - epochs[0])[:, None], places].astype(jnp.int32)
        return _permuted(words(key, epochs, ROUNDS, BATCH_STREAM), places, n)


def _permuted(keys: Array, places: Array, n: int) -> Array:
    """A pseudorandom permutation of range(n) for each row of ``keys`` (rows, rounds), at ``places``."""
    side = 1
    while side * side < n:
        side += 1
    other = -(-n // side)

    def rounds(x):
        left, right = x // other, x % other
        for r in range(0, ROUNDS, 2):
            left = (left + _mixed(right, keys[:, r, None]) % side) % side
            right = (right + _mixed(left, keys[:, r + 1, None]) % other) % other
        return left * other + right

    x = rounds(places.astype(jnp.uint32))
    x = jax.lax.while_loop(lambda x: jnp.any(x >= n), lambda x: jnp.where(x >= n, rounds(x), x), x)
    return x.astype(jnp.int32)


def _mixed(x: Array, key: Array) -> Array:
    """A 32-bit mixer (the finaliser of MurmurHash3, Appleby 2011) keyed by addition."""
    x = x + key
    x = (x ^ (x >> 16)) * jnp.uint32(0x85EBCA6B)
    x = (x ^ (x >> 13)) * jnp.uint32(0xC2B2AE35)
    return x ^ (x >> 16)
