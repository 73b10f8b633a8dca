"""The processes of one run, as a command line or a cluster's environment tells of them."""

import contextlib
import os
import re
from typing import NamedTuple

from zoo.system.errors import ZooError

_CLUSTERS = {  # variables that tell the number of processes, where JAX finds out the rest
    "SLURM_NTASKS": "SLURM_STEP_NODELIST",
    "OMPI_COMM_WORLD_SIZE": "OMPI_COMM_WORLD_RANK",
}


class Processes(NamedTuple):
    """The processes of a run, as one of them knows them."""

    coordinator: str  # HOST:PORT of process 0; "auto": JAX finds out all three
    num_processes: int
    process_id: int  # of this one, from 0


def parse(
    coordinator: str | None, num_processes: int | None, process_id: int | None
) -> Processes | None:
    """What --coordinator, --num_processes and --process_id ask for; None: a single process.

    Without them, Slurm, Open MPI and Cloud TPU tell by their environment variables whether there
    are several.

    Raises:
        ZooError: one is missing or wrong.
    """
    if coordinator == "auto" or (coordinator, num_processes, process_id) == (None, None, None):
        return Processes("auto", 0, 0) if coordinator or _are_several() else None
    if num_processes == 1:
        return None
    if coordinator is None or num_processes is None or process_id is None:
        raise ZooError(
            "a run of several processes needs --coordinator=HOST:PORT, --num_processes=N and "
            "--process_id=K in each of them, K being 0 to N-1 and HOST the machine of process 0"
        )
    if num_processes < 1:
        raise ZooError(f"--num_processes must be 1 or more, not {num_processes}")
    if not 0 <= process_id < num_processes:
        raise ZooError(
            f"--process_id must be from 0 to {num_processes - 1}, as there are --num_processes="
            f"{num_processes}, not {process_id}"
        )
    _, colon, port = coordinator.rpartition(":")
    if not colon or not re.fullmatch(r"\d{1,5}", port) or not 0 < int(port) < 2**16:
        raise ZooError(
            f"--coordinator must be HOST:PORT, such as 10.0.0.1:9876, not {coordinator!r}"
        )
    return Processes(coordinator, num_processes, process_id)


def _are_several() -> bool:
    """Whether this process is one of several by the variables of a cluster."""
    for size, other in _CLUSTERS.items():
        with contextlib.suppress(ValueError):
            if other in os.environ and int(os.environ.get(size, "1")) > 1:
                return True
    return "," in os.environ.get("TPU_WORKER_HOSTNAMES", "")
