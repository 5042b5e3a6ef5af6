"""Random numbers of many steps at once: threefry as a counter generator, counter = (step, element).

The numbers of a step do not depend on how many steps are drawn together. `jax.random` would derive a key for
every step, which costs more than a step on a small minibatch does.
"""

import jax
import jax.numpy as jnp
from jax import Array

ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))
BATCH_STREAM = 1 << 31  # elements from here on choose minibatches, those below are noise
U32 = jnp.uint32


def words(key: Array, steps: Array, count: int, stream: int = 0) -> Array:
    """Random 32-bit words of shape (len(steps), count), from a threefry key and step numbers.

    One word a counter, both halves of its hash joined by exclusive or: twice the hashing, but a loop that
    fills its vector registers; to share one hash between two words cost more (measured).
    """
    k0, k1 = jax.random.key_data(key)[:2]
    shape = (steps.shape[0], count)
    step = jnp.broadcast_to(steps.astype(U32)[:, None], shape)
    element = jnp.broadcast_to(jnp.arange(count, dtype=U32) + U32(stream), shape)
    x0, x1 = threefry(k0, k1, step, element)
    return x0 ^ x1


def threefry(k0: Array, k1: Array, x0: Array, x1: Array) -> tuple[Array, Array]:
    """Threefry-2x32 with 20 rounds (Salmon et al. 2011): two words a counter; the bits are JAX's."""
    keys = (k0, k1, k0 ^ k1 ^ U32(0x1BD11BDA))
    x0, x1 = x0 + keys[0], x1 + keys[1]
    for block in range(5):
        for r in ROTATIONS[block % 2]:
            x0 = x0 + x1
            x1 = ((x1 << U32(r)) | (x1 >> U32(32 - r))) ^ x0
        x0, x1 = x0 + keys[(block + 1) % 3], x1 + keys[(block + 2) % 3] + U32(block + 1)
    return x0, x1


def normals(key: Array, steps: Array, count: int) -> Array:
    """Standard normals of shape (len(steps), count), float32, from the words of stream 0."""
    return inverse_normal(words(key, steps, count))


def below(word: Array, n: int) -> Array:
    """Integers from 0 to n - 1 from 32-bit words: the high half of word x n; bias below n/2^32."""
    high, low = word >> 16, word & U32(0xFFFF)
    n_high, n_low = U32(n >> 16), U32(n & 0xFFFF)
    middle = high * n_low + ((low * n_low) >> 16)  # below 2^32 - 2^16
    carried = (middle & U32(0xFFFF)) + low * n_high
    return (high * n_high + (middle >> 16) + (carried >> 16)).astype(jnp.int32)


def inverse_normal(word: Array) -> Array:
    """A standard normal from a 32-bit word: the top bit is the sign, the rest a tail probability.

    Rational approximations of algorithm AS 241, PPND7 (Wichura 1988), in float32: the error is below 2e-6,
    the largest value 6.3.
    """
    tail = ((word & U32(0x7FFFFFFF)).astype(jnp.int32).astype(jnp.float32) + 0.5) * jnp.float32(2.0**-32)
    q = 0.5 - tail
    r = 0.180625 - q * q
    centre = q * _ratio(
        r,
        (59.109374720, 159.29113202, 50.434271938, 3.3871327179),
        (67.187563600, 78.757757664, 17.895169469, 1.0),
    )
    s = jnp.sqrt(-jnp.log(tail))
    near = _ratio(
        s - 1.6,
        (0.17023821103, 1.3067284816, 2.7568153900, 1.4234372777),
        (0.12021132975, 0.73700164250, 1.0),
    )
    z = jnp.where(q <= 0.425, centre, near)
    return jnp.where(word >> 31 == 1, -z, z)


def _ratio(x: Array, numerator: tuple[float, ...], denominator: tuple[float, ...]) -> Array:
    return _horner(numerator, x) / _horner(denominator, x)


def _horner(coefficients: tuple[float, ...], x: Array) -> Array:
    total = coefficients[0]
    for c in coefficients[1:]:  # jnp.polyval would loop
        total = total * x + c
    return jnp.asarray(total)
