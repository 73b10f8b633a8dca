"""Notebook 002: pairs of convolutions before each pool, all with padding.

The notebook calls the nets by their number of blocks (3, 5 and 7 "layers"); the names here give
the true number of convolutions. From the fourth block on the maps are 2x2 or 1x1, so most weights
of the large kernels only overlap padding and never get a gradient.
What the notebook says wrongly of them is in zoo/reproduction/published.json, and on their cards.
"""

from zoo.models.layers import BatchNorm, Conv, Dense, Dropout, Flatten, Head, MaxPool, Net

# 292,554 parameters, 768 of them moving statistics.
PAIRS_CNN6: Net = (
    Conv(32, 3, "SAME"),
    Conv(64, 5, "SAME"),
    MaxPool(2, padding="SAME"),
    Conv(32, 3, "SAME"),
    Conv(64, 5, "SAME"),
    MaxPool(3, padding="SAME"),
    Conv(32, 3, "SAME"),
    Conv(64, 5, "SAME"),
    MaxPool(4, padding="SAME"),
    Dropout(0.5),
    Flatten(),
    Dense(256),
    BatchNorm(),
    Dropout(0.5),
    Dense(128),
    BatchNorm(),
    Dropout(0.5),
    Head(),
)

# 579,338 parameters, 1,024 of them moving statistics; 190,464 weights never get a gradient.
PAIRS_CNN10: Net = (
    Conv(32, 3, "SAME"),
    Conv(64, 5, "SAME"),
    MaxPool(3, padding="SAME"),
    Conv(32, 4, "SAME"),
    Conv(64, 5, "SAME"),
    MaxPool(3, padding="SAME"),
    Conv(32, 5, "SAME"),
    Conv(64, 6, "SAME"),
    MaxPool(3, padding="SAME"),
    Conv(32, 4, "SAME"),
    Conv(64, 6, "SAME"),
    MaxPool(3, padding="SAME"),
    Conv(32, 5, "SAME"),
    Conv(64, 6, "SAME"),
    MaxPool(3, padding="SAME"),
    Dropout(0.5),
    Flatten(),
    Dense(256),
    BatchNorm(),
    Dropout(0.5),
    Dense(256),
    BatchNorm(),
    Dropout(0.5),
    Head(),
)

# 816,586 parameters, 1,792 of them moving statistics; 473,088 weights never get a gradient.
PAIRS_CNN14: Net = (
    Conv(32, 3, "SAME"),
    Conv(64, 5, "SAME"),
    MaxPool(3, padding="SAME"),
    BatchNorm(),
    Conv(32, 4, "SAME"),
    Conv(64, 5, "SAME"),
    MaxPool(4, padding="SAME"),
    BatchNorm(),
    Conv(32, 5, "SAME"),
    Conv(64, 6, "SAME"),
    MaxPool(5, padding="SAME"),
    BatchNorm(),
    Conv(32, 4, "SAME"),
    Conv(64, 6, "SAME"),
    MaxPool(6, padding="SAME"),
    BatchNorm(),
    Conv(32, 5, "SAME"),
    Conv(64, 6, "SAME"),
    MaxPool(3, padding="SAME"),
    BatchNorm(),
    Conv(32, 5, "SAME"),
    Conv(64, 5, "SAME"),
    MaxPool(4, padding="SAME"),
    BatchNorm(),
    Conv(32, 4, "SAME"),
    Conv(64, 7, "SAME"),
    MaxPool(5, padding="SAME"),
    Dropout(0.5),
    Flatten(),
    Dense(256),
    BatchNorm(),
    Dropout(0.5),
    Dense(256),
    BatchNorm(),
    Dropout(0.5),
    Head(),
)
