"""The trained weights that the package holds, and what is known of each."""

import functools
import json
from pathlib import Path
from typing import Any

WEIGHTS = Path(__file__).with_name("weights")
INDEX = "index.json"


@functools.cache
def packaged_weights() -> tuple[dict[str, Any], ...]:
    """The entries of the index, one per net and dataset, in its order.

    Each holds what a directory of `save_pretrained` tells in its config.json (`net`, `num_classes`,
    `image_shape`, `dataset`, `test`, `training`, ...), and of its file: `file`, `bytes`, `sha256`,
    `weights_dtype`, `num_parameters`; and `seeds`, the mean and standard deviation of the test
    accuracy of all seeds that were trained in the same way.
    """
    path = WEIGHTS / INDEX
    if not path.exists():
        return ()
    return tuple(json.loads(path.read_text(encoding="utf-8"))["weights"])
