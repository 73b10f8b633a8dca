"""A net as StableHLO with its weights inside, for any process that has JAX: no zoo, no Flax."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import jax
import jax.export
import jax.numpy as jnp
import numpy as np

from zoo.export.source import Source
from zoo.system.errors import ZooError
from zoo.system.settings import usual_settings
from zoo.system.text import error_text

PLATFORMS = ("cpu", "cuda", "tpu")


@contextlib.contextmanager
def _without_locations() -> Iterator[None]:
    """Programs name no line of Python: a file that is given away holds no path of this machine."""
    usual = jax.config.values["jax_traceback_in_locations_limit"]
    jax.config.update("jax_traceback_in_locations_limit", 0)
    try:
        yield
    finally:
        jax.config.update("jax_traceback_in_locations_limit", usual)


@usual_settings()
@jax.default_matmul_precision("highest")  # whole float32, on a GPU too
@_without_locations()
def write(path: Path, source: Source) -> None:
    """Writes what `jax.export.deserialize` reads: a function of one image or more.

    Raises:
        ZooError: the net computes what cannot be exported for any number of images.
    """

    def logits(images: jax.Array) -> jax.Array:
        return jnp.asarray(source.model.apply(source.variables, images, train=False))

    (batch,) = jax.export.symbolic_shape("batch")
    images = jax.ShapeDtypeStruct((batch, *source.image_shape), jnp.dtype(source.input_type))
    try:
        exported = jax.export.export(jax.jit(logits), platforms=PLATFORMS)(images)
    except (TypeError, ValueError, NotImplementedError) as error:  # of a layer of one's own
        raise ZooError(
            f"JAX cannot export the net for any number of images and for {', '.join(PLATFORMS)} "
            f"({error_text(error)})"
        ) from error
    path.write_bytes(exported.serialize())


def load(path: Path, source: Source) -> Callable[[np.ndarray], np.ndarray]:
    """predict(images) -> output."""
    exported = jax.export.deserialize(bytearray(path.read_bytes()))
    return lambda images: np.asarray(exported.call(images))
