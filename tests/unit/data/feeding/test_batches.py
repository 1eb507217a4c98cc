"""Batches are a function of (seed, client, step): epochs, packing, and where one starts reading."""

import numpy as np
import pytest
import torch

from p2pqg.base.errors import ConfigError, DataError
from p2pqg.data.feeding.batches import Batches


@pytest.mark.parametrize("size", [1, 5, 45, 1500])
def test_every_epoch_holds_each_sample_once(size):
    batches = Batches([size], [0], batch_size=size, seed=1).indices(0, 4)
    for epoch in batches[:, 0]:
        assert sorted(epoch.tolist()) == list(range(size))


def test_epochs_run_on_end_to_end_when_batches_do_not_fit():
    stream = Batches([45], [0], batch_size=32, seed=1).indices(0, 45).flatten()
    for epoch in stream.view(32, 45):
        assert sorted(epoch.tolist()) == list(range(45))


def test_a_shard_smaller_than_a_batch_comes_around_in_it():
    (batch,) = Batches([3], [0], batch_size=9, seed=1).indices(0, 1)[0]
    assert torch.bincount(batch).tolist() == [3, 3, 3]


def test_epochs_clients_and_seeds_have_orders_of_their_own():
    batches = Batches([500, 500], [0, 1], batch_size=500, seed=1).indices(0, 3)
    other = Batches([500, 500], [0, 1], batch_size=500, seed=2).indices(0, 3)
    orders = torch.cat([batches.flatten(0, 1), other.flatten(0, 1)])
    assert len({tuple(order.tolist()) for order in orders}) == 12


@pytest.mark.parametrize("blocks", [[[0, 1, 2, 3]], [[0], [1], [2], [3]], [[3, 1], [2, 0]]])
def test_batches_do_not_depend_on_packing(blocks):
    sizes = [45, 44, 45, 2000]
    together = Batches(sizes, range(4), batch_size=32, seed=7).indices(0, 100)
    for block in blocks:
        own = Batches([sizes[client] for client in block], block, batch_size=32, seed=7)
        assert torch.equal(own.indices(0, 100), together[:, block])


def test_batches_do_not_depend_on_how_one_reads():
    sizes = [45, 44, 700]
    everything = Batches(sizes, range(3), batch_size=32, seed=7).indices(0, 3000)
    reader = Batches(sizes, range(3), batch_size=32, seed=7)
    for first, number in [(0, 1), (1, 1), (31, 2), (2998, 2), (5, 300), (2990, 10), (31, 2)]:
        assert torch.equal(reader.indices(first, number), everything[first : first + number])


def test_each_sample_is_equally_likely_in_a_batch():
    batches = Batches([40] * 500, range(500), batch_size=10, seed=3).indices(0, 1)
    counts = np.bincount(batches.flatten().numpy(), minlength=40)
    # 500 clients take 10 of 40: mean 125, std sqrt(500 / 4 * 3 / 4) = 9.7.
    assert np.abs(counts - 125).max() < 5 * 9.7


def test_shape_and_type_are_as_documented():
    batches = Batches([45, 50], [3, 9], batch_size=8, seed=0).indices(4, 5)
    assert batches.shape == (5, 2, 8)
    assert batches.dtype == torch.uint8


@pytest.mark.parametrize(
    ("size", "dtype"),
    [(256, torch.uint8), (257, torch.int16), (2**15 + 1, torch.int32)],
)
def test_positions_take_as_few_bytes_as_hold_the_largest_shard(size, dtype):
    batches = Batches([3, size], [0, 1], batch_size=size, seed=0).indices(0, 1)
    assert batches.dtype == dtype
    assert sorted(batches[0, 1].tolist()) == list(range(size))


def test_an_empty_shard_and_an_empty_batch_are_refused():
    with pytest.raises(DataError, match="client 9 has no samples"):
        Batches([45, 0], [3, 9], batch_size=8, seed=0)
    with pytest.raises(ConfigError, match="batch_size must be >= 1, got 0"):
        Batches([45], [3], batch_size=0, seed=0)
