"""Notebook 004: three depths, with and without dropout.

Only the 7-conv pair is the same architecture with and without dropout. The others also differ in
pooling or in widths, so the notebook's conclusions on dropout are confounded there.
What it says wrongly of its nets is in zoo/reproduction/published.json, and on their cards.
"""

from zoo.models.layers import Conv, Dropout, Flatten, Head, MaxPool, Net

# 113,162 parameters. Pool 1 is padded, pool 2 is not; the variant with dropout is the other way.
ABLATION_CNN3: Net = (
    Conv(32, 3),
    MaxPool(2, padding="SAME"),
    Conv(64, 3),
    Conv(128, 3),
    MaxPool(2),
    Flatten(),
    Head(),
)

# 124,682 parameters.
ABLATION_CNN3_DROPOUT: Net = (
    Conv(32, 3),
    MaxPool(2),
    Dropout(0.5),
    Conv(64, 3),
    Conv(128, 3),
    MaxPool(2, padding="SAME"),
    Dropout(0.5),
    Flatten(),
    Head(),
)

# 1,344,522 parameters. Widths 128-256-512-256-128; the variant with dropout has 32-64-128-256-512.
ABLATION_CNN5: Net = (
    Conv(128, 2),
    Conv(256, 2),
    MaxPool(2, padding="SAME"),
    Conv(512, 2),
    Conv(256, 2),
    MaxPool(2, padding="SAME"),
    Conv(128, 2),
    Flatten(),
    Head(),
)

# 717,930 parameters.
ABLATION_CNN5_DROPOUT: Net = (
    Conv(32, 2),
    MaxPool(2, padding="SAME"),
    Dropout(0.5),
    Conv(64, 2),
    Conv(128, 2),
    MaxPool(2),
    Dropout(0.5),
    Conv(256, 2),
    Conv(512, 2),
    MaxPool(2, padding="SAME"),
    Dropout(0.5),
    Flatten(),
    Head(),
)

# 1,378,570 parameters.
ABLATION_CNN7: Net = (
    Conv(64, 2),
    Conv(128, 2),
    MaxPool(2, padding="SAME"),
    Conv(256, 2),
    Conv(512, 2),
    MaxPool(2, padding="SAME"),
    Conv(256, 2),
    Conv(128, 2),
    MaxPool(2, padding="SAME"),
    Conv(64, 2),
    Flatten(),
    Head(),
)

# 1,378,570 parameters.
ABLATION_CNN7_DROPOUT: Net = (
    Conv(64, 2),
    Dropout(0.2),
    Conv(128, 2),
    MaxPool(2, padding="SAME"),
    Dropout(0.3),
    Conv(256, 2),
    Dropout(0.4),
    Conv(512, 2),
    MaxPool(2, padding="SAME"),
    Dropout(0.5),
    Conv(256, 2),
    Dropout(0.4),
    Conv(128, 2),
    MaxPool(2, padding="SAME"),
    Dropout(0.3),
    Conv(64, 2),
    Dropout(0.2),
    Flatten(),
    Head(),
)
