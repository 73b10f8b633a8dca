"""Dropout from few random bits.

`jax.random.bernoulli` draws 32 bits per element, which on a CPU costs more than the convolution
before it. 16 bits are enough for any rate to 2^-16, one or two bits for 0.5 and 0.25.
"""

import jax
import jax.numpy as jnp


def dropout(x: jax.Array, rate: float, key: jax.Array) -> jax.Array:
    """Inverted dropout: each element zero with probability `rate`, else divided by 1 - rate.

    The probability is exact to 2^-17. The same key gives the same mask on every platform.

    Args:
        x: any shape, floating point.
        rate: fraction that is dropped, in [0, 1].
        key: a typed key of `jax.random`.

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
    kept = _random_integers(key, x.shape, num_bits) < num_kept
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


def _random_integers(key: jax.Array, shape: tuple[int, ...], num_bits: int) -> jax.Array:
    """uint32 of that shape, uniform in [0, 2^num_bits): 32-bit words, split into pieces.

    The pieces of a word go to one column of an image, a fixed number of rows apart: the bit
    position is then the same along a row of memory, so it costs nothing. The integers of an example
    depend only on the key, its index and its shape, so padding a batch does not change the others.
    """
    if len(shape) < 2:
        return _random_integers(key, (*shape, 1, 1)[:2], num_bits).reshape(shape)
    batch, rows, *rest = shape
    pieces = 32 // num_bits
    distance = -(-rows // pieces)
    words = jax.random.bits(key, (batch, 1, distance, *rest), jnp.uint32)
    shifts = num_bits * jnp.arange(pieces, dtype=jnp.uint32)
    shifts = shifts.reshape(pieces, *[1] * (len(shape) - 1))
    integers = (words >> shifts) & jnp.uint32(2**num_bits - 1)  # [batch, pieces, distance, ...]
    return integers.reshape(batch, pieces * distance, *rest)[:, :rows]
