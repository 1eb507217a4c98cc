"""A checkpoint on disk is what was written, or it is refused."""

import errno
import json
import os
import resource
import shutil

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from p2pqg.base import pieces
from p2pqg.base.errors import ConfigError
from p2pqg.base.seeding import rng
from p2pqg.results import checkpoint
from p2pqg.results.checkpoint import (
    ARRAYS,
    HEADER,
    newest,
    prune,
    read_checkpoint,
    write_checkpoint,
)

ARRAYS_IN_IT = {
    "x": rng(0, "x").standard_normal((5, 3)).astype("float32"),
    "transposed": rng(1, "x").standard_normal((3, 4)).T,
    "counts": np.arange(4),
    "mask": np.array([True, False]),
    "nothing": np.zeros((0, 3)),
    "number": np.array(2.5),
}
HEADER_IN_IT = {
    "round": 7,
    "lr": 0.1 + 0.2,
    "seconds": 1e-300,
    "log": {"losses": [1 / 3]},
    "é": None,
}
ROWS = [{"round": 0, "loss": 0.1}, {"round": 1}]
TABLES = {"rounds": (ROWS, {"round": "int64", "loss": "float64"})}
FILES = [HEADER, ARRAYS, "rounds.parquet"]


def write(path, **header):
    write_checkpoint(path, HEADER_IN_IT | header, ARRAYS_IN_IT, TABLES)
    return path


@pytest.fixture
def saved(tmp_path):
    return write(tmp_path / "round-000000007")


def flip(file, at, bit=0):
    content = bytearray(file.read_bytes())
    content[at] ^= 1 << bit
    file.write_bytes(content)


def test_what_is_read_is_what_was_written_bit_for_bit(saved):
    found = read_checkpoint(saved)
    assert HEADER_IN_IT.items() <= found.header.items()
    assert set(found.arrays) == set(ARRAYS_IN_IT)
    for name, array in ARRAYS_IN_IT.items():
        assert found.arrays[name].dtype == array.dtype
        assert_array_equal(found.arrays[name], array)
    assert found.tables == {"rounds": ROWS}


def test_there_is_no_code_in_it(saved):
    assert sorted(file.name for file in saved.iterdir()) == sorted(FILES)
    json.loads((saved / HEADER).read_text())
    assert (saved / "rounds.parquet").read_bytes()[:4] == b"PAR1"


@pytest.mark.parametrize("name", FILES)
def test_a_flipped_bit_anywhere_is_noticed(saved, name):
    file = saved / name
    whole = file.read_bytes()
    for at in rng(0, name).choice(len(whole), 60, replace=False):
        flip(file, at, bit=at % 8)
        with pytest.raises(ConfigError, match="damaged|not a checkpoint|of format") as refused:
            read_checkpoint(saved)
        assert str(saved) in str(refused.value)
        assert "\n" not in str(refused.value)
        file.write_bytes(whole)
    assert read_checkpoint(saved).header["round"] == 7


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("left", [0, 1, -1])
def test_a_cut_off_file_is_noticed(saved, name, left):
    (saved / name).write_bytes((saved / name).read_bytes()[:left])
    if name == HEADER and left == -1:  # only the end of the line is gone
        assert read_checkpoint(saved).header["round"] == 7
        return
    with pytest.raises(ConfigError, match="damaged|not a checkpoint"):
        read_checkpoint(saved)


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_named(saved, name):
    (saved / name).unlink()
    with pytest.raises(ConfigError, match=rf"no checkpoint here \({name} is missing\)"):
        read_checkpoint(saved)


def test_where_there_is_nothing_there_is_no_checkpoint(tmp_path):
    with pytest.raises(ConfigError, match="nowhere: no checkpoint here"):
        read_checkpoint(tmp_path / "nowhere")


@pytest.mark.parametrize("text", ["", "{}", "[]", "3", '"round"', '{"format": 1}', '{"files": {}}'])
def test_somebody_elses_json_is_no_checkpoint(saved, text):
    (saved / HEADER).write_text(text)
    with pytest.raises(ConfigError, match="not a checkpoint of p2pqg"):
        read_checkpoint(saved)


def test_a_later_format_says_which_version_can_read_it(saved):
    header = json.loads((saved / HEADER).read_text())
    (saved / HEADER).write_text(json.dumps(header | {"format": 99, "p2pqg": "9.1"}))
    with pytest.raises(ConfigError, match="of format 99, this p2pqg reads 1"):
        read_checkpoint(saved)


def test_a_new_one_takes_the_place_of_the_old_one(saved):
    write(saved, round=8)
    assert read_checkpoint(saved).header["round"] == 8
    assert [path.name for path in saved.parent.iterdir()] == [saved.name]


def test_on_a_full_disk_the_old_one_stays_and_no_draft_is_left(saved):
    """A limit on the size of files stands for a full disk: both fail in the middle of a write."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50, hard))
    try:
        with pytest.raises(OSError, match="too large") as failed:
            write(saved, round=8)
        assert failed.value.errno == errno.EFBIG
        with pytest.raises(OSError, match="too large"):
            write(saved.with_name("round-000000009"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert read_checkpoint(saved).header["round"] == 7
    assert [path.name for path in saved.parent.iterdir()] == [saved.name]


def test_what_was_to_be_replaced_is_there_again_where_that_fails(saved, monkeypatch):
    def replace(source, target, move=os.replace):
        if ".draft-" in str(source):
            raise OSError(errno.EIO, "Input/output error")
        move(source, target)

    monkeypatch.setattr(os, "replace", replace)
    with pytest.raises(OSError, match="Input/output error"):
        write(saved, round=8)
    assert read_checkpoint(saved).header["round"] == 7
    assert [path.name for path in saved.parent.iterdir()] == [saved.name]


def test_who_was_interrupted_after_it_was_replaced_can_replace_it_again(saved):
    shutil.copytree(saved, saved.with_name(f".{saved.name}.replaced-{os.getpid()}"))
    write(saved, round=8)
    assert read_checkpoint(saved).header["round"] == 8
    assert [path.name for path in saved.parent.iterdir()] == [saved.name]


def test_the_newest_comes_first_and_drafts_do_not_count(tmp_path):
    for round in (9, 10, 1_000_000):
        write(tmp_path / f"round-{round:09d}")
    (tmp_path / f".round-000000011.draft-{os.getpid()}").mkdir()
    names = [path.name for path in newest(tmp_path)]
    assert names == ["round-001000000", "round-000000010", "round-000000009"]
    # Killed before the new one had come to the place of the old one; and of another, after that.
    (tmp_path / names[1]).rename(tmp_path / f".{names[1]}.replaced-1")
    (tmp_path / f".{names[2]}.replaced-1").mkdir()
    found = list(newest(tmp_path))
    assert [path.name for path in found] == [names[0], f".{names[1]}.replaced-1", names[2]]
    assert read_checkpoint(found[1]).header["round"] == 7
    assert list(newest(tmp_path / "nowhere")) == []


def test_the_last_two_are_kept(tmp_path):
    for round in (1, 2, 3, 4):
        write(tmp_path / f"round-{round:09d}")
    (tmp_path / ".round-000000003.draft-1").mkdir()
    (tmp_path / ".round-000000002.replaced-1").mkdir()
    (tmp_path / "mine").mkdir()
    prune(tmp_path / "round-000000004")
    left = sorted(path.name for path in tmp_path.iterdir())
    assert left == ["mine", "round-000000003", "round-000000004"]


def test_what_is_newer_but_could_not_be_read_is_left_alone(tmp_path):
    for round in (1, 2, 3, 9):
        write(tmp_path / f"round-{round:09d}")
    prune(tmp_path / "round-000000003")
    left = [path.name for path in newest(tmp_path)]
    assert left == ["round-000000009", "round-000000003", "round-000000002"]


def test_an_array_in_pieces_is_written_as_if_it_were_there(tmp_path, monkeypatch):
    monkeypatch.setattr(pieces, "PIECE_BYTES", 2 * 3 * 8)
    x, fetched = rng(0, "x").standard_normal((7, 3)), []

    def fetch(first, last):
        fetched.append((first, last))
        return x[first:last]

    def rows(first, last):
        return pieces.Pieces((last - first, 3), x.dtype, lambda a, b: fetch(first + a, first + b))

    both = pieces.joined([rows(0, 5), x[5:6], rows(6, 7)])
    write_checkpoint(tmp_path / "c", {}, {"x": both, "n": np.arange(3)}, {})
    monkeypatch.setattr(checkpoint, "PIECE_BYTES", 2 * 3 * 8)
    read = read_checkpoint(tmp_path / "c").arrays
    shutil.rmtree(tmp_path / "c")  # as a run prunes its old ones
    assert isinstance(read["n"], np.ndarray)
    assert isinstance(read["x"], pieces.Pieces)
    assert [len(piece) for piece in read["x"]] == [2, 2, 2, 1]
    assert_array_equal(read["x"], x)
    assert_array_equal(read["x"][3:6][1:], x[4:6])
    assert read["x"][:0].__array__().shape == (0, 3)
    assert fetched == [(0, 2), (2, 4), (4, 5), (6, 7)]
    assert_array_equal(np.asarray(both), x)
