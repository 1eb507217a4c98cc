"""The simulated clock, against cases solved by hand."""

import pickle
from dataclasses import replace
from unittest.mock import Mock

import networkx as nx
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from p2pqg.base.config import read
from p2pqg.base.errors import ConfigError
from p2pqg.network.link_spec import spelled_out
from p2pqg.network.links import CLASSES, Link, Links
from p2pqg.network.params import ClockParams
from p2pqg.network.timing import Timing
from p2pqg.network.trips import Trips
from p2pqg.topology import RULES, Mixing, build

MB = 1_000_000
RING = build("ring8").mixing(0)
STAR = build("star5").mixing(0)
DIRECTED_RING = RULES["uniform"].build(nx.cycle_graph(6, create_using=nx.DiGraph))
ALONE = Mixing.from_dense(np.eye(4))


def timing(n: int, **said) -> Timing:
    params, problems = read(ClockParams, said, "network.")
    assert not problems
    return Timing.of(params, n)


def of_edges(W: Mixing, entries: np.ndarray) -> dict[tuple[int, int], float]:
    """(sender, receiver) -> number."""
    edges = zip(W.senders.tolist(), W.receivers.tolist(), strict=True)
    return dict(zip(edges, entries.tolist(), strict=True))


# One round.


def test_a_perfect_network_takes_no_time_at_all():
    clock = timing(8)
    assert clock.seconds(RING, 0, MB, allreduce_bytes=MB) == 0.0
    assert_array_equal(clock.arrivals(RING, 0, MB), 0.0)


def test_a_ring_of_equal_links_takes_compute_plus_latency_plus_bits_over_bandwidth():
    clock = timing(8, links={"latency": "20 ms", "bandwidth": "8 Mbit/s"}, compute=0.5)
    assert clock.seconds(RING, 0, MB) == pytest.approx(0.5 + 0.02 + 1.0, rel=1e-15)
    arrivals = of_edges(RING, clock.arrivals(RING, 0, MB))
    assert arrivals[0, 1] == arrivals[1, 0] == pytest.approx(1.52)
    assert arrivals[3, 3] == 0.5


def test_two_messages_share_an_uplink():
    clock = timing(8, uplink="8 Mbit/s")
    assert clock.seconds(RING, 0, MB) == 2.0
    assert clock.seconds(build("complete8").mixing(0), 0, MB) == 7.0
    assert timing(6, uplink="8 Mbit/s").seconds(DIRECTED_RING, 0, MB) == 1.0


def test_the_slowest_of_link_uplink_and_downlink_says_how_long_a_message_takes():
    said = {"uplink": "8 Mbit/s", "downlink": "4 Mbit/s", "links": {"bandwidth": "16 Mbit/s"}}
    assert timing(8, **said).seconds(RING, 0, MB) == 4.0
    said["downlink"] = "inf"
    assert timing(8, **said).seconds(RING, 0, MB) == 2.0
    said["uplink"] = None
    assert timing(8, **said).seconds(RING, 0, MB) == 0.5


def test_a_star_waits_for_the_slow_uplink_of_its_hub():
    clock = timing(5, links={"bandwidth": "8 Mbit/s"}, uplink={0: "2 Mbit/s"})
    arrivals = of_edges(STAR, clock.arrivals(STAR, 0, MB))
    assert arrivals[1, 0] == 1.0  # by its link
    assert arrivals[0, 1] == 16.0  # four messages of 8 Mbit at 2 Mbit/s
    assert clock.seconds(STAR, 0, MB) == 16.0
    downlink = timing(5, links={"bandwidth": "8 Mbit/s"}, downlink={0: "2 Mbit/s"})
    arrivals = of_edges(STAR, downlink.arrivals(STAR, 0, MB))
    assert arrivals[1, 0] == 16.0
    assert arrivals[0, 1] == 1.0


def test_one_slow_link_holds_up_everybody_in_one_direction_only():
    clock = timing(6, links={"default": {"latency": 0.1}, "2->3": {"latency": 0.9}})
    assert clock.seconds(DIRECTED_RING, 0, MB) == pytest.approx(0.9)
    other_way = replace(
        DIRECTED_RING, receivers=DIRECTED_RING.senders, senders=DIRECTED_RING.receivers
    )
    assert clock.seconds(other_way, 0, MB) == pytest.approx(0.1)


def test_a_round_lasts_until_the_last_client_is_through():
    clock = timing(8, compute={"seconds": 1, "speeds": {0: 0.5}}, synchrony="neighbors")
    assert_array_equal(clock.advance(np.zeros(8), RING, 0, MB), [2, 2, 1, 1, 1, 1, 1, 2])
    assert clock.seconds(RING, 0, MB) == 2.0


def test_nothing_sent_is_not_waited_for():
    clock = timing(8, links="satellite", compute=0.5)
    assert clock.seconds(RING, 0, 0.0) == 0.5
    assert clock.seconds(Mixing.from_dense(np.eye(8)), 0, MB) == 0.5


def test_a_round_without_own_weights_takes_the_computing_too():
    swap = Mixing.from_dense(np.array([[0.0, 1.0], [1.0, 0.0]]))
    assert timing(2, compute=2, links={"latency": 1}).seconds(swap, 0, MB) == 3.0
    assert timing(2, compute=2).seconds(swap, 0, 0.0) == 2.0


def test_messages_may_differ_in_size():
    sizes = np.array([MB, 0, 0, 0, 2 * MB, 0, 0, 0])
    clock = timing(8, uplink="8 Mbit/s")
    arrivals = of_edges(RING, clock.arrivals(RING, 0, sizes))
    assert [arrivals[0, 1], arrivals[4, 5], arrivals[1, 0]] == [2, 4, 0]
    by_link = of_edges(RING, timing(8, links={"bandwidth": "8 Mbit/s"}).arrivals(RING, 0, sizes))
    assert [by_link[0, 1], by_link[4, 5], by_link[1, 0]] == [1, 2, 0]
    clock = timing(5, downlink="8 Mbit/s")
    assert clock.seconds(STAR, 0, np.array([0, MB, 2 * MB, 0, MB])) == 4.0


def test_a_second_exchange_of_a_round_does_not_compute_again_but_jitters_anew():
    clock = timing(8, compute=3, links={"latency": 1})
    assert clock.seconds(RING, 0, MB, phase=1) == 1.0
    clock = timing(8, links={"jitter": 1})
    first, second = (clock.arrivals(RING, 0, MB, phase=phase) for phase in (0, 1))
    apart = RING.senders != RING.receivers
    assert (first != second)[apart].all()


# Jitter.


def test_jitter_is_exponential_with_the_mean_it_says_and_never_early():
    W = build("complete200").mixing(0)
    late = timing(200, links={"latency": 1, "jitter": 0.25}).arrivals(W, 3, MB)
    late = late[W.senders != W.receivers] - 1
    assert late.min() >= 0
    assert_allclose([late.mean(), late.std()], 0.25, rtol=0.03)
    assert_allclose((late > 0.5).mean(), np.exp(-2), atol=0.01)


def test_a_link_alone_may_have_jitter():
    clock = timing(8, links={"default": {"latency": 1}, "2->3": {"latency": 1, "jitter": 0.5}})
    arrivals = of_edges(RING, clock.arrivals(RING, 0, MB))
    assert arrivals.pop((2, 3)) > 1
    assert {late for (a, b), late in arrivals.items() if a != b} == {1}


def test_jitter_depends_on_seed_link_and_round_only():
    said = {"links": {"jitter": 1}}
    params, _ = read(ClockParams, said)
    clocks = [Timing.of(params, 8, seed=seed) for seed in (0, 0, 1)]
    one, same, other = (of_edges(RING, clock.arrivals(RING, 0, MB)) for clock in clocks)
    assert one == same
    later = of_edges(RING, clocks[0].arrivals(RING, 1, MB))
    links = [edge for edge in one if edge[0] != edge[1]]
    assert all(len({one[edge], other[edge], later[edge]}) == 3 for edge in links)
    among_more = build("complete8").mixing(0)
    more = of_edges(among_more, clocks[0].arrivals(among_more, 0, 1.0))
    assert all(more[edge] == one[edge] for edge in links)


# Clients that sit out, messages that are lost or late.


def test_who_sits_out_neither_computes_nor_sends_nor_is_waited_for():
    active = np.arange(8) != 3
    W = replace(RING, active=active)
    clock = timing(8, compute={"seconds": 1, "speeds": {3: 0.1}}, links={"3->4": {"latency": 9}})
    assert clock.seconds(RING, 0, MB) == 19.0
    assert clock.seconds(W, 0, MB) == 1.0
    assert clock.seconds(replace(RING, present=active), 0, MB) == 1.0
    assert of_edges(W, clock.arrivals(W, 0, MB))[3, 3] == 0
    nobody = replace(RING, active=np.zeros(8, dtype=bool))
    assert clock.seconds(nobody, 0, MB, allreduce_bytes=MB) == 0.0


def test_who_sits_out_is_ready_with_the_first_of_the_others():
    clock = timing(4, compute={"seconds": 1, "speeds": {0: 0.5}}, synchrony="neighbors")
    W = replace(ALONE, active=np.array([True, True, False, False]))
    assert_array_equal(clock.advance(np.array([0.0, 0, 0, 9]), W, 0), [2, 1, 1, 9])


def test_lost_messages_load_the_uplink_all_the_same():
    kept = RING.senders <= RING.receivers
    W = Mixing(8, RING.receivers[kept], RING.senders[kept], RING.weights[kept])
    clock = timing(8, uplink="8 Mbit/s")
    assert clock.seconds(W, 0, MB) == 2.0  # client 0 still sends two
    one_less = timing(8, uplink={3: "8 Mbit/s"})
    assert one_less.seconds(W, 0, MB) == 1.0
    assert one_less.seconds(replace(W, sent=np.full(8, 2)), 0, MB) == 2.0


def test_what_was_sent_earlier_is_there_already():
    ages = np.where((RING.senders == 2) & (RING.receivers == 3), 1, 0)
    clock = timing(8, links={"default": {"latency": 1}, "2->3": {"latency": 5}})
    assert clock.seconds(RING, 4, MB) == 5.0
    assert clock.seconds(replace(RING, ages=ages), 4, MB) == 1.0


def test_a_deadline_ends_the_round_unless_all_is_there_before():
    links = {"default": {"latency": 1}, "2->3": {"latency": 5}}
    clock = timing(8, links=links, deadline="2 s")
    assert clock.seconds(RING, 0, MB) == 2.0
    assert of_edges(RING, clock.arrivals(RING, 0, MB))[2, 3] == 5.0
    assert timing(8, links=links, deadline=6).seconds(RING, 0, MB) == 5.0
    assert timing(8, links={"latency": 1}, deadline=6).seconds(RING, 0, MB) == 1.0


def test_who_misses_a_message_waits_for_it_until_the_deadline():
    left = (RING.senders != 2) | (RING.receivers != 3)
    W = Mixing(8, RING.receivers[left], RING.senders[left], RING.weights[left])
    lossy = replace(W, sent=RING.out_degrees())
    said = {"links": {"latency": 1}}
    assert timing(8, **said, deadline=4).seconds(W, 0, MB) == 1.0
    assert timing(8, **said, deadline=4).seconds(lossy, 0, MB) == 4.0
    assert timing(8, **said, deadline=4).seconds(lossy, 0, 0.0) == 0.0  # nothing is sent
    assert timing(8, **said).seconds(lossy, 0, MB) == 1.0


# All-reduce.


def test_an_allreduce_is_that_of_a_ring():
    clock = timing(8, links={"latency": 0.1, "bandwidth": "8 Mbit/s"})
    seconds = 14 * 0.1 + 2 * 7 / 8 * 1.0
    assert clock.allreduce_seconds(MB) == pytest.approx(seconds, rel=1e-14)
    assert clock.seconds(RING, 0, 0.0, MB) == pytest.approx(seconds, rel=1e-14)
    assert clock.seconds(RING, 0, MB, MB) == pytest.approx(1.1 + seconds, rel=1e-14)


def test_messages_of_each_to_all_go_round_the_ring_one_by_one():
    clock = timing(8, links={"latency": 0.1, "bandwidth": "8 Mbit/s"})
    seconds = 7 * (0.1 + 1.0)
    assert clock.allgather_seconds(MB) == pytest.approx(seconds, rel=1e-14)
    ready = clock.advance(np.zeros(8), RING, 0, allgather_bytes=MB)
    assert ready == pytest.approx(seconds, rel=1e-14)
    assert clock.allgather_seconds(MB, np.arange(8) < 2) == pytest.approx(1.1, rel=1e-14)
    assert clock.allgather_seconds(MB, np.arange(8) < 1) == 0.0


def test_an_allreduce_is_as_slow_as_the_slowest_link_of_its_ring():
    slow = {"2->3": {"latency": 1}, "5->1": {"latency": 100}}
    assert timing(8, links=slow).allreduce_seconds(MB) == 14.0
    assert timing(8, uplink={4: "8 Mbit/s"}).allreduce_seconds(MB) == 14 / 8
    assert timing(8, downlink={4: "8 Mbit/s"}).allreduce_seconds(MB) == 14 / 8
    assert timing(8, links={"jitter": 1}).allreduce_seconds(MB) == 14.0


def test_an_allreduce_of_those_who_take_part():
    clock = timing(8, links={"latency": 1})
    assert clock.allreduce_seconds(MB, np.arange(8) < 3) == 4.0
    assert clock.allreduce_seconds(MB, np.arange(8) < 1) == 0.0
    W = replace(RING, active=np.arange(8) < 3)
    assert clock.seconds(W, 0, 0.0, MB) == 4.0
    slow = timing(8, links={"2->0": {"latency": 1}, "2->3": {"latency": 100}})  # as the ring goes
    assert slow.allreduce_seconds(MB, np.arange(8) < 3) == 4.0


# Round after round.


def test_a_global_barrier_passes_one_stragglers_delay_to_all_at_once():
    clock = timing(8, compute={"seconds": 1, "speeds": {0: 0.1}})
    ready = clock.advance(np.zeros(8), RING, 0, MB)
    assert_array_equal(ready, 10.0)
    assert_array_equal(clock.advance(ready, RING, 1, MB), 20.0)
    apart = np.arange(8.0)  # all begin when the last one can
    assert_array_equal(clock.advance(apart, RING, 1, MB), 7.0 + 10.0)


def test_without_a_barrier_one_delay_spreads_one_hop_per_round(tmp_path):
    trace = tmp_path / "trace.csv"
    trace.write_text("client,round,seconds\n0,0,10\n0,1,1\n")
    compute = {"seconds": 1, "trace": str(trace)}
    clock = timing(8, compute=compute, synchrony="neighbors")
    ready, hops = np.zeros(8), np.minimum(np.arange(8), 8 - np.arange(8))
    for round in range(6):
        ready = clock.advance(ready, RING, round, MB)
        assert_array_equal(ready, np.where(hops <= round + 1, 10 + round, 1 + round))


def test_without_a_barrier_rounds_follow_the_max_plus_recursion():
    rng = np.random.default_rng(0)
    latency = rng.random((8, 8))
    links = {f"{a}->{b}": {"latency": latency[a, b]} for a in range(8) for b in range(8) if a != b}
    speeds = {i: 0.5 + i for i in range(8)}
    clock = timing(8, links=links, compute={"seconds": 1, "speeds": speeds}, synchrony="neighbors")
    ready, expected = np.zeros(8), np.zeros(8)
    for round in range(5):
        ready = clock.advance(ready, RING, round, MB)
        through = expected + [1 / speeds[i] for i in range(8)]
        expected = np.array(
            [
                max(through[i], *(through[j] + latency[j, i] for j in ((i - 1) % 8, (i + 1) % 8)))
                for i in range(8)
            ]
        )
        assert_allclose(ready, expected, rtol=1e-14)


def test_without_a_barrier_no_line_carries_two_rounds_at_once():
    """Client 0 hears of nobody, but its one message takes 4 s to leave."""
    W = Mixing.from_dense(np.array([[1.0, 0.0], [0.5, 0.5]]))
    for said in ({"uplink": {0: "2 Mbit/s"}}, {"links": {"bandwidth": "2 Mbit/s"}}):
        clock = timing(2, **said, synchrony="neighbors")
        ready = clock.advance(np.zeros(2), W, 0, MB)
        assert_array_equal(ready, [4.0, 4.0])
        assert_array_equal(clock.advance(ready, W, 1, MB), [8.0, 8.0])


def test_on_a_complete_network_of_equal_links_both_synchronies_agree():
    W = build("complete6").mixing(0)
    said = {"links": "wan", "uplink": "10 Mbit/s", "compute": 0.3}
    ready = {mode: np.zeros(6) for mode in ("global", "neighbors")}
    for mode in ready:
        clock = timing(6, **said, synchrony=mode)
        for round in range(4):
            ready[mode] = clock.advance(ready[mode], W, round, MB)
    assert_allclose(ready["neighbors"], ready["global"], rtol=1e-14)


def test_neighbors_are_never_later_than_a_global_barrier():
    W = build("social32").mixing(0)
    said = {"links": {"class": "wan", "jitter": "0.3 s"}, "compute": {"seconds": 1}}
    said["compute"]["varies"] = "exponential"
    ready = {mode: np.zeros(32) for mode in ("global", "neighbors")}
    for round in range(20):
        before = {mode: times.copy() for mode, times in ready.items()}
        for mode in ready:
            clock = timing(32, **said, synchrony=mode)
            ready[mode] = clock.advance(ready[mode], W, round, MB)
            assert (ready[mode] > before[mode]).all()
    assert (ready["neighbors"] <= ready["global"]).all()
    assert ready["neighbors"].max() < 0.95 * ready["global"].max()


@pytest.mark.parametrize("synchrony", ["global", "neighbors"])
@pytest.mark.parametrize("jitter", [0.0, 0.2])
def test_a_w_that_comes_again_takes_as_long_as_its_twin_that_is_new(jitter, synchrony):
    n, draw = 12, np.random.default_rng(0)
    compute = {"seconds": 0.3, "varies": "lognormal:sigma=1"}
    clock = timing(n, uplink="9 Mbit/s", compute=compute, synchrony=synchrony)
    pairs = [(int(a), int(b)) for a, b in draw.integers(n, size=(60, 2))]
    uneven = Links.of(
        Link(0.1, 5e6), {pair: Link(*draw.uniform([0, 1e6, 0], [2, 9e6, jitter])) for pair in pairs}
    )
    clock = replace(clock, links=uneven)
    W, again, anew = build(f"complete{n}").mixing(0), np.zeros(n), np.zeros(n)
    for round in range(30):
        for phase, size in enumerate((MB, 3 * MB)):
            again = clock.advance(again, W, round, size, phase=phase)
            anew = clock.advance(anew, replace(W), round, size, phase=phase)
        assert_array_equal(again, anew)


def test_the_lines_of_a_w_that_comes_again_are_looked_up_twice_and_then_never(monkeypatch):
    looked_up = Mock(side_effect=Links.look_up, autospec=True)
    monkeypatch.setattr(Links, "look_up", lambda *given: looked_up(*given))
    clock = timing(8, links="lan")
    for round in range(20):
        clock.seconds(RING, round, MB)
    assert looked_up.call_count == 2


def test_messages_that_may_be_the_last_are_one_for_each_sender_where_links_are_alike():
    W, everybody = build("complete40").mixing(0), np.ones(40, dtype=bool)
    lines = np.full(40, 1e6)
    alike = Links.of(Link(0.1, 5e6), {})
    trips = replace(Trips.of(W, everybody, MB, alike, lines, lines), comes_again=True)
    assert len(trips.latest) == 40
    # 0 sends to 1 over a slow link with a short way, to 2 over a fast one with a long way
    odd = Links.of(Link(0.1, 5e4), {(0, 1): Link(0.2, 1e4), (0, 2): Link(0.3, 2e4)})
    trips = replace(Trips.of(W, everybody, MB, odd, lines, lines), comes_again=True)
    last = [(trips.senders[k], trips.receivers[k]) for k in trips.latest]
    assert [pair for pair in last if pair[0] == 0] == [(0, 1), (0, 2)]
    assert len(last) == 41


def test_an_allreduce_is_a_barrier_for_all():
    said = {"links": {"latency": 0.5}, "compute": {"seconds": 1, "speeds": {0: 0.1}}}
    clock = timing(4, **said, synchrony="neighbors")
    assert_array_equal(clock.advance(np.zeros(4), ALONE, 0, 0.0, MB), 10.0 + 3.0)


def test_the_clock_can_be_pickled():
    said = {"links": {"class": "wan", "jitter": 1}, "compute": {"seconds": 1, "varies": "uniform"}}
    clock = timing(8, **said)
    again = pickle.loads(pickle.dumps(clock))
    assert again.seconds(RING, 5, MB) == clock.seconds(RING, 5, MB)


# The recipe.


def test_labels_name_clients():
    params, _ = read(ClockParams, {"uplink": {"Eve": "1 Mbit/s"}, "links": {"Eve-Ann": "wan"}})
    clock = Timing.of(params, 2, ("Ann", "Eve"))
    assert_array_equal(clock.uplink, [np.inf, 1e6])
    assert clock.allreduce_seconds(0) == 2 * 75e-3


@pytest.mark.parametrize(
    ("said", "problem"),
    [
        ({"link": "wan"}, "unknown key network.link; did you mean links or uplink?"),
        ({"links": 5}, "network.links must be a text or a mapping, got 5"),
        ({"links": "wam"}, "network.links: unknown link class 'wam'; did you mean wan"),
        ({"uplink": "0"}, "network.uplink must be > 0, got '0'"),
        ({"downlink": {"0": "x"}}, "network.downlink.0: unknown link class 'x'"),
        ({"compute": {"varies": "gauss"}}, "network.compute.varies: unknown distribution 'gauss'"),
        ({"synchrony": "none"}, "network.synchrony must be global or neighbors, got 'none'"),
        ({"deadline": "soon"}, "network.deadline must be a time"),
        ({"deadline": 0}, "network.deadline must be longer than the 0 s that all compute, got 0"),
        ({"deadline": 1, "compute": "2 s"}, "network.deadline must be longer than the 2 s"),
        ({"deadline": 1, "synchrony": "neighbors"}, "network.deadline is .*needs synchrony: glob"),
    ],
)
def test_bad_settings_are_one_line_each(said, problem):
    params, problems = read(ClockParams, said, "network.")
    assert params is None
    assert len(problems) == 1
    with pytest.raises(ConfigError, match=problem):
        raise ConfigError.of(problems)


def test_all_problems_are_reported_at_once():
    said = {"links": "wam", "uplink": 0, "downlink": -1, "compute": "x", "deadline": "y"}
    assert len(read(ClockParams, said)[1]) == 5


def test_unknown_clients_are_refused_when_the_clock_is_made():
    params, problems = read(ClockParams, {"uplink": {"Eva": "1 Mbit/s"}})
    assert not problems
    with pytest.raises(ConfigError, match="network.uplink: no client is called 'Eva'; did you"):
        Timing.of(params, 2, ("Ann", "Eve"))


# Lines of clients, and links between sites


SOCIAL = build("social32").mixing(0)
BITS_OF_RESNET20 = 32 * 272_474


def test_a_line_of_4g_is_shared_by_all_messages_of_a_client():
    """The busiest of the 32 sends 14 models over its one line, and gets as many."""
    round = timing(32, links="4g").seconds(SOCIAL, 0, BITS_OF_RESNET20 / 8)
    assert_allclose(round, 0.170 + 14 * BITS_OF_RESNET20 / 9e6)
    capped = timing(32, links={"class": "4g", "per": "link"}, uplink="4g", downlink="4g")
    assert_array_equal(round, capped.seconds(SOCIAL, 0, BITS_OF_RESNET20 / 8))


def test_the_word_per_gives_a_line_to_each_neighbor_or_one_to_all():
    each = timing(32, links={"class": "4g", "per": "link"}).seconds(SOCIAL, 0, BITS_OF_RESNET20 / 8)
    assert_allclose(each, 0.170 + BITS_OF_RESNET20 / 9e6)
    shared = timing(32, links={"class": "wan", "per": "client"})
    assert_allclose(shared.seconds(SOCIAL, 0, MB), 75e-3 + 14 * 8 * MB / 1e8)
    assert_allclose(timing(32, links="wan").seconds(SOCIAL, 0, MB), 75e-3 + 8 * MB / 1e8)
    own = timing(32, links={"bandwidth": "10 Mbit/s", "per": "client"})
    assert_array_equal([own.uplink, own.downlink], np.full((2, 32), 1e7))


@pytest.mark.parametrize("name", sorted(CLASSES))
def test_a_class_caps_what_a_client_sends_and_gets_if_it_is_a_clients_line(name):
    kind, clock = CLASSES[name], timing(3, links=name)
    caps = (kind.uplink, kind.downlink) if kind.per == "client" else (np.inf, np.inf)
    assert_array_equal([clock.uplink, clock.downlink], np.repeat(caps, 3).reshape(2, 3))
    default = timing(3, links={"default": name, "0-1": "lan"})
    assert_array_equal([default.uplink, default.downlink], [clock.uplink, clock.downlink])


def test_access_lines_are_said_to_be_and_links_between_sites_are_not():
    assert {name for name, kind in CLASSES.items() if kind.per == "link"} == {"perfect", "wan"}


def test_what_is_said_of_a_clients_line_beats_its_class():
    clock = timing(3, links="cable", uplink="2 Mbit/s", downlink={1: "dsl", 2: "perfect"})
    assert_array_equal(clock.uplink, [2e6] * 3)
    assert_array_equal(clock.downlink, [5e6, 1.5e6, np.inf])


@pytest.mark.parametrize(
    ("links", "message"),
    [
        ({"class": "4g", "per": "day"}, "network.links.per must be client or link, got 'day'"),
        ({"per": "client"}, "network.links.per: client says that all share a line; set its band"),
        ({"latency": 1, "per": "client"}, "per: client says that all share a line"),
        ({"0-1": {"class": "4g", "per": "client"}}, "unknown key network.links.0-1.per"),
        ({"default": {"class": "4g", "per": 3}}, "network.links.default.per must be client or"),
    ],
)
def test_a_wrong_word_on_lines_is_refused(links, message):
    _, problems = read(ClockParams, {"links": links}, "network.")
    with pytest.raises(ConfigError, match=message):
        raise ConfigError.of(problems)


@pytest.mark.parametrize(
    ("links", "now", "before"),
    [
        ("4g", {"class": "4g", "per": "client"}, {"class": "4g", "per": "link"}),
        ("wan", "wan", "wan"),
        ("links.csv", "links.csv", "links.csv"),
        (
            {"class": "wan", "jitter": 1},
            {"class": "wan", "jitter": 1},
            {"class": "wan", "jitter": 1},
        ),
        ({"class": "dsl", "per": "link"}, *[{"class": "dsl", "per": "link"}] * 2),
        (
            {"default": "dsl", "0-1": "4g"},
            {"default": {"class": "dsl", "per": "client"}, "0-1": "4g"},
            {"default": {"class": "dsl", "per": "link"}, "0-1": "4g"},
        ),
    ],
)
def test_a_resolved_recipe_says_whether_clients_share_a_line(links, now, before):
    assert spelled_out(links) == now
    assert spelled_out(links, "link") == before
    assert spelled_out(now, "link") == now  # what was said stays


@pytest.mark.parametrize("part", [{"stragglers": {}}, {"varies": "uniform"}, {"speeds": {0: 2}}])
def test_factors_of_no_time_at_all_are_refused(part):
    name = next(iter(part))
    for seconds in ({}, {"seconds": 0}):
        with pytest.raises(ConfigError, match=f"compute.{name} would change nothing, for nobody"):
            timing(3, compute={**seconds, **part})
    assert timing(3, compute={"seconds": 1, **part})
