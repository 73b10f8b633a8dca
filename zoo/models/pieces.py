"""Answers for many images: on a CPU, a piece of them after another.

The values of a layer for 1,000 images do not fit a processor's caches, and memory that a program
takes for them is given back after each call and taken anew, page by page. A GPU or TPU computes the
images at once.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend.core import concrete_or_error

LARGEST = 128  # images of a piece
SMALLEST = 32  # with fewer, the products are too small for two cores
# What a layer reads and writes for a piece; a program takes about twice as much. glibc keeps freed
# memory for the next call, but not blocks above 32 MB (DEFAULT_MMAP_THRESHOLD_MAX of its malloc.c).
_BYTES = 16_000_000


def images_at_once(bytes_of_an_image: int) -> int:
    """How many images a piece has at most, if a layer reads and writes so many bytes for one."""
    return min(LARGEST, max(SMALLEST, _BYTES // bytes_of_an_image))


def has_many(images: jax.Array, variables: Any) -> bool:
    """Whether these can be more than a piece, in a program that is being compiled.

    Outside of one each call would compile the loop anew, as it does under `jax.vmap` alone, where
    no value is known either. Of a symbolic number nothing is known.
    """
    count = images.shape[0]
    if not isinstance(count, int) or count <= SMALLEST:
        return False
    return not all(map(_is_known, (images, *jax.tree.leaves(variables))))


def _is_known(array: jax.Array) -> bool:
    """Whether it has values already; it may be under `jax.grad`."""
    try:
        concrete_or_error(None, array)
    except jax.errors.ConcretizationTypeError:
        return False
    return True


def answers(answer: Callable[[jax.Array], jax.Array], images: jax.Array, most: int) -> jax.Array:
    """answer(images): [B, ...]; pieces have the same number of images, so zeros are appended.

    Args:
        answer: of each image for itself.
        images: [B, height, width, channels].
        most: images of a piece.
    """

    def in_pieces(images: jax.Array) -> jax.Array:
        count = -(-len(images) // most)
        size = -(-len(images) // count)
        padded = jnp.pad(images, ((0, count * size - len(images)), (0, 0), (0, 0), (0, 0)))
        found = jax.lax.map(answer, padded.reshape(count, size, *images.shape[1:]))
        return found.reshape(count * size, *found.shape[2:])[: len(images)]

    return jax.lax.platform_dependent(images, cpu=in_pieces, default=answer)
