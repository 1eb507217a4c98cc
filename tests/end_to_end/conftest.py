"""One small Ray cluster for all tests that need real actors."""

import logging

import pytest

from p2pqg.engine.on_ray import private_ray
from p2pqg.engine.on_ray.own_folder import OwnFolder


@pytest.fixture(scope="session")
def cluster():
    """Simulations find Ray running and leave it running; it is closed to others as is ours."""
    folder = OwnFolder()
    private_ray.start(folder, num_cpus=2, log_to_driver=False, logging_level=logging.ERROR)
    yield
    private_ray.stop()
    folder.remove()
