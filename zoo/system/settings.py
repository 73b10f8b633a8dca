"""JAX as the zoo needs it, whatever the environment or the caller has set."""

import contextlib
import os
from collections.abc import Iterator

import jax

from zoo.system.errors import ZooError

_OF_PLATFORMS = ("JAX_PLATFORMS", "JAX_PLATFORM_NAME")


@contextlib.contextmanager
def usual_settings() -> Iterator[None]:
    """Computes with JAX's default settings where others would change numbers or raise errors.

    So a run is the same under JAX_ENABLE_X64, JAX_DEFAULT_PRNG_IMPL, JAX_DISABLE_JIT and the like.
    Settings of this thread alone, within the block; it decorates functions, too.
    """
    with (
        jax.enable_x64(False),
        jax.disable_jit(False),
        jax.default_prng_impl("threefry2x32"),
        jax.threefry_partitionable(True),
        jax.legacy_prng_key("allow"),
        jax.numpy_dtype_promotion("standard"),
        jax.numpy_rank_promotion("allow"),
        jax.transfer_guard("allow"),
    ):
        yield


def check_devices() -> None:
    """Finds the devices before anything is computed; on a GPU, JAX reserves its memory with that.

    Raises:
        ZooError: there is none, or not the one that the environment asks for.
    """
    try:
        jax.devices()
    except (RuntimeError, AssertionError) as error:  # without a message, if a plugin is missing
        first = str(error).partition("\n")[0].partition(" (set ")[0].rstrip(".")
        reason = f" ({first})" if first else ""
        variable = next((name for name in _OF_PLATFORMS if os.environ.get(name)), None)
        if variable is None:
            raise ZooError(f"JAX finds no device{reason}: set JAX_PLATFORMS=cpu") from None
        raise ZooError(
            f"JAX cannot use {variable}={os.environ[variable]}{reason}: unset it, set it to cpu, "
            f"or install JAX for that device"
        ) from None
