"""Run directories: nobody gets another's, a refusal leaves none."""

import errno
import shutil
import threading
import tracemalloc
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
import pytest

from p2pqg.base.errors import ConfigError, StorageError
from p2pqg.results import directory as module
from p2pqg.results.directory import LOCK, RunDirectory, does_not_stay
from p2pqg.results.schemas import LINK_COLUMNS


def test_many_that_start_in_one_second_get_a_directory_each(tmp_path):
    together = threading.Barrier(8)

    def start(_):
        together.wait()
        return RunDirectory.fresh(str(tmp_path / "runs" / "out"), "ring4-dsgd").path

    with ThreadPoolExecutor(8) as pool:
        paths = list(pool.map(start, range(8)))
    assert len(set(paths)) == 8
    assert sorted(paths) == sorted((tmp_path / "runs" / "out").iterdir())
    assert all(path.name.startswith("ring4-dsgd-2") for path in paths)


def test_the_next_number_follows_the_second(tmp_path, monkeypatch):
    monkeypatch.setattr("time.strftime", lambda _: "20200101-000000")
    names = [RunDirectory.fresh(str(tmp_path), "a").path.name for _ in range(3)]
    assert names == [f"a-20200101-000000{end}" for end in ("", "-2", "-3")]


def test_results_in_the_copy_that_a_job_of_rays_runs_in_are_told_not_to_stay(tmp_path, monkeypatch):
    copy = tmp_path / "session" / "runtime_resources" / "working_dir_files" / "_ray_pkg_0123"
    copy.mkdir(parents=True)
    monkeypatch.chdir(copy)
    (line,) = does_not_stay(RunDirectory("runs/out", "mine").path)
    assert line.endswith("which Ray deletes; set --out to a folder of your own")
    assert list(does_not_stay(RunDirectory(str(tmp_path), "mine").path)) == []


def test_what_was_made_for_a_run_that_is_refused_is_taken_away(tmp_path):
    directory = RunDirectory(str(tmp_path / "runs" / "out"), "mine")
    directory.reserve()
    assert (tmp_path / "runs" / "out" / "mine" / LOCK).exists()
    directory.discard()
    assert list(tmp_path.iterdir()) == []
    full = OSError(errno.ENOSPC, "No space left on device")  # a sweep's run had failed for good
    with pytest.raises(StorageError, match="make room"), directory.told_if_not_writable():
        raise full


def test_what_was_there_before_stays(tmp_path):
    (tmp_path / "runs" / "out" / "other").mkdir(parents=True)
    RunDirectory.fresh(str(tmp_path / "runs" / "out"), "mine").discard()
    assert [path.name for path in (tmp_path / "runs" / "out").iterdir()] == ["other"]
    mine = RunDirectory(str(tmp_path / "deep" / "out"), "mine")
    (mine.path / "config.yaml").write_text("a: 1")
    mine.discard()
    assert (mine.path / "config.yaml").exists()


def test_of_two_with_one_name_the_second_is_refused_even_when_the_first_has_just_ended(tmp_path):
    first, second = (RunDirectory(str(tmp_path), "same") for _ in range(2))
    first.reserve()
    with pytest.raises(ConfigError, match="same is being written by another process"):
        second.reserve()
    first.write_config({"rounds": 1})
    first.__exit__()
    with pytest.raises(ConfigError, match="same already holds a run"):
        second.reserve()
    assert not (tmp_path / "same" / LOCK).exists()


def test_a_directory_that_is_deleted_under_its_hands_is_made_again(tmp_path):
    directory = RunDirectory(str(tmp_path), "mine")
    directory.write_own_files({"net.csv": b"source,target"})
    (directory.path / "seeds.json").touch()  # of several seeds that were killed at their start
    directory.write_config({"rounds": 1})
    kept = {path.name: path.read_bytes() for path in directory.path.rglob("*.*")}
    shutil.rmtree(directory.path)
    directory.write_rows([{"round": 0}], [], now=True)
    assert kept == {p.name: p.read_bytes() for p in directory.path.rglob("*.*") if p.name in kept}
    assert sorted(kept) == ["config.yaml", "net.csv"]
    assert (directory.path / "rounds.parquet").exists()


def test_long_files_are_written_less_often(tmp_path, monkeypatch):
    now, directory = [100.0], RunDirectory(str(tmp_path), "mine")

    def write(path, rows, columns):
        now[0] += len(rows)  # a second for each row
        written.append(path.name)

    def load():
        now[0] += 20.0

    written = []
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(module, "load_writer", load)
    monkeypatch.setattr(module, "write_parquet", write)
    assert directory.write_rows([{"round": 0}] * 3, [])
    assert written == ["rounds.parquet", "clients.parquet"]
    now[0] += 59.0  # three seconds are a twentieth of a minute
    assert not directory.write_rows([{"round": 0}] * 3, [])
    assert directory.write_rows([], [], now=True)
    now[0] += 1.9
    assert not directory.write_rows([], [])  # quick ones every two seconds
    now[0] += 0.2
    assert directory.write_rows([], [])
    assert directory.write_rows([{"round": 0}] * 100, [], now=True)
    now[0] += 301.0  # not in half an hour: the disk may be quick again
    assert directory.write_rows([], [])


@pytest.mark.parametrize("make", [RunDirectory, RunDirectory.fresh])
def test_a_file_in_the_way_is_said(tmp_path, make):
    (tmp_path / "out").write_text("")
    with pytest.raises(ConfigError, match="out must be a folder that can be written, got .*/out"):
        make(str(tmp_path / "out"), "mine")
    with pytest.raises(ConfigError, match="out must be a folder that can be written"):
        make(str(tmp_path / "out" / "deeper"), "mine")


def test_many_links_are_written_without_a_row_of_objects_each(tmp_path):
    number = np.arange(300_000)
    kinds = LINK_COLUMNS.items()
    links = pd.DataFrame(
        {name: (number + at).astype(kind) for at, (name, kind) in enumerate(kinds)}
    )
    directory = RunDirectory(str(tmp_path), "mine")
    directory.write_links(links[:1])  # its libraries are there
    tracemalloc.start()
    directory.write_links(links)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < links.memory_usage().sum()
    pd.testing.assert_frame_equal(pd.read_parquet(directory.path / "links.parquet"), links)
    directory.write_links(pd.DataFrame({}))  # before anything was sent
    assert list(pd.read_parquet(directory.path / "links.parquet")) == list(LINK_COLUMNS)
