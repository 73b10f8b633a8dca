"""Datasets by name, as uint8 images and integer labels in memory.

| name | images | source |
|---|---|---|
| `digits` | 1,797 real 8x8 digits, resized to 28x28 | scikit-learn: no network, no file |
| `mnist`, `fashion_mnist`, `kmnist` | 70,000 of 28x28 | TFDS, prepared without TensorFlow |
| `idx` | any | your own four IDX files in `manual_dir` |
| `images:DIRECTORY`, `npz:FILE`, ... | any | your own files (`zoo.data.names`) |
| `tfds:NAME[:VERSION]` | any | what TFDS has prepared on this disk |

Decoded arrays are cached next to a prepared TFDS dataset, so that the next start reads them in
milliseconds. A missing dataset is an error that says what to do; it is never replaced by another.
"""

import os
import warnings
from pathlib import Path

import numpy as np

from zoo.data import cache
from zoo.data.dataset import DEFAULTS, Dataset, Options, Split
from zoo.data.fitting import fitted, has_form
from zoo.data.idx import FILENAMES, FILES, read_idx, read_images
from zoo.data.idx_files import all_idx_files, are_transposed
from zoo.data.names import MEMORY, check_name, is_place, kind_of, path_of, place_of
from zoo.system.errors import ZooError
from zoo.system.files import expanded, is_address, shown

_TFDS_VERSION = "3.0.1"
TFDS_DEFAULT_DIR = "~/tensorflow_datasets"


def load(
    name: str,
    *,
    data_dir: str | Path | None = None,
    manual_dir: str | Path | None = None,
    options: Options = DEFAULTS,
    stream: bool = False,
) -> Dataset:
    """Returns the dataset of that name and prepares it first if necessary.

    Args:
        name: one of `DATASETS`, or of one of the forms `FORMS`, such as "images:DIRECTORY".
        data_dir: directory of the TFDS datasets; None or "": the TFDS default, which is the
            environment variable TFDS_DATA_DIR or ~/tensorflow_datasets.
        manual_dir: directory of IDX files that are already downloaded; None or "": for mnist,
            the environment variable ZOO_MNIST_DIR if it is set.
        options: the size and the channels to which images are brought, and others.
        stream: whether images stay on disk where they can be read from there in any order: those of
            TFDS, of "images:DIRECTORY", and decoded copies.

    Raises:
        ZooError: unknown name; the dataset is missing and cannot be downloaded; damaged files, or
            data that is not of the form in which it should be.
    """
    check_name(name)
    if kind_of(name) == MEMORY:
        raise ZooError(
            f"{name} is of arrays that were given in Python and are kept nowhere: give them again, "
            f"as dataset=, or name a file that has them"
        )
    if not manual_dir and name == "mnist":
        manual_dir = os.environ.get("ZOO_MNIST_DIR")
    manual_path = expanded(manual_dir) if manual_dir else None
    if is_place(name):
        return load_place(kind_of(name), path_of(name), options, stream)
    if name == "digits":
        return fitted(_load_digits(), options)
    if name == "idx":
        return fitted(_load_idx(manual_path, options), options)
    folder = expanded(data_dir or _default_data_dir())
    return _load_prepared(name, folder, manual_path, options, stream)


def load_place(kind: str, path: Path, options: Options, stream: bool = False) -> Dataset:
    """The dataset in a file or a directory, of one of the kinds `zoo.data.names.PLACES`.

    Raises:
        ZooError: it is not there, or not of the form in which it should be.
    """
    if is_address(path):
        raise ZooError(f"{kind}:PATH must be on this machine, not {str(path)!r}: copy it here")
    if kind == "images":
        from zoo.data.image_files import from_directory

        return from_directory(path, options, stream)
    if kind == "csv":
        from zoo.data.csv_files import load_csv

        return load_csv(path, options)
    if kind == "parquet":
        from zoo.data.parquet_files import load_parquet

        return load_parquet(path, options)
    from zoo.data import npz_files

    return (npz_files.load_npz if kind == "npz" else npz_files.load_npy)(path, options)


def _load_prepared(
    name: str, data_dir: Path, manual_dir: Path | None, options: Options, stream: bool
) -> Dataset:
    """A dataset that TFDS prepares, which is done first if necessary."""
    if is_address(data_dir):
        raise ZooError(
            f"a dataset's directory must be on this machine, not {str(data_dir)!r}: name another "
            f"with --config.data_dir=DIR or TFDS_DATA_DIR"
        )
    if kind_of(name) == "tfds":
        return _load_tfds(name, data_dir, manual_dir, options, stream)
    dataset = read_prepared(name, data_dir, options, stream)
    if dataset is None:
        from zoo.data import mnist_tfds

        mnist_tfds.prepare(name, _TFDS_VERSION, data_dir, manual_dir)
        dataset = read_prepared(name, data_dir, options, stream)
    assert dataset is not None
    return dataset


def _load_tfds(
    name: str, data_dir: Path, manual_dir: Path | None, options: Options, stream: bool
) -> Dataset:
    """A dataset that TFDS prepared, or that is prepared now from published files."""
    if dataset := read_prepared(name, data_dir, options, stream):
        return dataset
    from zoo.data import tfds_published  # only now: it imports TFDS's own builders

    bare = place_of(name)
    advice = f"prepare it where TensorFlow is, with tfds build {bare.partition(':')[0]}"
    if tfds_published.can_prepare(name):
        if manual_dir:
            tfds_published.prepare(name, data_dir, manual_dir)
            if dataset := read_prepared(name, data_dir, options, stream):
                return dataset
        advice = "unpack its published files and name their directory, --config.manual_dir=DIR"
    raise ZooError(
        f"TFDS has not prepared {bare} in {shown(data_dir)}: name the directory that has it with "
        f"--config.data_dir=DIR or TFDS_DATA_DIR, or {advice}"
    )


def _default_data_dir() -> str:
    # As tfds.core.constants.get_default_data_dir, without importing TFDS.
    return os.environ.get("TFDS_DATA_DIR") or TFDS_DEFAULT_DIR


def _load_digits() -> Dataset:
    """scikit-learn's digits, resized to 28x28.

    The images are in the order of their writers. Every fifth image of each class is for testing.
    The others are split into five groups, class by class in rotation, and the groups are
    concatenated: so the last 20%, which are held out, are spread over classes and writers.
    """
    from PIL import Image
    from sklearn.datasets import load_digits

    digits = load_digits()
    images = np.stack(
        [
            np.asarray(
                Image.fromarray(np.rint(image * (255 / 16)).astype(np.uint8)).resize(
                    (28, 28), Image.Resampling.BILINEAR
                )
            )
            for image in digits.images  # [8, 8] float, 0..16
        ]
    )[..., None]
    labels = digits.target.astype(np.int32)
    rank = np.empty(len(labels), np.int32)  # position among the images of the same class
    for label in range(10):
        rank[labels == label] = np.arange(np.sum(labels == label))
    is_test = rank % 5 == 4
    test = np.flatnonzero(is_test)
    train = np.flatnonzero(~is_test)
    group = (rank - rank // 5)[train] % 5  # rank // 5 images of the class before it are for testing
    train = train[np.argsort(group, kind="stable")]
    return Dataset(
        "digits", Split(images[train], labels[train]), Split(images[test], labels[test]), 10
    )


def _load_idx(manual_dir: Path | None, options: Options) -> Dataset:
    if manual_dir is None:
        raise ZooError(f"dataset idx needs --config.manual_dir=DIR, a directory with {FILENAMES}")
    files = all_idx_files(manual_dir)
    splits = {}
    for split, names in FILES.items():
        images_path, labels_path = (files[name] for name in names)
        images, labels = read_images(images_path), read_idx(labels_path, num_axes=1)
        if len(images) != len(labels) or not len(labels):
            is_last = images.shape[2] == len(labels) > 0
            hint = ": the axes of images are [images, height, width]" if is_last else ""
            raise ZooError(
                f"{images_path} holds {len(images):,} images and {labels_path.name} "
                f"{len(labels):,} labels: the numbers must be equal, and at least 1{hint}"
            )
        splits[split] = Split(images, labels.astype(np.int32))
    shapes = [splits[name].images.shape[1:] for name in ("train", "test")]
    if shapes[0] != shapes[1] or 0 in shapes[0]:
        texts = ["x".join(map(str, shape[:2] if shape[2] == 1 else shape)) for shape in shapes]
        raise ZooError(
            f"{manual_dir} holds training images of {texts[0]} and test images of {texts[1]}: they "
            f"must have the same size, and not be empty"
        )
    if are_transposed(files[FILES["train"][0]], options):
        splits = {
            name: Split(np.ascontiguousarray(each.images.transpose(0, 2, 1, 3)), each.labels)
            for name, each in splits.items()
        }
    num_classes = int(max(split.labels.max() for split in splits.values())) + 1
    if min(split.labels.min() for split in splits.values()) == 1:
        warnings.warn(
            f"labels in {manual_dir} start at 1: class 0 has no image, and tables leave it out",
            stacklevel=2,
        )
    return Dataset("idx", splits["train"], splits["test"], num_classes)


def read_prepared(
    name: str,
    data_dir: Path,
    options: Options = DEFAULTS,
    stream: bool = False,
) -> Dataset | None:
    """The TFDS dataset of that name, also "tfds:NAME", None if it is not prepared in data_dir.

    Writes nothing but the cache beside it. With `stream`, images stay on disk: decoded, where that
    was done before.

    Raises:
        ZooError: it is damaged.
    """
    if kind_of(name) == "tfds":
        from zoo.data import tfds_files

        prepared = tfds_files.find_prepared(name, data_dir)
        return tfds_files.read(name, prepared, options, stream) if prepared else None
    version_dir = data_dir / name / _TFDS_VERSION
    cache_dir = version_dir / "decoded"
    arrays = cache.read(cache_dir)
    if arrays is None and not os.path.exists(version_dir / "dataset_info.json"):
        return None
    if arrays is None and os.path.exists(cache_dir / "manifest.json"):
        warnings.warn(f"{cache_dir} is damaged: images are decoded again", stacklevel=2)
    if stream and (arrays is None or not has_form(arrays["train"][0], options)):
        from zoo.data import tfds_stored

        return tfds_stored.stored_mnist(name, version_dir, options)
    if arrays is None:
        from zoo.data import mnist_tfds

        arrays = mnist_tfds.read_prepared(version_dir)
        cache.keep(cache_dir, arrays)
    train, test = cache.splits(arrays, stream)
    return fitted(Dataset(name, train, test, num_classes=10), options)
