"""MNIST, Fashion-MNIST and KMNIST as TensorFlow Datasets stores them, without TensorFlow.

TFDS's stock builders need TensorFlow to unpack the downloads and to encode the images. The builder
here inherits everything else (name, version, features, URLs, sha256) and uses gzip and Pillow for
these two, so the files on disk are the same dataset: `tfds.load("mnist")` reads it.

Only `zoo.data` imports this module, and only when nothing is cached: it imports TFDS.
"""

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import requests
import tensorflow_datasets as tfds
from google.protobuf.json_format import ParseError
from PIL import Image
from tensorflow_datasets.core.download.checksums import compute_url_info, get_all_url_infos
from tensorflow_datasets.core.download.download_manager import NonMatchingChecksumError
from tensorflow_datasets.core.download.util import DownloadError
from tensorflow_datasets.image_classification import mnist as stock
from tqdm import tqdm

from zoo.data.cache import Arrays
from zoo.data.idx import FILENAMES, FILES, content_sha256, read_idx
from zoo.data.idx_files import find_idx_files
from zoo.data.tfds_files import NO_MATTER, examples
from zoo.data.tfds_stored import damaged, idx_order
from zoo.system.errors import ZooError
from zoo.system.files import shown
from zoo.system.notes import noted

_STOCK_BUILDERS = {
    "mnist": stock.MNIST,
    "fashion_mnist": stock.FashionMNIST,
    "kmnist": stock.KMNIST,
}


# The sha256 of MNIST's files without gzip; for the .gz of all three datasets, TFDS knows it.
_UNPACKED = {
    "mnist": {
        "train-images-idx3-ubyte.gz": (
            "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db"
        ),
        "train-labels-idx1-ubyte.gz": (
            "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5"
        ),
        "t10k-images-idx3-ubyte.gz": (
            "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7"
        ),
        "t10k-labels-idx1-ubyte.gz": (
            "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2"
        ),
    }
}


class WithoutTensorFlow:
    """The two methods of TFDS's MNIST builder that need TensorFlow, on gzip and Pillow."""

    URL: str
    found: dict[str, Path]  # the files that need no download, by their published names

    def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
        names = [name for pair in FILES.values() for name in pair]
        missing = {name: self.URL + name for name in names if name not in self.found}
        paths = self.found | dl_manager.download(missing)
        return {
            split: self._generate_examples(*(paths[name] for name in pair))
            for split, pair in FILES.items()
        }

    def _generate_examples(self, images_path: Any, labels_path: Any) -> Iterator[tuple[int, Any]]:
        images = read_idx(Path(images_path), num_axes=3)
        labels = read_idx(Path(labels_path), num_axes=1)
        for index, (image, label) in enumerate(zip(images, labels, strict=True)):
            yield index, {"image": Image.fromarray(image), "label": int(label)}


def prepare(name: str, version: str, data_dir: Path, manual_dir: Path | None) -> None:
    """Prepares the dataset under data_dir/name/version, from files in manual_dir or the network.

    Raises:
        ZooError: files are missing and cannot be downloaded, or are not the published files.
    """
    found = find_idx_files(manual_dir) if manual_dir else {}
    _check_published(name, found)
    version_dir = data_dir / name / version
    info = version_dir / "dataset_info.json"
    if os.path.exists(version_dir) and not os.path.exists(info):  # TFDS would take it for prepared
        raise ZooError(
            f"{shown(version_dir)} holds no prepared dataset ({info.name} is missing): "
            f"delete this directory, and the dataset is prepared again"
        )
    for filename in (name for pair in FILES.values() for name in pair):
        if filename not in found:
            _check_reachable(name, _STOCK_BUILDERS[name].URL + filename, manual_dir)
    try:
        version_dir.parent.mkdir(parents=True, exist_ok=True)
        tqdm.write(  # above whatever moves on the terminal
            f"Preparing {name} in {shown(data_dir)} (only once; takes about half a minute)",
            file=sys.stderr,
        )
        _prepare_mnist(name, version, data_dir, found)
    except (requests.RequestException, DownloadError, NonMatchingChecksumError) as error:
        reason = f"the download failed ({str(error).splitlines()[0]})"
        raise ZooError(_unavailable(name, reason, manual_dir)) from None
    except (OSError, RuntimeError) as error:  # array_record raises RuntimeError when a disk is full
        if not os.path.exists(info):
            reason = " ".join(str(error).split())[:200]
            raise ZooError(
                f"{name} cannot be prepared in {shown(data_dir)} ({reason}): name another "
                f"directory with --config.data_dir=DIR or TFDS_DATA_DIR"
            ) from None  # else another process was faster


def _prepare_mnist(name: str, version: str, data_dir: Path, found: dict[str, Path]) -> None:
    parent = _STOCK_BUILDERS[name]
    bases, members = (WithoutTensorFlow, parent), {"found": found}
    kind = type(parent)(parent.__name__, bases, members, skip_registration=True)
    download_and_prepare(kind, data_dir, version=version)


def build(name: str, kind: Any, data_dir: Path, config: str | None = None) -> None:
    """Prepares a dataset of files that are there, with a builder without TensorFlow.

    Raises:
        ZooError: it cannot be written, or a file is not of the form in which it should be.
    """
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        tqdm.write(f"Preparing {name} in {shown(data_dir)} (only once)", file=sys.stderr)
        download_and_prepare(kind, data_dir, config=config)
    except (OSError, RuntimeError, ValueError) as error:
        with contextlib.suppress(OSError, RuntimeError, ValueError):
            if kind(data_dir=data_dir, file_format="array_record", config=config).is_prepared():
                return  # another process was faster
        reason = " ".join(str(error).split())[:200]
        raise ZooError(
            f"{name} cannot be prepared in {shown(data_dir)} ({reason}): get its files again, or "
            f"name another directory with --config.data_dir=DIR or TFDS_DATA_DIR"
        ) from None


def download_and_prepare(kind: Any, data_dir: Path, **version_or_config: Any) -> None:
    """Lets a builder of TFDS prepare its dataset, without a word on the terminal."""
    if not sys.stderr.isatty():
        tfds.disable_progress_bar()
    with (
        noted("TFDS", NO_MATTER),
        contextlib.redirect_stdout(None),  # TFDS prints messages
    ):
        builder = kind(data_dir=data_dir, file_format="array_record", **version_or_config)
        builder.download_and_prepare(
            download_config=tfds.download.DownloadConfig(try_download_gcs=False)
        )


def read_published(name: str, files: dict[str, Path]) -> Arrays:
    """The four published files, as `find_idx_files` gives them, in the form of `read_prepared`.

    Raises:
        ZooError: they are damaged, or not the published ones.
    """
    arrays = _check_published(name, files)
    return {
        split: (arrays[images][..., None], arrays[labels].astype(np.int32))
        for split, (images, labels) in FILES.items()
    }


def _check_published(name: str, files: dict[str, Path]) -> dict[str, np.ndarray]:
    """The arrays of the files, which must be those of the dataset, gzipped as published or not.

    Raises:
        ZooError: they are damaged, or not the published ones.
    """
    arrays = {}
    url_infos = get_all_url_infos()
    for filename, path in files.items():
        # First, for a truncated file or a wrong magic is a clearer error than "sha256".
        arrays[filename] = read_idx(path, num_axes=3 if "images" in filename else 1)
        published = url_infos[_STOCK_BUILDERS[name].URL + filename].checksum
        unpacked = _UNPACKED.get(name, {}).get(filename)
        if published != compute_url_info(path).checksum and (
            unpacked is None or unpacked != content_sha256(path)
        ):
            form = "" if unpacked else f"; of {name} only the .gz as published is known"
            raise ZooError(
                f"{path} is not the file that {name} was published with (its sha256 differs"
                f"{form}): get the published file, or use --config.dataset=idx for your own IDX "
                f"files"
            )
    return arrays


def _check_reachable(name: str, url: str, manual_dir: Path | None) -> None:
    """Sends one quick request, because TFDS retries ten times with growing pauses."""
    try:
        requests.head(url, timeout=10, allow_redirects=True).raise_for_status()
    except requests.RequestException as error:
        kind = type(error).__name__
        raise ZooError(
            _unavailable(name, f"{url} cannot be reached ({kind})", manual_dir)
        ) from None


def _unavailable(name: str, reason: str, manual_dir: Path | None) -> str:
    looked = (
        f"{manual_dir} does not have all its files" if manual_dir else "no manual_dir was given"
    )
    return (
        f"{name} is not prepared, {looked}, and {reason}. Do one of three things: connect to the "
        f"network; put {FILENAMES} into a directory and name it with --config.manual_dir=DIR"
        f"{' or ZOO_MNIST_DIR' if name == 'mnist' else ''}; or train on the built-in digits with "
        f"--config.dataset=digits"
    )


def read_prepared(version_dir: Path) -> Arrays:
    """Decodes a prepared dataset: {split: (images [N, H, W, 1] uint8, labels [N] int32)}.

    Examples are in the order of the IDX files. TFDS stores them sorted by the hash of their
    index, salted with the split's name; sorting the indices by that hash restores the order.

    Raises:
        ZooError: the prepared dataset is damaged.
    """
    try:
        with noted("TFDS", NO_MATTER):
            return _decode(version_dir)
    except (RuntimeError, OSError, ValueError, KeyError, ParseError) as error:
        raise damaged(version_dir, error) from None


def _decode(version_dir: Path) -> Arrays:
    builder = tfds.builder_from_directory(version_dir)
    splits = {}
    for split in ("train", "test"):
        count = builder.info.splits[split].num_examples
        images = np.empty((count, *builder.info.features["image"].shape), np.uint8)
        labels = np.empty(count, np.int32)
        order = idx_order(split, count)
        shown_examples = tqdm(
            examples(builder, split),
            total=count,
            desc=f"Decoding {builder.name} {split}",
            unit=" images",
            leave=False,
            disable=None,  # only on a terminal
        )
        for index, example in zip(order, shown_examples, strict=True):
            images[index] = example["image"]
            labels[index] = example["label"]
        splits[split] = (images, labels)
    return splits
