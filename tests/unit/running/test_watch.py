"""`p2pqg watch` serves what is on disk to who knows the token, and nothing else."""

import http.server
import json
import threading
import urllib.error
import urllib.request
from contextlib import contextmanager

import numpy as np
import pytest
from click.testing import CliRunner
from toys import TOY, Notes

import p2pqg
from p2pqg.cli import main
from p2pqg.page.replay import MOST_POINTS, Replay, point, points_of
from p2pqg.running.observer import Observer
from p2pqg.running.watch import serving

SETTINGS = {"topology": "ring8", "alpha": 0.1, "engine": "local", "rounds": 12, "eval_every": 3}
SCENARIO = [
    {"at": "round 4", "drop_links": ["0-1"]},
    {"at": "round 7", "drop_clients": [5]},
    {"at": "round 10", "attack": {"who": [2], "how": "sign-flip"}},
]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    out = str(tmp_path_factory.mktemp("runs"))
    return p2pqg.run(**SETTINGS, scenario=SCENARIO, out=out, name="one")


@contextmanager
def page(*paths):
    with serving(paths) as (address, server):
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield address
        finally:
            server.shutdown()
            thread.join()


def get(address):
    with urllib.request.urlopen(address, timeout=10) as answer:
        return answer.read().decode(), answer.headers


def status(address, **given):
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(urllib.request.Request(address, **given), timeout=10)
    caught.value.close()
    return caught.value.code


def test_only_who_knows_the_token_sees_it_and_nobody_can_write(run):
    with page(run.path) as address:
        text, headers = get(address)
        assert address.startswith("http://127.0.0.1:")
        assert "p2pqgRoom" in text
        assert headers["Cache-Control"] == "no-store"
        assert "script-src 'sha256-" in headers["Content-Security-Policy"]
        base = address.rsplit("/", 2)[0]
        wrong = (f"{base}/", f"{base}/nonsense/", f"{base}/frames", f"{address}../config.yaml")
        for path in (*wrong, f"{address}config.yaml"):
            assert status(path) == 404
        assert status(f"{address}frames?have=x") == 400
        for method in ("POST", "PUT", "DELETE"):
            assert status(address, method=method, data=b"x") == 501


def test_frames_are_what_the_run_recorded_and_only_the_news(run):
    with page(run.path) as address:
        (one,) = json.loads(get(f"{address}frames")[0])["branches"]
        accuracy = run.rounds["test_accuracy"]
        seen = [row[3] for row in one["points"]["rows"]]
        assert [v for v in seen if v is not None] == pytest.approx(
            list(accuracy.dropna()), rel=1e-4
        )
        assert [row[0] for row in one["points"]["rows"]] == list(run.rounds["round"] + 1)
        assert one["scene"]["clients"] == 8
        assert one["cut"] == [[0, 1]]
        assert one["absent"] == [5]
        assert one["liars"] == [2]
        rows = len(run.rounds)
        (again,) = json.loads(get(f"{address}frames?have=0:{rows}:{one['version']}")[0])["branches"]
        assert again == {"id": 0}
        past = json.loads(get(f"{address}frames?round=6")[0])["branches"][0]
        assert (past["round"], past["past"]) == (6, True)
        assert past["cut"] == [[0, 1]]
        assert past["absent"] == past["liars"] == []
        own = run.clients[run.clients["round"] == 5]["test_accuracy"]
        assert past["values"]["of"]["test_accuracy"] == pytest.approx(list(own), rel=1e-4)


def test_of_a_long_run_a_page_is_sent_what_it_keeps_and_every_evaluation():
    rows = [{"round": k, "train_loss": 1.0} for k in range(200_000)]
    for row in rows[999::1000]:
        row["test_accuracy"] = 0.5
    sent = points_of(rows)
    assert 2000 < len(sent) <= MOST_POINTS
    rounds = [one[0] for one in sent]
    assert rounds == sorted(set(rounds))
    assert (rounds[0], rounds[-1]) == (1, 200_000)
    assert max(np.diff(rounds)) <= 101
    assert [one[0] for one in sent if one[3] is not None] == list(range(1000, 200_001, 1000))
    assert points_of(rows[:MOST_POINTS]) == [point(row) for row in rows[:MOST_POINTS]]


def test_a_page_that_was_sent_some_of_the_points_asks_for_those_that_come_after_all(
    run, monkeypatch
):
    monkeypatch.setattr("p2pqg.page.replay.MOST_POINTS", 6)
    replay, rows = Replay(0, run.path, "one"), len(run.rounds)
    points = replay.frame()["points"]
    assert len(points["rows"]) <= 6 < rows
    assert points["until"] == rows
    later = replay.frame(rows - 2)["points"]
    assert [row[0] for row in later["rows"]] == list(run.rounds["round"][-2:] + 1)


def test_a_run_that_goes_on_is_seen_as_it_goes(tmp_path):
    seen = []

    class Looks(Observer):
        def begin(self, simulation, path):
            self.replay = Replay(0, path, "it")
            seen.append(self.replay.frame())

        def recorded(self, simulation):
            self.replay.refresh()
            seen.append(self.replay.frame())

        def end(self, run):
            self.replay.refresh()
            seen.append(self.replay.frame())

    p2pqg.run(**SETTINGS, out=str(tmp_path), observer=Looks())
    rounds = [frame["round"] for frame in seen]
    assert rounds[0] == 0
    assert "still going" in seen[1]["ending"]
    assert rounds == sorted(rounds)
    assert rounds[-1] == 12
    assert seen[-1]["ending"] == ""


def test_runs_that_begin_later_are_found_and_a_broken_file_is_said(run, tmp_path):
    p2pqg.run(**SETTINGS, out=str(tmp_path), name="a", lr=0.1)
    with page(tmp_path) as address:
        assert len(json.loads(get(f"{address}frames")[0])["branches"]) == 1
        p2pqg.run(**SETTINGS, out=str(tmp_path), name="b", lr=0.2)
        names = [one["name"] for one in json.loads(get(f"{address}frames")[0])["branches"]]
        assert names == ["lr 0.1", "lr 0.2"] or len(set(names)) == 2
        (tmp_path / "a" / "clients.parquet").write_bytes(b"half")
        broken = json.loads(get(f"{address}frames")[0])["branches"][0]
        assert "clients.parquet: cannot be read" in broken["ending"]
        assert broken["round"] == 12


def test_many_runs_are_curves_until_one_is_opened(run, tmp_path, monkeypatch):
    for k in range(7):
        p2pqg.run(**{**SETTINGS, "rounds": 2}, out=str(tmp_path), name=f"r{k}", lr=0.01 * (k + 1))
    with page(tmp_path) as address:
        frames = json.loads(get(f"{address}frames?opened=2")[0])["branches"]
        assert [one["id"] for one in frames if "scene" in one] == [2]
        assert all(one["points"]["rows"] for one in frames)
    monkeypatch.setattr("p2pqg.running.watch.MOST_RUNS", 4)
    with page(tmp_path) as address:
        frame = json.loads(get(f"{address}frames")[0])
        assert len(frame["branches"]) == 4
        assert frame["sentence"] == "3 more are not shown"


def test_a_page_without_a_server_has_moments_and_no_more_numbers_than_fit(run, monkeypatch):
    whole = Replay(0, run.path, "one").whole()
    assert [frame["round"] for frame in whole["past"]] == [3, 6, 9]
    assert whole["now"]["moments"] == [3, 6, 9, 12]
    assert all("scene" not in frame for frame in whole["past"])
    monkeypatch.setattr("p2pqg.page.replay.MOST_NUMBERS", 50)
    assert len(Replay(0, run.path, "one").whole()["past"]) == 1


def test_a_page_without_a_server_makes_no_points_of_curves_that_it_draws_itself(run, monkeypatch):
    monkeypatch.setattr("p2pqg.page.replay.point", lambda row: pytest.fail("a point"))
    assert Replay(0, run.path, "one").whole()["now"]["points"] == {
        "from": 0,
        "until": 0,
        "rows": [],
    }


def test_what_cannot_be_watched_is_said_on_one_line(tmp_path):
    for path in (tmp_path, tmp_path / "nowhere"):
        result = CliRunner().invoke(main, ["watch", str(path)])
        assert result.exit_code == 2
        assert len(result.output.strip().splitlines()) == 1
    elsewhere = serving([_begun(tmp_path)], host="203.0.113.7")
    with pytest.raises(p2pqg.ConfigError, match="cannot be served"), elsewhere:
        pass


def _begun(folder):
    return p2pqg.run(**{**SETTINGS, "rounds": 1}, out=str(folder), name="begun").path


def test_a_run_can_open_its_own_page(tmp_path):
    class Reads(Notes):
        text = ""

        def recorded(self, simulation):
            if not self.text:
                wait = threading.Event()
                while not self.notes:
                    wait.wait(0.02)
                self.text, _ = get(self.notes[0].removeprefix("watch: "))

    reader = Reads()
    p2pqg.run(**SETTINGS, out=str(tmp_path), sinks=["watch"], observer=reader)
    assert "p2pqgRoom" in reader.text
    with pytest.raises(urllib.error.URLError):  # it ended with the run
        get(reader.notes[0].removeprefix("watch: "))


def test_a_network_is_called_what_it_was_called_then(tmp_path):
    scenario = [
        {"at": 3, "drop_links": ["0-1"]},
        {"at": 5, "set_topology": "complete4"},
        {"at": 7, "add_clients": 1},
    ]
    settings = {"topology": "ring4", "engine": "local", "rounds": 10, "eval_every": 2}
    run = p2pqg.run(**settings, scenario=scenario, out=str(tmp_path))
    replay = Replay(0, run.path, "one")
    names = {round: replay.frame(round=round)["scene"]["name"] for round in (2, 4, 6, 8, 10)}
    assert names == {2: "ring4", 4: "ring4", 6: "complete4", 8: "complete5", 10: "complete5"}
    scenario = [{"at": 3, "add_links": ["0-2"]}, {"at": 7, "set_topology": "complete4"}]
    ring = p2pqg.run(**settings, scenario=scenario, out=str(tmp_path))
    assert Replay(0, ring.path, "one").frame(round=5)["scene"]["name"] == "ring4"  # as it was live
    (run.path / "summary.json").unlink()  # while it goes on nothing says what it is called
    replay = Replay(0, run.path, "one")
    assert replay.frame(round=4)["scene"]["name"] == "ring4"
    assert replay.frame(round=6)["scene"]["name"] == "ring4, changed"


def test_the_traffic_of_links_is_on_disk_while_a_run_goes(tmp_path):
    seen = []

    class Looks(Observer):
        def begin(self, simulation, path):
            self.path = path

        def recorded(self, simulation):
            seen.append((self.path / "links.parquet").exists())

    clock = {"network": {"compute": "1 s"}, "engine": "local", "rounds": 20}
    p2pqg.run(**TOY | clock, out=str(tmp_path), observer=Looks())
    assert seen
    assert seen[0]


def test_the_simulated_clock_says_after_which_round_it_showed_that(tmp_path):
    """A run that was stopped between two rows has done more rounds than its clock tells."""
    settings = {"topology": "ring4", "engine": "local", "rounds": 4, "network": {"links": "lan"}}
    run = p2pqg.run(**settings, out=str(tmp_path), record_every=2)
    summary = json.loads((run.path / "summary.json").read_text())
    (run.path / "summary.json").write_text(json.dumps(summary | {"rounds": 5}))
    frame = Replay(0, run.path, "one").frame()
    assert (frame["round"], frame["seconds_round"]) == (5, 4)
    assert frame["seconds"] == pytest.approx(run.rounds["sim_seconds"].iloc[-1], rel=1e-3)


def test_ctrl_c_is_the_end_of_a_watch_and_no_failure(run, monkeypatch):
    def pressed(server):
        raise KeyboardInterrupt

    monkeypatch.setattr(http.server.ThreadingHTTPServer, "serve_forever", pressed)
    done = CliRunner().invoke(main, ["watch", str(run.path), "--no-open"])
    assert (done.exit_code, done.stderr) == (0, "")
    assert done.stdout.startswith("watch: http://127.0.0.1:")
    assert done.stdout.endswith("watch: stopped\n")
