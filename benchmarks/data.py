"""The images that every benchmark trains on: noise with the shape of MNIST."""

import numpy as np

IMAGE_SHAPE = (28, 28, 1)
NUM_CLASSES = 10


def random_images(num_images: int) -> tuple[np.ndarray, np.ndarray]:
    """(images [N, 28, 28, 1] uint8, labels [N] int32), the same for every call."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (num_images, *IMAGE_SHAPE), dtype=np.uint8)
    return images, rng.integers(0, NUM_CLASSES, num_images, dtype=np.int32)
