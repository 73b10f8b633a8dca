"""The version of the numbers that a run computes.

It is raised by each change of a run's bits: another formulation of an operation, another draw of
random numbers. Histories and checkpoints carry it, and a run that goes on across a change says so.
"""

from collections.abc import Mapping
from typing import Any

CHANGES = {  # what a version changed
    2: "An output whose patch is blank is exactly zero. Before, rounding errors of Winograd's sums "
    "passed the ReLU there while biases were zero, and the first steps gave the biases the "
    "gradient of the blank background too.",
}
VERSION = max(CHANGES)
_OF_HALF = 2  # in bfloat16 and float16, since biases and their gradients are float32


def facts(dtype: str) -> dict[str, int]:
    """What else an environment tells, of a run that computes in that type; of float32 {}."""
    return {} if dtype == "float32" else {"mixed_precision": _OF_HALF}


def version_of(environment: Mapping[str, Any]) -> int:
    """The version that an environment, as a history keeps it, computed with; at first none did."""
    return environment.get("numerics", 1)


def note_on(before: int) -> str:
    """What a run says that was computed with that version and goes on with this one."""
    changes = " ".join(CHANGES[version] for version in range(before + 1, VERSION + 1))
    return (
        f"this run was computed with version {before} of the zoo's numerics and goes on with "
        f"version {VERSION}: it is not bit for bit the run of either version. {changes}".rstrip()
    )
