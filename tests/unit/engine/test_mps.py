"""Whether NVIDIA's MPS runs, as its folder tells; no GPU is needed to look."""

import os

import pytest

from p2pqg.engine.mps import mps_runs, of_mps


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("CUDA_MPS_PIPE_DIRECTORY", str(tmp_path))
    return tmp_path


def test_without_a_pipe_it_does_not_run(folder):
    assert not mps_runs()


def test_with_a_pipe_it_runs_if_its_process_is_alive(folder):
    (folder / "control").write_text("")
    assert mps_runs()
    (folder / "nvidia-cuda-mps-control.pid").write_text(f"{os.getpid()}\n")
    assert mps_runs()
    (folder / "nvidia-cuda-mps-control.pid").write_text(f"{2**22 + 1}\n")  # no process has it
    assert not mps_runs()


def test_actors_that_share_a_card_are_told_of(folder):
    assert of_mps(1, True) == of_mps(1, False) == ""
    assert "at the same time" in of_mps(2, True)
    assert "take turns" in of_mps(2, False)
