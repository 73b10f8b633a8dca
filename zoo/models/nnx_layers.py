"""The modules of NNX for the layers that have variables, or drop."""

from collections.abc import Callable
from typing import Any, TypeVar

import jax
from flax import nnx
from flax.core.scope import LazyRng

import zoo.ops
from zoo.models.layers import (
    BatchNorm,
    Context,
    Conv,
    Dense,
    DepthwiseConv,
    Dropout,
    GroupNorm,
    Layer,
    LayerNorm,
    Net,
    Residual,
    Shape,
    activated,
    named_layers,
)
from zoo.models.layers.convolution import own_conv
from zoo.models.layers.layer import with_full_bias

_Arrays = TypeVar("_Arrays", bound=tuple[Any, ...])


class Layers(nnx.Module):
    """The modules of a list of layers, by the layers' names, for inputs of one shape.

    A layer that is a function has none. Their variables are shapes, which get their values from
    `from_linen`.
    """

    def __init__(self, net: Net, path: tuple[str, ...], input_shape: Shape, dtype: Any) -> None:
        self.net = net
        self.dtype = dtype
        shape = input_shape
        for name, layer in named_layers(net):
            module = make_module(layer, (*path, name), shape, dtype)
            if module is not None:
                setattr(self, name, module)
            shape = layer.output_shape(shape)

    def apply_layers(
        self, x: jax.Array, key: jax.Array | None, mask: jax.Array | None
    ) -> jax.Array:
        """The output of the layers before the head; `key` is that of dropout."""
        for name, layer in named_layers(self.net):
            module: Any = getattr(self, name, None)
            match layer:
                case Conv() | DepthwiseConv() | Dense():
                    x = activated(module(x).astype(self.dtype), layer.activation)
                case BatchNorm():
                    x = module(x, mask=_per_example(mask, x.ndim))
                case GroupNorm() | LayerNorm():
                    x = module(x)
                case Dropout() | Residual():
                    x = module(x, key, mask)
                case _:  # a function
                    x = layer(x, Context(name, train=False, mask=mask, dtype=self.dtype))
        return x


class ResidualBlock(Layers):
    """A residual connection: activation(layers(x) + shortcut(x))."""

    def __init__(
        self, layer: Residual, path: tuple[str, ...], input_shape: Shape, dtype: Any
    ) -> None:
        super().__init__(layer.layers, path, input_shape, dtype)
        self.activation = layer.activation
        if shortcut := layer.shortcut_for(input_shape):
            self.shortcut = _Shortcut(shortcut, (*path, "shortcut"), input_shape, dtype)

    def __call__(self, x: jax.Array, key: jax.Array | None, mask: jax.Array | None) -> jax.Array:
        y = self.apply_layers(x, key, mask)
        if hasattr(self, "shortcut"):
            x = self.shortcut(x, key, mask)
        return activated(y + x, self.activation)


class _Shortcut(Layers):
    def __call__(self, x: jax.Array, key: jax.Array | None, mask: jax.Array | None) -> jax.Array:
        return self.apply_layers(x, key, mask)


class RandomDropout(nnx.Module):
    """Inverted dropout by `zoo.ops.dropout`; `deterministic` turns it off."""

    def __init__(self, rate: float, path: tuple[str, ...]) -> None:
        self.rate = rate
        self.path = path  # names of the layer and of what it is in, outermost first
        self.deterministic = False

    def __call__(
        self, x: jax.Array, key: jax.Array | None, mask: jax.Array | None = None
    ) -> jax.Array:
        """Drops what Linen's layer of that path drops if its net gets the same key."""
        if self.deterministic or key is None:
            return x
        return zoo.ops.dropout(x, self.rate, LazyRng.create(key, *self.path, 1).as_jax_rng())

    def set_view(self, deterministic: bool | None = None) -> None:
        """Called by `nnx.view`."""
        if deterministic is not None:
            self.deterministic = deterministic


def make_module(
    layer: Layer, path: tuple[str, ...], input_shape: Shape, dtype: Any
) -> nnx.Module | None:
    """The module of a layer; None: the layer is a function, without variables.

    Raises:
        ValueError: there is none for a layer of that class.
    """
    if type(layer) is Dropout:
        return RandomDropout(layer.rate, path)
    if type(layer) is Residual:
        return ResidualBlock(layer, path, input_shape, dtype)
    variables = layer.variables(input_shape)
    make = _MAKERS.get(type(layer))
    if make is None and not variables and not isinstance(layer, Dropout | Residual):
        return None
    if make is None:
        raise ValueError(
            f"{'/'.join(path)} is of {type(layer).__name__}, which is not one of "
            f"zoo.models.layers and more than a function: wrap the net, "
            f"nnx.bridge.ToNNX(zoo.models.ConvNet(net), rngs=rngs)"
        )
    return nnx.eval_shape(
        lambda: make(layer, input_shape[-1], variables["params"], dtype=dtype, rngs=nnx.Rngs(0))
    )


def _conv(
    layer: Conv | DepthwiseConv, channels: int, shapes: dict[str, Shape], **options: Any
) -> nnx.Conv:
    side, _, channels_of_group, features = shapes["kernel"]
    return nnx.Conv(
        channels,
        features,
        (side, side),
        strides=layer.stride,
        padding=layer.padding,
        feature_group_count=channels // channels_of_group,
        use_bias=layer.use_bias,
        conv_general_dilated=own_conv,
        promote_dtype=_with_full_bias,
        **options,
    )


def _dense(layer: Dense, channels: int, shapes: dict[str, Shape], **options: Any) -> nnx.Linear:
    options["promote_dtype"] = _with_full_bias
    return nnx.Linear(channels, layer.features, use_bias=layer.use_bias, **options)


def _norm(
    layer: BatchNorm | GroupNorm | LayerNorm, channels: int, shapes: Any, **options: Any
) -> nnx.Module:
    options |= {"epsilon": layer.epsilon, "use_fast_variance": False, "promote_dtype": _as_they_are}
    match layer:
        case BatchNorm():
            return nnx.BatchNorm(channels, momentum=layer.momentum, **options)
        case GroupNorm():
            return nnx.GroupNorm(channels, layer.groups, **options)
    return nnx.LayerNorm(channels, **options)


def _as_they_are(arrays: _Arrays, /, *, dtype: Any = None, inexact: bool = True) -> _Arrays:
    """How normalizations convert their arrays: not, so that those of float32 stay, as in Linen."""
    return arrays


def _with_full_bias(arrays: _Arrays, /, *, dtype: Any = None, inexact: bool = True) -> _Arrays:
    """As Linen's layers of the zoo convert theirs."""
    converted: Any = tuple(with_full_bias(*arrays, dtype=dtype, inexact=inexact))
    return converted


_MAKERS: dict[type[Layer], Callable[..., nnx.Module]] = {
    Conv: _conv,
    DepthwiseConv: _conv,
    Dense: _dense,
    BatchNorm: _norm,
    GroupNorm: _norm,
    LayerNorm: _norm,
}


def _per_example(mask: jax.Array | None, ndim: int) -> jax.Array | None:
    return None if mask is None else mask.reshape(mask.shape + (1,) * (ndim - 1))  # [B, 1, ...]
