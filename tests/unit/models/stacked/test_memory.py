"""Freed memory is reused: after the first few, large tensors cost no page faults."""

import pytest
import torch

from p2pqg.models.stacked.memory import keep_freed_memory

resource = pytest.importorskip("resource")
FLOATS = 16 * 2**20  # 64 MiB: more than malloc ever keeps by itself


def page_faults_of_a_large_tensor():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.zeros(FLOATS)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


def test_large_tensors_reuse_the_pages_of_those_before():
    if not keep_freed_memory():
        pytest.skip("the C library is not GNU's")
    faults = [page_faults_of_a_large_tensor() for _ in range(30)]
    # Small objects settle in the first freed blocks; by default all thirty would fault.
    assert sum(count > 100 for count in faults) < 15
