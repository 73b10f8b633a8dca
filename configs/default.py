"""Every key once, with its unit and meaning: a small net on the built-in digits.

    python train.py --config configs/default.py

Trains offline, in under a minute on two CPU cores, to 97% or more of the 355 test images.
The configs of the 19 nets start from this one and say only what differs. Any key can be given on
the command line: --config.num_epochs=3 --config.optimizer.learning_rate=0.01
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    """The default configuration."""
    config = ConfigDict()

    config.model = "pooling_cnn3"  # a name of zoo.models.list_models()
    config.dtype = "float32"  # type that is computed in: float32, bfloat16, float16
    config.seed = 0  # initialization, data order and dropout all follow from it
    config.num_seeds = 1  # independent copies in one run, of the seeds seed, seed + 1, ...

    config.dataset = "digits"  # digits, mnist, fashion_mnist, kmnist, idx
    config.data_dir = ""  # folder of TFDS datasets; "": TFDS_DATA_DIR or ~/tensorflow_datasets
    config.manual_dir = ""  # folder of downloaded IDX files; "": for mnist, ZOO_MNIST_DIR
    # What each epoch is judged by, and which epoch's parameters are tested at the end:
    # holdout: the last 20% of the training set; the epoch that did best on them;
    # holdout_last: the same 20%; the last epoch, as in notebook 003;
    # test: the test set itself; the last epoch, as in the other notebooks.
    config.validation = "holdout_last"  # holdout, holdout_last or test

    config.num_epochs = 30  # passes over the training set
    config.batch_size = 32  # images per update; the last, smaller batch is kept
    config.eval_batch_size = 500  # images per evaluation step; does not change the result

    optimizer = config.optimizer = ConfigDict()
    optimizer.name = "adam"  # adam, adamw, adadelta, sgd, rmsprop, lion, muon
    optimizer.learning_rate = 1e-3  # peak value, per update
    optimizer.schedule = "constant"  # constant, cosine (to 0), one_cycle
    optimizer.warmup_epochs = 0.0  # epochs of linear warm-up; not for one_cycle
    optimizer.b1 = 0.9  # adam, adamw, lion, muon: decay of the gradient's mean, per update
    optimizer.b2 = 0.999  # adam, adamw: decay of its square's mean; lion: of its mean (0.99)
    optimizer.rho = 0.95  # adadelta, rmsprop: decay of the squares' means, per update
    optimizer.momentum = 0.0  # sgd, rmsprop: decay of the velocity, per update
    optimizer.nesterov = False  # sgd, muon: look ahead along the velocity
    optimizer.eps = 1e-7  # added to denominators (adadelta: to squares, inside the root)
    optimizer.keras_eps = False  # adam: add eps before the bias correction, as Keras does
    optimizer.weight_decay = 0.0  # of kernels; adamw, lion, muon: decoupled; the others: L2
    optimizer.clip_norm = 0.0  # largest global norm of a gradient; 0: no clipping
    optimizer.accumulate_steps = 1  # batches per update, gradients averaged

    checkpoint = config.checkpoint = ConfigDict()
    checkpoint.every_epochs = 1  # 0: never; such a run cannot be resumed
    checkpoint.every_minutes = 10.0  # also within an epoch, after so many minutes; 0: never
    checkpoint.keep_last = 2  # newest checkpoints that are kept
    checkpoint.keep_best = 1  # best checkpoints that are kept beside them
    checkpoint.best_metric = "val_accuracy"  # val_accuracy (largest) or val_loss (smallest)

    # When a loss or a gradient is not finite: stop and say where it began, or skip that batch.
    config.on_nan = "stop"  # stop or skip
    config.deterministic = False  # the same bits from run to run on a GPU, slower; a CPU gives them

    config.tensorboard = False  # also write event files, into the run's folder tensorboard

    return config
