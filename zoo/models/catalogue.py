"""The catalogue of the nets by name: the notebooks' 19, and one more."""

import difflib
import fnmatch
from collections import ChainMap
from typing import Any

import jax.numpy as jnp

from zoo.models import layer_lists
from zoo.models.ablation import (
    ABLATION_CNN3,
    ABLATION_CNN3_DROPOUT,
    ABLATION_CNN5,
    ABLATION_CNN5_DROPOUT,
    ABLATION_CNN7,
    ABLATION_CNN7_DROPOUT,
)
from zoo.models.classics import CUSTOM7, LENET3, VGG5
from zoo.models.fast import FAST99
from zoo.models.kernels import KERNELS_CNN3, KERNELS_CNN5, KERNELS_CNN7
from zoo.models.layers import Net
from zoo.models.net import ConvNet
from zoo.models.packaged import packaged_weights
from zoo.models.pairs import PAIRS_CNN6, PAIRS_CNN10, PAIRS_CNN14
from zoo.models.pooling import POOLING_CNN3, POOLING_CNN3_LATE, POOLING_CNN5, POOLING_CNN7

MODELS: dict[str, Net] = {  # the notebooks'
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
NETS = ChainMap({"fast99": FAST99}, MODELS)  # all nets, also those that are added to MODELS


def list_models(pattern: str = "*", *, pretrained: bool = False) -> list[str]:
    """The names of the notebooks' nets that match a shell pattern such as "ablation*", sorted.

    Args:
        pattern: of the names.
        pretrained: only nets of which the package has trained weights (`load_pretrained`).
    """
    names = {entry["net"] for entry in packaged_weights()} if pretrained else MODELS
    return sorted(fnmatch.filter(names, pattern))


def create_model(net: str | Net, num_classes: int = 10, dtype: Any = jnp.float32) -> ConvNet:
    """The net as a Flax module: `model.apply(variables, images, train=False)`.

    Args:
        net: one of `list_models()`, or fast99; or a tuple of layers of `zoo.models.layers`.
        num_classes: number of logits; 0 gives the features before the head.
        dtype: the type of the computation; parameters are always float32.

    Raises:
        ValueError: the name is unknown (near matches are suggested); the layers are no net, which
            the text explains; or num_classes is negative.
    """
    if isinstance(net, str):
        check_net(net)
        layers = NETS[net]
    else:
        layer_lists.check(net)
        layers = net
    if num_classes < 0:
        raise ValueError(f"num_classes must be 0 (features) or more, not {num_classes}")
    return ConvNet(layers, num_classes=num_classes, dtype=dtype)


def check_net(name: str) -> None:
    """Raises ValueError, with near matches, unless there is a net of that name."""
    if name not in NETS:
        near = difflib.get_close_matches(str(name).lower(), NETS, n=3, cutoff=0.5)
        hint = f"did you mean {' or '.join(near)}?" if near else f"known: {', '.join(NETS)}"
        raise ValueError(f"unknown net {name!r}: {hint}")
