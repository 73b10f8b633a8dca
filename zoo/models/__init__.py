"""The catalogue of the 19 nets by name.

model = zoo.models.create_model("vgg5")
variables = model.init(jax.random.key(0), images, train=False)
logits = model.apply(variables, images, train=False)
"""

import difflib
import fnmatch
from typing import Any

import jax.numpy as jnp

from zoo.models.ablation import (
    ABLATION_CNN3,
    ABLATION_CNN3_DROPOUT,
    ABLATION_CNN5,
    ABLATION_CNN5_DROPOUT,
    ABLATION_CNN7,
    ABLATION_CNN7_DROPOUT,
)
from zoo.models.classics import CUSTOM7, LENET3, VGG5
from zoo.models.keras_weights import DataFormat, from_keras_weights, to_keras_weights
from zoo.models.kernels import KERNELS_CNN3, KERNELS_CNN5, KERNELS_CNN7
from zoo.models.layers import Net
from zoo.models.net import ConvNet, ImageTooSmallError, layer_macs, layer_shapes, min_image_size
from zoo.models.pairs import PAIRS_CNN6, PAIRS_CNN10, PAIRS_CNN14
from zoo.models.pooling import POOLING_CNN3, POOLING_CNN3_LATE, POOLING_CNN5, POOLING_CNN7

__all__ = [
    "MODELS",
    "ConvNet",
    "DataFormat",
    "ImageTooSmallError",
    "create_model",
    "from_keras_weights",
    "layer_macs",
    "layer_shapes",
    "list_models",
    "min_image_size",
    "to_keras_weights",
]

MODELS: dict[str, Net] = {
    "lenet3": LENET3,
    "vgg5": VGG5,
    "custom7": CUSTOM7,
    "kernels_cnn3": KERNELS_CNN3,
    "kernels_cnn5": KERNELS_CNN5,
    "kernels_cnn7": KERNELS_CNN7,
    "pairs_cnn6": PAIRS_CNN6,
    "pairs_cnn10": PAIRS_CNN10,
    "pairs_cnn14": PAIRS_CNN14,
    "pooling_cnn3": POOLING_CNN3,
    "pooling_cnn5": POOLING_CNN5,
    "pooling_cnn7": POOLING_CNN7,
    "pooling_cnn3_late": POOLING_CNN3_LATE,
    "ablation_cnn3": ABLATION_CNN3,
    "ablation_cnn3_dropout": ABLATION_CNN3_DROPOUT,
    "ablation_cnn5": ABLATION_CNN5,
    "ablation_cnn5_dropout": ABLATION_CNN5_DROPOUT,
    "ablation_cnn7": ABLATION_CNN7,
    "ablation_cnn7_dropout": ABLATION_CNN7_DROPOUT,
}


def list_models(pattern: str = "*") -> list[str]:
    """The names that match a shell pattern such as "ablation*", sorted."""
    return sorted(fnmatch.filter(MODELS, pattern))


def create_model(name: str, num_classes: int = 10, dtype: Any = jnp.float32) -> ConvNet:
    """The net of that name as a Flax module: `model.apply(variables, images, train=False)`.

    Args:
        name: one of `list_models()`.
        num_classes: number of logits; 0 gives the features before the head.
        dtype: the type of the computation; parameters are always float32.

    Raises:
        ValueError: the name is unknown (near matches are suggested), or num_classes is negative.
    """
    if name not in MODELS:
        near = difflib.get_close_matches(name.lower(), MODELS, n=3, cutoff=0.5)
        hint = f"did you mean {' or '.join(near)}?" if near else f"known: {', '.join(MODELS)}"
        raise ValueError(f"unknown net {name!r}: {hint}")
    if num_classes < 0:
        raise ValueError(f"num_classes must be 0 (features) or more, not {num_classes}")
    return ConvNet(MODELS[name], num_classes=num_classes, dtype=dtype)
