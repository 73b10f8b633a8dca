"""A net as a program of PyTorch, which `torch.export.load` reads in a process that has no zoo.

PyTorch's layers want the channels before the pixels; the images are transposed first, and
transposed back before they are flattened.
"""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np

from zoo.export.source import Source, Step, pads_of, unknown, window_and_stride
from zoo.models import layers


def write(path: Path, source: Source) -> None:
    """Writes a program for images of any batch size."""
    import torch

    batch = torch.export.Dim("batch")
    pixels = torch.zeros((2, *source.image_shape), dtype=getattr(torch, source.input_type))
    program = torch.export.export(make(source), (pixels,), dynamic_shapes=({0: batch},))
    for node in program.graph.nodes:  # a file that is given away holds no path of this machine
        node.meta.pop("stack_trace", None)
    torch.export.save(program, path)


def make(source: Source) -> Any:
    """The net as a `torch.nn.Module` of images, for inference."""
    from torch import nn

    from zoo.export.torch_modules import Permute, Scale

    found = source.steps()
    ends = [Permute(0, 2, 3, 1)] if len(found[-1].output_shape) == 3 else []
    starts = [Scale()] if source.input_type == "uint8" else []
    return nn.Sequential(*starts, Permute(0, 3, 1, 2), _chain(found), *ends).eval()


def _chain(found: Iterable[Step]) -> Any:
    """The layers one after another, under their names."""
    from torch import nn

    chain = nn.Sequential()
    for step in found:
        name = step.path.rpartition("/")[2]
        modules = [_module(step), *_activation(getattr(step.layer, "activation", None))]
        chain.add_module(name, nn.Sequential(*modules) if len(modules) > 1 else modules[0])
    return chain


def _module(step: Step) -> Any:
    """The layer alone, without its activation."""
    from torch import nn

    from zoo.export.torch_modules import ChannelNorm, Permute, Sum

    channels, arrays = step.input_shape[-1], step.arrays
    match step.layer:
        case layers.Conv() | layers.DepthwiseConv():
            return _conv(step)
        case layers.MaxPool() | layers.AvgPool():
            return _pool(step)
        case layers.GlobalAvgPool():
            return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
        case layers.Crop(border=border):
            return nn.ZeroPad2d(-border)
        case layers.Dropout(rate=rate):
            return nn.Dropout(rate)
        case layers.BatchNorm(momentum=momentum, epsilon=epsilon):
            kind = nn.BatchNorm2d if step.is_of_images else nn.BatchNorm1d
            norm = _with(kind(channels, epsilon, 1 - momentum), **_scale_and_bias(step))
            return _with(norm, running_mean=arrays["mean"], running_var=arrays["var"])
        case layers.GroupNorm(groups=groups, epsilon=epsilon):
            return _with(nn.GroupNorm(groups, channels, epsilon), **_scale_and_bias(step))
        case layers.LayerNorm(epsilon=epsilon):
            norm = _with(nn.LayerNorm(channels, epsilon), **_scale_and_bias(step))
            return ChannelNorm(norm) if step.is_of_images else norm
        case layers.Activation():
            return nn.Identity()
        case layers.Flatten():
            return nn.Sequential(Permute(0, 2, 3, 1), nn.Flatten())
        case layers.Dense() | layers.Head():
            linear = nn.Linear(channels, step.output_shape[0], bias="bias" in arrays)
            return _with(linear, **_bias(step), weight=arrays["kernel"].T)
        case layers.Residual():
            return Sum(_chain(step.inner), _chain(step.shortcut))
    raise unknown(step, ".pt2")


def _conv(step: Step) -> Any:
    from torch import nn

    window, stride = window_and_stride(step)
    kernel = step.arrays["kernel"].transpose(3, 2, 0, 1)  # [out, in of a group, h, w]
    conv = nn.Conv2d(
        step.input_shape[-1],
        len(kernel),
        window,
        stride,
        groups=step.input_shape[-1] // kernel.shape[1],
        bias="bias" in step.arrays,
    )
    _with(conv, **_bias(step), weight=kernel)
    return nn.Sequential(nn.ZeroPad2d(_sides(step)), conv) if any(_sides(step)) else conv


def _pool(step: Step) -> Any:
    from torch import nn

    from zoo.export.torch_modules import AvgPool

    window, stride = window_and_stride(step)
    if isinstance(step.layer, layers.AvgPool):
        return AvgPool(window, stride, _sides(step), step.input_shape[:2])
    pool = nn.MaxPool2d(window, stride)
    pad = nn.ConstantPad2d(_sides(step), -float("inf"))
    return nn.Sequential(pad, pool) if any(_sides(step)) else pool


def _sides(step: Step) -> tuple[int, int, int, int]:
    """(left, right, top, bottom), pixels of padding."""
    (top, bottom), (left, right) = pads_of(step)
    return left, right, top, bottom


def _activation(name: str | None) -> list[Any]:
    from torch import nn

    if name is None:
        return []
    kinds = {"relu": nn.ReLU, "gelu": nn.GELU, "silu": nn.SiLU, "selu": nn.SELU}
    return [nn.LeakyReLU(0.01) if name == "leaky_relu" else kinds[name]()]


def _scale_and_bias(step: Step) -> dict[str, np.ndarray]:
    return {"weight": step.arrays["scale"], "bias": step.arrays["bias"]}


def _bias(step: Step) -> dict[str, np.ndarray]:
    return {"bias": step.arrays["bias"]} if "bias" in step.arrays else {}


def _with(module: Any, **arrays: np.ndarray) -> Any:
    """The module, with these values in its parameters and buffers."""
    import torch

    with torch.no_grad():
        for name, array in arrays.items():
            getattr(module, name).copy_(torch.tensor(np.ascontiguousarray(array)))
    return module


def load(path: Path, source: Source) -> Callable[[np.ndarray], np.ndarray]:
    """predict(images) -> output, by PyTorch on the CPU."""
    import torch

    module = torch.export.load(path).module()
    return lambda images: module(torch.tensor(images)).detach().numpy()
