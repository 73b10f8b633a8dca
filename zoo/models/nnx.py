"""The nets as modules of `flax.nnx`: the same lists of layers, over the same `zoo.ops`.

model = zoo.models.nnx.create_model("vgg5", rngs=nnx.Rngs(0))
logits = model(images)

It is imported by its name: `import zoo.models` loads neither it nor `flax.nnx`, which would take a
third as long again.
"""

from collections.abc import Mapping, Sequence
from os import PathLike
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from zoo.models import catalogue, pretrained, weight_files
from zoo.models.layers import Dense, Head, Layer, Net, Residual, Shape
from zoo.models.net import ConvNet as LinenConvNet
from zoo.models.net import as_floats, layer_shapes, places, variable_shapes
from zoo.models.nnx_layers import Layers, RandomDropout, make_module

_COLLECTIONS: dict[str, type[nnx.Variable]] = {"params": nnx.Param, "batch_stats": nnx.BatchStat}


def create_model(
    net: str | Net,
    num_classes: int = 10,
    image_shape: Sequence[int] = (28, 28, 1),
    dtype: Any = jnp.float32,
    *,
    rngs: nnx.Rngs,
) -> "ConvNet":
    """A net as a module of NNX: `model(images)`.

    Args:
        net: one of `zoo.models.list_models()`, or fast99; or a tuple of layers of
            `zoo.models.layers`.
        num_classes: number of logits; 0 gives the features before the head.
        image_shape: (height, width, channels) of the images.
        dtype: the type of the computation; parameters are always float32.
        rngs: gives the key of the initial weights, `rngs.params()`, and that of dropout.

    Returns:
        A module in training mode, with the weights that Linen's `init` draws from the same key.

    Raises:
        ValueError: the name is unknown (near matches are suggested); the layers are no net, which
            the text explains; or num_classes is negative.
        ImageTooSmallError: images of that shape are too small for the net.
    """
    layers = catalogue.create_model(net, num_classes).net
    return ConvNet(layers, num_classes, image_shape, dtype, rngs=rngs)


def from_pretrained(
    source: str | PathLike[str],
    *,
    dataset: str = "mnist",
    num_classes: int | None = None,
    dtype: Any = None,
    rngs: nnx.Rngs | None = None,
) -> "ConvNet":
    """A net with its trained weights, in evaluation mode.

    Args:
        source: a net's name, a directory, or "hf://OWNER/NAME", as in `zoo.models.from_pretrained`;
            so are the next three.
        dataset: that of the training; only for a net's name.
        num_classes: of another task: the body stays and the head is new. None: as trained.
        dtype: the type of the computation; None: as trained.
        rngs: gives the key of a new head's weights, and that of dropout; None: `nnx.Rngs(0)`.

    Raises:
        ValueError: unknown net, or the package has no weights of it; num_classes is negative.
        ZooError: the directory cannot be found or downloaded; its files are damaged, or are not of
            a net of this zoo.
    """
    rngs = nnx.Rngs(0) if rngs is None else rngs
    found = pretrained.read(source, dataset)
    linen, variables = pretrained.adapt(found, num_classes, dtype, rngs.params())
    model = ConvNet(
        linen.net,
        linen.num_classes,
        found.config["image_shape"],
        linen.dtype,
        rngs=rngs,
        variables=variables,
    )
    model.eval()
    return model


def from_linen(variables: Mapping[str, Any], model: nnx.Module) -> None:
    """Puts the variables of the same net in Linen into a module, in place.

    Args:
        variables: {"params": ..., "batch_stats": ... if the net has any}, as `init` gives them.
        model: from `create_model`.

    Raises:
        ValueError: the variables are of another net, or of one for images of another shape.
    """
    kept = {part: variables[part] for part in _COLLECTIONS if variables.get(part)}
    given, places = weight_files.flatten(kept), _places(model)
    for path in sorted({*given, *places}):
        shapes = [leaves[path].shape if path in leaves else None for leaves in (given, places)]
        if shapes[0] != shapes[1]:
            raise ValueError(
                f"{path} has shape {shapes[0]} in the variables and {shapes[1]} in the module: "
                f"give those of the same net, for images of the same shape"
            )
    for path, place in places.items():
        place.set_value(jnp.asarray(given[path]))


def to_linen(model: nnx.Module) -> dict[str, Any]:
    """The variables of a module, for `zoo.models.create_model(name).apply(variables, ...)`.

    Returns:
        {"params": ..., "batch_stats": ... if the net has any}.
    """
    states = {part: nnx.state(model, kind) for part, kind in _COLLECTIONS.items()}
    return {part: nnx.to_pure_dict(state) for part, state in states.items() if state}


def _places(model: nnx.Module) -> dict[str, nnx.Variable]:
    """The variables under keys such as "params/conv_1/kernel"."""
    return {
        "/".join([part, *map(str, path)]): variable
        for part, kind in _COLLECTIONS.items()
        for path, variable in nnx.to_flat_state(nnx.state(model, kind))
    }


class ConvNet(Layers):
    """Applies a list of layers to a batch of images.

    Layers that have variables, or drop, are attributes with Linen's names: `conv_1`,
    `batch_norm_1`, `dropout_1`, `head`. In training mode, in which it is made, the net applies
    dropout and uses the statistics of the batch; `eval()` and `train()` change that.

    Args:
        net: the layers, in order.
        num_classes: number of logits; 0 omits the head and gives the features before it.
        image_shape: (height, width, channels) of the images.
        dtype: the type of the computation; parameters are always float32.
        rngs: gives the key of the initial weights, `rngs.params()`, and that of dropout.
        variables: the weights, as Linen has them; None: drawn.

    Raises:
        ImageTooSmallError: images of that shape are too small for the net.
        ValueError: a layer cannot have its input; the variables are of another net; a layer has
            variables and is not one of `zoo.models.layers`.
    """

    def __init__(
        self,
        net: Net,
        num_classes: int = 10,
        image_shape: Sequence[int] = (28, 28, 1),
        dtype: Any = jnp.float32,
        *,
        rngs: nnx.Rngs,
        variables: Mapping[str, Any] | None = None,
    ) -> None:
        shape: Shape = tuple(image_shape)
        layer_shapes(net, shape)  # a clearer error than those of the layers
        super().__init__(net, (), shape, dtype)
        self.num_classes = num_classes
        self.image_shape = shape
        if num_classes and isinstance(net[-1], Head):
            features = variable_shapes(net, shape, num_classes)["params"]["head"]["kernel"].shape[0]
            self.head: Any = make_module(Dense(num_classes), ("head",), (features,), dtype)
        if variables is None:  # in one compiled program; NNX would compile one for each layer
            images = jax.ShapeDtypeStruct((1, *shape), jnp.float32)
            linen = LinenConvNet(net, num_classes, dtype)
            variables = linen.init(rngs.params(), images, train=False)
        from_linen(variables, self)
        if any(isinstance(module, RandomDropout) for _, module in nnx.iter_modules(self)):
            self.rngs = nnx.RngStream(rngs.dropout(), tag="dropout")

    def __call__(
        self,
        images: jax.Array,
        rngs: nnx.Rngs | nnx.RngStream | jax.Array | None = None,
        *,
        mask: jax.Array | None = None,
    ) -> jax.Array:
        """Logits [B, num_classes] (or features [B, F]), at least float32.

        Args:
            images: [B, height, width, channels]; float in [0, 1], or an integer type in 0..255.
            rngs: for dropout, in place of the module's own stream. A stream gives one key for each
                call; a key drops what Linen's `apply(..., rngs={"dropout": key})` drops.
            mask: [B] bool, the examples used for batch statistics; None: all.

        Raises:
            ImageTooSmallError: a layer would have an empty output.
            ValueError: `images` does not have four axes, or another shape than the net was made
                for, and a layer cannot take it.
        """
        x = as_floats(images, self.dtype)
        self._check(images.shape[1:])
        x = self.apply_layers(x, self._dropout_key(rngs), mask)
        if hasattr(self, "head"):
            x = self.head(x)
        return x.astype(jnp.promote_types(x.dtype, jnp.float32))

    def _check(self, shape: Shape) -> None:
        if shape == self.image_shape:
            return
        needed, there = (
            (variable_shapes(self.net, each, self.num_classes), _shortcuts(self.net, each))
            for each in (shape, self.image_shape)
        )
        if needed != there:
            raise ValueError(
                f"this net was made for images of {self.image_shape}, not {shape}: "
                f"create it with image_shape={shape}"
            )

    def _dropout_key(self, rngs: nnx.Rngs | nnx.RngStream | jax.Array | None) -> jax.Array | None:
        """The key of this call; None if no layer needs one."""
        if not any(
            isinstance(module, RandomDropout) and not module.deterministic
            for _, module in nnx.iter_modules(self)
        ):
            return None
        match rngs:
            case None:
                return self.rngs()
            case nnx.Rngs():
                return rngs.dropout()
            case nnx.RngStream():
                return rngs()
        return rngs


def _shortcuts(net: Net, image_shape: Shape) -> list[tuple[Layer, ...]]:
    """The shortcuts of residual connections, whose strides depend on the shape of the images."""
    found = places(net, image_shape)
    return [
        place.layer.shortcut_for(place.input_shape)
        for place in found
        if isinstance(place.layer, Residual)
    ]
