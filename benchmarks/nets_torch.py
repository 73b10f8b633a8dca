"""The zoo's nets and one training step in PyTorch, channels last."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from zoo.models import layers
from zoo.models.net import named_layers


class SamePad(torch.nn.Module):
    """Pads with the odd pixel at the right and the bottom, as TensorFlow and Keras do."""

    def __init__(self, window: int, stride: int, value: float) -> None:
        super().__init__()
        self.window, self.stride, self.value = window, stride, value

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Pads [B, C, H, W] so that a window without padding gives ceil(size / stride)."""
        pads = []
        for size in (x.shape[3], x.shape[2]):
            total = max(0, (-(-size // self.stride) - 1) * self.stride + self.window - size)
            pads += [total // 2, total - total // 2]
        return functional.pad(x, pads, value=self.value) if any(pads) else x


def _modules(net: layers.Net, image_shape: tuple[int, int, int], num_classes: int) -> list[Any]:
    shape: tuple[int, ...] = image_shape
    modules: list[Any] = []
    for _, layer in named_layers(net):
        match layer:
            case layers.Conv(features=features, kernel_size=k, padding=padding):
                # PyTorch's "same" also pads the odd pixel of an even kernel at the right.
                same = "same" if padding == "SAME" else 0
                modules += [
                    torch.nn.Conv2d(shape[-1], features, k, padding=same),
                    torch.nn.ReLU(inplace=True),
                ]
            case layers.MaxPool(window=window, stride=stride, padding=padding):
                if padding == "SAME":
                    modules.append(SamePad(window, stride or window, float("-inf")))
                modules.append(torch.nn.MaxPool2d(window, stride or window))
            case layers.Dropout(rate=rate):
                modules.append(torch.nn.Dropout(rate))
            case layers.BatchNorm(momentum=momentum, epsilon=epsilon):
                norm = torch.nn.BatchNorm2d if len(shape) == 3 else torch.nn.BatchNorm1d
                modules.append(norm(shape[-1], epsilon, 1 - momentum))
            case layers.Flatten():
                modules.append(torch.nn.Flatten())
            case layers.Dense(features=features):
                modules += [torch.nn.Linear(shape[0], features), torch.nn.ReLU(inplace=True)]
            case _:
                raise TypeError(f"there is no PyTorch equivalent of {layer!r}")
        shape = layer.output_shape(shape)
    return [*modules, torch.nn.Linear(shape[0], num_classes)]


def make_net(net: layers.Net, image_shape: tuple[int, int, int], num_classes: int) -> Any:
    """The net as a module for [B, C, H, W] images; with PyTorch's initialization."""
    model = torch.nn.Sequential(*_modules(net, image_shape, num_classes))
    return model.to(memory_format=torch.channels_last)


def _make_optimizer(config: Any, parameters: Any) -> torch.optim.Optimizer:
    if config.name == "adadelta":
        return torch.optim.Adadelta(
            parameters, config.learning_rate, config.rho, config.eps, foreach=True
        )
    betas = (config.b1, config.b2)
    return torch.optim.Adam(parameters, config.learning_rate, betas, config.eps, fused=True)


def make_runner(
    net: layers.Net,
    config: Any,
    images: np.ndarray,
    labels: np.ndarray,
    num_classes: int,
    *,
    compiled: bool,
) -> Callable[[int], float]:
    """run(num_steps) -> mean loss: trains `num_steps` steps on random batches of the images."""
    torch.manual_seed(0)
    _, height, width, channels = images.shape
    model = make_net(net, (height, width, channels), num_classes).train()
    optimizer = _make_optimizer(config.optimizer, model.parameters())
    forward = torch.compile(model) if compiled else model
    data = torch.from_numpy(images.transpose(0, 3, 1, 2).astype(np.float32) / 255)
    data = data.contiguous(memory_format=torch.channels_last)
    targets = torch.from_numpy(labels.astype(np.int64))

    def run(num_steps: int) -> float:
        loss_sum, num_correct = torch.zeros(()), torch.zeros((), dtype=torch.int64)
        for _ in range(num_steps):
            indices = torch.randint(len(data), (config.batch_size,))
            label = targets[indices]
            logits = forward(data[indices].contiguous(memory_format=torch.channels_last))
            loss = functional.cross_entropy(logits, label)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            with torch.no_grad():
                loss_sum += loss.detach()
                num_correct += (logits.argmax(1) == label).sum()
        return float(loss_sum) / num_steps

    return run
