"""Eight virtual CPU devices for all tests; set before JAX starts."""

import os
import tempfile

import pytest

from raindrop.errors import printable

os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ["XLA_FLAGS"] = (
    os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=8"
)
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

# One cache of compiled programs for the tests and the processes that they start.
if "PYTEST_XDIST_WORKER" not in os.environ:
    _CACHE = tempfile.TemporaryDirectory(prefix="raindrop-tests-")
    os.environ["RAINDROP_CACHE"] = _CACHE.name


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """What was captured, for pytest-xdist, which sends nothing but UTF-8."""
    report = yield
    report.sections = [(name, printable(text)) for name, text in report.sections]
    return report
