"""What tests decode, download and try is kept in a folder of theirs, not in the user's cache."""

import tempfile

import pytest


@pytest.fixture(scope="session", autouse=True)
def cache_of_this_session():
    """One for all tests, and gone after them: what one run of the tests makes, no other finds."""
    with tempfile.TemporaryDirectory(prefix="cache-") as folder, pytest.MonkeyPatch.context() as m:
        m.setenv("P2PQG_CACHE", folder)
        yield
