"""Dropout from few random bits.

`jax.random.bernoulli` draws 32 bits per element, which on a CPU costs more than the convolution
before it. 16 bits are enough for any rate to 2^-16, one or two bits for 0.5 and 0.25.
"""

import math

import jax
import jax.numpy as jnp
from jax.extend.random import threefry2x32_p


def dropout(x: jax.Array, rate: float, key: jax.Array, first: jax.Array | None = None) -> jax.Array:
    """Inverted dropout: each element zero with probability `rate`, else divided by 1 - rate.

    The probability is exact to 2^-17. The same key gives the same mask on every platform.

    Args:
        x: any shape, floating point.
        rate: fraction that is dropped, in [0, 1].
        key: a typed key of `jax.random`.
        first: where x is a part of a batch, [] int32: the place of its first example in the batch.
            The mask is then that part of the whole batch's; the key must be of threefry, JAX's
            usual generator. None: x is the whole.

    Raises:
        ValueError: the rate is not in [0, 1].
    """
    if not 0 <= rate <= 1:
        raise ValueError(f"the dropout rate must be in [0, 1], not {rate}")
    if rate == 0:
        return x
    num_bits, num_kept = _bits_needed(1 - rate)
    if num_kept == 0:
        return jnp.zeros_like(x)
    kept = _random_integers(key, x.shape, num_bits, first) < num_kept
    # The scale uses the rounded probability, so the mean is unchanged.
    scaled = x * (2**num_bits / num_kept)
    return jnp.where(kept, scaled, jnp.zeros((), x.dtype))


def _bits_needed(probability: float) -> tuple[int, int]:
    """(b, n) with the fewest bits b such that n / 2^b is the probability to 2^-17."""
    for num_bits in (1, 2, 4, 8, 16):
        kept = round(probability * 2**num_bits)
        if abs(kept / 2**num_bits - probability) <= 2**-17:
            break
    return num_bits, kept


def _random_integers(
    key: jax.Array, shape: tuple[int, ...], num_bits: int, first: jax.Array | None
) -> jax.Array:
    """uint32 of that shape, uniform in [0, 2^num_bits): 32-bit words, split into pieces.

    The pieces of a word go to one column of an image, a fixed number of rows apart: the bit
    position is then the same along a row of memory, so it costs nothing. The integers of an example
    depend only on the key, its index and its shape, so padding a batch does not change the others.
    """
    if len(shape) < 2:
        return _random_integers(key, (*shape, 1, 1)[:2], num_bits, first).reshape(shape)
    batch, rows, *rest = shape
    pieces = 32 // num_bits
    distance = -(-rows // pieces)
    words = _random_words(key, (batch, 1, distance, *rest), first)
    shifts = num_bits * jnp.arange(pieces, dtype=jnp.uint32)
    shifts = shifts.reshape(pieces, *[1] * (len(shape) - 1))
    integers = (words >> shifts) & jnp.uint32(2**num_bits - 1)  # [batch, pieces, distance, ...]
    return integers.reshape(batch, pieces * distance, *rest)[:, :rows]


def _random_words(key: jax.Array, shape: tuple[int, ...], first: jax.Array | None) -> jax.Array:
    """uint32 of that shape, as `jax.random.bits` draws them, or a part of a whole batch's.

    With `jax_threefry_partitionable`, JAX's default, word i of an array is a function of the key
    and i: the two halves of Threefry-2x32 (Salmon et al., SC 2011) of the 64 bits of i, combined.
    Fewer than 2^32 words make a batch.
    """
    if first is None:
        return jax.random.bits(key, shape, jnp.uint32)
    size = math.prod(shape)
    words_per_example = jnp.uint32(size // shape[0])
    low = first.astype(jnp.uint32) * words_per_example + jnp.arange(size, dtype=jnp.uint32)
    keys = (jnp.broadcast_to(half, (size,)) for half in jax.random.key_data(key))
    left, right = threefry2x32_p.bind(*keys, jnp.zeros_like(low), low)
    return (left ^ right).reshape(shape)
