"""Freed memory is reused: the second time, a large tensor costs no page faults."""

import pytest
import torch

from p2pqg.models._memory import keep_freed_memory

resource = pytest.importorskip("resource")
FLOATS = 4 * 2**20  # 16 MiB: thousands of pages


def page_faults_of_a_large_tensor():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.zeros(FLOATS)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


def test_a_large_tensor_reuses_the_pages_of_the_last_one():
    if not keep_freed_memory():
        pytest.skip("the C library is not GNU's")
    page_faults_of_a_large_tensor()
    assert page_faults_of_a_large_tensor() < 100
