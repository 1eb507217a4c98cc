"""One small Ray cluster for all tests that need real actors."""

import logging

import pytest
import ray


@pytest.fixture(scope="session")
def cluster():
    """Simulations find Ray running and leave it running."""
    ray.init(
        address="local",
        num_cpus=2,
        include_dashboard=False,
        log_to_driver=False,
        logging_level=logging.ERROR,
    )
    yield
    ray.shutdown()
