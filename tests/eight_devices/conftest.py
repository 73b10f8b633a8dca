"""These tests need eight devices; `tests/training/test_mesh.py` runs them on virtual ones."""

import os

VIRTUAL = "--xla_force_host_platform_device_count=8"
collect_ignore_glob = [] if VIRTUAL in os.environ.get("XLA_FLAGS", "") else ["test_*.py"]
