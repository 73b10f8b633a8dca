"""The zoo's nets in Keras 3, on the backend given by KERAS_BACKEND; `Model.fit` trains them."""

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np

from zoo.models import layers
from zoo.models.net import named_layers


def make_net(net: layers.Net, image_shape: tuple[int, int, int], num_classes: int) -> Any:
    """The net as a Keras model of [B, H, W, C] images."""
    model = keras.Sequential([keras.Input(image_shape)])
    for _, layer in named_layers(net):
        match layer:
            case layers.Conv(features=features, kernel_size=k, padding=padding):
                model.add(
                    keras.layers.Conv2D(features, k, padding=padding.lower(), activation="relu")
                )
            case layers.MaxPool(window=window, stride=stride, padding=padding):
                model.add(keras.layers.MaxPooling2D(window, stride, padding=padding.lower()))
            case layers.Dropout(rate=rate):
                model.add(keras.layers.Dropout(rate))
            case layers.BatchNorm(momentum=momentum, epsilon=epsilon):
                model.add(keras.layers.BatchNormalization(momentum=momentum, epsilon=epsilon))
            case layers.Flatten():
                model.add(keras.layers.Flatten())
            case layers.Dense(features=features):
                model.add(keras.layers.Dense(features, activation="relu"))
            case _:
                raise TypeError(f"there is no Keras equivalent of {layer!r}")
    model.add(keras.layers.Dense(num_classes))
    return model


def make_runner(
    net: layers.Net, config: Any, images: np.ndarray, labels: np.ndarray, num_classes: int
) -> Callable[[int], float]:
    """run(num_steps) -> mean loss: trains `num_steps` steps on random batches of the images."""
    keras.utils.set_random_seed(0)
    model = make_net(net, images.shape[1:], num_classes)
    optimizer = config.optimizer
    if optimizer.name == "adadelta":
        rule = keras.optimizers.Adadelta(optimizer.learning_rate, optimizer.rho, optimizer.eps)
    else:
        rule = keras.optimizers.Adam(
            optimizer.learning_rate, optimizer.b1, optimizer.b2, optimizer.eps
        )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer=rule, loss=loss, metrics=["accuracy"])
    data = images.astype(np.float32) / 255
    rng = np.random.default_rng(0)

    def run(num_steps: int) -> float:
        indices = rng.integers(len(data), size=num_steps * config.batch_size)
        history = model.fit(
            data[indices], labels[indices], config.batch_size, epochs=1, verbose=0, shuffle=False
        )
        return history.history["loss"][0]

    return run


def make_predictors(
    net: layers.Net,
    arrays: Sequence[np.ndarray],
    image_shape: tuple[int, int, int],
    num_classes: int,
) -> dict[str, Callable[[np.ndarray], np.ndarray]]:
    """predict(images [B, H, W, C]) -> logits [B, num_classes], in each public way there is.

    Args:
        net: the layers.
        arrays: of `zoo.models.to_keras_weights`.
        image_shape: (H, W, C).
        num_classes: the number of logits.
    """
    model = make_net(net, image_shape, num_classes)
    model.set_weights(list(arrays))
    ways = {"predict_on_batch": model.predict_on_batch}
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        def make(**options: Any) -> Callable[[np.ndarray], np.ndarray]:
            program = tf.function(lambda images: model(images, training=False), **options)
            return lambda images: program(tf.constant(images)).numpy()

        return {**ways, "tf.function": make(), "tf.function, XLA": make(jit_compile=True)}
    import jax

    # Copies, because predict_on_batch donates the model's own arrays.
    trained = [np.array(variable.value) for variable in model.trainable_variables]
    others = [np.array(variable.value) for variable in model.non_trainable_variables]
    state = jax.device_put((trained, others))
    program = jax.jit(lambda state, images: model.stateless_call(*state, images, training=False)[0])
    return {**ways, "jax.jit": lambda images: np.asarray(program(state, images))}
