"""The folder of a Ray of our own is closed to others, and nothing stays of it."""

import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from p2pqg.base.errors import ConfigError
from p2pqg.engine.on_ray import own_folder
from p2pqg.engine.on_ray.own_folder import LONGEST_PLACE, LONGEST_SOCKET, PREFIX, OwnFolder, sweep


@pytest.fixture
def place(tmp_path, monkeypatch):
    """An empty place with a short path, where the folders lie."""
    short = tmp_path / "p"
    short.mkdir()
    monkeypatch.setattr(own_folder, "LONGEST_PLACE", len(str(short)))
    monkeypatch.delenv("RAY_TMPDIR", raising=False)
    monkeypatch.setenv("TMPDIR", str(short))
    return short


def test_only_its_owner_may_enter_it_and_read_the_token(place):
    folder = OwnFolder()
    assert folder.path.parent == place
    assert stat.S_IMODE(folder.path.stat().st_mode) == 0o700
    assert stat.S_IMODE(folder.token.stat().st_mode) == 0o600
    assert len(bytes.fromhex(folder.token.read_text())) == 32
    folder.remove()
    assert list(place.iterdir()) == []


def test_each_has_a_token_of_its_own(place):
    one, other = OwnFolder(), OwnFolder()
    assert one.token.read_text() != other.token.read_text()
    assert one.path.exists()  # the second has not taken it for one that was left behind
    one.remove()
    other.remove()


MAKE_ONE = """
import sys, time
from p2pqg.engine.on_ray.own_folder import OwnFolder
folder = OwnFolder()
print(folder.path, flush=True)
time.sleep(60)
"""


def test_the_next_start_sweeps_out_what_a_killed_process_left():
    command = [sys.executable, "-c", MAKE_ONE]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        left = Path(process.stdout.readline().strip())
        sweep(left.parent)
        assert left.exists()  # it lives
        process.send_signal(signal.SIGKILL)
        process.wait()
    OwnFolder().remove()
    assert not left.exists()


def test_what_has_no_lock_is_not_ours_and_stays(place):
    (place / f"{PREFIX}of-somebody").mkdir()
    OwnFolder().remove()
    assert [path.name for path in place.iterdir()] == [f"{PREFIX}of-somebody"]


def test_a_path_that_is_too_long_for_sockets_is_passed_over(place, monkeypatch):
    long = place / ("x" * (107 - len(str(place)) - 1))
    long.mkdir()
    monkeypatch.setenv("TMPDIR", str(long))
    monkeypatch.setenv("RAY_TMPDIR", str(place))
    folder = OwnFolder()
    assert folder.path.parent == place
    folder.remove()


def test_sockets_have_room_in_the_longest_place():
    inside = "/p2pqg-12345678/r/session_2000-01-01_00-00-00_000000_1234567/sockets/plasma_store"
    assert LONGEST_PLACE + len(inside) == LONGEST_SOCKET
    assert len("/run/user/1000000") <= LONGEST_PLACE


def test_without_any_place_the_message_names_the_variable(monkeypatch, tmp_path):
    places = [str(tmp_path / ("x" * 100)), "/proc"]
    monkeypatch.setattr(own_folder, "places", lambda: iter(places))
    with pytest.raises(ConfigError, match="TMPDIR: .* at most .* none of .*/proc is one"):
        OwnFolder()
