"""A folder that a Ray of our own may have, gone after the test."""

import pytest

from p2pqg.engine.on_ray.own_folder import OwnFolder


@pytest.fixture
def folder():
    folder = OwnFolder()
    yield folder
    folder.remove()
