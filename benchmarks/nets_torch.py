"""The zoo's nets in PyTorch, channels last: one training step, and answers."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from zoo.models import layers
from zoo.models.net import named_layers

_ACTIVATIONS = {"relu": torch.nn.ReLU, "silu": torch.nn.SiLU}


class Crop(torch.nn.Module):
    """Removes a border of [B, C, H, W]."""

    def __init__(self, border: int) -> None:
        super().__init__()
        self.border = border

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[B, C, H - 2 * border, W - 2 * border]"""
        return x[:, :, self.border : -self.border, self.border : -self.border]


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


def _activation(name: str | None) -> list[torch.nn.Module]:
    return [_ACTIVATIONS[name](inplace=True)] if name else []


def _modules(net: layers.Net, image_shape: tuple[int, int, int], num_classes: int) -> list[Any]:
    shape: tuple[int, ...] = image_shape
    modules: list[Any] = []
    for _, layer in named_layers(net):
        match layer:
            case layers.Crop(border=border):
                modules.append(Crop(border))
            case layers.Conv(features=features, kernel_size=k, stride=stride, padding=padding):
                # PyTorch's "same" also pads the odd pixel of an even kernel at the right.
                same = "same" if padding == "SAME" else 0
                modules.append(torch.nn.Conv2d(shape[-1], features, k, stride, padding=same))
                modules += _activation(layer.activation)
            case layers.Activation(activation=activation):
                modules += _activation(activation)
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
                modules.append(torch.nn.Linear(shape[0], features))
                modules += _activation(layer.activation)
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


def load_weights(model: Any, arrays: Sequence[np.ndarray]) -> None:
    """Gives a model of `make_net` the weights of a net of the zoo.

    Args:
        model: is changed.
        arrays: of `zoo.models.to_keras_weights`, with data_format="channels_first", because the
            model flattens images with their channels slowest.
    """
    names = ("weight", "bias", "running_mean", "running_var")  # in the order of Keras
    found = [getattr(module, name, None) for module in model for name in names]
    tensors = [tensor for tensor in found if isinstance(tensor, torch.Tensor)]
    with torch.no_grad():
        for tensor, array in zip(tensors, arrays, strict=True):
            # Kernels [h, w, in, out] become [out, in, h, w], [in, out] becomes [out, in].
            turned = array.transpose(3, 2, 0, 1) if array.ndim == 4 else array.T
            if tensor.shape != turned.shape:
                raise ValueError(f"a tensor has shape {tensor.shape}, its array {turned.shape}")
            tensor.copy_(torch.tensor(turned))


def make_trained(
    net: layers.Net,
    arrays: Sequence[np.ndarray],
    image_shape: tuple[int, int, int],
    num_classes: int,
) -> Any:
    """The net as `make_net` makes it, with the arrays of `load_weights`, for inference."""
    model = make_net(net, image_shape, num_classes).eval()
    load_weights(model, arrays)
    return model


def make_predictors(model: Any, *, compiled: bool) -> dict[str, Callable[[np.ndarray], np.ndarray]]:
    """predict(images [B, H, W, C]) -> logits [B, num_classes], in each public way there is."""
    if not compiled:
        return {"eager": _predictor(model)}
    # A program for each size of the batch; none may silently stay eager.
    torch._dynamo.config.recompile_limit = 64
    torch._dynamo.config.fail_on_recompile_limit_hit = True
    return {
        "compile": _predictor(torch.compile(model, dynamic=False)),
        "compile, freezing": _predictor(
            torch.compile(model, dynamic=False, options={"freezing": True})
        ),
    }


def _predictor(forward: Callable[[torch.Tensor], torch.Tensor]) -> Any:
    @torch.inference_mode()
    def predict(images: np.ndarray) -> np.ndarray:
        return forward(torch.from_numpy(images).permute(0, 3, 1, 2)).numpy()  # channels last

    return predict
