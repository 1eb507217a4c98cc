"""One small Ray cluster for all tests that need real actors."""

import logging

import pytest

from p2pqg.engine.on_ray import private_ray
from p2pqg.engine.on_ray.own_folder import OwnFolder


@pytest.fixture(scope="package")
def cluster():
    """Simulations find Ray running and leave it running; it is closed to others as is ours.

    It ends with this folder's tests: others try what Ray is told of tokens, and where one is still
    running, it is refused minutes later, in a thread of its own, and some test is blamed.
    """
    folder = OwnFolder()
    private_ray.start(folder, num_cpus=2, log_to_driver=False, logging_level=logging.ERROR)
    yield
    private_ray.stop()
    folder.remove()
