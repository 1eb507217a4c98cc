"""A user's own partition: lists, functions, and functions of a file."""

import numpy as np
import pytest

from p2pqg.base.errors import ConfigError, DataError
from p2pqg.base.seeding import rng
from p2pqg.data import load, partition, parts_of, read, split
from p2pqg.data._stored import copy_of_parts
from p2pqg.data.own_split import checked_parts

ARRAYS = load("synthetic", samples=20, classes=2)


def halves(labels, clients, rng):
    """Clients get samples in the order of a permutation."""
    return np.array_split(rng.permutation(len(labels)), clients)


def test_a_list_of_index_arrays_is_taken_as_it_is():
    parts = parts_of([[3, 1], np.array([0]), range(4, 6)], ARRAYS, 3)
    assert [part.tolist() for part in parts] == [[3, 1], [0], [4, 5]]
    assert all(part.dtype == np.int64 for part in parts)
    masks = np.arange(20) < 5, np.arange(20) >= 5
    assert [len(part) for part in parts_of(list(masks), ARRAYS, 2)] == [5, 15]


def test_a_client_may_have_all_samples_in_an_order_of_its_own_or_by_a_mask():
    (own,) = checked_parts([[2, 0, 1]], 3, 1, "partition")
    assert own.tolist() == [2, 0, 1]
    (own,) = checked_parts([np.array([True, False, True])], 3, 1, "partition")
    assert own.tolist() == [0, 2]
    with pytest.raises(DataError, match="must have a row of whole numbers, got bool of shape"):
        checked_parts([np.array([True, False])], 3, 1, "partition")


def test_a_sample_may_belong_to_several_clients():
    assert parts_of([[0, 1], [1, 2]], ARRAYS, 2)[1].tolist() == [1, 2]


def test_a_list_is_refused_where_samples_that_were_drawn_for_a_test_number_the_others_anew():
    x, y = np.arange(20.0).reshape(10, 2), np.arange(10) % 2
    given = [[0, 1], [2, 3]]
    with pytest.raises(DataError, match="2 of them are drawn for a test, which numbers the others"):
        parts_of(given, read((x, y)), 2)
    assert len(parts_of(halves, read((x, y)), 2)) == 2  # a function is told those that are left
    arrays = read((x, y), test=(x, y))
    assert arrays.train_x[parts_of(given, arrays, 2)[1]].tolist() == [[4.0, 5.0], [6.0, 7.0]]


def test_a_function_gets_the_labels_the_clients_and_a_generator_of_the_seed():
    for seed in (0, 3):
        expected = halves(ARRAYS.train_y, 4, rng(seed, "partition"))
        found = parts_of(halves, ARRAYS, 4, seed=seed)
        for part, other in zip(found, expected, strict=True):
            np.testing.assert_array_equal(part, other)


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        ([[0]], "partition has parts for 1 clients, the network has 2; make them agree"),
        (7, "partition must be a list of index arrays, one for each client, got int"),
        ("iid", "partition must be a list of index arrays"),
        ([[0], []], "partition: client 1 has no samples; give it some, or use fewer clients"),
        ([[0], [20]], "partition: client 1: indices must be 0 .. 19, found 20 .. 20"),
        ([[0], [-1]], "client 1: indices must be 0 .. 19, found -1"),
        ([[0], [1, 2, 1]], "client 1 has sample 1 twice; leave it out once"),
        ([[0], np.ma.masked_equal([1, 2], 2)], "client 1 has indices that are masked; give those"),
        ([[0], [0.5]], "client 1 must have a row of whole numbers, got float64"),
        ([[0], [[1]]], r"client 1 must have a row of whole numbers, got int64 of shape \(1, 1\)"),
        (lambda labels, clients, rng: 1 / 0, r"partition <lambda> \(.* line \d+\): Zero"),
        (
            lambda labels: [],
            r"partition <lambda> must take \(labels, clients, rng\), got \(labels\)",
        ),
        (lambda labels, clients, rng: None, "partition <lambda> must be a list of index arrays"),
    ],
)
def test_a_partition_that_cannot_be_used_is_refused_in_one_clear_line(given, complaint):
    with pytest.raises(DataError, match=complaint) as error:
        parts_of(given, ARRAYS, 2)
    assert "\n" not in str(error.value)


FILE = """
import numpy as np

def by_sign(targets, clients, rng, first=3):
    return [np.arange(first), np.arange(first, len(targets))]

def skewed(labels, clients, rng, alpha):
    return np.array_split(np.arange(len(labels))[: int(100 * alpha)], clients)

def odd(labels, clients, rng, share):
    return []

def few(labels):
    return []
"""


@pytest.fixture
def file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my_split.py").write_text(FILE)


def test_a_function_of_a_file_is_a_partition_with_settings_of_its_own(file):
    sizes = [len(part) for part in split("my_split.py:by_sign", ARRAYS, 2)]
    assert sizes == [3, 17]
    sizes = [len(part) for part in split("my_split.py:by_sign", ARRAYS, 2, first=5)]
    assert sizes == [5, 15]
    with pytest.raises(ConfigError, match=r"unknown key firs; did you mean first\?"):
        split("my_split.py:by_sign", ARRAYS, 2, firs=5)


def test_a_function_that_asks_for_alpha_gets_it(file):
    parts = partition("my_split.py:skewed", ARRAYS.train_y, 2, alpha=0.1)
    assert [len(part) for part in parts] == [5, 5]
    with pytest.raises(ConfigError, match="alpha must be a number > 0 .* got None"):
        partition("my_split.py:skewed", ARRAYS.train_y, 2)


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("my_split.py:by_sing", r"my_split.py has no partition 'by_sing'; did you mean by_sign"),
        ("nowhere.py:f", "partition nowhere.py: no such file"),
        ("my_split.py", "partition my_split.py must say which: my_split.py:NAME"),
        ("my_split.py:odd", "my_split.py:odd: share is missing; set it"),
        ("my_split.py:few", r"my_split.py:few must take \(labels, clients, rng\), got \(labels\)"),
    ],
)
def test_a_name_that_leads_nowhere_is_refused(file, name, complaint):
    with pytest.raises(ConfigError, match=complaint):
        split(name, ARRAYS, 2)


# ---- what is held out for validation belongs to nobody


def test_samples_that_are_held_out_are_in_no_part(tmp_path):
    rows = np.setdiff1d(np.arange(20), [3, 7, 11])
    seen = []

    def watching(labels, clients, rng):
        seen.append(labels)
        return halves(labels, clients, rng)

    shards = [(np.ones((7, 2)), [0] * 7), (np.ones((13, 2)), [1] * 13)]
    clients = read(shards, test=(np.ones((2, 2)), [0, 1]))
    kept, files = copy_of_parts([np.arange(10), np.arange(10, 20)], tmp_path)
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    for parts in (
        split("iid", ARRAYS, 2, rows=rows),
        split("shards", ARRAYS, 2, rows=rows),
        split("column:client", clients, 2, rows=rows),
        split(**kept, arrays=ARRAYS, clients=2, rows=rows),
        parts_of([range(10), range(10, 20)], ARRAYS, 2, rows=rows),
        parts_of(watching, ARRAYS, 2, rows=rows),
    ):
        assert not {3, 7, 11} & set(np.concatenate(parts).tolist())
        assert len(np.concatenate(parts)) >= 16
    np.testing.assert_array_equal(seen[0], ARRAYS.train_y[rows])
    with pytest.raises(DataError, match="client 1 has no samples but those that are held out"):
        parts_of([[0], [3, 7]], ARRAYS, 2, rows=rows)


# ---- partitions of what has no classes


def test_targets_of_regression_are_split_by_their_tenths():
    x = np.arange(100.0)[:, None]
    y = np.random.default_rng(0).permutation(100) / 7
    arrays = read((x, y, x, y))
    parts = split("shards", arrays, 10, shards_per_client=1)
    tenths = sorted(sorted(arrays.train_y[part, 0]) for part in parts)
    assert [value for part in tenths for value in part] == sorted(y)
    assert len(split("dirichlet", arrays, 2, alpha=1.0)) == 2


def test_several_labels_at_once_are_split_by_their_combination():
    y = np.tile([[1, 1, 0], [0, 1, 1]], (10, 1))
    arrays = read((np.ones((20, 2)), y, np.ones((20, 2)), y))
    parts = split("shards", arrays, 2, shards_per_client=1)
    assert [len(np.unique(arrays.train_y[part], axis=0)) for part in parts] == [1, 1]
