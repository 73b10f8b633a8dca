"""A net as StableHLO with its weights inside, for any process that has JAX: no zoo, no Flax."""

from collections.abc import Callable
from pathlib import Path

import jax
import jax.export
import jax.numpy as jnp
import numpy as np

from zoo.export.source import Source
from zoo.system.settings import usual_settings

PLATFORMS = ("cpu", "cuda", "tpu")


@usual_settings()
def write(path: Path, source: Source) -> None:
    """Writes what `jax.export.deserialize` reads: a function of images with any batch size."""

    def logits(images: jax.Array) -> jax.Array:
        return jnp.asarray(source.model.apply(source.variables, images, train=False))

    (batch,) = jax.export.symbolic_shape("batch")
    images = jax.ShapeDtypeStruct((batch, *source.image_shape), jnp.dtype(source.input_type))
    exported = jax.export.export(jax.jit(logits), platforms=PLATFORMS)(images)
    path.write_bytes(exported.serialize())


def load(path: Path, source: Source) -> Callable[[np.ndarray], np.ndarray]:
    """predict(images) -> output."""
    exported = jax.export.deserialize(bytearray(path.read_bytes()))
    return lambda images: np.asarray(exported.call(images))
