"""The IDX file format of MNIST and its relatives.

Format: two zero bytes, a type byte (8: unsigned byte), the number of axes, one big-endian 32-bit
size per axis, then the data, last axis fastest (described on the MNIST page of LeCun et al.).
"""

import gzip
import math
import zlib
from pathlib import Path

import numpy as np

from zoo.system.errors import ZooError
from zoo.system.memory import available_bytes, bytes_text

FILES = {  # split -> (images, labels), as MNIST and its relatives are published
    "train": ("train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz"),
    "test": ("t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz"),
}
FILENAMES = ", ".join(filename for pair in FILES.values() for filename in pair)

_UNSIGNED_BYTE = 8
_PIECE = 2**24  # bytes


def read_idx(path: Path, num_axes: int) -> np.ndarray:
    """The uint8 array of an IDX file, gzipped or not.

    Args:
        path: the file; its name ends in .gz if it is gzipped.
        num_axes: the number of axes that it must have: 3 for images, 1 for labels.

    Raises:
        ZooError: the file cannot be read, is truncated or damaged, or is not such an IDX file.
    """
    header_size = 4 + 4 * num_axes
    try:
        with gzip.open(path) if path.suffix == ".gz" else open(path, "rb") as file:
            header = file.read(header_size)
            sizes = _sizes(header, path, num_axes)
            expected = math.prod(sizes)
            if expected > available_bytes():
                raise ZooError(
                    f"the header of {path} declares {bytes_text(expected)}, more than the "
                    f"free memory of this machine ({bytes_text(available_bytes())})"
                )
            content = bytearray()
            # In pieces: a small file can declare a large size, and a small gzip file can expand.
            while piece := file.read(min(_PIECE, expected + 1 - len(content))):
                content += piece
    except EOFError:
        raise ZooError(f"{path} is truncated: get it again") from None
    except (gzip.BadGzipFile, zlib.error) as error:
        raise ZooError(f"{path} is not a gzip file or is damaged ({error}): get it again") from None
    except OSError as error:
        raise ZooError(f"cannot read {path}: {error.strerror}") from None

    if len(content) < expected:
        raise ZooError(
            f"{path} is truncated: it has {header_size + len(content):,} bytes, its header "
            f"declares {header_size + expected:,}: get it again"
        )
    if len(content) > expected:
        raise ZooError(f"{path} is longer than its header declares: get it again")
    return np.frombuffer(content, np.uint8).reshape(sizes)


def _sizes(header: bytes, path: Path, num_axes: int) -> list[int]:
    if not header:
        raise ZooError(f"{path} is empty: get it again")
    magic = bytes([0, 0, _UNSIGNED_BYTE, num_axes])
    if header[:4] != magic:
        raise ZooError(
            f"{path} is not an IDX file of {num_axes}-axis bytes: it starts with "
            f"0x{header[:4].hex()}, not 0x{magic.hex()}"
        )
    if len(header) < 4 + 4 * num_axes:
        raise ZooError(f"{path} is truncated: it ends inside its header: get it again")
    sizes = [
        int.from_bytes(header[4 * axis : 4 * axis + 4], "big") for axis in range(1, 1 + num_axes)
    ]
    return [0] * num_axes if 0 in sizes else sizes  # empty, however large the other sizes
