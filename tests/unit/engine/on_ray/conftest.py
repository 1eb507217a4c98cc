import pytest

from p2pqg.engine.on_ray.own_folder import OwnFolder


@pytest.fixture
def folder():
    folder = OwnFolder()
    yield folder
    folder.remove()
