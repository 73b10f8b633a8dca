"""Notebook 003: a pool after every convolution or one late pool; Glorot-normal kernels.

This is the only notebook that holds out validation data: the last 12,000 training images.
What it says wrongly of its nets is in zoo/reproduction/published.json, and on their cards.
"""

import functools

from zoo.models import layers
from zoo.models.layers import Dropout, Flatten, MaxPool, Net

Conv = functools.partial(layers.Conv, kernel_init="glorot_normal")
Dense = functools.partial(layers.Dense, kernel_init="glorot_normal")
Head = functools.partial(layers.Head, kernel_init="glorot_normal")

# 87,914 parameters.
POOLING_CNN3: Net = (
    Conv(32, 3),
    MaxPool(2),
    Conv(64, 3),
    MaxPool(2),
    Conv(96, 3),
    MaxPool(2),
    Flatten(),
    Dense(128),
    Head(),
)

# 650,962 parameters. Pools 3 to 5 have stride 1: they do not shrink the maps.
POOLING_CNN5: Net = (
    Conv(32, 5),
    MaxPool(2),
    Conv(56, 5),
    MaxPool(2),
    Conv(68, 5, "SAME"),
    MaxPool(2, stride=1, padding="SAME"),
    Conv(80, 5, "SAME"),
    MaxPool(2, stride=1, padding="SAME"),
    Conv(92, 5, "SAME"),
    MaxPool(2, stride=1, padding="SAME"),
    Flatten(),
    Dense(128),
    Head(),
)

# 778,574 parameters. Convolutions 6 and 7 are 5x5; pools 3 to 7 have stride 1.
POOLING_CNN7: Net = (
    Conv(16, 2),
    MaxPool(2),
    Conv(32, 2),
    MaxPool(2),
    Conv(44, 2, "SAME"),
    MaxPool(2, stride=1, padding="SAME"),
    Conv(56, 2, "SAME"),
    MaxPool(2, stride=1, padding="SAME"),
    Conv(68, 2, "SAME"),
    MaxPool(2, stride=1, padding="SAME"),
    Conv(80, 5, "SAME"),
    MaxPool(2, stride=1, padding="SAME"),
    Conv(92, 5, "SAME"),
    MaxPool(2, stride=1, padding="SAME"),
    Flatten(),
    Dense(128),
    Head(),
)

# 1,562,474 parameters.
POOLING_CNN3_LATE: Net = (
    Conv(32, 3),
    Conv(64, 3),
    Conv(96, 3),
    MaxPool(2),
    Flatten(),
    Dropout(0.5),
    Dense(128),
    Dropout(0.5),
    Head(),
)
