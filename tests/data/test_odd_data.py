"""Edge cases of data: a run trains on whatever is usable; anything else is one sentence."""

from pathlib import Path

import numpy as np
import pytest
from conftest import write_idx, write_idx_dataset
from ml_collections import ConfigDict

from zoo.data import Dataset, Split, check
from zoo.data.idx import FILES
from zoo.system.errors import ZooError
from zoo.training import train_and_evaluate


def split_of(count: int, *, size: int = 28, dtype: type = np.uint8) -> Split:
    return Split(np.zeros((count, size, size, 1), dtype), np.arange(count, dtype=np.int32) % 3)


@pytest.mark.parametrize(
    ("train", "test", "num_classes", "sentence"),
    [
        (split_of(0), split_of(2), 3, r"training images .* \(0, 28, 28, 1\): .* not empty"),
        (split_of(2), split_of(0), 3, r"test images .* not empty"),
        (split_of(2, size=0), split_of(2), 3, r"\(2, 0, 0, 1\): .* not empty"),
        (split_of(2), split_of(2), 1, r"has 1 class: a net needs at least 2"),
        (split_of(2), split_of(2), 0, r"has 0 class"),
        (split_of(3), split_of(2), 2, r"training label 2 of image 2 .* classes are 0 to 1"),
        (split_of(2), Split(split_of(2).images, np.array([0, -1])), 3, r"label -1 of image 1"),
        (split_of(2, dtype=np.float32), split_of(2), 3, r"are float32 of shape .* must be uint8"),
        (
            Split(np.zeros((2, 28, 28), np.uint8), np.zeros(2, int)),
            split_of(2),
            3,
            r"must be uint8",
        ),
        (Split(split_of(2).images, np.zeros(3, int)), split_of(2), 3, r"one for each of the 2"),
        (Split(split_of(2).images, np.zeros(2)), split_of(2), 3, r"labels .* float64 .* integers"),
        (split_of(2), split_of(2, size=20), 3, r"\(28, 28, 1\) for training and \(20, 20, 1\)"),
    ],
)
def test_invalid_data_is_one_sentence(
    train: Split, test: Split, num_classes: int, sentence: str
) -> None:
    with pytest.raises(ZooError, match=sentence):
        check(Dataset("mine", train, test, num_classes))


def test_one_class_is_refused(tiny_config: ConfigDict, idx_dir: Path, tmp_path: Path) -> None:
    write_idx_dataset(tmp_path / "idx", num_train=5, num_test=5)
    for split in FILES:
        write_idx(tmp_path / "idx" / FILES[split][1], np.zeros(5))
    tiny_config.manual_dir = str(tmp_path / "idx")
    with pytest.raises(ZooError, match="idx has 1 class"):
        train_and_evaluate(tiny_config, tmp_path / "run", quiet=True)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("size", [28, 29])
def test_one_image_is_enough(tiny_config: ConfigDict, tmp_path: Path, size: int) -> None:
    write_idx_dataset(tmp_path / "idx", num_train=1, num_test=1, size=size)
    tiny_config.update(manual_dir=str(tmp_path / "idx"), num_epochs=1, eval_batch_size=1000)
    history = train_and_evaluate(tiny_config, tmp_path / "run", quiet=True)
    assert history.epochs[0]["step"] == 1
    assert history.test is not None
    assert history.test["num_examples"] == 1


def test_one_image_cannot_be_held_out(tiny_config: ConfigDict, tmp_path: Path) -> None:
    write_idx_dataset(tmp_path / "idx", num_train=1, num_test=1)
    tiny_config.update(manual_dir=str(tmp_path / "idx"), validation="holdout")
    with pytest.raises(ZooError, match="only 1 training image, too few to hold out any"):
        train_and_evaluate(tiny_config, tmp_path / "run", quiet=True)


@pytest.mark.slow
def test_256_classes_are_256_logits(tiny_config: ConfigDict, tmp_path: Path) -> None:
    write_idx_dataset(tmp_path / "idx", num_train=4, num_test=4)
    write_idx(tmp_path / "idx" / FILES["train"][1], np.array([255, 0, 7, 8]))
    tiny_config.update(manual_dir=str(tmp_path / "idx"), num_epochs=1)
    history = train_and_evaluate(tiny_config, tmp_path / "run", quiet=True)
    assert history.data["num_classes"] == 256
