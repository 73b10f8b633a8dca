"""A JAX functional model zoo for small-image classification.

`zoo.models` holds the nets, `zoo.training` trains them. Importing `zoo` computes nothing.
"""

__version__ = "0.1.0"
