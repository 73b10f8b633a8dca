"""The IDX file format of MNIST and its relatives.

Format: two zero bytes, a type byte (8: unsigned byte), the number of axes, one big-endian 32-bit
size per axis, then the data, last axis fastest (described on the MNIST page of LeCun et al.).
"""

import gzip
import hashlib
import math
import os
import zlib
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np

from zoo.system.errors import ZooError
from zoo.system.memory import available_bytes, bytes_text

FILES = {  # split -> (images, labels), as MNIST and its relatives are published
    "train": ("train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz"),
    "test": ("t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz"),
}
FILENAMES = ", ".join(filename for pair in FILES.values() for filename in pair)

_UNSIGNED_BYTE = 8
_OTHER_TYPES = {
    0x09: "signed bytes",
    0x0B: "16-bit integers",
    0x0C: "32-bit integers",
    0x0D: "32-bit floats",
    0x0E: "64-bit floats",
}
_GZIP = b"\x1f\x8b"
_ARCHIVES = {  # the first bytes of other files that hold files
    b"PK\x03\x04": "a zip archive",
    b"BZh": "a bzip2 file",
    b"\xfd7zXZ": "an xz file",
    b"7z\xbc\xaf": "a 7z archive",
    b"\x28\xb5\x2f\xfd": "a zstd file",
    b"\x1f\x9d": "a file of compress",
    b"Rar!": "a rar archive",
}
_PIECE = 2**24  # bytes


def read_idx(path: Path, num_axes: int) -> np.ndarray:
    """The uint8 array of an IDX file, gzipped or not, whatever its name ends in.

    Args:
        path: the file.
        num_axes: the number of axes that it must have: 3 for images, 1 for labels.

    Raises:
        ZooError: the file cannot be read, is truncated or damaged, or is not such an IDX file.
    """
    header_size = 4 + 4 * num_axes
    try:
        with opened(path) as file:
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
        raise ZooError(f"{path} is a damaged gzip file ({error}): get it again") from None
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


def read_images(path: Path) -> np.ndarray:
    """Images [N, height, width, channels] uint8 of an IDX file with three axes, or four in colour.

    Raises:
        ZooError: as `read_idx`; the fourth axis is not of 1 or 3 channels.
    """
    try:
        with opened(path) as file:
            is_colour = file.read(4) == bytes([0, 0, _UNSIGNED_BYTE, 4])
    except (OSError, EOFError, zlib.error):
        is_colour = False  # `read_idx` tells why
    images = read_idx(path, num_axes=4 if is_colour else 3)
    if not is_colour:
        return images[..., None]
    if images.shape[3] not in (1, 3):
        raise ZooError(
            f"{path} holds images of shape {images.shape}: write them with 4 axes as [N, height, "
            f"width, 3], or with 3 as [N, height, width]"
        )
    return images


def archive_kind(path: Path) -> str | None:
    """Such as "a zip archive", of a file that must be unpacked first; else None."""
    if not os.path.isfile(path):  # reading a pipe would block
        return None
    try:
        with open(path, "rb") as file:
            return _archive_kind(file.read(8))
    except OSError:
        return None


def content_sha256(path: Path) -> str | None:
    """The sha256 of a file's content, unpacked if it is gzipped; None if it cannot be read."""
    try:
        with opened(path) as file:
            digest = hashlib.sha256()
            while piece := file.read(_PIECE):
                digest.update(piece)
            return digest.hexdigest()
    except (OSError, EOFError, zlib.error):
        return None


def opened(path: Path) -> BinaryIO:
    """The file, read through gzip if its content is gzipped."""
    if os.path.exists(path) and not os.path.isfile(path):
        raise OSError(0, "it is not a file")  # reading a pipe would block
    with open(path, "rb") as file:
        is_gzipped = file.read(2) == _GZIP
    return cast("BinaryIO", gzip.open(path)) if is_gzipped else open(path, "rb")


def _archive_kind(header: bytes) -> str | None:
    return next((kind for magic, kind in _ARCHIVES.items() if header.startswith(magic)), None)


def _sizes(header: bytes, path: Path, num_axes: int) -> list[int]:
    if not header:
        raise ZooError(f"{path} is empty: get it again")
    magic = bytes([0, 0, _UNSIGNED_BYTE, num_axes])
    if header[:4] != magic:
        raise ZooError(
            f"{path} is not an IDX file of {num_axes}-axis bytes: it starts with "
            f"0x{header[:4].hex()}, not 0x{magic.hex()}{_advice(header, num_axes)}"
        )
    if len(header) < 4 + 4 * num_axes:
        raise ZooError(f"{path} is truncated: it ends inside its header: get it again")
    sizes = [
        int.from_bytes(header[4 * axis : 4 * axis + 4], "big") for axis in range(1, 1 + num_axes)
    ]
    return [0] * num_axes if 0 in sizes else sizes  # empty, however large the other sizes


def _advice(header: bytes, num_axes: int) -> str:
    """What a file is that does not start as it should, and what to do, as far as that is known."""
    if header.startswith(_GZIP):
        return ": it was gzipped twice: unpack it once"
    if kind := _archive_kind(header):
        return f": it is {kind}: unpack it"
    if header[:1] == b"<" or header[:4] == b"vers":
        return ": it is text, as of a web page or a Git LFS pointer: get the file itself"
    if len(header) < 4 or header[:2] != b"\0\0":
        return ": get it again"
    if header[2] in _OTHER_TYPES:
        return f": it holds {_OTHER_TYPES[header[2]]}: write unsigned bytes, numpy.uint8"
    if header[2] == _UNSIGNED_BYTE and header[3] in (1, 3):
        here, wanted = ("labels", "images") if num_axes == 3 else ("images", "labels")
        return f": it holds {here}, not {wanted}: give it the other name"
    return f": write it with {num_axes} axes, images [N, height, width] or labels [N]"
