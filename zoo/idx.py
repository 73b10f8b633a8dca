"""The IDX file format of MNIST and its relatives.

Format: two zero bytes, a type byte (8: unsigned byte), the number of axes, one big-endian 32-bit
size per axis, then the data, last axis fastest (described on the MNIST page of LeCun et al.).
"""

import gzip
import math
import zlib
from pathlib import Path

import numpy as np

from zoo.errors import ZooError

FILES = {  # split -> (images, labels), as MNIST and its relatives are published
    "train": ("train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz"),
    "test": ("t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz"),
}
FILENAMES = ", ".join(filename for pair in FILES.values() for filename in pair)

_UNSIGNED_BYTE = 8


def read_idx(path: Path, num_axes: int) -> np.ndarray:
    """The uint8 array of an IDX file, gzipped or not.

    Args:
        path: the file; its name ends in .gz if it is gzipped.
        num_axes: the number of axes that it must have: 3 for images, 1 for labels.

    Raises:
        ZooError: the file cannot be read, is truncated or damaged, or is no such IDX file.
    """
    try:
        content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except EOFError:
        raise ZooError(f"{path} is truncated: get it again") from None
    except (gzip.BadGzipFile, zlib.error) as error:
        raise ZooError(f"{path} is no gzip file or is damaged ({error}): get it again") from None
    except OSError as error:
        raise ZooError(f"cannot read {path}: {error.strerror}") from None

    if not content:
        raise ZooError(f"{path} is empty: get it again")
    magic = bytes([0, 0, _UNSIGNED_BYTE, num_axes])
    if content[:4] != magic:
        raise ZooError(
            f"{path} is no IDX file of {num_axes}-axis bytes: it starts with "
            f"0x{content[:4].hex()}, not 0x{magic.hex()}"
        )
    header_size = 4 + 4 * num_axes
    sizes = [
        int.from_bytes(content[start : start + 4], "big") for start in range(4, header_size, 4)
    ]
    expected = header_size + math.prod(sizes)
    if len(content) != expected:
        state = "truncated" if len(content) < expected else "longer than its header says"
        raise ZooError(
            f"{path} is {state}: it holds {len(content):,} bytes, its header promises "
            f"{expected:,}: get it again"
        )
    return np.frombuffer(content, np.uint8, offset=header_size).reshape(sizes)
