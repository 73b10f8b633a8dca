"""The recipe of configs/fast99.py in PyTorch: the same net, optimizer, schedule and loss."""

import math
from collections.abc import Callable
from typing import Any

import jax
import nets_torch
import numpy as np
import torch
from torch.nn import functional

import zoo.models
import zoo.training.optim

_NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)  # coefficients as optax.contrib.muon


class Muon:
    """`optax.contrib.muon` with nesterov: kernels orthogonalized, biases by Adam."""

    def __init__(self, parameters: list[torch.Tensor], config: Any) -> None:
        self.parameters, self.config, self.count = parameters, config, 0
        self.means = [torch.zeros_like(parameter) for parameter in parameters]
        self.squares = [torch.zeros_like(p) if p.ndim == 1 else None for p in parameters]

    @torch.no_grad()
    def step(self, rate: float) -> None:
        """One update at that learning rate, from the parameters' gradients."""
        self.count += 1
        b1, b2, eps = self.config.b1, self.config.b2, self.config.eps
        steps = self.config.ns_steps
        torch._foreach_lerp_(self.means, [p.grad for p in self.parameters], 1 - b1)
        of_mean, of_gradient = b1 / (1 - b1 ** (self.count + 1)), (1 - b1) / (1 - b1**self.count)
        for parameter, mean, square in zip(self.parameters, self.means, self.squares, strict=True):
            ahead = mean * of_mean + parameter.grad * of_gradient
            if square is None:
                matrix = ahead.flatten(1)  # [outputs, inputs]
                scale = math.sqrt(max(1.0, matrix.shape[0] / matrix.shape[1]))
                update = orthogonalized(matrix, eps, steps).view_as(parameter) * scale
            else:
                square.mul_(b2).addcmul_(parameter.grad, parameter.grad, value=1 - b2)
                update = ahead / (torch.sqrt(square / (1 - b2**self.count)) + eps)
            parameter -= rate * update


def orthogonalized(matrix: torch.Tensor, eps: float, steps: int) -> torch.Tensor:
    """Newton and Schulz's iteration towards the nearest orthogonal matrix."""
    x = matrix / (torch.linalg.matrix_norm(matrix) + eps)
    if x.shape[0] > x.shape[1]:
        x = x.T
    a, b, c = _NEWTON_SCHULZ
    for _ in range(steps):
        gram = x @ x.T
        x = a * x + (b * gram + c * (gram @ gram)) @ x
    return x if x.shape == matrix.shape else x.T


def make_run(
    config: Any, train: tuple[Any, Any], test: tuple[Any, Any], *, compiled: bool
) -> tuple[Callable[[int], Any], Callable[[Any], float]]:
    """(run, score): run(seed) trains a net from nothing, score(net) is its share of right answers.

    Args:
        config: as configs/fast99.py.
        train: images [N, H, W, C] uint8 and labels [N].
        test: the same.
        compiled: use `torch.compile`.
    """
    net = zoo.models.NETS[config.model]
    num_classes, image_shape = int(train[1].max()) + 1, train[0].shape[1:]
    images, labels = _tensors(train)
    steps = -(-len(labels) // config.batch_size)
    schedule = zoo.training.optim.make_schedule(config.optimizer, steps, config.num_epochs)
    rates = np.asarray(jax.vmap(schedule)(np.arange(steps * config.num_epochs))).tolist()
    example = nets_torch.make_net(net, image_shape, num_classes)
    # One compiled function serves all seeds: the parameters are its arguments.
    forward = _functional(example, compiled)

    def run(seed: int) -> Any:
        torch.manual_seed(seed)
        parameters = _initial(example)
        optimizer = Muon(list(parameters.values()), config.optimizer)
        for epoch in range(config.num_epochs):
            order = torch.randperm(len(labels)).split(config.batch_size)
            for step, indices in enumerate(order):
                batch = images[indices].contiguous(memory_format=torch.channels_last)
                loss = functional.cross_entropy(
                    forward(parameters, batch),
                    labels[indices],
                    label_smoothing=config.label_smoothing,
                )
                gradients = torch.autograd.grad(loss, list(parameters.values()))
                for parameter, gradient in zip(parameters.values(), gradients, strict=True):
                    parameter.grad = gradient
                optimizer.step(rates[epoch * steps + step])
        return parameters

    @torch.no_grad()
    def score(parameters: Any) -> float:
        images, labels = _tensors(test)
        answers = [forward(parameters, part).argmax(1) for part in images.split(500)]
        return float((torch.cat(answers) == labels).float().mean())

    return run, score


def _tensors(split: tuple[Any, Any]) -> tuple[torch.Tensor, torch.Tensor]:
    images = torch.from_numpy(np.asarray(split[0]).transpose(0, 3, 1, 2).astype(np.float32) / 255)
    labels = torch.from_numpy(np.asarray(split[1]).astype(np.int64))
    return images.contiguous(memory_format=torch.channels_last), labels


def _functional(model: torch.nn.Module, compiled: bool) -> Callable[[Any, Any], torch.Tensor]:
    def forward(parameters: Any, images: torch.Tensor) -> torch.Tensor:
        return torch.func.functional_call(model, parameters, (images,))

    return torch.compile(forward, dynamic=False) if compiled else forward


def _initial(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    """Fresh parameters, drawn as the zoo does: Glorot-uniform kernels, biases of zero."""
    parameters = {}
    for name, old in model.named_parameters():
        new = torch.empty_like(old)
        torch.nn.init.xavier_uniform_(new) if old.ndim > 1 else torch.nn.init.zeros_(new)
        parameters[name] = new.requires_grad_()
    return parameters
