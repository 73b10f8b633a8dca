"""Saved weights on the Hugging Face Hub: "hf://OWNER/NAME" or "hf://OWNER/NAME@REVISION"."""

import re
from pathlib import Path

from zoo.system.errors import ZooError

PREFIX = "hf://"
_FILES = ["config.json", "model.safetensors"]  # nothing else is fetched


def download(address: str) -> Path:
    """The directory with the files, from the Hub's cache on this machine or from the network.

    Raises:
        ZooError: the address is wrong; the client is not installed; it cannot be reached, and the
            cache does not hold them.
    """
    match = re.fullmatch(r"hf://([\w.-]+/[\w.-]+)(?:@([\w./-]+))?", address)
    if not match:
        raise ZooError(f"{address!r:.200} is not an address: it is hf://OWNER/NAME[@REVISION]")
    try:
        import huggingface_hub
    except ImportError:
        raise ZooError(
            f"{address} needs the client of the Hub: pip install 'jax-cnn-zoo[hub]', or download "
            f"its files and name their directory"
        ) from None
    try:
        found = huggingface_hub.snapshot_download(
            match[1], revision=match[2], allow_patterns=_FILES
        )
    except Exception as error:  # it raises those of its HTTP library, too
        reason = " ".join(str(error).split())[:200]
        raise ZooError(
            f"{address} cannot be downloaded ({type(error).__name__}: {reason}): download "
            f"{' and '.join(_FILES)} elsewhere and name their directory"
        ) from None
    return Path(found)
