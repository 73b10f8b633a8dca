"""Batches and seeds over several devices: what cannot be had; the tests on eight devices."""

import os
import re
import subprocess
import sys

import pytest
from conftest import EIGHT_DEVICES, ROOT
from ml_collections import ConfigDict

from zoo.system.errors import ZooError
from zoo.training import mesh


@pytest.mark.parametrize(
    "marker",
    [
        "not slow and not full",
        pytest.param("slow", marks=pytest.mark.slow),
        pytest.param("full", marks=pytest.mark.full),
    ],
)
def test_on_eight_virtual_devices(marker: str) -> None:
    """The tests in tests/eight_devices, in a process of its own: JAX counts devices once."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", marker]
    flags = f"{os.environ.get('XLA_FLAGS', '')} {EIGHT_DEVICES}"
    environment = {**os.environ, "XLA_FLAGS": flags, "PYTHONPATH": str(ROOT)}
    for variable in ("PYTEST_XDIST_WORKER", "PYTEST_ADDOPTS"):
        environment.pop(variable, None)
    result = subprocess.run(
        [*command, "tests/eight_devices"], cwd=ROOT, env=environment, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stdout
    assert re.search(r"^\d+ passed", result.stdout, re.MULTILINE), result.stdout


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"mesh.data": 2},
            "asks for 2 devices, but JAX has 1 device (cpu): use --config.mesh.data",
        ),
        ({"mesh.seed": 2, "num_seeds": 2}, "asks for 2 devices, but JAX has 1 device"),
        (
            {"mesh.seed": 2, "mesh.model": 3},
            "asks for 2 x 3 = 6 devices, but JAX has 1 device (cpu): use --config.mesh.model=1",
        ),
    ],
)
def test_a_mesh_larger_than_the_machine_is_one_sentence(
    tiny_config: ConfigDict, changes: dict[str, int], said: str
) -> None:
    tiny_config.update_from_flattened_dict(changes)
    with pytest.raises(ZooError, match=re.escape(said)):
        mesh.make(tiny_config, 16)


def test_one_device_has_no_mesh(tiny_config: ConfigDict) -> None:
    """So its program is the one without any."""
    assert mesh.make(tiny_config, 16) is None
