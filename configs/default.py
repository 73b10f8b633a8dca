"""Every key once, with its unit and meaning: a small net on the built-in digits.

    python train.py --config configs/default.py

Trains offline, in under a minute on two CPU cores, to 97% or more of the 355 test images.
The configs of the 19 nets start from this one and contain only what differs. Any key can be set on
the command line: --config.num_epochs=3 --config.optimizer.learning_rate=0.01
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    """The default configuration; long, so that every key stands in one place."""
    config = ConfigDict()

    config.model = "pooling_cnn3"  # zoo.models.list_models(), or FILE.py:NAME
    config.dtype = "float32"  # type of the computation: float32, bfloat16, float16
    config.remat = False  # compute activations again for the gradient: less memory, more time
    config.seed = 0  # determines initialization, data order and dropout
    config.num_seeds = 1  # independent copies in one run, with seeds seed, seed + 1, ...

    # The weights to start from: a net's name, a run's or saved weights' directory, hf://OWNER/NAME.
    config.init_from = ""  # "": drawn from the seed
    config.freeze = ""  # parameters not to train: regular expressions of paths, such as conv_.*

    # digits, mnist, fashion_mnist, kmnist, idx; or images:DIRECTORY, npz:FILE, npy:DIRECTORY,
    # csv:FILE, parquet:FILE, tfds:NAME[:VERSION]
    config.dataset = "digits"  # what it is trained on
    config.data_dir = ""  # TFDS directory; "": TFDS_DATA_DIR or ~/tensorflow_datasets
    config.manual_dir = ""  # directory of IDX files; "": for mnist, ZOO_MNIST_DIR
    data = config.data = ConfigDict()
    data.image_size = 0  # pixels of height and width, to which images are resized; 0: as they are
    data.channels = 0  # 1 (grey), 3 (red, green, blue); 0: as they are
    data.test_share = 0.2  # of each class, for testing, where the data has no test images
    data.split_seed = 0  # determines which these are, and an order of images sorted by class
    data.fields = ""  # names of arrays or columns in a file, by commas; "": the usual ones
    data.transposed = "auto"  # exchange rows and columns of IDX images: auto (of EMNIST), yes, no
    data.pictures = "auto"  # how one's own pictures are prepared: auto, ink (on paper), resized
    data.stream = False  # read images when they are used, in other processes: not all in memory
    data.workers = -1  # of stream: processes that read; -1: one a core, at most 8; 0: none
    # The validation data of each epoch, and the epoch whose parameters are tested at the end:
    # holdout: the last 20% of the training set; the epoch with the best result on them;
    # holdout_last: the same 20%; the last epoch, as in notebook 003;
    # test: the test set itself; the last epoch, as in the other notebooks.
    config.validation = "holdout_last"  # holdout, holdout_last or test

    config.num_epochs = 30  # passes over the training set
    config.batch_size = 32  # images per update; the last, smaller batch is kept
    config.eval_batch_size = 500  # images per evaluation step; does not change the result

    config.label_smoothing = 0.0  # share of each training label that is spread over all classes

    optimizer = config.optimizer = ConfigDict()
    optimizer.name = "adam"  # adam, adamw, adadelta, sgd, rmsprop, lion, muon
    optimizer.learning_rate = 1e-3  # peak value, per update
    optimizer.rate_for_batch = 0  # images in the batch that learning_rate is for; 0: any, as it is
    optimizer.schedule = "constant"  # constant, cosine (to 0), one_cycle
    optimizer.warmup_epochs = 0.0  # epochs of linear warm-up; not for one_cycle
    optimizer.b1 = 0.9  # adam, adamw, lion, muon: decay of the gradient's mean, per update
    optimizer.b2 = 0.999  # adam, adamw: decay of its square's mean; lion: of its mean (0.99)
    optimizer.rho = 0.95  # adadelta, rmsprop: decay of the squares' means, per update
    optimizer.momentum = 0.0  # sgd, rmsprop: decay of the velocity, per update
    optimizer.nesterov = False  # sgd, muon: look ahead along the velocity
    optimizer.ns_steps = 5  # muon: Newton-Schulz iterations towards an orthogonal update
    optimizer.eps = 1e-7  # added to denominators (adadelta: to squares, inside the root)
    optimizer.keras_eps = False  # adam: add eps before the bias correction, as Keras does
    optimizer.weight_decay = 0.0  # of kernels; adamw, lion, muon: decoupled; the others: L2
    optimizer.clip_norm = 0.0  # largest global norm of a gradient; 0: no clipping
    optimizer.rates = ""  # factors of learning_rate by expressions of paths: conv_.*=0.1, head=1
    optimizer.accumulate_steps = 1  # batches per update, gradients averaged

    checkpoint = config.checkpoint = ConfigDict()
    checkpoint.every_epochs = 1  # 0: never; such a run cannot be resumed
    checkpoint.every_minutes = 10.0  # also within an epoch, at this interval; 0: never
    checkpoint.keep_last = 2  # number of newest checkpoints to keep
    checkpoint.keep_best = 1  # number of best checkpoints to keep as well
    checkpoint.best_metric = "val_accuracy"  # val_accuracy (largest) or val_loss (smallest)

    # Devices, where JAX has several. A batch is spread over some, the seeds of a run over others.
    mesh = config.mesh = ConfigDict()
    mesh.data = -1  # so many share a batch; -1: all that divide it and that seeds leave; 1: none
    mesh.model = 1  # so many share each large kernel, of nets that one cannot hold
    mesh.seed = -1  # so many groups of devices share the seeds; -1: as many as divide num_seeds
    mesh.seeds_at_once = -1  # seeds that a device trains at once, by vmap; -1: 1

    # If a loss or a gradient is not finite: stop and report where it started, or skip that batch.
    config.on_nan = "stop"  # stop or skip
    config.deterministic = False  # bitwise reproducible on a GPU, slower; a CPU always is

    config.tensorboard = False  # also write event files to the run's directory tensorboard

    return config
