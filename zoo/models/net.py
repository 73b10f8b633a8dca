"""A net: the module that applies a list of layers, and the facts that follow from the list."""

import functools
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from zoo.models.layers import (
    BatchNorm,
    Context,
    Conv,
    Dense,
    Head,
    Layer,
    Net,
    Shape,
    initializer,
)


class ImageTooSmallError(ValueError):
    """The image is too small for the net: some layer would have an empty output."""


def named_layers(net: Net) -> Iterator[tuple[str, Layer]]:
    """Each layer before the head with its name: conv_1, max_pool_1, conv_2, dense_1, ..."""
    counts: Counter[str] = Counter()
    for layer in net:
        if not isinstance(layer, Head):
            counts[layer.kind] += 1
            yield f"{layer.kind}_{counts[layer.kind]}", layer


def layer_shapes(net: Net, image_shape: Sequence[int]) -> dict[str, Shape]:
    """Output shape of each layer before the head, without the batch axis, in order.

    Args:
        net: the layers.
        image_shape: (height, width, channels) of one image.

    Raises:
        ImageTooSmallError: it names the layer, its input and the smallest square image that works.
    """
    shapes: dict[str, Shape] = {}
    shape: Shape = tuple(image_shape)
    for name, layer in named_layers(net):
        output_shape = layer.output_shape(shape)
        if min(output_shape) < 1:
            height, width = image_shape[:2]
            smallest = min_image_size(net)
            raise ImageTooSmallError(
                f"a {height}x{width} image is too small for this net: {name} gets an input of "
                f"{shape[0]}x{shape[1]}, smaller than its window; "
                f"the smallest image that works is {smallest}x{smallest}"
            )
        shapes[name] = shape = output_shape
    return shapes


def layer_macs(net: Net, image_shape: Sequence[int], num_classes: int = 10) -> dict[str, int]:
    """Multiply-adds of each convolution and dense layer for one image, in order, forward.

    Every position of a kernel counts, including those over padding.

    Raises:
        ImageTooSmallError: as in `layer_shapes`.
    """
    macs: dict[str, int] = {}
    shape: Shape = tuple(image_shape)
    shapes = layer_shapes(net, image_shape)
    for name, layer in named_layers(net):
        match layer:
            case Conv(features=features, kernel_size=size):
                height, width, _ = shapes[name]
                macs[name] = height * width * size**2 * shape[-1] * features
            case Dense(features=features):
                macs[name] = shape[0] * features
        shape = shapes[name]
    if num_classes:
        macs["head"] = shape[0] * num_classes
    return macs


def variable_shapes(
    net: Net, image_shape: Sequence[int], num_classes: int = 10
) -> dict[str, dict[str, dict[str, jax.ShapeDtypeStruct]]]:
    """The shapes of what `model.init` gives: {"params": ..., "batch_stats": ... if it has any}.

    Raises:
        ImageTooSmallError: as in `layer_shapes`.
    """
    params: dict[str, dict[str, Shape]] = {}
    batch_stats: dict[str, dict[str, Shape]] = {}
    shape: Shape = tuple(image_shape)
    shapes = layer_shapes(net, image_shape)
    for name, layer in named_layers(net):
        match layer:
            case Conv(features=features, kernel_size=size):
                params[name] = {"kernel": (size, size, shape[-1], features), "bias": (features,)}
            case Dense(features=features):
                params[name] = {"kernel": (shape[0], features), "bias": (features,)}
            case BatchNorm():
                params[name] = {"scale": shape[-1:], "bias": shape[-1:]}
                batch_stats[name] = {"mean": shape[-1:], "var": shape[-1:]}
        shape = shapes[name]
    if num_classes and isinstance(net[-1], Head):
        params["head"] = {"kernel": (shape[0], num_classes), "bias": (num_classes,)}
    found = {"params": params} | ({"batch_stats": batch_stats} if batch_stats else {})
    return jax.tree.map(
        lambda size: jax.ShapeDtypeStruct(size, jnp.float32),
        found,
        is_leaf=lambda leaf: isinstance(leaf, tuple),
    )


def min_image_size(net: Net) -> int:
    """Side in pixels of the smallest square image that the net can take."""
    size = 1
    while True:
        shape: Shape = (size, size, 1)
        for _, layer in named_layers(net):
            shape = layer.output_shape(shape)
            if min(shape) < 1:
                break
        else:
            return size
        size += 1


class ConvNet(nn.Module):
    """Applies a list of layers to a batch of images.

    Attributes:
        net: the layers, in order.
        num_classes: number of logits; 0 omits the head and returns the features before it.
        dtype: the type of the computation; parameters are always float32.
    """

    net: Net
    num_classes: int = 10
    dtype: Any = jnp.float32

    def init(self, rngs: Any, *args: Any, **options: Any) -> Any:
        """The variables, as `flax.linen.Module.init` gives them.

        Called as init(rngs, images, train=...), it draws them in one compiled program and computes
        no layer. Of the images only the shape is used; a `jax.ShapeDtypeStruct` will do.
        """
        if len(args) != 1 or options.keys() != {"train"} or self.parent or not _is_hashable(self):
            return super().init(rngs, *args, **options)
        call = (jax.tree.map(jax.random.clone, rngs), self, args[0].shape, options["train"])
        if any(isinstance(key, jax.core.Tracer) for key in jax.tree.leaves(call[0])):
            return _init_from_shape(*call)  # in a function that is being compiled or mapped
        return _init_program(jax.default_backend())(*call)

    @nn.compact
    def __call__(
        self, images: jax.Array, *, train: bool, mask: jax.Array | None = None
    ) -> jax.Array:
        """Logits [B, num_classes] (or features [B, F]), at least float32.

        Args:
            images: [B, height, width, channels]; float in [0, 1], or an integer type in 0..255.
            train: apply dropout and use the statistics of the batch. Needs the `dropout` stream
                if the net has dropout, and `mutable=["batch_stats"]` if it has batch normalization.
            mask: [B] bool, the examples used for batch statistics; None: all.

        Raises:
            ImageTooSmallError: a layer would have an empty output.
            ValueError: `images` does not have four axes.

        With `mutable=["intermediates"]`, the layers' outputs (after the ReLU) are returned too, as
        `conv_1_output`, `max_pool_1_output` and so on.
        """
        if images.ndim != 4:
            raise ValueError(f"images must be [B, height, width, channels], not {images.shape}")
        layer_shapes(self.net, images.shape[1:])  # a clearer error than those of the layers
        x = images.astype(self.dtype)
        if jnp.issubdtype(images.dtype, jnp.integer):
            x = x / 255
        for name, layer in named_layers(self.net):
            x = layer(x, Context(name=name, train=train, mask=mask, dtype=self.dtype))
            self.sow("intermediates", f"{name}_output", x)
        head = self.net[-1]
        if self.num_classes and isinstance(head, Head):
            x = nn.Dense(
                self.num_classes,
                kernel_init=initializer(head.kernel_init),
                dtype=self.dtype,
                name="head",
            )(x)
        return x.astype(jnp.promote_types(x.dtype, jnp.float32))


def _init_from_shape(rngs: Any, model: ConvNet, shape: Shape, train: bool) -> Any:
    return model.lazy_init(rngs, jax.ShapeDtypeStruct(shape, jnp.float32), train=train)


@functools.cache
def _init_program(platform: str) -> Any:
    """Compiles `_init_from_shape`, on a CPU in a third of the usual time.

    It runs once for each net, so LLVM's expensive passes do not pay. Level 1 keeps the bits; level
    0 does not, because it computes a * b + c with two roundings.
    """
    options = {"xla_backend_optimization_level": 1} if platform == "cpu" else None
    return jax.jit(_init_from_shape, static_argnums=(1, 2, 3), compiler_options=options)


def _is_hashable(model: ConvNet) -> bool:
    """Whether a program can be compiled for the net; an initializer or layer may prevent it."""
    try:
        hash(model)
    except TypeError:
        return False
    return True
