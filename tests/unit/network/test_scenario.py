"""What happens when: order, cursors, traces; and everything wrong is found before a run starts."""

import pickle

import pytest
import yaml

from p2pqg.base.errors import ConfigError
from p2pqg.network import trial as trials
from p2pqg.network.events import Event
from p2pqg.network.network import Network
from p2pqg.network.scenario import Scenario, read_scenario
from p2pqg.network.trial import after_event
from p2pqg.network.verbs import GROWING, VERBS, Verb
from p2pqg.simulation.simulation import Simulation
from p2pqg.topology import build

RING = Network(build("ring16"))


def scenario(text: str, network: Network = RING, num_rounds: int = 500, **about) -> Scenario:
    return read_scenario(yaml.safe_load(text), network, num_rounds, **about)


def played(events: Scenario, moments: list[tuple[int, float]]) -> list[tuple[int, str]]:
    """(round, action) of what is due at (rounds done, seconds)."""
    cursor, done = (0, 0), []
    for round, seconds in moments:
        while (event := events.due(round, seconds, cursor)) is not None:
            cursor = events.after(event, cursor)
            done.append((round, event.action))
    return done


def test_the_forms_of_every_action():
    found = scenario("""
      - {at: 0, set_lr: 1}
      - {at: 1, drop_links: [[3, 4], 5-6]}
      - {at: 2, restore_links: all}
      - {at: 3, drop_clients: 7}
      - {at: 4, restore_clients: {clients: [7], how: neighbor}}
      - {at: 5, set_impairments: {on-loss: renormalise, loss: 0.1}}
      - {at: 6, set_impairments: none}
      - {at: 7, set_algorithm_params: {beta: 0.5}}
      - {at: 8, set_topology: torus}
      - {at: 9, add_clients: 4}
      - {at: 10, add_clients: {count: 1, links: [[20, 0]]}}
    """)
    assert [(event.action, dict(event.arguments)) for event in found.rounds if event.at != 6] == [
        ("set_lr", {"lr": 1.0}),
        ("drop_links", {"links": [[3, 4], "5-6"]}),
        ("restore_links", {}),
        ("drop_clients", {"clients": [7]}),
        ("restore_clients", {"clients": [7], "how": "neighbor"}),
        ("set_impairments", {"on_loss": "renormalise", "loss": 0.1}),
        ("set_algorithm_params", {"beta": 0.5}),
        ("set_topology", {"topology": "torus"}),
        ("add_clients", {"count": 4}),
        ("add_clients", {"count": 1, "links": [[20, 0]]}),
    ]
    network = RING
    for event in found.rounds:
        if event.action not in ("set_lr", "set_algorithm_params"):
            network = after_event(network, event)
    assert network.describe() == ""
    assert network.num_clients == 21


@pytest.mark.parametrize("at", ["round 300", "300", "300 rounds", "rounds 300"])
def test_rounds_may_be_written_in_several_ways(at):
    assert scenario(f"- {{at: {at}, set_lr: 0.1}}").next_round((0, 0)) == 300


def test_seconds_have_a_unit():
    found = scenario("- {at: 30 min, set_lr: 0.1}\n- {at: 90 s, set_lr: 0.2}", timed=True)
    assert [event.at for event in found.seconds] == [90, 1800]
    assert found.next_seconds((0, 0)) == 90
    assert found.next_seconds((0, 2)) is None


def test_every_is_once_per_span_ends_included():
    found = scenario("- {every: 50 rounds, between: [100, 250], set_lr: 0.1}")
    assert [event.at for event in found.rounds] == [100, 150, 200, 250]
    found = scenario("- {every: 100, set_lr: 0.1}", num_rounds=301)
    assert [event.at for event in found.rounds] == [100, 200, 300]
    found = scenario("- {every: 0.1 s, between: [0, 0.3 s], set_lr: 0.1}", timed=True)
    assert len(found.seconds) == 4


def test_a_longer_run_adds_events_at_the_end_only():
    text = "- {every: 20, set_lr: 0.1}\n- {at: 30, drop_clients: [3]}"
    short, long = scenario(text, num_rounds=100), scenario(text, num_rounds=200)
    assert long.rounds[: len(short)] == short.rounds


def test_events_happen_in_order_each_once():
    found = scenario("""
      - {at: 20, set_lr: 0.1}
      - {at: 10, drop_links: [[3, 4]]}
      - {at: 10, drop_clients: [8]}
    """)
    moments = [(round, 0.0) for round in (0, 5, 10, 20, 21)]
    expected = [(10, "drop_links"), (10, "drop_clients"), (20, "set_lr")]
    assert played(found, moments) == expected
    assert len(found) == 3
    assert not scenario("[]")


def test_rounds_and_seconds_do_not_wait_for_each_other():
    text = "- {at: 10, drop_links: [[3, 4]]}\n- {at: 60 s, restore_links: [[3, 4]]}"
    found = scenario(text, timed=True)
    slow, fast = [(0, 0.0), (5, 70.0), (10, 140.0)], [(0, 0.0), (10, 5.0), (200, 100.0)]
    assert played(found, slow) == [(5, "restore_links"), (10, "drop_links")]
    assert played(found, fast) == [(10, "drop_links"), (200, "restore_links")]


def test_it_is_plain_data():
    found = scenario("- {at: 10, drop_links: [[3, 4]]}")
    assert pickle.loads(pickle.dumps(found)) == found


def test_churn_is_leaving_and_joining(tmp_path):
    path = tmp_path / "trace.csv"
    path.write_text(
        "round,client,event\n30,2,join\n10,2,leave\n10,5,leave\n40,5,join\n900,1,leave\n"
    )
    found = scenario(f"- {{churn: {path}, how: average}}")
    assert [(event.at, event.action, dict(event.arguments)) for event in found.rounds] == [
        (10, "drop_clients", {"clients": ["2", "5"]}),
        (30, "restore_clients", {"clients": ["2"], "how": "average"}),
        (40, "restore_clients", {"clients": ["5"], "how": "average"}),
    ]


def test_churn_after_the_last_round_is_told_and_where_the_end_is_open_it_is_kept(tmp_path):
    """It was dropped without a word, also where the run then went on beyond the reckoned end."""
    path = tmp_path / "trace.csv"
    path.write_text("round,client,event\n10,2,leave\n600,2,join\n900,1,leave\n")
    closed = scenario(f"- churn: {path}")
    assert [event.at for event in closed.rounds] == [10]
    (note,) = closed.notes
    assert "line 3) and what comes later, up to round 900, is in no round" in note
    assert note.endswith("the last round is 499: that does not happen")
    is_open = scenario(f"- churn: {path}", reckoned=True)
    assert [event.at for event in is_open.rounds] == [10, 600, 900]
    assert is_open.notes[0].endswith("the last round is 499, if the pace stays: it may never come")


def test_what_a_run_ended_before_is_told_item_by_item():
    found = scenario(
        "- {at: 10, drop_links: [[3, 4]]}\n- {every: 100, set_lr: 0.1}\n"
        "- {at: 400 s, restore_links: [[3, 4]]}",
        timed=True,
    )
    assert found.never_came(250, 312.04, (3, 0)) == [
        "scenario[1]: set_lr in round 300 and 1 later never came: the run ended after 250 rounds",
        "scenario[2]: restore_links at 400 s never came: the run ended at 312 s",
    ]
    assert found.never_came(500, 400.0, (5, 1)) == []


def test_churn_calls_clients_by_their_labels(tmp_path):
    path = tmp_path / "trace.csv"
    path.write_text("client,event,seconds\nlisbon-2,leave,0.5\nlisbon-2,join,7200\n")
    found = scenario(f"- churn: {path}", Network(build("office-wan8")), timed=True)
    assert [event.at for event in found.seconds] == [0.5, 7200]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("4,2,left", "line 2: event must be leave or join, got 'left'"),
        ("4.5,2,leave", "line 2: round must be >= 0 and finite, rounds whole, got 4.5"),
        ("inf,2,leave", "line 2: round must be >= 0 and finite, rounds whole, got inf"),
        ("1e400,2,leave", "line 2: round must be >= 0 and finite, rounds whole, got 1e400"),
        ("4,99,leave", r"scenario\[0\] \(.*line 2\).drop_clients: no client is called '99'"),
        ("4,2,join", r"line 2\).restore_clients: client 2 did not leave"),
    ],
)
def test_churn_that_cannot_be_is_said_with_its_line(tmp_path, line, message):
    path = tmp_path / "trace.csv"
    path.write_text(f"round,client,event\n{line}\n")
    with pytest.raises(ConfigError, match=message):
        scenario(f"- churn: {path}")


@pytest.mark.parametrize(
    ("item", "message"),
    [
        ("hello", r"scenario\[0\] must be like"),
        ("{set_lr: 0.1}", r"scenario\[0\] must say when"),
        ("{at: 3, every: 4, set_lr: 0.1}", "must say when"),
        ("{at: 3, between: [1, 2], set_lr: 0.1}", "between goes with every"),
        ("{at: round -3, set_lr: 0.1}", "at must be rounds or a time, such as round 300"),
        ("{at: true, set_lr: 0.1}", "at must be rounds or a time"),
        ("{at: 500, set_lr: 0.1}", "is in round 500, but the last round is 499"),
        ("{every: 50, between: [100, 600], set_lr: 0.1}", "is in round 600, but the last"),
        ("{every: 0, set_lr: 0.1}", "every must be > 0"),
        ("{every: 500, set_lr: 0.1}", "every is 500 rounds, but the last round is 499; make it"),
        ("{every: 5, between: [9, 3], set_lr: 0.1}", r"between must rise, got \[9, 3\]"),
        ("{every: 5, between: 9, set_lr: 0.1}", r"between must be \[first, last\], got 9"),
        ("{every: 5, between: [9, 30 s], set_lr: 0.1}", "must count what every counts"),
        ("{every: 5 s, set_lr: 0.1}", "every in seconds needs an end"),
        ("{at: 10 s, set_lr: 0.1}", "the simulated clock, and there is none. Add network"),
        ("{at: 3, set_lr: 0}", r"scenario\[0\].set_lr must be > 0, got 0"),
        ("{at: 3, drop_link: [[3, 4]]}", "unknown key drop_link; did you mean drop_links"),
        ("{at: 3, set_lr: 0.1, drop_clients: [3]}", "exactly one thing.*set_lr and drop_clients"),
        ("{at: 3, drop_links: [[3, 9]]}", "no link 3-9; client 3 talks to 2, 4"),
        ("{at: 3, drop_links: {a: 1}}", "drop_links must be a list of links"),
        ("{at: 3, drop_clients: []}", "drop_clients must be a list of clients"),
        ("{at: 3, restore_clients: [2]}", "client 2 did not leave"),
        (f"{{at: {10**400}, set_lr: 0.1}}", "at must be 9.223e.18 rounds at most, got a num"),
        (f"{{at: 3, set_lr: {10**400}}}", "set_lr must be 1.701e.38 at most, got a number of"),
        ("{at: 3, restore_clients: {clients: all, how: new}}", "how must be stale, neighbor, ave"),
        ("{at: 3, set_topology: torus15}", "set_topology: 'torus15' has 15 clients"),
        ("{at: 3, set_topology: 15}", "set_topology must be a network such as torus16"),
        ("{at: 3, set_impairments: {loss: 2}}", r"set_impairments: impairments.loss must be a pro"),
        ("{at: 3, set_algorithm_params: 0.5}", "set_algorithm_params must be keys and values"),
        ("{at: 3, add_clients: 0}", "add_clients: count must be an integer >= 1"),
        ("{at: 3, add_clients: {number: 2}}", "unknown key scenario.0..add_clients.number"),
        ("{every: 50, drop_links: [[3, 4]]}", "link 3-4 is down already"),
        ("{churn: nothing.csv}", "nothing.csv: cannot be read"),
        ("{churn: {leave: 0.3}}", "churn must be a CSV file, got {'leave': 0.3}"),
        ("{churn: x.csv, at: 3}", "unknown key at"),
    ],
)
def test_an_item_that_cannot_be_is_said(item, message):
    with pytest.raises(ConfigError, match=message) as caught:
        scenario(f"- {item}")
    assert "\n" not in str(caught.value)


def test_a_scenario_that_empties_the_network_is_refused():
    with pytest.raises(ConfigError, match=r"scenario\[1\].drop_clients: nobody would be left"):
        scenario("""
          - {at: 3, drop_clients: [0, 1, 2, 3, 4, 5, 6, 7]}
          - {at: 9, drop_clients: [8, 9, 10, 11, 12, 13, 14, 15]}
        """)


def test_an_event_is_tried_on_the_network_as_it_will_be_then():
    found = scenario("- {at: 9, drop_links: [[0, 4]]}\n- {at: 3, set_topology: torus16}")
    assert [event.action for event in found.rounds] == ["set_topology", "drop_links"]
    with pytest.raises(ConfigError, match=r"scenario\[1\].restore_links: link 0-1 is not down"):
        scenario("- {at: 3, restore_links: all}\n- {at: 5, restore_links: [[0, 1]]}")


def test_nobody_to_take_a_model_from_is_found():
    with pytest.raises(ConfigError, match="client 3 has no neighbor to take a model from"):
        scenario("""
          - {at: 3, drop_clients: [2, 3, 4]}
          - {at: 9, restore_clients: {clients: [3], how: average}}
        """)


def test_where_rounds_and_seconds_both_change_the_network_names_are_still_checked():
    with pytest.raises(ConfigError, match="(?s)2 problems.*no link 3-9.*no client is called 77"):
        scenario("- {at: 3, drop_links: [[3, 9]]}\n- {at: 60 s, restore_clients: [77]}", timed=True)


def test_all_problems_come_at_once_in_the_order_of_the_list():
    with pytest.raises(ConfigError) as caught:
        scenario("""
          - {at: 20, drop_links: [[3, 9]]}
          - {at: 10, drop_clients: [99]}
          - {at: 10, drop_clients: [3]}
        """)
    heads = [line.split(".")[0].strip() for line in str(caught.value).splitlines()]
    assert heads == ["2 problems", "scenario[0]", "scenario[1]"]


def test_the_caller_can_check_every_event_too():
    seen = []

    def check(event, network):
        seen.append((event.action, network.describe()))
        if event.action == "set_algorithm_params":
            raise ConfigError("unknown key algorithm.betta; did you mean beta?")

    with pytest.raises(ConfigError, match=r"scenario\[1\].set_algorithm_params: unknown key alg"):
        scenario(
            "- {at: 3, drop_clients: [3]}\n- {at: 5, set_algorithm_params: {betta: 1}}", check=check
        )
    assert [words for _, words in seen] == ["1 client absent (3)"] * 2


def test_what_is_refused_brings_no_problems_of_those_that_undo_it():
    def check(event, network):
        if event.action == "drop_clients":
            raise ConfigError("not with this algorithm")

    leaves = "- {at: round 2, drop_clients: [2]}\n- {at: round 4, restore_clients: [2]}"
    with pytest.raises(ConfigError) as caught:
        scenario(leaves, check=check)
    assert caught.value.lines == ["scenario[0].drop_clients: not with this algorithm"]


def test_a_scenario_must_be_a_list():
    with pytest.raises(ConfigError, match="scenario must be a list of items"):
        scenario("at: 3")


def test_a_new_verb_is_one_entry_and_recipes_and_simulations_have_it(monkeypatch):
    def swapped(network, given, round):
        return network.with_topology(given["to"])

    swap = Verb(
        lambda value, key: {"to": value},
        network=swapped,
        words=lambda given, network: f"to {network.base.name}",
    )
    monkeypatch.setitem(VERBS, "swap", swap)
    small = {"topology": "ring6", "model": "logistic", "engine": "local", "rounds": 9}
    with Simulation(**small, scenario=[{"at": "round 3", "swap": "star6"}]) as sim:
        sim.advance(5)
        assert sim.network.base.name == "star6"
        sim.do("swap", to="complete6")
        assert [event["what"] for event in sim.events] == ["swap to star6", "swap to complete6"]


@pytest.mark.parametrize(
    ("grow", "given"),
    [
        ("add_links", {"links": [[0, 4]]}),
        ("add_clients", {"count": 1, "links": [[16, 0], [0, 4]]}),
        ("set_topology", {"topology": "complete16"}),
    ],
)
def test_a_link_that_may_be_there_by_then_is_not_missed_where_no_order_was_found(
    grow, given, monkeypatch
):
    events = [
        Event("round", 1, grow, given, "scenario[0]"),
        Event("seconds", 9.0, "drop_links", {"links": [[0, 4]]}, "scenario[1]"),
    ]
    monkeypatch.setattr(trials, "MOST_TRIED", -len(events))  # nothing may be tried
    assert trials.trial(events, RING, None) == ({}, [])
    assert "scenario[1]" in trials.trial([*events[1:], _lr_at(1)], RING, None)[0]


def _lr_at(round):
    return Event("round", round, "set_lr", {"lr": 0.1}, "scenario[0]")


def test_verbs_after_which_there_are_other_links_are_known_as_such():
    """Whoever draws the network, or asks whether a link can be there later, goes by them."""
    given = {
        "set_topology": {"topology": "torus16"},
        "add_links": {"links": [[0, 4]]},
        "add_clients": {"count": 1},
        "drop_links": {"links": [[0, 1]]},
        "restore_links": {},
        "drop_clients": {"clients": [3]},
        "restore_clients": {},
        "attack": {"who": [3], "how": "sign-flip"},
        "stop_attack": {},
        "set_impairments": {"loss": 0.1},
    }
    changing = {name for name, verb in VERBS.items() if verb.network}
    assert changing == {*given, "set_network"}  # which is of a clock
    liar = RING.drop_links([[8, 9]]).drop_clients([12]).attack([5], "noise")
    after = {name: VERBS[name].network(liar, said, 0) for name, said in given.items()}
    assert {name for name, now in after.items() if now.base is not RING.base} == GROWING
