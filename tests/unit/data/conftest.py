"""What tests of data sets decode and download stays in their own folder."""

import pytest


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("P2PQG_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"
