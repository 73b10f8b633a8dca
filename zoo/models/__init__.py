"""The nets by name, with trained weights.

model = zoo.models.create_model("vgg5")
variables = model.init(jax.random.key(0), images, train=False)
logits = model.apply(variables, images, train=False)

model, variables = zoo.models.from_pretrained("vgg5")
"""

from zoo.models.catalogue import MODELS, NETS, create_model, list_models
from zoo.models.keras_weights import DataFormat, from_keras_weights, to_keras_weights
from zoo.models.net import ConvNet, ImageTooSmallError, layer_macs, layer_shapes, min_image_size
from zoo.models.paths import PatternError
from zoo.models.pretrained import from_pretrained, load_pretrained, save_pretrained

__all__ = [
    "MODELS",
    "NETS",
    "ConvNet",
    "DataFormat",
    "ImageTooSmallError",
    "PatternError",
    "create_model",
    "from_keras_weights",
    "from_pretrained",
    "layer_macs",
    "layer_shapes",
    "list_models",
    "load_pretrained",
    "min_image_size",
    "save_pretrained",
    "to_keras_weights",
]
