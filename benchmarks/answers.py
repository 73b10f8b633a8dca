"""One contender of `inference.py`, in its process: its logits, and how long they take."""

import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

import environment
import jax
import numpy as np
from data import IMAGE_SHAPE, NUM_CLASSES, random_images

import zoo.models
from zoo.models.net import variable_shapes
from zoo.models.pretrained import read_packaged

Predictor = Callable[[np.ndarray], np.ndarray]  # images [B, H, W, C] -> logits [B, NUM_CLASSES]

_TRIAL_SECONDS = 0.5  # of each way, to find the fastest


def weights_of(name: str) -> tuple[dict[str, Any], str]:
    """(variables, "trained"), or (variables, "random") if the package has no trained ones.

    Random ones are the same for every call. No bias is 0, as in a new net, so that the comparison
    of logits is one of all weights.
    """
    if name in zoo.models.list_models(pretrained=True):
        return read_packaged(name).variables, "trained"
    rng = np.random.default_rng(0)
    shapes = variable_shapes(zoo.models.MODELS[name], IMAGE_SHAPE, NUM_CLASSES)

    def draw(leaf: str, shape: Sequence[int]) -> np.ndarray:
        if leaf in ("scale", "var"):
            return rng.uniform(0.5, 1.5, shape).astype(np.float32)
        deviation = np.sqrt(2 / np.prod(shape[:-1])) if leaf == "kernel" else 0.1
        return (deviation * rng.standard_normal(shape)).astype(np.float32)

    variables = {
        collection: {
            layer: {leaf: draw(leaf, found.shape) for leaf, found in leaves.items()}
            for layer, leaves in of_layers.items()
        }
        for collection, of_layers in shapes.items()
    }
    return variables, "random"


def make_predictors(contender: str, name: str, variables: dict[str, Any]) -> dict[str, Predictor]:
    """The public ways in which the contender can answer, by name."""
    net = zoo.models.MODELS[name]
    if contender == "zoo":
        import nets_jax

        return nets_jax.make_predictors(net, variables, NUM_CLASSES)
    model = zoo.models.create_model(name, NUM_CLASSES)
    if contender.startswith("keras-"):
        import nets_keras

        arrays = zoo.models.to_keras_weights(model, variables)
        return nets_keras.make_predictors(net, arrays, IMAGE_SHAPE, NUM_CLASSES)
    import nets_torch
    import torch

    torch.set_num_threads(environment.num_cores())
    arrays = zoo.models.to_keras_weights(model, variables, data_format="channels_first")
    trained = nets_torch.make_trained(net, arrays, IMAGE_SHAPE, NUM_CLASSES)
    if contender == "onnxruntime":
        import nets_onnx

        return {"session": nets_onnx.make_predictor(trained, IMAGE_SHAPE)}
    return nets_torch.make_predictors(trained, compiled=contender == "torch-compile")


class Answers:
    """Answers the requests of `inference.py`. To be made before JAX has computed anything."""

    def __init__(self, contender: str, name: str) -> None:
        # Each answer is awaited: another thread to compute it costs time and saves none.
        jax.config.update("jax_cpu_enable_async_dispatch", False)
        variables, self.weights = weights_of(name)
        self._ways = make_predictors(contender, name, variables)
        self._fastest: dict[int, Predictor] = {}  # by size of the batch

    def answer(self, request: str, size: str, *seconds: str) -> dict[str, Any]:
        """The answer to `logits SIZE` or `time SIZE SECONDS`."""
        images = random_images(int(size))[0].astype(np.float32) / 255
        return self._logits(images) if request == "logits" else self._time(images, float(*seconds))

    def _logits(self, images: np.ndarray) -> dict[str, Any]:
        """{"logits": of each way, "way": the fastest one, which `time` measures}."""
        logits = {way: predict(images).tolist() for way, predict in self._ways.items()}
        fastest = next(iter(logits))
        if len(logits) > 1:
            took = {
                way: min(_seconds(lambda predict=predict: predict(images), _TRIAL_SECONDS))
                for way, predict in self._ways.items()
            }
            fastest = min(took, key=lambda way: took[way])
        self._fastest[len(images)] = self._ways[fastest]
        return {"logits": logits, "way": fastest}

    def _time(self, images: np.ndarray, seconds: float) -> dict[str, Any]:
        """As `timed`, of the fastest way."""
        predict = self._fastest[len(images)]
        return timed(lambda: predict(images), seconds)


def timed(call: Callable[[], Any], seconds: float) -> dict[str, Any]:
    """{"calls", "seconds": median of a call, "p99_seconds"} of calls for about `seconds`."""
    _seconds(call, seconds / 10)  # warms up
    took = _seconds(call, seconds)
    return {
        "calls": len(took),
        "seconds": statistics.median(took),
        "p99_seconds": float(np.quantile(took, 0.99)),
    }


def _seconds(call: Callable[[], Any], seconds: float) -> list[float]:
    """The seconds of each call, of as many as take `seconds` together, at least one."""
    took: list[float] = []
    end = time.perf_counter() + seconds
    while not took or time.perf_counter() < end:
        start = time.perf_counter()
        call()
        took.append(time.perf_counter() - start)
    return took
