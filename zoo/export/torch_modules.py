"""Modules that PyTorch does not have, of images [B, C, H, W]. Importing this needs PyTorch."""

import torch
from torch import nn
from torch.nn import functional


class Scale(nn.Module):
    """Pixels in 0..255 to floats in [0, 1]."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images.float() / 255


class Permute(nn.Module):
    """`torch.permute` as a module."""

    def __init__(self, *axes: int) -> None:
        super().__init__()
        self.axes = axes

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.permute(self.axes)


class ChannelNorm(nn.Module):
    """A normalization of the last axis, applied to the channels."""

    def __init__(self, norm: nn.LayerNorm) -> None:
        super().__init__()
        self.norm = norm

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.norm(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class AvgPool(nn.Module):
    """The mean over the pixels of each window that lie in the image.

    Args:
        window, stride: pixels.
        sides: (left, right, top, bottom), pixels of padding.
        size: height and width of the images.
    """

    def __init__(
        self, window: int, stride: int, sides: tuple[int, int, int, int], size: tuple[int, ...]
    ) -> None:
        super().__init__()
        self.window, self.stride, self.sides = window, stride, sides
        self.register_buffer("pixels", self._sums(torch.ones(1, 1, *size)))

    def _sums(self, x: torch.Tensor) -> torch.Tensor:
        x = functional.pad(x, self.sides)
        return functional.avg_pool2d(x, self.window, self.stride, divisor_override=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self._sums(x) / self.pixels


class Sum(nn.Module):
    """A residual connection: layers(x) + shortcut(x), of which an empty one is x."""

    def __init__(self, layers: nn.Sequential, shortcut: nn.Sequential) -> None:
        super().__init__()
        self.layers, self.shortcut = layers, shortcut

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layers(x) + self.shortcut(x)
