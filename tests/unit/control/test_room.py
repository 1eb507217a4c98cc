"""The control room without a widget: it plays, is told what to do, and loses nothing."""

import shlex
import threading
import time
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from clicks import ask, play, random_actions, verb
from toys import TOY

import p2pqg
from p2pqg.control.player import MOST_BRANCHES, SECONDS_BETWEEN_FRAMES, SHARE
from p2pqg.control.room import ACTIONS, Room
from p2pqg.network.verbs import VERBS
from p2pqg.recipe.settings import recipe

SETTINGS = {"topology": "ring8", "alpha": 0.1, "rounds": 40, "engine": "local", "eval_every": 5}


@pytest.fixture
def sim():
    with p2pqg.Simulation(**SETTINGS) as sim:
        yield sim


@pytest.fixture
def room(sim):
    room = Room(sim)
    room.frames = []
    room.listeners.append(room.frames.append)
    yield room
    room.close()


def test_it_plays_as_advance_does(sim, room):
    room.act(play(7))
    room.act(play(5))  # five more
    assert room.wait(60)
    with p2pqg.Simulation(**SETTINGS) as other:
        other.advance(12)
        assert np.array_equal(sim.parameters(), other.parameters())
        assert list(sim.history["train_loss"]) == list(other.history["train_loss"])


def test_other_threads_read_and_act_while_it_plays(sim, room):
    room.act({"do": "play", "rounds": 2000})
    seen = []
    while len(seen) < 20 or not seen[-1]:  # until it has begun
        history = sim.history
        seen.append(len(history))
        assert list(history["round"]) == list(range(len(history)))
    sim.drop_links(["0-1"])  # from another cell; it waits for its turn
    assert room.is_busy
    done = sim.interventions[0]["round"]
    ask(room, {"do": "pause"})
    assert 0 < done <= sim.round < 2000
    assert sim.interventions == [{"round": done, "drop_links": ["0-1"]}]


def test_what_other_cells_do_is_shown(sim, room):
    def shown():
        assert room.wait(30)
        return room.frames[-1]["branches"][0]

    room.act({"do": "hello"})
    room.wait(30)
    sim.advance(rounds=3)
    assert shown()["round"] == 3
    start = sim.moment()
    sim.drop_links(["0-1"])
    assert shown()["cut"] == [[0, 1]]
    before = sim.moment()
    room.played = 60.0  # seconds: enough that a moment may be kept
    ask(room, play(3))
    assert shown()["moments"][-1] > 3
    sim.go_back(before)
    back = shown()
    assert back["round"] == back["moments"][-1] == 3
    assert back["points"]["from"] == 0  # those that were drawn are of another past
    sim.go_back(start)
    sim.set_lr(0.3)
    shown()
    told = [one["branches"][0].get("events") for one in room.frames]
    assert [one for one in told if one is not None][-1] == [[3, "set_lr 0.3"]]  # as many as before
    sim.close()
    assert room.wait(30)
    assert "is closed" in room.frames[-1]["sentence"]


def test_a_room_follows_other_cells_ten_times_a_second_at_most(sim, room):
    ask(room, {"do": "hello"})
    began, before = time.monotonic(), len(room.frames)
    for _ in range(60):
        sim.advance(rounds=1)
    room.wait(30)
    most = 2 + (time.monotonic() - began) / SECONDS_BETWEEN_FRAMES
    assert room.frames[-1]["branches"][0]["round"] == 60
    assert len(room.frames) - before <= most


def test_to_play_without_a_number_goes_to_the_end_and_then_as_long_again(sim, room):
    ask(room, {"do": "play"})
    assert sim.round == 40
    ask(room, {"do": "play"})
    assert sim.round == 80


def test_what_is_refused_is_said_and_nothing_is_lost(sim, room):
    everybody = list(range(8))
    assert "nobody would be left" in ask(room, play(3), verb("drop_clients", clients=everybody))
    assert room.is_wrong
    assert sim.interventions == []
    assert "unknown action 'drop_link'; did you mean drop_links" in ask(room, verb("drop_link"))
    assert "did you mean play" in ask(room, {"do": "plays"})
    assert "rounds must be >= 1" in ask(room, play(0))
    assert "no network" in ask(room, verb("set_lr", branch=3, lr=0.1))
    assert "nothing to undo" in ask(room, {"do": "undo", "branch": 0})
    assert "no simulated clock" in ask(room, {"do": "slow", "branch": 0, "client": 3, "speed": 0.1})
    assert ask(room, play(2)) == ""
    assert sim.round == 5


def test_a_cut_that_splits_the_network_is_done_and_said(sim, room):
    assert ask(room, verb("drop_links", links=[[0, 1], [4, 5]])) == "the network is in 2 pieces"
    assert room.frames[-1]["branches"][0]["pieces"] == 2
    assert sorted(room.frames[-1]["branches"][0]["cut"]) == [[0, 1], [4, 5]]


def test_a_closed_simulation_has_no_control_room_and_one_that_is_closed_says_so(sim, room):
    ask(room, play(2))
    sim.close()
    assert "this simulation is closed" in ask(room, play(2))
    with pytest.raises(p2pqg.ConfigError, match="this simulation is closed"):
        Room(sim)


def test_divergence_stops_it_with_a_sentence_and_one_can_go_back(sim, room):
    said = ask(room, play(5), verb("set_lr", lr=1e30), play(30))
    assert "non-finite loss" in said
    assert room.until is None
    ask(room, {"do": "back", "branch": 0, "round": 5}, verb("set_lr", lr=0.1), play(5))
    assert sim.round == 10
    assert np.isfinite(sim.parameters()).all()


def test_what_has_diverged_is_not_saved_touched_or_forked_but_left(sim, room, tmp_path):
    ask(room, play(5), verb("set_lr", lr=1e30), play(30))
    save = {"do": "save", "branch": 0, "path": str(tmp_path / "one.yaml")}
    for asked in (save, verb("set_lr", lr=0.1), {"do": "fork", "branch": 0}, play(1)):
        assert "A has diverged after round" in ask(room, asked)
    assert not list(tmp_path.iterdir())
    assert ask(room, {"do": "undo", "branch": 0}, verb("set_lr", lr=0.1), play(5)) == ""
    assert "repeats it" in ask(room, save)


def test_others_play_on_without_what_has_diverged(sim, room):
    ask(room, play(5), {"do": "fork", "branch": 0}, verb("set_lr", branch=1, lr=1e30))
    said = ask(room, play(10))
    assert said.startswith("B: ")
    assert "non-finite loss" in said
    assert said.endswith("; play goes on without it")
    assert ask(room, play(10)) == ""
    twin = room.branch(1)
    assert twin.diverged
    assert sim.round >= 15 > twin.sim.round
    with p2pqg.Simulation(**SETTINGS) as other:
        other.advance(sim.round)
        assert np.array_equal(sim.parameters(), other.parameters())
    ask(room, {"do": "undo", "branch": 1}, play(1))  # now it can come after them
    assert twin.sim.round == sim.round


def test_going_back_forgets_what_was_later_and_the_same_comes_again(sim, room):
    ask(room, play(4), play(4))
    first = sim.parameters()
    ask(room, verb("drop_clients", clients=[2]), play(4))
    ask(room, {"do": "back", "branch": 0, "round": 4})
    assert sim.round == 4
    assert len(sim.history) == 4
    assert sim.events == [] == sim.interventions
    ask(room, play(4))
    assert np.array_equal(first, sim.parameters())


def test_an_action_can_be_undone_by_going_back(sim, room):
    ask(room, play(3), verb("set_lr", lr=0.2), play(2), verb("drop_links", links=[[0, 1]]))
    ask(room, {"do": "undo", "branch": 0})
    assert sim.round == 5
    assert not sim.network.cut
    assert len(sim.interventions) == 1
    ask(room, {"do": "undo", "branch": 0})
    assert sim.round == 3
    assert sim.interventions == []
    assert "back at round 3" in room.sentence


def test_forks_play_side_by_side_and_there_are_at_most_four(sim, room):
    ask(room, play(3), *[{"do": "fork", "branch": 0}] * MOST_BRANCHES)
    assert "four networks already" in room.sentence
    ask(room, verb("drop_links", branch=2, links=[[0, 1]]), play(3))
    assert [branch.sim.round for branch in room.branches] == [6] * 4
    a, b, c, d = (branch.sim.parameters() for branch in room.branches)
    assert np.array_equal(a, b)
    assert np.array_equal(a, d)
    assert not np.array_equal(a, c)
    ask(room, {"do": "end", "branch": 1}, {"do": "fork", "branch": 2})
    assert [branch.name for branch in room.branches] == ["A", "C", "D", "B"]
    assert "close it with sim.close()" in ask(room, {"do": "end", "branch": 0})


def test_a_fork_from_the_past_catches_up(sim, room):
    ask(room, play(4), play(6))
    ask(room, {"do": "look", "branch": 0, "round": 4})
    assert room.frames[-1]["branches"][0]["past"]
    assert room.frames[-1]["branches"][0]["round"] == 4
    assert "this is the past" in ask(room, verb("set_lr", lr=0.1))
    ask(room, {"do": "fork", "branch": 0})
    assert [branch.sim.round for branch in room.branches] == [10, 4]
    ask(room, play(2))
    assert [branch.sim.round for branch in room.branches] == [12, 12]
    a, b = (branch.sim.parameters() for branch in room.branches)
    assert np.array_equal(a, b)
    assert "no moment of round 9999" in ask(room, {"do": "look", "branch": 0, "round": 9999})


def test_the_clock_of_the_past_is_that_of_then():
    """A round of 2 s of computing, and nothing else."""
    with p2pqg.Simulation(**SETTINGS, network={"compute": 2.0}) as sim:
        room = Room(sim)
        room.frames = []
        room.listeners.append(room.frames.append)
        ask(room, play(4), play(6), {"do": "hello"})
        assert room.frames[-1]["branches"][0]["seconds"] == 20
        ask(room, {"do": "show", "links": "bytes"})
        assert len(room.frames[-1]["branches"][0]["widths"]) == 8
        ask(room, {"do": "look", "branch": 0, "round": 4})
        assert room.frames[-1]["branches"][0]["seconds"] == 8
        assert room.frames[-1]["branches"][0]["widths"] is None  # those of now are not of then
        room.close()


def test_memory_for_moments_is_bounded_and_the_first_one_stays(sim):
    room = Room(sim, megabytes=4 * 1.2)  # a moment of ring8 takes 0.31 MB
    for _ in range(12):
        ask(room, play(5))
    kept = room.branches[0].moments
    assert kept.num_bytes <= 1.2e6
    assert kept.rounds[0] == 0
    assert len(kept.rounds) >= 2
    assert kept.every > 1


def test_frames_tell_what_is_new_and_everything_to_who_asks(sim, room):
    ask(room, {"do": "hello"})
    first = room.frames[-1]["branches"][0]
    assert first["scene"]["clients"] == 8
    assert len(first["scene"]["links"]) == 8
    assert first["values"]["round"] == 0
    assert len(first["values"]["of"]["test_accuracy"]) == 8
    ask(room, play(6))
    later = room.frames[-1]["branches"][0]
    points = [p for f in room.frames for p in f["branches"][0].get("points", {"rows": []})["rows"]]
    assert "scene" not in later
    assert [point[0] for point in points] == [1, 2, 3, 4, 5, 6]
    ask(room, {"do": "hello"})
    assert len(room.frames[-1]["branches"][0]["points"]["rows"]) == 6
    assert "scene" in room.frames[-1]["branches"][0]


def test_news_age_from_when_a_client_was_cut_off_or_joined(sim, room, tmp_path):
    sim.advance(rounds=3)
    sim.drop_clients([5])
    assert room.frame()["branches"][0]["ages"] == [0] * 8  # it heard of others in the last round
    sim.advance(rounds=2)
    sim.add_clients(links=["0-8"])
    assert room.frame()["branches"][0]["ages"] == [0, 0, 0, 0, 0, 2, 0, 0, 0]
    sim.restore_clients([5])
    assert room.frame()["branches"][0]["ages"][5] == 2
    sim.advance(rounds=1)
    assert room.frame()["branches"][0]["ages"] == [0] * 9
    sim.drop_clients([5])
    sim.advance(rounds=2)
    with p2pqg.Simulation.restore(sim.checkpoint(tmp_path / "kept")) as again:
        assert Room(again).frame()["branches"][0]["ages"] == [0, 0, 0, 0, 0, 2, 0, 0, 0]


def test_links_are_as_wide_as_their_ends_disagree(sim, room):
    ask(room, play(3), {"do": "show", "links": "disagreement"})
    widths, x = room.frames[-1]["branches"][0]["widths"], sim.parameters()
    links = room.branches[0].sim.network.base
    assert np.allclose(widths[0], np.linalg.norm(x[0] - x[1]), rtol=1e-4)
    assert len(widths) == 8
    assert links.num_clients == 8


def test_names_are_used_where_clients_have_some():
    with p2pqg.Simulation(topology="florentine15", rounds=4, engine="local") as sim:
        room = Room(sim)
        a, b = sorted(sim.network.base.graph(0).edges)[0]
        ask(room, play(1), verb("drop_links", links=[[a, b]]))
        called = sim.network.base.called
        assert sim.interventions == [{"round": 1, "drop_links": [[called(a), called(b)]]}]
        room.close()


def test_a_client_is_slowed_down_on_the_clock():
    with p2pqg.Simulation(**SETTINGS, network={"compute": "1 s"}) as sim:
        room = Room(sim)
        ask(room, play(2), {"do": "slow", "branch": 0, "client": 3, "speed": 0.1}, play(1))
        assert sim.sim_seconds == pytest.approx(2 + 10)
        ask(room, {"do": "slow", "branch": 0, "client": 5, "speed": 0.5})
        assert sim.network.clock.compute["speeds"] == {"3": 0.1, "5": 0.5}
        room.close()


def test_twenty_actions_saved_as_a_recipe_give_the_same_parameters(tmp_path):
    rng = np.random.default_rng(0)
    names = ["drop_links", "drop_clients", "set_lr", "add_links", "restore_clients", "attack"]
    names += ["set_impairments", "restore_links", "set_algorithm_params", "stop_attack"]
    names += ["set_topology", "drop_links", "add_clients"]
    path = tmp_path / "room.yaml"
    with p2pqg.Simulation(**SETTINGS) as sim:
        room = Room(sim)
        for action in random_actions(rng, names):
            ask(room, action, play(int(rng.integers(1, 4))))
        assert "repeats it" in ask(room, {"do": "save", "branch": 0, "path": str(path)})
        done, rounds = sim.parameters(), sim.round
    saved = recipe(path)
    assert len(saved["scenario"]) >= 15
    assert saved["rounds"] == rounds
    with p2pqg.Simulation(**saved) as again:
        again.finish()
        assert np.array_equal(done, again.parameters())
    namespace = {}
    text = path.with_suffix(".py").read_text()
    exec(text.replace("p2pqg.run(", f"p2pqg.run(name='again', out={str(tmp_path)!r},"), namespace)
    with p2pqg.Simulation.restore(namespace["run"].path) as again:
        assert np.array_equal(done, again.parameters())


@pytest.mark.parametrize("algorithm", ["ad-psgd", "async-qg-dsgdm-n", "swift"])
def test_what_was_done_to_clients_that_do_not_wait_is_repeated(algorithm, tmp_path):
    rng, path = np.random.default_rng(4), tmp_path / "room.yaml"
    names = ["drop_clients", "set_lr", "restore_clients", "drop_links", "add_links", "attack"]
    own = {"algorithm": algorithm, "network": {"compute": "1 s", "links": {"latency": "30 ms"}}}
    toy = {"dataset": TOY["dataset"], "model": TOY["model"]}
    with p2pqg.Simulation(**SETTINGS | toy | own) as sim:
        room = Room(sim)
        for number, action in enumerate(random_actions(rng, names)):
            ask(room, action, play(int(rng.integers(1, 4))))
            if number % 5 == 4:
                ask(room, {"do": "undo", "branch": 0}, play(2))
        assert "attacks do not go with" in ask(room, verb("attack", who=[1], how="sign-flip"))
        assert "repeats it" in ask(room, {"do": "save", "branch": 0, "path": str(path)})
        assert len(sim.interventions) >= 6
        with p2pqg.Simulation(**recipe(path)) as again:
            again.finish()
            assert np.array_equal(sim.parameters(), again.parameters())


def test_what_changed_nothing_is_not_in_the_recipe(sim, room, tmp_path):
    path = tmp_path / "one.yaml"
    ask(room, play(1), verb("restore_clients", how="average"))
    sim.drop_links([])
    sim.attack([], "sign-flip")
    ask(room, verb("drop_clients", clients=[2]), play(2), verb("restore_clients"), play(1))
    ask(room, {"do": "save", "branch": 0, "path": str(path)})
    assert recipe(path)["scenario"] == [
        {"at": "round 1", "drop_clients": [2]},
        {"at": "round 3", "restore_clients": {"clients": ["2"], "how": "stale"}},
    ]


def test_what_was_done_last_is_a_comment_and_no_round_no_recipe(sim, room, tmp_path):
    path = tmp_path / "my first one.yaml"
    save = {"do": "save", "branch": 0, "path": str(path)}
    assert "no round is done yet" in ask(room, save)
    said = ask(room, play(2), verb("set_lr", lr=0.3), save)
    assert "1 action after the last round" in said
    assert shlex.split(said.split("`")[1]) == ["p2pqg", "run", str(path)]
    assert "# Done after the last round" in path.read_text()
    assert "#  - {at: round 2, set_lr: 0.3}" in path.read_text()
    assert recipe(path).get("scenario") is None
    assert "must be a .yaml file" in ask(room, {**save, "path": str(tmp_path / "one")})


def test_a_scenario_that_has_not_come_to_its_end_is_kept_as_far_as_it_came(tmp_path):
    scenario = [
        {"at": "round 2", "drop_links": ["0-1"]},
        {"every": "3 rounds", "between": [3, 30], "set_lr": 0.05},
        {"at": "round 30", "drop_clients": [3]},
        {"every": "8 rounds", "set_lr": 0.01},
        {"every": "7 rounds", "set_lr": 0.02},
    ]
    with p2pqg.Simulation(**SETTINGS, scenario=scenario) as sim:
        room = Room(sim)
        ask(room, play(5), verb("drop_clients", clients=[6]), play(3))
        path = tmp_path / "one.yaml"
        ask(room, {"do": "save", "branch": 0, "path": str(path)})
        assert recipe(path)["scenario"] == [
            {"at": "round 5", "drop_clients": [6]},
            {"at": "round 2", "drop_links": ["0-1"]},
            {"at": "round 3", "set_lr": 0.05},
            {"at": "round 6", "set_lr": 0.05},
            {"every": "7 rounds", "set_lr": 0.02},
        ]
        with p2pqg.Simulation(**recipe(path)) as again:
            again.finish()
            assert np.array_equal(sim.parameters(), again.parameters())


def test_an_object_of_python_cannot_be_said_in_a_recipe(sim, room, tmp_path):
    import networkx as nx

    ask(room, play(1))
    sim.set_topology(nx.cycle_graph(8))
    said = ask(room, play(1), {"do": "save", "branch": 0, "path": str(tmp_path / "one.yaml")})
    assert "given an object of Python" in said
    assert not list(tmp_path.iterdir())


def test_what_is_shown_and_kept_takes_a_twentieth_of_the_time_and_ten_frames_a_second(sim):
    room, at, slow = Room(sim), [], 0.02

    def listen(frame):
        at.append(time.monotonic())
        time.sleep(slow)  # a slow view

    room.listeners.append(listen)
    ask(room, play(400))
    assert room.played > 0.2
    kept = 0.1  # a moment, and a frame that is due when it stops
    assert room.spent <= SHARE * room.played + slow + kept
    playing = at[1:-1]  # the first answers the click, the last one says that it stands
    assert all(b - a >= SECONDS_BETWEEN_FRAMES for a, b in pairwise(playing))


def test_a_room_with_a_folder_keeps_each_network_for_a_kernel_that_is_restarted(sim, tmp_path):
    room = Room(sim, folder=tmp_path / "room")
    ask(room, play(6), verb("drop_links", links=[[0, 1]]), play(3), {"do": "fork", "branch": 0})
    ask(room, verb("set_lr", branch=1, lr=0.3))  # while it stands
    a, b = room.frame()["restoring"]
    folder = str(tmp_path / "room")
    assert a == f"p2pqg.Simulation.restore({folder + '/A'!r}).control(folder={folder!r})"
    with p2pqg.Simulation.restore(tmp_path / "room" / "A") as again:
        assert again.round == 9
        assert np.array_equal(sim.parameters(), again.parameters())
        assert again.interventions == sim.interventions
    with p2pqg.Simulation.restore(tmp_path / "room" / "B") as again:
        assert [list(item)[1] for item in again.interventions] == ["drop_links", "set_lr"]
    ask(room, {"do": "back", "branch": 0, "round": 6}, {"do": "end", "branch": 1})
    with p2pqg.Simulation.restore(tmp_path / "room" / "A") as again:
        assert again.round == 6
    assert not (tmp_path / "room" / "B").exists()
    room.close()


def test_after_a_restart_all_networks_stand_side_by_side_again(sim, tmp_path):
    room = Room(sim, folder=tmp_path)
    ask(room, play(6), {"do": "fork", "branch": 0}, {"do": "fork", "branch": 0})
    ask(room, verb("drop_clients", branch=2, clients=[3]), {"do": "end", "branch": 1}, play(3))
    before = [branch.sim.parameters() for branch in room.branches]
    with p2pqg.Simulation.restore(tmp_path / "A", engine="local") as again:  # another kernel
        room = Room(again, folder=tmp_path)
        assert [branch.name for branch in room.branches] == ["A", "C"]
        for branch, x in zip(room.branches, before, strict=True):
            assert np.array_equal(branch.sim.parameters(), x)
        assert [list(one) for one in room.branches[1].sim.interventions] == [
            ["round", "drop_clients"]
        ]
        assert ask(room, play(2)) == ""
        room.close()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["A", "C"]  # nothing went aside
    (kept,) = (tmp_path / "C" / "checkpoints").iterdir()
    for file in filter(Path.is_file, kept.rglob("*")):
        file.write_bytes(b"")
    with p2pqg.Simulation.restore(tmp_path / "A") as again:
        room = Room(again, folder=tmp_path)
        assert again.round == 11
        assert room.sentence.startswith("C could not be restored: ")


def test_another_room_in_the_same_folder_takes_nothing_of_what_was_kept(tmp_path):
    with p2pqg.Simulation(**SETTINGS) as first:
        room = Room(first, folder=tmp_path)
        ask(room, play(6))
        room.close()
    for name in ("A-2", "A-3"):  # begun from the start again, as a cell run once more does
        with p2pqg.Simulation(**SETTINGS) as anew:
            room = Room(anew, folder=tmp_path)
            ask(room, {"do": "hello"})
            assert room.frame()["sentence"].endswith(f"is in {str(tmp_path / name)!r} now")
            ask(room, play(2))
            room.close()
    with p2pqg.Simulation.restore(tmp_path / "A-2") as again:
        assert again.round == 6
        room = Room(again, folder=tmp_path)
        ask(room, play(1))
        room.close()
    for name, round in {"A": 7, "A-2": 6, "A-3": 2, "A-4": 2}.items():
        with p2pqg.Simulation.restore(tmp_path / name) as again:
            assert again.round == round


def test_checkpoints_take_a_twentieth_of_the_time(sim, monkeypatch, tmp_path):
    monkeypatch.setattr("p2pqg.control.keeper.SECONDS_BETWEEN", 0.0)
    room, slow, written = Room(sim, folder=tmp_path), 0.02, []

    def checkpoint(path):  # as of a large model
        written.append(sim.round)
        time.sleep(slow)

    monkeypatch.setattr(sim, "checkpoint", checkpoint)
    ask(room, play(400))
    assert len(written) >= 2
    assert written[-1] == 400  # when it stands
    assert room.keeper.spent <= SHARE * room.played + 2 * slow


def test_a_folder_that_cannot_be_written_is_said_and_it_plays_on(sim, tmp_path):
    room = Room(sim, folder=tmp_path / "room")
    (tmp_path / "room" / "A").write_text("something else")
    assert "nothing is kept on disk: " in ask(room, play(3))
    assert sim.round == 3
    with pytest.raises(p2pqg.ConfigError, match=r"the folder .* cannot be made"):
        room.keep_in(tmp_path / "room" / "A")


def test_what_was_undone_and_done_otherwise_is_kept_though_it_counts_as_many_actions(sim, tmp_path):
    room = Room(sim, folder=tmp_path)
    ask(room, play(3), verb("set_lr", lr=0.3))
    with room._lock:  # two clicks while it is busy
        room.act({"do": "undo", "branch": 0})
        room.act(verb("set_lr", lr=0.01))
    assert room.wait(60)
    with p2pqg.Simulation.restore(tmp_path / "A") as again:
        assert again.interventions == sim.interventions == [{"round": 3, "set_lr": 0.01}]


def test_what_should_be_known_is_said_at_once(sim, room):
    ask(room, play(2))
    sim.on_note("an actor died")
    assert room.frames[-1]["sentence"] == "an actor died"
    assert room.frames[-1]["branches"] == [{"id": 0}]  # nothing is read in the middle of a round


def test_no_thread_is_left_when_nothing_is_to_be_done(sim, room):
    ask(room, play(3))
    for thread in threading.enumerate():
        if thread.name == "control":  # its last line is that it stands
            thread.join(10)
            assert not thread.is_alive()


def test_every_verb_can_be_asked_for_and_every_action_has_a_sentence():
    assert {"add_links", "attack", "set_network"} <= VERBS.keys()
    assert all(action.__doc__ for action in ACTIONS.values())
