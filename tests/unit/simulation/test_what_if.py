"""Forks and what is done to them: independent, repeatable, and refused as a whole or not at all."""

import copy
import os
import pickle
import random
import signal
import threading
import time
from contextlib import suppress

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from toys import TOY, assert_same

import p2pqg
from p2pqg.base.errors import ConfigError
from p2pqg.engine.interrupts import INSISTENT
from p2pqg.engine.local import LocalEngine
from p2pqg.network import Impairments
from p2pqg.topology import build

SETTINGS = TOY | {"rounds": 30, "eval_every": 5, "engine": "local"}
KINDS = {
    "plain": {},
    "two blocks": {"clients_per_actor": 3},
    "numbers in the state": {"algorithm": "slowmo"},
    "a tree": {"algorithm": "relay-sgd", "topology": "chain6"},
    "push-sum": {"algorithm": "sgp", "topology": "onepeer-exponential6"},
    "late messages": {"impairments": {"delay": [0, 2], "loss": 0.2}},
    "a clock": {"network": {"links": "4g", "compute": {"seconds": 1, "varies": "lognormal"}}},
    "a scenario": {
        "scenario": [
            {"at": 9, "drop_links": ["0-1"]},
            {"at": 12, "add_clients": 1},
            {"at": 15, "set_lr": 0.01},
        ]
    },
}


def simulation(**settings):
    return p2pqg.Simulation(**SETTINGS | settings)


@pytest.mark.parametrize("blocks", [6, 3])
def test_a_round_that_fails_is_not_gone_on_from_but_a_moment_before_it_is(blocks):
    """Its batches were drawn, and rounds before it that went with it were counted twice."""

    def net(round):
        W = build("ring6").mixing(0).dense()
        return W if round != 5 else W[[1, 2, 3, 4, 5, 0]]

    settings = {"rounds": 12, "algorithm": "d2", "record_every": 1, "clients_per_actor": blocks}
    with (
        simulation(**settings, topology=net) as sim,
        simulation(**settings, topology="ring6") as whole,
    ):
        whole.finish()
        sim.advance(2)
        before = sim.moment()
        with pytest.raises(p2pqg.TopologyError, match="round 5.*d2 needs a symmetric W"):
            sim.finish()
        for do in (sim.finish, sim.moment, sim.fork, lambda: sim.set_topology("ring6")):
            with pytest.raises(p2pqg.AlgorithmError, match="one broke off half-way .*round 5"):
                do()
        sim.go_back(before)
        sim.set_topology("ring6")
        sim.finish()
        assert_array_equal(sim.parameters(), whole.parameters())
        assert sim.history["round"].tolist() == list(range(12))


# Interruptions


def test_interrupted_at_any_moment_it_goes_on(monkeypatch):
    monkeypatch.setattr("p2pqg.engine.driver.SECONDS_PER_PORTION", 0)  # else one may be all rounds
    scenario = [{"every": 3, "set_lr": 0.05}, {"at": 40, "add_clients": 1}]
    settings = {"rounds": 120, "clients_per_actor": 4, "scenario": scenario}
    with simulation(**settings) as whole, simulation(**settings) as sim:
        whole.advance(120)
        chance, interrupted = random.Random(0), 0
        while sim.round < 120:
            ctrl_c = threading.Timer(chance.uniform(0, 0.01), os.kill, (os.getpid(), signal.SIGINT))
            with suppress(KeyboardInterrupt):
                ctrl_c.start()
                sim.advance(120 - sim.round)
                time.sleep(60)  # Ctrl-C ends this
            interrupted += 1
            ctrl_c.join()
        assert interrupted > 3
        assert_same(sim, whole)


INSISTED = {
    "in a round": ("p2pqg.engine.host.Host.measure", lambda sim: sim.advance(1)),
    "on record": ("p2pqg.engine.bookkeeping.Bookkeeper.record", lambda sim: sim.advance(1)),
    "in a change": ("p2pqg.engine.local.LocalEngine.rewire", lambda sim: sim.set_lr(0.3)),
    "in an event": ("p2pqg.engine.bookkeeping.Logbook.note", lambda sim: sim.advance(3)),
}


@pytest.mark.parametrize(("where", "do"), INSISTED.values(), ids=INSISTED)
def test_who_insists_on_an_end_in_the_middle_does_not_go_on_from_there(monkeypatch, where, do):
    """It went on, from half a round or a change that some had made."""

    def insist(*given, **named):
        for _ in range(INSISTENT):
            signal.raise_signal(signal.SIGINT)

    settings = {"rounds": 8, "record_every": 1, "scenario": [{"at": 4, "set_lr": 0.05}]}
    with simulation(**settings) as sim, simulation(**settings) as whole:
        whole.finish()
        sim.advance(3)
        before = sim.moment()
        with monkeypatch.context() as patched:
            patched.setattr(where, insist)
            with pytest.raises(KeyboardInterrupt):
                do(sim)
        for again in (sim.finish, sim.moment, sim.fork, lambda: sim.set_lr(0.1)):
            with pytest.raises(p2pqg.AlgorithmError, match=r"half-way \(it was stopped at once"):
                again()
        sim.go_back(before)
        sim.finish()
        assert_same(sim, whole)


def test_ctrl_c_in_the_middle_of_an_event_comes_after_it(monkeypatch):
    settings = {"scenario": [{"at": 5, "drop_links": ["0-1"]}]}

    def rewire(engine, rule, routing, really=LocalEngine.rewire):
        signal.raise_signal(signal.SIGINT)
        really(engine, rule, routing)

    with simulation(**settings) as whole, simulation(**settings) as sim:
        whole.advance(10)
        monkeypatch.setattr(LocalEngine, "rewire", rewire)
        with pytest.raises(KeyboardInterrupt):
            sim.advance(10)
        assert (sim.round, sim.network.describe()) == (5, "1 link down (0-1)")
        sim.advance(5)
        assert_same(sim, whole)


# Forks


@pytest.mark.parametrize("kind", KINDS)
def test_a_fork_left_alone_stays_the_same_as_its_parent(kind):
    with simulation(**KINDS[kind]) as whole, simulation(**KINDS[kind]) as sim:
        whole.advance(24)
        sim.advance(10)
        with sim.fork() as branch:
            branch.advance(3)
            with branch.fork() as twig:
                twig.advance(11)
                sim.advance(14)
                branch.advance(11)
                for one in (sim, branch, twig):
                    assert_same(one, whole)


def test_a_fork_starts_with_the_past_of_its_parent():
    with simulation() as sim:
        sim.advance(7)
        with sim.fork() as branch:
            assert branch.round == 7
            assert_same(branch, sim)


def test_whatever_is_done_to_a_fork_leaves_its_parent_alone():
    with simulation() as whole, simulation() as sim:
        whole.advance(20)
        sim.advance(6)
        with sim.fork() as branch:
            branch.drop_clients([2])
            branch.set_impairments(loss=0.5, noise=0.1, delay=1)
            branch.set_lr(0.5)
            branch.set_algorithm_params(beta=0.1)
            branch.advance(4)
            branch.restore_clients(how="average")
            branch.add_clients(2)
            branch.advance(4)
            assert branch.parameters().shape[0] == 8
            sim.advance(7)
        sim.advance(7)
        assert_same(sim, whole)


def test_a_fork_outlives_its_parent():
    with simulation() as whole:
        whole.advance(15)
        sim = simulation()
        sim.advance(6)
        branch = sim.fork()
        sim.close()
        branch.advance(9)
        assert_same(branch, whole)
        branch.close()


def test_forks_of_one_simulation_draw_the_same_batches_and_losses_of_messages():
    """Common random numbers: where models are still equal, losses are, whatever was changed."""
    with simulation() as sim:
        sim.advance(8)
        with sim.fork() as a, sim.fork() as b:
            a.set_topology("complete6")
            b.set_lr(0.001)
            for branch in (a, b):
                branch.advance(1)
            assert a.history["train_loss"].iloc[8] == b.history["train_loss"].iloc[8]
        with sim.fork() as a, sim.fork() as b:
            for branch in (a, b):
                branch.set_impairments(loss=0.5)
            b.set_lr(0.001)
            for round in range(8, 14):
                one, other = (x.network.schedule.mixing(round) for x in (a, b))
                assert_array_equal(one.dense(), other.dense())


@pytest.mark.parametrize(
    "use",
    [
        lambda sim: sim.fork(),
        lambda sim: sim.advance(1),
        lambda sim: sim.parameters(),
        lambda sim: sim.checkpoint("anywhere"),
        lambda sim: sim.drop_links(["0-1"]),
        lambda sim: sim.restore_clients(how="average"),
        lambda sim: sim.add_clients(),
        lambda sim: sim.set_lr(0.1),
    ],
)
def test_a_closed_simulation_says_so(use):
    with simulation() as sim:
        sim.advance(2)
    with pytest.raises(ConfigError, match="this simulation is closed"):
        use(sim)
    assert len(sim.history) == 2


# What is done is on record


def test_everything_done_is_on_record_with_its_round():
    with simulation() as sim:
        sim.advance(3)
        sim.drop_links([(0, 1), "3-4"])
        sim.advance(2)
        sim.drop_clients([2])
        sim.set_impairments(loss=0.25, by="link")
        sim.restore_links()
        sim.restore_clients(how="neighbor")
        sim.add_clients(2)
        sim.set_lr(0.1)
        sim.set_algorithm_params(beta=0.5, mu=0.5)
        sim.set_topology("torus8")
        done = [(event["round"], event["what"]) for event in sim.events]
        assert done == [
            (3, "drop_links 0-1, 3-4"),
            (3, "the network is in 2 pieces"),
            (5, "drop_clients 2"),
            (5, "the network is in 3 pieces"),
            (5, "set_impairments 0.25 of the links lost"),
            (5, "restore_links all"),
            (5, "restore_clients 2 (neighbor)"),
            (5, "add_clients 2"),
            (5, "set_lr 0.1"),
            (5, "set_algorithm_params beta=0.5, mu=0.5"),
            (5, "set_topology torus8"),
        ]
        assert sim.summary()["events"] == sim.events
        sim.advance(1)
        assert sim.history["present"].tolist() == [6] * 5 + [8]


def test_a_scenario_does_the_same_as_the_hand():
    scenario = [
        {"at": 4, "drop_links": ["0-1", "2-3"]},
        {"at": 4, "drop_clients": [5]},
        {"at": 9, "restore_clients": {"clients": [5], "how": "average"}},
        {"at": 9, "set_impairments": {"loss": 0.2}},
        {"at": 12, "add_clients": {"count": 1, "links": ["6-0"]}},
        {"at": 13, "set_algorithm_params": {"beta": 0.5}},
        {"at": 13, "set_topology": "complete7"},
    ]
    with simulation(scenario=scenario) as planned, simulation() as sim:
        planned.advance(20)
        sim.advance(4)
        sim.drop_links(["0-1", "2-3"])
        sim.drop_clients([5])
        sim.advance(5)
        sim.restore_clients([5], how="average")
        sim.set_impairments(loss=0.2)
        sim.advance(3)
        sim.add_clients(1, links=["6-0"])
        sim.advance(1)
        sim.set_algorithm_params(beta=0.5)
        sim.set_topology("complete7")
        sim.advance(7)
        assert_same(sim, planned)


@pytest.mark.parametrize(
    ("verb", "words"),
    [
        *[(verb, word) for verb in ("restore_links", "stop_attack") for word in ("all", None)],
        *[("restore_clients", word) for word in ("all", None)],
        *[(verb, word) for verb in ("set_rule", "set_impairments") for word in ("none", None)],
    ],
)
def test_the_words_of_a_scenario_are_those_of_the_hand(verb, words):
    begin = {"rule": "median", "impairments": {"loss": 0.5}, "rounds": 2}
    trouble = [
        {"at": 0, "attack": {"who": 2, "how": "sign-flip"}},
        {"at": 0, "drop_links": ["0-1", "2-3"]},
        {"at": 0, "drop_clients": [5]},
    ]
    with (
        simulation(**begin, scenario=[*trouble, {"at": 1, verb: words}]) as planned,
        simulation(**begin, scenario=trouble) as sim,
    ):
        planned.advance(2)
        sim.advance(1)
        before = sim.network.to_data(), sim.rule
        getattr(sim, verb)(words)
        assert (sim.network.to_data(), sim.rule) != before
        sim.advance(1)
        assert_same(sim, planned)
        assert sim.events == planned.events
        (done,) = sim.interventions
        again = {"at": done.pop("round"), **done}
        with simulation(**begin, scenario=[*trouble, again]) as repeated:
            repeated.advance(2)
            assert_same(repeated, planned)


def test_what_is_said_beside_none_goes_wrong_from_then_on():
    with simulation(impairments={"loss": 0.5, "noise": 0.1}) as sim:
        sim.set_impairments("none", loss=0.25)
        assert sim.network.impairments == Impairments(loss=0.25)
        with pytest.raises(ConfigError, match="set_impairments must be keys and values, got 'no'"):
            sim.set_impairments("no")


# What cannot be done


BAD = {
    "an unknown link": (lambda s: s.drop_links(["0-3"]), "no link 0-3; client 0 talks to 1, 5"),
    "an unknown end of a link": (lambda s: s.drop_links([(0, 9)]), "no client is called 9"),
    "a link to itself": (lambda s: s.drop_links(["2-2"]), "links a client to itself"),
    "no link at all": (lambda s: s.drop_links([(1, 2, 3)]), "a link is"),
    "a link that is up": (lambda s: s.restore_links(["0-1"]), "link 0-1 is not down"),
    "an unknown client": (lambda s: s.drop_clients([6]), "clients are numbered 0 to 5"),
    "everyone": (lambda s: s.drop_clients(range(6)), "nobody would be left"),
    "who is here": (lambda s: s.restore_clients([1]), "client 1 did not leave"),
    "from whom?": (lambda s: s.restore_clients([1], how="mean"), "stale or neighbor or average"),
    "an unknown network": (lambda s: s.set_topology("rnig6"), "did you mean ring"),
    "another size": (lambda s: s.set_topology("ring7"), "'ring7' has 7 clients"),
    "no network": (lambda s: s.set_topology(3), "topology"),
    "nobody new": (lambda s: s.add_clients(0), "count must be an integer >= 1, got 0"),
    "a new one that nobody knows": (lambda s: s.add_clients(1, links=["7-0"]), "called '7'"),
    "too few shards": (
        lambda s: s.add_clients(2, shards=[[1]]),
        "one for each of 2 new clients, got 1",
    ),
    "samples that are not": (lambda s: s.add_clients(shards=[[10**6]]), "indices of training"),
    "no list of shards": (lambda s: s.add_clients(shards=5), "a list of indices for each new"),
    "a sample that is there twice": (
        lambda s: s.add_clients(shards=[[5, 7, 5]]),
        "shards[0] has sample 5 twice; leave it out once",
    ),
    "parts of samples": (lambda s: s.add_clients(shards=[[0.5]]), "indices of training samples"),
    "a new one by itself": (
        lambda s: s.add_clients(2, links=["6-0", "7-6"]),
        "client 7 has no neighbor to take a model from; link it to a client that is there already",
    ),
    "two networks of new ones": (
        lambda s: s.add_clients(1, links=["6-0"], topology="ring7"),
        "links and topology both say whom new clients talk to",
    ),
    "a rule that is none": (lambda s: s.set_rule(5), "must have a name, such as clipped, got 5"),
    "no verb": (lambda s: s.do("dorp_links"), "did you mean drop_links"),
    "a verb that is no text": (lambda s: s.do(None), "unknown action None; known: add_clients"),
    "nothing to cut": (lambda s: s.do("drop_links"), "drop_links.links is missing"),
    "too much to do": (lambda s: s.do("set_lr", lr=0.1, x=3), "unknown key set_lr.x; known: lr"),
    "half an attack": (lambda s: s.do("attack", who=[0]), "attack.how is missing"),
    "too much to restore": (lambda s: s.do("restore_clients", haw="stale"), "did you mean how"),
    "half a round": (lambda s: s.advance(2.5), "rounds must be a whole number >= 0, got 2.5"),
    "fewer rounds": (lambda s: s.advance(-1), "rounds must be a whole number >= 0, got -1"),
    "no moment": (lambda s: s.go_back(3), "go_back takes a moment of this simulation"),
    "no samples": (lambda s: s.add_clients(shards=[[]]), "indices of training samples"),
    "an unknown parameter": (lambda s: s.set_algorithm_params(betta=1), "did you mean beta"),
    "a parameter out of range": (lambda s: s.set_algorithm_params(beta=2), "beta must be in"),
    "what a sum of steps was begun for": (
        lambda s: s.set_algorithm_params(tau=2),
        "algorithm.tau of qg-dsgdm-n cannot change in a live run",
    ),
    "lr as a parameter": (lambda s: s.set_algorithm_params(lr=1), "use set_lr"),
    "no step": (lambda s: s.set_lr(0), "lr must be > 0, got 0"),
    "no number": (lambda s: s.set_lr("fast"), "lr must be > 0, got 'fast'"),
    "an unknown impairment": (lambda s: s.set_impairments(los=0.1), "did you mean loss"),
    "no probability": (lambda s: s.set_impairments(loss=2), "must be a probability"),
}


@pytest.mark.parametrize("what", BAD)
def test_what_cannot_be_is_told_in_one_line_and_changes_nothing(what):
    do, complaint = BAD[what]
    with simulation() as whole, simulation() as sim:
        whole.advance(8)
        sim.advance(4)
        with pytest.raises(ConfigError) as refused:
            do(sim)
        assert complaint in str(refused.value)
        assert "\n" not in str(refused.value)
        sim.advance(4)
        assert_same(sim, whole)


def test_a_closed_network_says_so_whatever_it_is_asked_to_do():
    with simulation() as sim:
        moment = sim.moment()
    for do in (
        sim.moment,
        sim.save,
        sim.fork,
        sim.evaluate,
        lambda: sim.advance(0),
        lambda: sim.go_back(moment),
        lambda: sim.drop_links(["0-1"]),
        lambda: sim.add_clients(),
        lambda: sim.restore_clients(how="average"),
    ):
        with pytest.raises(ConfigError, match="this simulation is closed"):
            do()


@pytest.mark.parametrize("again", [copy.copy, copy.deepcopy, pickle.dumps])
def test_who_copies_or_pickles_a_live_network_is_told_how_it_is_done(again):
    with simulation() as sim, pytest.raises(TypeError, match=r"fork\(\) makes a second one"):
        again(sim)


def test_what_is_no_path_is_told():
    with simulation() as sim:
        for path in (None, 5, b"here"):
            with pytest.raises(ConfigError, match="a path must be a text or a Path"):
                sim.checkpoint(path)
            with pytest.raises(ConfigError, match="a path must be a text or a Path"):
                p2pqg.Simulation.restore(path)


def test_a_step_size_may_be_a_number_of_numpys():
    with simulation() as sim, simulation() as other:
        sim.set_lr(np.float32(0.25))
        other.set_lr(0.25)
        for one in (sim, other):
            one.advance(2)
        assert_same(sim, other)


def test_what_is_down_already_is_told():
    with simulation() as sim:
        sim.drop_links(["0-1"])
        sim.drop_clients([3])
        with pytest.raises(ConfigError, match="link 0-1 is down already"):
            sim.drop_links(["1-0"])
        with pytest.raises(ConfigError, match="client 3 left already"):
            sim.drop_clients([3])
        with pytest.raises(ConfigError, match="nobody would be left"):
            sim.drop_clients([0, 1, 2, 4, 5])
        assert sim.network.describe() == "1 link down (0-1), 1 client absent (3)"


def test_whoever_has_no_neighbor_can_only_come_back_stale():
    with simulation(topology="star6") as sim:
        sim.advance(2)
        sim.drop_clients([0])
        sim.drop_clients([1])
        with pytest.raises(ConfigError, match="client 1 has no neighbor to take a model from"):
            sim.restore_clients([1], how="neighbor")
        sim.restore_clients([1])
        assert sim.network.absent == {0}


def test_algorithms_that_remember_their_neighbors_keep_them():
    with simulation(topology="chain6", algorithm="relay-sgd") as sim:
        sim.advance(2)
        with pytest.raises(ConfigError, match="relay-sgd keeps a memory of every neighbor"):
            sim.set_topology("star6")
        with pytest.raises(ConfigError, match="relay-sgd"):
            sim.set_impairments(loss=0.1)
        sim.advance(2)
        assert sim.events == []


def test_lies_and_speeds_are_no_other_network_to_who_remembers_neighbors():
    """Where a link was cut, or a client had joined, before the first round, both were refused."""
    clock = {"network": {"links": "4g", "compute": "1 s"}}
    with simulation(algorithm="choco-sgd", **clock) as sim:
        sim.drop_links(["0-1"])
        sim.add_clients(links=["6-0", "6-3"])
        sim.advance(2)
        sim.attack([2], "noise")
        sim.set_network(links="3g")
        sim.advance(2)
        with pytest.raises(ConfigError, match="network cannot change after the first round"):
            sim.restore_links()
    scenario = [
        {"at": 0, "add_clients": {"links": ["6-0", "6-3"]}},
        {"at": 2, "attack": {"who": [2], "how": "noise"}},
        {"at": 2, "set_network": {"links": "3g"}},
    ]
    with simulation(algorithm="choco-sgd", scenario=scenario, **clock) as sim:
        sim.advance(3)
        assert len(sim.events) == 3


def test_a_network_of_one_size_cannot_guess_new_links():
    with simulation(topology="florentine15") as sim:
        with pytest.raises(ConfigError, match="does not say whom new clients talk to"):
            sim.add_clients()
        sim.add_clients(links=[("new-15", "Medici")])
        sim.advance(2)
        assert np.isfinite(sim.parameters()).all()


@pytest.mark.parametrize(
    ("item", "complaint"),
    [
        ({"at": 3, "drop_links": ["0-3"]}, "scenario[0].drop_links: there is no link 0-3"),
        ({"at": 3, "drop_clients": [9]}, "scenario[0].drop_clients: no client is called 9"),
        ({"at": -1, "set_lr": 0.1}, "scenario[0].at must be rounds or a time"),
        ({"at": 30, "set_lr": 0.1}, "scenario[0] is in round 30, but the last round is 29"),
        ({"at": 3, "drop_clients": [0, 1, 2, 3, 4, 5]}, "nobody would be left"),
        ({"at": "3 s", "set_lr": 0.1}, "seconds are those of the simulated clock, and there is"),
        ({"at": 3, "drop_link": ["0-1"]}, "did you mean drop_links"),
        ({"set_lr": 0.1}, "must say when"),
        ({"at": 3, "set_topology": "ring7"}, "set_topology: 'ring7' has 7 clients"),
    ],
    ids=str,
)
def test_a_wrong_scenario_is_one_clear_line_before_anything_starts(item, complaint):
    with pytest.raises(ConfigError) as refused:
        simulation(scenario=[item])
    assert complaint in str(refused.value)
    assert "\n" not in str(refused.value)


# The simulated clock


def test_a_speed_for_a_link_that_does_not_exist_is_refused_with_those_that_do():
    clock = {"network": {"links": {"0-1": "lan", "0-3": "4g"}}}
    with pytest.raises(ConfigError) as refused:
        simulation(**clock)
    assert str(refused.value) == (
        "network.links: there is no link 0-3; client 0 talks to 1, 5; leave it out"
    )
    for change in ({"set_topology": "complete6"}, {"add_links": [[0, 3]]}):
        with simulation(**clock, scenario=[{"at": 3, **change}]) as sim:
            assert sim.network.timing.links.look_up(np.array([0]), np.array([3]))[0] == 0.17


def test_a_checkpoint_knows_what_was_done_by_hand(tmp_path):
    with p2pqg.Simulation(topology="ring8", rounds=10, engine="local") as sim:
        sim.advance(3)
        sim.drop_links(["0-1"])
        sim.checkpoint(tmp_path / "here")
        done = sim.interventions
    with p2pqg.Simulation.restore(tmp_path / "here") as again:
        assert again.interventions == done == [{"round": 3, "drop_links": ["0-1"]}]


def test_what_a_scenario_does_is_not_done_by_hand():
    scenario = [{"at": "round 2", "drop_links": ["0-1"]}]
    with p2pqg.Simulation(topology="ring8", engine="local", scenario=scenario) as sim:
        sim.advance(4)
        assert sim.events
        assert not sim.interventions


def test_a_moment_can_be_gone_back_to_across_new_clients():
    with p2pqg.Simulation(topology="ring8", rounds=20, engine="local") as sim:
        sim.advance(4)
        moment, x = sim.moment(), sim.parameters()
        sim.advance(2)
        sim.add_clients(2)
        sim.advance(2)
        sim.go_back(moment)
        assert sim.round == 4
        assert np.array_equal(sim.parameters(), x)
        another = p2pqg.Simulation(topology="ring8", engine="local")
        with another, pytest.raises(ConfigError, match="a moment of this simulation"):
            another.go_back(moment)


@pytest.mark.parametrize("record_every", [1, 10])
def test_what_is_done_now_does_not_change_what_the_last_round_was(record_every):
    """Its step size, and the loss that is on record of it."""
    with simulation(record_every=record_every, eval_every=10) as sim:
        sim.advance(4)
        loss = sim.evaluate()["train_loss"]
        sim.set_lr(0.01)
        sim.set_lr(0.02)
        now = sim.evaluate()
        assert (now["round"], now["lr"]) == (3, SETTINGS["lr"])
        assert now["train_loss"] == loss is not None
        sim.advance(1)
        assert sim.evaluate()["lr"] == 0.02


def test_new_clients_do_not_learn_from_samples_that_are_held_out():
    with simulation(validation=0.3) as sim:
        held_out = set(sim.experiment.held_out.tolist())
        sim.add_clients(2)
        mixed = [*sim.experiment.held_out[:2], *sim.experiment.parts[0][:3]]
        sim.add_clients(shards=[mixed])
        for part in sim.experiment.parts:
            assert held_out.isdisjoint(part.tolist())
        assert sim.experiment.parts[-1].tolist() == mixed[2:]
        with pytest.raises(ConfigError, match="held out"):
            sim.add_clients(shards=[mixed[:2]])


def test_shards_of_new_clients_are_refused_where_a_test_was_drawn_which_numbers_samples_anew():
    """Sample 2 was held out, and whoever asked for it got sample 3; nobody said so."""
    mine = {"dataset": (np.arange(20.0).reshape(10, 2), np.arange(10) % 2), "batch_size": 1}
    refused = "shards names training samples by number, but 2 of them are drawn for a test"
    with simulation(**mine) as sim, pytest.raises(ConfigError, match=refused):
        sim.add_clients(shards=[[1, 2]])
    joins = [{"at": "round 1", "add_clients": {"shards": [[1, 2]]}}]
    with pytest.raises(ConfigError, match=refused):
        simulation(**mine, scenario=joins)


def test_what_was_done_is_remembered_as_plain_lists_whatever_it_was_given_as():
    """A range, or a view of a dict, was remembered as an object that no recipe can say."""
    with simulation() as sim:
        sim.drop_clients(range(2))
        sim.restore_clients({1: "a", 0: "b"}.keys())
        sim.drop_links({"x": (2, 3)}.values())
        sim.attack(range(4, 5), "sign-flip")
        sim.add_clients(shards=(range(8) for _ in range(1)))
        assert sim.interventions == [
            {"round": 0, "drop_clients": [0, 1]},
            {"round": 0, "restore_clients": {"clients": ["0", "1"], "how": "stale"}},
            {"round": 0, "drop_links": [[2, 3]]},
            {"round": 0, "attack": {"who": [4], "how": "sign-flip"}},
            {"round": 0, "add_clients": {"count": 1, "shards": [[0, 1, 2, 3, 4, 5, 6, 7]]}},
        ]
