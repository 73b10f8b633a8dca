"""Dropout from few random bits.

`jax.random.bernoulli` draws 32 bits for each element, which on a CPU costs more than the
convolution before it. Half a word is enough for any rate to 2^-16, a bit or two for 0.5 and 0.25.
"""

import math

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
    num_rows = x.shape[0] if x.ndim else 1  # a row for each example
    kept = _random_integers(key, num_rows, math.prod(x.shape[1:]), num_bits) < num_kept
    # The scale comes from the probability that is realized, so the mean stays what it was.
    scaled = x * (2**num_bits / num_kept)
    return jnp.where(kept.reshape(x.shape), scaled, jnp.zeros((), x.dtype))


def _bits_needed(probability: float) -> tuple[int, int]:
    """(b, n) with the fewest bits b such that n / 2^b is the probability to 2^-17."""
    for num_bits in (1, 2, 4, 8, 16):
        kept = round(probability * 2**num_bits)
        if abs(kept / 2**num_bits - probability) <= 2**-17:
            break
    return num_bits, kept


def _random_integers(key: jax.Array, num_rows: int, length: int, num_bits: int) -> jax.Array:
    """uint32, uniform in [0, 2^num_bits): words of 32 bits, cut into pieces.

    A row's integers depend on the key, the row's number and its length alone, so padding a batch
    does not change the others' masks.
    """
    pieces = 32 // num_bits
    words = jax.random.bits(key, (num_rows, 1, -(-length // pieces)), jnp.uint32)
    words = jax.lax.optimization_barrier(words)  # else each piece would draw its word again
    shifts = jnp.arange(pieces, dtype=jnp.uint32)[:, None] * num_bits
    # First pieces of all words, then second ones: neighbours of a row come from different words.
    integers = (words >> shifts) & jnp.uint32(2**num_bits - 1)  # [rows, pieces, words]
    return integers.reshape(num_rows, integers.size // max(1, num_rows))[:, :length]
