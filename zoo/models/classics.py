"""Notebook 001: a LeNet-inspired, a VGGNet-inspired and a custom net.

What it says wrongly of its nets is in zoo/reproduction/published.json, and on their cards.
"""

from zoo.models.layers import Conv, Dense, Dropout, Flatten, Head, MaxPool, Net

# 716,234 parameters. Named by the notebook's title; its third convolution is commented out.
LENET3: Net = (
    Conv(256, 3),
    MaxPool(2),
    Dropout(0.25),
    Conv(128, 3),
    MaxPool(2),
    Dropout(0.25),
    Flatten(),
    Dense(128),
    Dropout(0.5),
    Dense(64),
    Dropout(0.5),
    Head(),
)

# 2,128,650 parameters.
VGG5: Net = (
    Conv(64, 3),
    Conv(64, 3),
    MaxPool(2),
    Dropout(0.5),
    Conv(256, 3),
    Conv(256, 3),
    MaxPool(2),
    Dropout(0.5),
    Conv(512, 3),
    MaxPool(2),
    Dropout(0.5),
    Flatten(),
    Dense(256),
    Dropout(0.5),
    Dense(128),
    Dropout(0.5),
    Dense(64),
    Dropout(0.5),
    Head(),
)

# 56,753,866 parameters.
CUSTOM7: Net = (
    Conv(64, 3),
    Dropout(0.5),
    Conv(128, 3),
    Dropout(0.5),
    Conv(256, 3),
    Dropout(0.5),
    Conv(512, 3),
    Dropout(0.5),
    Conv(768, 4),
    MaxPool(2),
    Dropout(0.5),
    Conv(1024, 4),
    Dropout(0.5),
    Conv(2048, 4),
    MaxPool(2),
    Dropout(0.5),
    Flatten(),
    Dense(1024),
    Dropout(0.4),
    Dense(512),
    Dropout(0.4),
    Dense(256),
    Dropout(0.5),
    Dense(64),
    Dropout(0.5),
    Head(),
)
