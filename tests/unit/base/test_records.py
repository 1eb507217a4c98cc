"""Rows on record lie in columns, and read as the list of dictionaries that they were."""

import copy
import pickle
import sys

import numpy as np
import pytest

from p2pqg.base.records import TOGETHER, Records, column_of, last_having

EVERY = 7


def rows(count):
    """Some with an accuracy, or with one that is None; numbers of all kinds."""
    found = []
    for i in range(count):
        row = {"round": i, "loss": 1 / (i + 1), "lied": i % 2 == 0, "large": 2**70 + i}
        row |= {"mixed": i if i % 3 else i / 2, "of_numpy": np.float64(i), "inf": -np.inf}
        row |= {"pair": [i, -i], "name": f"round {i}", "parts": {"of": i}}
        if i % EVERY == 0:
            row["accuracy"] = i / count
        elif i % EVERY == 1:
            row["accuracy"] = None
        found.append(row)
    return found


@pytest.mark.parametrize("count", [0, 5, TOGETHER, 2 * TOGETHER + 9])
def test_they_read_as_a_list(count):
    given = rows(count)
    kept = Records(copy.deepcopy(given))
    assert len(kept) == count
    assert bool(kept) == bool(given)
    assert list(kept) == given
    assert list(reversed(kept)) == given[::-1]
    assert kept == given
    assert kept[3:-1] == given[3:-1]
    for i in {0, count // 2, count - 1, -count} if count else ():
        assert kept[i] == given[i]
        assert {name: type(value) for name, value in kept[i].items()} == {
            name: type(value) for name, value in given[i].items()
        }
    for beyond in (count, -count - 1):
        with pytest.raises(IndexError):
            kept[beyond]


def test_columns_are_those_of_the_rows():
    given = rows(2 * TOGETHER + 9)
    kept = Records(given)
    for name, kind in [
        ("round", "int64"),
        ("loss", "float64"),
        ("lied", "bool"),
        ("mixed", "float64"),
        ("accuracy", "float64"),
        ("nowhere", "float64"),
    ]:
        for found, right in zip(kept.column(name, kind), column_of(given, name, kind), strict=True):
            assert found.dtype == right.dtype
            assert (found == right).all()


@pytest.mark.parametrize("count", [0, 5, TOGETHER, 3 * TOGETHER + 1])
@pytest.mark.parametrize("at", [0, 3, TOGETHER - 1, TOGETHER + 2, 3 * TOGETHER])
def test_the_last_row_with_a_column_is_found_wherever_it_is(count, at):
    given = [{"round": i} | ({"loss": 0.5} if i in (0, at) else {}) for i in range(count)]
    expected = given[at if at < count else 0] if count else None
    assert last_having(Records(given), "loss", "more") == expected
    assert last_having(given, "loss", "more") == expected
    assert last_having(Records(given), "lost") is None


def test_a_copy_goes_its_own_way():
    kept = Records(rows(TOGETHER - 1))
    twin = kept.copy()
    kept.append({"round": -1})
    twin.extend([{"round": -2}, {"round": -3}])
    assert [kept[-1], len(kept)] == [{"round": -1}, TOGETHER]
    assert [twin[-2], len(twin)] == [{"round": -2}, TOGETHER + 1]
    assert pickle.loads(pickle.dumps(twin)) == twin


@pytest.mark.parametrize("count", [3, TOGETHER + 3])
def test_who_changes_a_row_changes_ones_own(count):
    kept = Records(rows(count))
    for row in (kept[0], kept[-1], *kept[-2:], *kept):
        row["loss"] = 0
    assert kept == rows(count)


def test_who_reads_sees_what_was_there_at_first():
    kept = Records(rows(TOGETHER - 1))
    reader = iter(kept)
    first = next(reader)
    kept.extend(rows(5))
    assert [first, *reader] == rows(TOGETHER - 1)


def test_a_million_numbers_take_their_eight_bytes():
    row = {f"column {i}": i / 3 for i in range(10)}
    count = 10 * TOGETHER
    kept = Records({**row, "round": i} for i in range(count))
    blocks, last = kept._held
    held = sum(c.values.nbytes for block in blocks for c in block.values())
    assert held == count * 11 * 8
    assert not last
    assert held < 0.2 * count * (sys.getsizeof(row) + 10 * sys.getsizeof(0.5))
