"""Notebook 000: three depths, each with a different kernel size (3x3, 5x5, 2x2).

Hidden dense layers use He-normal initialization; batch normalization follows the ReLU.
What the notebook says wrongly of them is in zoo/reproduction/published.json, and on their cards.
"""

from zoo.models.layers import (
    BatchNorm,
    Conv,
    Dense,
    Dropout,
    Flatten,
    Head,
    MaxPool,
    Net,
)

# 914,698 parameters.
KERNELS_CNN3: Net = (
    Conv(32, 3),
    Conv(64, 3),
    MaxPool(2),
    Dropout(0.25),
    Conv(128, 3),
    MaxPool(2),
    Dropout(0.25),
    Flatten(),
    Dense(256, "he_normal"),
    Dropout(0.5),
    Head(),
)

# 248,545 parameters, 512 of them moving statistics.
KERNELS_CNN5: Net = (
    Conv(10, 5, "SAME"),
    Conv(20, 5),
    MaxPool(2, padding="SAME"),
    Dropout(0.25),
    Conv(35, 5, "SAME"),
    MaxPool(2, padding="SAME"),
    Dropout(0.25),
    Conv(70, 5, "SAME"),
    Conv(80, 5),
    MaxPool(2, padding="SAME"),
    Dropout(0.25),
    Flatten(),
    Dense(256, "he_normal"),
    BatchNorm(),
    Dropout(0.5),
    Head(),
)

# 497,076 parameters, 512 of them moving statistics.
KERNELS_CNN7: Net = (
    Conv(10, 2, "SAME"),
    Conv(20, 2),
    MaxPool(3, stride=1),
    Dropout(0.3),
    Conv(40, 2),
    MaxPool(2, padding="SAME"),
    Conv(60, 2, "SAME"),
    Conv(120, 2),
    MaxPool(3, padding="SAME"),
    Dropout(0.25),
    Conv(120, 2, "SAME"),
    Conv(240, 2),
    MaxPool(2, stride=1),
    Dropout(0.25),
    Flatten(),
    Dense(256, "he_normal"),
    BatchNorm(),
    Dropout(0.5),
    Dense(128, "he_normal"),
    Dropout(0.25),
    Head(),
)
