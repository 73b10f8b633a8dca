"""vgg5: notebook 001, LeNet- and VGGNet-inspired and custom nets.

    python train.py --config configs/vgg5.py

Adadelta, batches of 128, 20 epochs, validated on the test set.
Published test accuracy 99.49%, loss 0.0305 (one run, no seed).
Own: 99.41% ± 0.05%, loss 0.0286 ± 0.0024 (n = 5).
"""

from ml_collections import ConfigDict

from zoo.configs import default


def get_config() -> ConfigDict:
    """The notebook's training of vgg5."""
    config = default.get_config()
    config.model = "vgg5"
    config.dataset = "mnist"
    config.validation = "test"
    config.num_epochs = 20
    config.batch_size = 128
    config.optimizer.name = "adadelta"
    config.optimizer.learning_rate = 1.0
    return config
