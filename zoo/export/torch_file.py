"""A net as a program of PyTorch, which `torch.export.load` reads in a process that has no zoo.

PyTorch's layers want the channels before the pixels; the images are transposed first, and
transposed back before they are flattened.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from zoo.export.source import Source, Step, pads_of, unknown
from zoo.models import layers


def write(path: Path, source: Source) -> None:
    """Writes a program for images of any batch size."""
    import torch

    batch = torch.export.Dim("batch")
    pixels = torch.zeros((2, *source.image_shape), dtype=getattr(torch, source.input_type))
    program = torch.export.export(make(source), (pixels,), dynamic_shapes=({0: batch},))
    torch.export.save(program, path)


def make(source: Source) -> Any:
    """The net as a `torch.nn.Sequential` for inference."""
    from torch import nn

    class Permute(nn.Module):
        def __init__(self, *axes: int) -> None:
            super().__init__()
            self.axes = axes

        def forward(self, x: Any) -> Any:
            return x.permute(self.axes)

    class Scale(nn.Module):
        def forward(self, x: Any) -> Any:
            return x.float() / 255

    model = nn.Sequential()
    if source.input_type == "uint8":
        model.add_module("scaled", Scale())
    model.add_module("channels_first", Permute(0, 3, 1, 2))
    for step in source.steps():
        if isinstance(step.layer, layers.Flatten):
            model.add_module("channels_last", Permute(0, 2, 3, 1))
        for name, module in _modules(step).items():
            model.add_module(name, module)
    if len(step.output_shape) == 3:
        model.add_module("channels_last", Permute(0, 2, 3, 1))
    return model.eval()


def _modules(step: Step) -> dict[str, Any]:
    """A layer's modules by name."""
    from torch import nn

    name, arrays = step.name, step.arrays
    match step.layer:
        case layers.Conv(features=features, kernel_size=size, padding=padding):
            conv = nn.Conv2d(step.input_shape[-1], features, size)
            _set(conv, weight=arrays["kernel"].transpose(3, 2, 0, 1), bias=arrays["bias"])
            pad = _pad(step, size, 1, padding, 0)
            return pad | {name: conv, f"{name}_relu": nn.ReLU()}
        case layers.MaxPool(window=window, stride=stride, padding=padding):
            pad = _pad(step, window, stride or window, padding, -float("inf"))
            return pad | {name: nn.MaxPool2d(window, stride or window)}
        case layers.Crop(border=border):
            return {name: nn.ZeroPad2d(-border)}
        case layers.Dropout(rate=rate):
            return {name: nn.Dropout(rate)}
        case layers.BatchNorm(momentum=momentum, epsilon=epsilon):
            kind = nn.BatchNorm2d if len(step.input_shape) == 3 else nn.BatchNorm1d
            norm = kind(step.input_shape[-1], epsilon, 1 - momentum)
            _set(norm, weight=arrays["scale"], bias=arrays["bias"])
            _set(norm, running_mean=arrays["mean"], running_var=arrays["var"])
            return {name: norm}
        case layers.Flatten():
            return {name: nn.Flatten()}
        case layers.Dense():
            return {name: _linear(step), f"{name}_relu": nn.ReLU()}
        case layers.Head():
            return {name: _linear(step)}
    raise unknown(step, ".pt2")


def _linear(step: Step) -> Any:
    from torch import nn

    linear = nn.Linear(step.input_shape[0], step.output_shape[0])
    _set(linear, weight=step.arrays["kernel"].T, bias=step.arrays["bias"])
    return linear


def _pad(step: Step, window: int, stride: int, padding: str, value: float) -> dict[str, Any]:
    """A module that pads as TensorFlow does, if there is anything to pad."""
    from torch import nn

    (top, bottom), (left, right) = pads_of(step.input_shape, window, stride, padding)
    sides = (left, right, top, bottom)
    return {f"{step.name}_pad": nn.ConstantPad2d(sides, value)} if any(sides) else {}


def _set(module: Any, **arrays: np.ndarray) -> None:
    import torch

    with torch.no_grad():
        for name, array in arrays.items():
            getattr(module, name).copy_(torch.tensor(np.ascontiguousarray(array)))


def load(path: Path, source: Source) -> Callable[[np.ndarray], np.ndarray]:
    """predict(images) -> output, by PyTorch on the CPU."""
    import torch

    module = torch.export.load(path).module()
    return lambda images: module(torch.tensor(images)).detach().numpy()
