"""All that clients carry on can be taken out, cut along any borders, and put in again."""

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import pytest
import torch
from numpy.testing import assert_array_equal
from toys import few_steps

from p2pqg.algorithms import ALGORITHMS
from p2pqg.base.errors import AlgorithmError
from p2pqg.engine.block import lockstep
from p2pqg.engine.routes import Routing
from p2pqg.engine.snapshot import Snapshot, leaves, with_leaves
from p2pqg.network import Network
from p2pqg.testing import Quadratics, falling_lr, starts, suitable_topology
from p2pqg.theory.trajectories import at_start
from p2pqg.topology import build


@dataclass(frozen=True)
class Inner:
    v: torch.Tensor
    rate: float


class State(NamedTuple):
    x: torch.Tensor
    inner: Inner
    pair: tuple
    t: int
    note: str | None = None


STATE = State(torch.ones(2, 3), Inner(torch.zeros(2), 0.5), (torch.full((2,), 7.0), 4), 9)


def peers(algorithm, blocks=(8,), network=None):
    """Blocks of 8 clients on quadratics, perhaps on a network where things go wrong."""
    hosts = at_start(
        algorithm,
        Quadratics.random().gradient,
        starts(),
        topology=suitable_topology(algorithm),
        lr=falling_lr,
        blocks=blocks,
        **few_steps(algorithm),
    )
    if network is not None:
        for block in hosts:
            block.rewire(block.rule, Routing(network.schedule, block.routing.bounds))
    return hosts


def joined(blocks):
    return Snapshot.join([block.snapshot() for block in blocks])


def load(blocks, snapshot):
    for block in blocks:
        block.load(snapshot.cut(block.clients.start, block.clients.stop))


def same(a, b):
    assert (a.round, a.step, a.exchanges, a.numbers) == (b.round, b.step, b.exchanges, b.numbers)
    for part in ("rows", "totals", "timeline", "mail"):
        one, other = getattr(a, part), getattr(b, part)
        assert list(one) == list(other)
        for name in one:
            assert_array_equal(one[name], other[name], err_msg=name)


# A state as names and values


def test_a_state_comes_apart_into_named_tensors_and_numbers():
    assert list(leaves(STATE)) == [
        "state.x",
        "state.inner.v",
        "state.inner.rate",
        "state.pair.0",
        "state.pair.1",
        "state.t",
        "state.note",
    ]


def test_a_state_takes_values_by_name_and_leaves_other_names_alone():
    changed = with_leaves(STATE, {"state.inner.rate": 0.25, "state.pair.1": 5, "state.new": 1})
    wanted = STATE._replace(inner=Inner(STATE.inner.v, 0.25), pair=(STATE.pair[0], 5))
    again = with_leaves(STATE, leaves(STATE))
    for one, other in ((changed, wanted), (again, STATE)):
        assert {name: str(value) for name, value in leaves(one).items()} == {
            name: str(value) for name, value in leaves(other).items()
        }


def test_what_could_not_be_saved_is_refused_by_name():
    with pytest.raises(AlgorithmError, match=r"state\.pair is a list; a state is made of tensors"):
        leaves(STATE._replace(pair=[1]))


# Cut and joined


@pytest.mark.parametrize("blocks", [(8,), (3, 5), (1,) * 8])
def test_cut_along_its_own_borders_every_block_gets_its_own_back(blocks):
    hosts = peers("qg-dsgdm", blocks, Network(build("ring8")).with_impairments(loss=0.4))
    lockstep(hosts, 5)
    whole = joined(hosts)
    assert whole.num_clients == 8
    for block in hosts:
        same(whole.cut(block.clients.start, block.clients.stop), block.snapshot())


def test_along_other_borders_rows_stay_and_totals_keep_their_sum():
    hosts = peers("dsgd", (3, 5), Network(build("ring8")).with_impairments(loss=0.4))
    lockstep(hosts, 5)
    whole = joined(hosts)
    for borders in ([0, 8], [0, 1, 2, 8], [0, 4, 5, 8]):
        pieces = [whole.cut(*ends) for ends in zip(borders, borders[1:], strict=False)]
        assert [piece.num_clients for piece in pieces] == np.diff(borders).tolist()
        same(Snapshot.join(pieces), whole)
    assert whole.totals["bytes_sent"].sum() == 5 * 16 * 5 * 8  # rounds, messages, numbers, float64


def test_a_number_in_a_state_is_the_same_for_all_clients():
    here, there = (block.snapshot() for block in peers("dsgd", (3, 5)))
    same_number = [replace(part, numbers={"state.t": float("nan")}) for part in (here, there)]
    assert Snapshot.join(same_number).num_clients == 8
    with pytest.raises(AlgorithmError, match=r"state.t is nan for some clients and 0.5 for others"):
        Snapshot.join([same_number[0], replace(there, numbers={"state.t": 0.5})])


def test_a_snapshot_is_a_copy():
    hosts = peers("dsgdm")
    lockstep(hosts, 2)
    before = joined(hosts)
    x = before.rows["state.x"].copy()
    lockstep(hosts, 4)
    assert_array_equal(before.rows["state.x"], x)


# Going on


@pytest.mark.parametrize("algorithm", sorted(ALGORITHMS))
@pytest.mark.parametrize("blocks", [(8,), (3, 5)])
def test_loaded_blocks_go_on_bit_for_bit(algorithm, blocks):
    whole, first, second = (peers(algorithm, blocks) for _ in range(3))
    lockstep(whole, 14)
    lockstep(first, 6)
    load(second, joined(first))
    lockstep(second, 14)
    same(joined(second), joined(whole))


@pytest.mark.parametrize("algorithm", ["qg-dsgdm-n", "dsgdm-sync", "sgp"])
def test_messages_on_their_way_are_in_it(algorithm):
    by_columns = algorithm == "sgp"
    network = Network(build("ring8"), by_columns=by_columns).with_impairments(
        delay=(0, 3), loss=0.1
    )
    whole, first, second = (peers(algorithm, (3, 5), network) for _ in range(3))
    lockstep(whole, 12)
    lockstep(first, 5)
    snapshot = joined(first)
    assert {f"past.0.{age}.0" for age in range(4)} <= set(snapshot.rows)
    load(second, snapshot)
    lockstep(second, 12)
    same(joined(second), joined(whole))


@pytest.mark.parametrize("algorithm", ["qg-dsgdm-n", "slowmo", "relay-sgd"])
def test_other_borders_change_nothing_but_rounding(algorithm):
    whole, first, second = peers(algorithm), peers(algorithm, (3, 5)), peers(algorithm, (1,) * 8)
    lockstep(whole, 14)
    lockstep(first, 6)
    load(second, joined(first))
    lockstep(second, 14)
    a, b = joined(second), joined(whole)
    assert a.numbers == b.numbers
    for name in b.rows:
        np.testing.assert_allclose(a.rows[name], b.rows[name], rtol=1e-12, atol=1e-12)
    assert a.totals["bytes_sent"].sum() == b.totals["bytes_sent"].sum()
