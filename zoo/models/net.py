"""A net: the module that applies a list of layers, and the facts that follow from the list."""

import functools
import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import flax.errors
import flax.linen as nn
import jax
import jax.numpy as jnp

from zoo.models import pieces
from zoo.models.layers import (
    Context,
    Head,
    Layer,
    Net,
    Residual,
    Shape,
    apply_layers,
    every_layer,
    initializer,
    is_of_the_zoo,
    named_layers,
)
from zoo.models.layers.layer import with_full_bias

__all__ = [
    "ConvNet",
    "ImageTooSmallError",
    "Place",
    "as_floats",
    "layer_macs",
    "layer_shapes",
    "min_image_size",
    "named_layers",
    "places",
    "variable_shapes",
]

_MOST_PIXELS = 2**16  # of an image's side


class ImageTooSmallError(ValueError):
    """The image is too small for the net: some layer would have an empty output."""


class Place(NamedTuple):
    """A layer in a net, for images of one shape."""

    path: str  # such as "conv_1", or in a residual connection "residual_1/conv_1"
    layer: Layer
    input_shape: Shape  # of one example
    output_shape: Shape


def places(
    net: Iterable[Layer | Head], image_shape: Sequence[int], prefix: str = ""
) -> Iterator[Place]:
    """Each layer before the head, in order; what a residual connection holds comes before it.

    It ends with the first layer that has an empty output.

    Raises:
        ValueError: a layer of images gets vectors, or the other way round.
    """
    shape: Shape = tuple(image_shape)
    for name, layer in named_layers(net):
        path = prefix + name
        if layer.rank not in (None, len(shape)):
            raise ValueError(
                f"{path} needs images, not vectors: no Flatten or GlobalAvgPool may come before it"
                if layer.rank == 3
                else f"{path} needs vectors, not images: put Flatten or GlobalAvgPool before it"
            )
        if isinstance(layer, Residual):
            yield from places(layer.layers, shape, f"{path}/")
            if shortcut := layer.shortcut_for(shape):
                yield from places(shortcut, shape, f"{path}/shortcut/")
        place = Place(path, layer, shape, layer.output_shape(shape))
        yield place
        shape = place.output_shape
        if min(shape) < 1:
            return


def layer_shapes(net: Net, image_shape: Sequence[int]) -> dict[str, Shape]:
    """Output shape of each layer before the head, without the batch axis, in order.

    Args:
        net: the layers.
        image_shape: (height, width, channels) of one image.

    Raises:
        ImageTooSmallError: it names the layer, its input and the smallest square image that works.
        ValueError: a layer cannot have such an input; it names the layer.
    """
    return {place.path: place.output_shape for place in _checked(net, image_shape)}


def _checked(net: Net, image_shape: Sequence[int]) -> Iterator[Place]:
    for place in places(net, image_shape):
        try:
            place.layer.check(place.input_shape)
        except ValueError as error:
            raise ValueError(f"{place.path} {error}") from None
        if min(place.output_shape) < 1:
            height, width = image_shape[:2]
            rows, columns = place.input_shape[:2]
            smallest = min_image_size(net)
            raise ImageTooSmallError(
                f"a {height}x{width} image is too small for this net: {place.path} gets an input "
                f"of {rows}x{columns}, smaller than its window; "
                f"the smallest image that works is {smallest}x{smallest}"
            )
        yield place


def layer_macs(net: Net, image_shape: Sequence[int], num_classes: int = 10) -> dict[str, int]:
    """Multiply-adds of each convolution and dense layer for one image, in order, forward.

    Every position of a kernel counts, including those over padding.

    Raises:
        ImageTooSmallError, ValueError: as in `layer_shapes`.
    """
    macs: dict[str, int] = {}
    shape: Shape = tuple(image_shape)
    for place in _checked(net, image_shape):
        if count := place.layer.macs(place.input_shape):
            macs[place.path] = count
        shape = place.output_shape
    if num_classes and isinstance(net[-1], Head):
        macs["head"] = shape[0] * num_classes
    return macs


def variable_shapes(net: Net, image_shape: Sequence[int], num_classes: int = 10) -> dict[str, Any]:
    """The shapes of what `model.init` gives: {"params": ..., "batch_stats": ... if it has any}.

    Raises:
        ImageTooSmallError, ValueError: as in `layer_shapes`.
    """
    found: dict[str, Any] = {"params": {}}
    shape: Shape = tuple(image_shape)
    for place in _checked(net, image_shape):
        for collection, shapes in place.layer.variables(place.input_shape).items():
            scope = found.setdefault(collection, {})
            for name in place.path.split("/"):
                scope = scope.setdefault(name, {})
            scope.update(shapes)
        shape = place.output_shape
    if num_classes and isinstance(net[-1], Head):
        found["params"]["head"] = {"kernel": (shape[0], num_classes), "bias": (num_classes,)}
    return jax.tree.map(
        lambda size: jax.ShapeDtypeStruct(size, jnp.float32),
        found,
        is_leaf=lambda leaf: isinstance(leaf, tuple),
    )


def min_image_size(net: Net) -> int:
    """Side in pixels of the smallest square image that the net can take.

    Raises:
        ValueError: there is none, even of 65,536 pixels.
    """
    for size in range(1, _MOST_PIXELS + 1):
        if all(min(place.output_shape) >= 1 for place in places(net, (size, size, 1))):
            return size
    raise ValueError(f"an image of {_MOST_PIXELS:,} pixels a side is too small for this net")


class ConvNet(nn.Module):
    """Applies a list of layers to a batch of images.

    Attributes:
        net: the layers, in order.
        num_classes: number of logits; 0 omits the head and returns the features before it.
        dtype: the type of the computation; parameters are always float32.
        axis_name: in `jax.shard_map`, the axis of the mesh over which a batch is spread: each
            device has a part, of one size. In training, the statistics of batch normalization are
            then those of the whole batch, and dropout is as it would be on one device.
        remat: in training, compute what lies within a block of layers of images (a convolution or
            a residual connection, and what follows it) again for the gradient, and keep the
            blocks' inputs alone: less memory, more time, the same numbers up to rounding.
    """

    net: Net
    num_classes: int = 10
    dtype: Any = jnp.float32
    axis_name: str | None = None
    remat: bool = False

    def init(self, rngs: Any, *args: Any, **options: Any) -> Any:
        """The variables, as `flax.linen.Module.init` gives them.

        Called as init(rngs, images, train=...), it draws them in one compiled program and computes
        no layer. Of the images only the shape is used; a `jax.ShapeDtypeStruct` will do.
        """
        if len(args) != 1 or options.keys() != {"train"} or self.parent or not _is_hashable(self):
            return super().init(rngs, *args, **options)
        call = (jax.tree.map(jax.random.clone, rngs), self, args[0].shape, options["train"])
        try:
            if any(isinstance(key, jax.core.Tracer) for key in jax.tree.leaves(call[0])):
                return _init_from_shape(*call)  # in a function that is being compiled or mapped
            return _init_program(jax.default_backend())(*call)
        except flax.errors.LazyInitError:  # a layer of one's own keeps a value of the images
            return super().init(rngs, *args, **options)

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
            ValueError: `images` does not have four axes, or a layer cannot have its input.

        With `mutable=["intermediates"]`, the layers' outputs (after the activation) are returned
        too, as `conv_1_output`, `max_pool_1_output` and so on, those in a residual connection under
        its name.
        """
        if self._may_be_cut(images, train) and len(images) > (most := self._images_at_once(images)):
            module, variables = self.clone(parent=None), self.variables

            def answer(images: jax.Array) -> Any:
                return module.apply(variables, images, False, None, method="_logits")

            return pieces.answers(answer, images, most)
        return self._logits(images, train, mask)

    @nn.compact
    def _logits(self, images: jax.Array, train: bool, mask: jax.Array | None) -> jax.Array:
        x = as_floats(images, self.dtype)
        layer_shapes(self.net, images.shape[1:])  # a clearer error than those of the layers
        context = Context("", train, mask, self.dtype, self.axis_name)
        x = apply_layers(self, self.net, x, context, remat=self.remat and train)
        head = self.net[-1]
        if self.num_classes and isinstance(head, Head):
            x = nn.Dense(
                self.num_classes,
                kernel_init=initializer(head.kernel_init),
                dtype=self.dtype,
                name="head",
                promote_dtype=with_full_bias,
            )(x)
        return x.astype(jnp.promote_types(x.dtype, jnp.float32))

    def _may_be_cut(self, images: jax.Array, train: bool) -> bool:
        if train or images.ndim != 4 or self.is_initializing():
            return False
        if self.is_mutable_collection("intermediates"):
            return False
        if not pieces.has_many(images, self.variables):
            return False
        # A layer of one's own may draw, sow, or look at several images.
        return all(map(is_of_the_zoo, every_layer(self.net)))

    def _images_at_once(self, images: jax.Array) -> int:
        """How many images a CPU answers at once, at most."""
        inner = [
            math.prod(place.input_shape) + math.prod(place.output_shape)
            for place in places(self.net, images.shape[1:])
            if place.layer.macs(place.input_shape)
        ][1:]  # XLA computes a first layer, of few channels, together with what follows
        return pieces.images_at_once(max(inner, default=1) * jnp.dtype(self.dtype).itemsize)


def as_floats(images: jax.Array, dtype: Any) -> jax.Array:
    """Images as the first layer gets them: integers in 0..255 become floats in [0, 1].

    Raises:
        ValueError: `images` does not have four axes.
    """
    if images.ndim != 4:
        raise ValueError(f"images must be [B, height, width, channels], not {images.shape}")
    x = images.astype(dtype)
    return x / 255 if jnp.issubdtype(images.dtype, jnp.integer) else x


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
