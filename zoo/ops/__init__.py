"""Convolution, pooling and dropout as plain functions of arrays, fast on every platform.

Each has one definition and two formulations. A program lowered for a CPU gets the one that was
measured to be fast there; any other platform gets XLA's own operation. The choice is made when the
program is lowered, not when it is traced, so one exported program can run on several platforms.
"""

from zoo.ops.averages import avg_pool
from zoo.ops.convolution import conv
from zoo.ops.dropout import dropout
from zoo.ops.pooling import max_pool

__all__ = ["avg_pool", "conv", "dropout", "max_pool"]
