"""The configurations: `default`, which holds every key, and one for each net.

A wheel holds the modules here. In a checkout they are the files of its directory `configs`.
"""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from configs import default as default  # what type checkers do not find by __path__

__path__.append(str(Path(__file__).resolve().parents[2] / "configs"))
