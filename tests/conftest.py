"""What a test leaves behind no other test finds: its parts, and what it decodes and downloads."""

import gc
import os
import tempfile

import pytest

# Tests run side by side on all cores: threads of one that wait for each other must not spin on what
# another computes with, which took a third of the CPU. Read once, when torch is imported.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

from p2pqg.base.registry import Registry


def pytest_collection_finish():
    """No garbage is looked for among the tests themselves: a twentieth less."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def cache_of_this_session():
    """One for all tests, and gone after them: what one run of the tests makes, no other finds."""
    with tempfile.TemporaryDirectory(prefix="cache-") as folder, pytest.MonkeyPatch.context() as m:
        m.setenv("P2PQG_CACHE", folder)
        yield


@pytest.fixture(autouse=True)
def parts_as_before():
    """What a test registers, or names in a file of its own, is gone after it; our parts stay."""
    before = [(of, dict(of._entries), dict(of._files)) for of in Registry.known]
    yield
    for registry, entries, files in before:
        now = registry._entries.items()
        ours = {name: part for name, part in now if part.is_ours}
        registry._entries, registry._files = entries | ours, files
