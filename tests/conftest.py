"""Eight virtual CPU devices for all tests; set before JAX starts."""

import os
import tempfile

os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ["XLA_FLAGS"] = (
    os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=8"
)
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

# One cache of compiled programs for the tests and the processes that they start.
if "PYTEST_XDIST_WORKER" not in os.environ:
    _CACHE = tempfile.TemporaryDirectory(prefix="raindrop-tests-")
    os.environ["RAINDROP_CACHE"] = _CACHE.name
