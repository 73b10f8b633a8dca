"""fast99: 99% of MNIST's test images in the fewest seconds of training on a CPU.

    python train.py --config configs/fast99.py

One epoch: muon, one-cycle, smoothed labels. All of it was chosen on the last 10,000 training
images; benchmarks/fast99.py measures it.
"""

from ml_collections import ConfigDict

from zoo.configs import default


def get_config() -> ConfigDict:
    """The training of fast99."""
    config = default.get_config()
    config.model = "fast99"
    config.dataset = "mnist"
    config.validation = "test"
    config.num_epochs = 1
    config.batch_size = 250
    config.label_smoothing = 0.1
    config.optimizer.name = "muon"
    config.optimizer.learning_rate = 0.1
    config.optimizer.schedule = "one_cycle"
    config.optimizer.b1 = 0.8
    config.optimizer.b2 = 0.99
    config.optimizer.nesterov = True
    config.optimizer.ns_steps = 3
    return config
