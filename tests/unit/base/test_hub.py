"""The hub is asked last, and once; where it does not answer, that is said at once."""

import ssl
import sys
import types
from contextlib import contextmanager
from urllib.error import HTTPError, URLError

import pytest

from p2pqg.base import hub
from p2pqg.base.errors import ConfigError
from p2pqg.base.hub import fetch, no_downloads

NAME = "someone/some-bert"


@pytest.fixture
def loads(monkeypatch):
    """What is asked of transformers, which have nothing on this machine."""
    asked = []

    def from_pretrained(path, local_files_only=False):
        asked.append("here" if local_files_only else "hub")
        if local_files_only:
            raise OSError("not on this machine\nand a long explanation")
        return path

    @contextmanager
    def quiet(transformers):
        yield

    made = types.SimpleNamespace(AutoThing=types.SimpleNamespace(from_pretrained=from_pretrained))
    monkeypatch.setitem(sys.modules, "transformers", made)
    monkeypatch.setattr(hub, "_quiet", quiet)
    return asked


def answering(monkeypatch, error=None):
    """Let the hub answer, or fail."""
    asked = []

    def urlopen(request, timeout):
        asked.append((request.full_url, request.get_method(), timeout))
        if error:
            raise error
        return types.SimpleNamespace(close=lambda: None)

    monkeypatch.setattr(hub, "urlopen", urlopen)
    return asked


def test_what_is_not_here_comes_from_the_hub(loads, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "https://mirror.example")
    asked = answering(monkeypatch)
    assert fetch("AutoThing", NAME) == NAME
    assert loads == ["here", "hub"]
    assert asked == [("https://mirror.example", "HEAD", hub.SECONDS_TO_ANSWER)]


@pytest.mark.parametrize(
    "error",
    [
        HTTPError("https://hub", 403, "not like this", {}, None),
        URLError(ssl.SSLCertVerificationError("self-signed")),
    ],
)
def test_an_answer_that_is_no_welcome_is_an_answer(loads, monkeypatch, error):
    answering(monkeypatch, error)
    fetch("AutoThing", NAME)
    assert loads == ["here", "hub"]


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (URLError(OSError("no route to host")), "cannot be reached: no route to host"),
        (TimeoutError(), "gave no answer in 5 s"),
    ],
)
def test_a_hub_that_does_not_answer_is_asked_once_and_that_is_said(
    loads, monkeypatch, error, reason
):
    asked = answering(monkeypatch, error)
    with pytest.raises(ConfigError, match=f"{NAME}.*no AutoThing.*{reason}.*set model.path") as no:
        fetch("AutoThing", NAME)
    assert "\n" not in str(no.value)
    assert (loads, len(asked)) == (["here"], 1)


def test_where_downloads_are_forbidden_the_hub_is_not_asked(loads, monkeypatch):
    asked = answering(monkeypatch)
    with no_downloads(), pytest.raises(ConfigError, match="downloads are not allowed here"):
        fetch("AutoThing", NAME)
    assert (loads, asked) == (["here"], [])
    assert fetch("AutoThing", NAME) == NAME


@pytest.mark.parametrize("path", ["", "nowhere/below/it"])
def test_the_hub_is_not_asked_for_folders(loads, monkeypatch, tmp_path, path):
    asked = answering(monkeypatch)
    with pytest.raises(ConfigError, match=r"\(not on this machine\); set model.path"):
        fetch("AutoThing", str(tmp_path / path))
    assert (loads, asked) == (["here"], [])
