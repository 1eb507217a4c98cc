"""Our files are UTF-8 and strict JSON."""

import errno
import math

import pytest

import p2pqg
from p2pqg.base import yaml_text
from p2pqg.base.text import draft_of, json_text, read_json, write_text
from p2pqg.recipe.settings import recipe
from p2pqg.results.run_frames import read_runs


def test_a_home_is_one_for_all_who_read_and_write(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    home = tmp_path / "home"
    home.mkdir()
    (home / "net.csv").write_text("source,target\n0,1\n1,2\n")
    (home / "links.csv").write_text("source,target,latency\n0,1,5 ms\n1,2,5 ms\n")
    (home / "churn.csv").write_text("client,round,event\n0,2,leave\n")
    (home / "speeds.csv").write_text("client,round,seconds\n0,0,2\n")
    (home / "small.yaml").write_text("topology: ~/net.csv\nengine: local\nmodel: logistic\n")
    run = p2pqg.run(
        **recipe("~/small.yaml"),
        rounds=4,
        network={"links": "~/links.csv", "compute": {"seconds": 1, "trace": "~/speeds.csv"}},
        scenario=[{"churn": "~/churn.csv"}],
        out="~/results",
    )
    assert run.path.parent == home / "results"
    assert len(run.rounds) == 4
    assert p2pqg.load(f"~/results/{run.path.name}").finished
    assert len(read_runs(["~/results"])) == 1
    assert list(tmp_path.iterdir()) == [home]  # no folder that is called ~


def test_json_has_no_infinity_and_no_nan(tmp_path):
    text = json_text({"loss": [math.inf, -math.inf, math.nan, 0.5], "rounds": 3})
    write_text(tmp_path / "a.json", text)
    assert read_json(tmp_path / "a.json") == {"loss": [None, None, None, 0.5], "rounds": 3}


def test_names_in_every_script_survive_any_locale(tmp_path, monkeypatch):
    monkeypatch.setattr("locale.getpreferredencoding", lambda do_setlocale=True: "ascii")
    content = {"name": "Zürich-北京", "who": ["Ødegård", "Ünal"]}
    write_text(tmp_path / "a.yaml", yaml_text.dump(content))
    assert yaml_text.parse((tmp_path / "a.yaml").read_text("utf-8")) == content


def test_what_cannot_be_written_leaves_the_file_as_it_was_and_nothing_beside_it(tmp_path):
    path = tmp_path / "table.csv"
    write_text(path, "before")

    def write(hidden, *error):
        with draft_of(path, hidden=hidden) as draft:
            draft.write_text("half of")
            raise OSError(*error)

    arrow = "Error writing bytes to file. Detail: [errno 28] No space left on device"
    for hidden in (False, True):
        with pytest.raises(OSError, match="No space left") as caught:
            write(hidden, errno.ENOSPC, arrow)
        assert (caught.value.filename, caught.value.strerror) == (
            str(path),
            "No space left on device",
        )
    with pytest.raises(OSError, match="error closing file") as caught:  # Arrow's, without a number
        write(False, "error closing file")
    assert (caught.value.filename, caught.value.strerror) == (str(path), "error closing file")
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]
