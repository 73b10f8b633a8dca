"""Lists of layers: their names, their application, and the residual connection, which holds one."""

import dataclasses
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any, ClassVar

import flax.linen as nn
import jax

from zoo.models.layers.convolution import Conv, DepthwiseConv
from zoo.models.layers.dense import Dense, Head
from zoo.models.layers.layer import ActivationName, Context, Layer, Shape, activated
from zoo.models.layers.normalization import STATISTICS
from zoo.models.layers.pooling import Flatten, GlobalAvgPool

Net = tuple[Layer | Head, ...]


def named_layers(net: Iterable[Layer | Head]) -> Iterator[tuple[str, Layer]]:
    """Each layer before the head with its name: conv_1, max_pool_1, conv_2, dense_1, ...

    What a residual connection holds is not among them; it is in its `layers` and `shortcut_for`.
    """
    counts: Counter[str] = Counter()
    for layer in net:
        if not isinstance(layer, Head):
            counts[layer.kind] += 1
            yield f"{layer.kind}_{counts[layer.kind]}", layer


def every_layer(net: Iterable[Layer | Head]) -> Iterator[Layer | Head]:
    """Each layer, those that residual connections were given included."""
    for layer in net:
        if isinstance(layer, Residual):
            yield from every_layer((*layer.layers, *layer.shortcut))
        yield layer


def is_of_the_zoo(layer: Layer | Head) -> bool:
    """Whether a layer, those within it apart, is of this package, and not one of one's own."""
    return type(layer).__module__.startswith(f"{__package__}.")


def apply_layers(
    module: nn.Module, net: Net, x: jax.Array, context: Context, remat: bool = False
) -> jax.Array:
    """The output of the layers before the head, whose variables become those of the module.

    Each layer's output is sown as an intermediate value, such as `conv_1_output`. With `remat`,
    of the layers of images only the inputs of blocks are kept for the gradient.
    """
    blocks = _blocks(net) if remat else [[*named_layers(net)]]
    for block in blocks:

        def apply(module: nn.Module, x: jax.Array, block: Any = block) -> jax.Array:
            for name, layer in block:
                x = layer(x, dataclasses.replace(context, name=name))
                module.sow("intermediates", f"{name}_output", x)
            return x

        x = (nn.remat(apply, policy=_KEPT) if remat and x.ndim == 4 else apply)(module, x)
    return x


# What is kept within a block: sums over devices, which would be communicated again.
_KEPT = jax.checkpoint_policies.save_only_these_names(STATISTICS)


def _blocks(net: Net) -> list[list[tuple[str, Layer]]]:
    """The named layers, cut before each convolution, each residual connection, and the vectors.

    So of a convolution its input is kept alone. Larger blocks, up to the next pool, keep less, but
    while the gradient of one is computed, all that is in it is there: nothing was gained by them.
    """
    blocks: list[list[tuple[str, Layer]]] = [[]]
    for name, layer in named_layers(net):
        if isinstance(layer, Conv | DepthwiseConv | Residual | Flatten | GlobalAvgPool):
            blocks.append([])
        blocks[-1].append((name, layer))
    return [block for block in blocks if block]


@dataclasses.dataclass(frozen=True, repr=False)
class Residual(Layer):
    """A residual connection: activation(layers(x) + shortcut(x)).

    Without a shortcut of its own, it is x itself; or, where the layers change the shape, a 1x1
    convolution (of vectors, a dense layer) to that shape, without bias and activation. Names are
    such as residual_1/conv_1/kernel and residual_1/shortcut/conv_1/kernel.
    """

    kind: ClassVar[str] = "residual"
    layers: tuple[Layer, ...]
    shortcut: tuple[Layer, ...] = ()  # (): as the shapes need it
    activation: ActivationName = "relu"  # of the sum

    @property
    def rank(self) -> int | None:  # type: ignore[override]
        """That of the first layer with one."""
        ranks = (layer.rank for layer in self.layers)
        return next((rank for rank in ranks if rank is not None), None)

    def output_shape(self, input_shape: Shape) -> Shape:
        return output_shape(self.layers, input_shape)

    def shortcut_for(self, input_shape: Shape) -> tuple[Layer, ...]:
        """The layers of the shortcut; (): it is x itself."""
        output = self.output_shape(input_shape)
        if self.shortcut or output == input_shape or len(output) != len(input_shape):
            return self.shortcut
        if len(output) == 1:
            return (Dense(output[0], activation=None, use_bias=False),)
        stride = -(-input_shape[0] // max(output[0], 1))  # the one by which the height becomes so
        return (Conv(output[-1], 1, stride=stride, activation=None, use_bias=False),)

    def check(self, input_shape: Shape) -> None:
        output = self.output_shape(input_shape)
        if len(output) != len(input_shape):
            raise ValueError("turns images into vectors: put Flatten or GlobalAvgPool after it")
        shortcut = output_shape(self.shortcut_for(input_shape), input_shape)
        if min(output) >= 1 and output != shortcut:
            raise ValueError(
                f"has layers that make {_sizes(output)} of {_sizes(input_shape)}, and a shortcut "
                f"that makes {_sizes(shortcut)}: use padding='SAME' in them, or give a shortcut"
            )

    def settings(self) -> str:
        return f"sum, {self.activation or 'linear'}"

    def __call__(self, x: jax.Array, context: Context) -> jax.Array:
        return _Residual(self, name=context.name)(x, context)


class _Residual(nn.Module):
    """The scope of the variables of a residual connection."""

    layer: Residual

    @nn.compact
    def __call__(self, x: jax.Array, context: Context) -> jax.Array:
        y = apply_layers(self, self.layer.layers, x, context)
        if shortcut := self.layer.shortcut_for(x.shape[1:]):
            x = _Shortcut(shortcut, name="shortcut")(x, context)
        return activated(y + x, self.layer.activation)


class _Shortcut(nn.Module):
    layers: tuple[Layer, ...]

    @nn.compact
    def __call__(self, x: jax.Array, context: Context) -> jax.Array:
        return apply_layers(self, self.layers, x, context)


def output_shape(layers: Iterable[Layer], input_shape: Shape) -> Shape:
    """Shape of one example's output after all layers; it may contain sizes below 1."""
    for layer in layers:
        if min(input_shape) < 1:
            break
        input_shape = layer.output_shape(input_shape)
    return input_shape


def _sizes(shape: Shape) -> str:
    return "x".join(map(str, shape))
