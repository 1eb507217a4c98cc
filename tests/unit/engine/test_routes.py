"""Cutting W along the borders of blocks: what arrives is exactly what W asks for."""

import numpy as np
import pytest
import torch

from p2pqg.base.errors import TopologyError
from p2pqg.engine.mixer import Mixer
from p2pqg.engine.routes import EdgeRoutes, Routing, RowRoutes, even_bounds
from p2pqg.topology import Schedule, build

NETWORKS = ["ring8", "social32", "exponential12", "star9", "erdos-renyi20:p=0.3"]


def cuts(n):
    return [(0, n), (0, 3, n), tuple(range(n + 1)), even_bounds(n, 4)]


@pytest.mark.parametrize("name", NETWORKS)
def test_every_block_computes_its_own_rows_of_w_x(name):
    schedule = build(name)
    n = schedule.num_clients
    x = torch.randn(n, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    expected = torch.from_numpy(schedule.mixing(0).dense()) @ x
    for bounds in cuts(n):
        routes = RowRoutes.cut(schedule.mixing(0), bounds)
        for b in range(len(bounds) - 1):
            own = x[bounds[b] : bounds[b + 1]]
            arrived = [
                x[bounds[a] : bounds[a + 1]][routes.parcels[a][p]]
                for a, p in routes.leg.addresses[b]
            ]
            mixed = Mixer(routes, b, x)(torch.cat([own, *arrived]))
            torch.testing.assert_close(
                mixed, expected[bounds[b] : bounds[b + 1]], rtol=0, atol=1e-15
            )


def test_a_block_receives_only_rows_that_its_clients_need():
    ring = build("ring8").mixing(0)
    routes = RowRoutes.cut(ring, (0, 4, 8))
    assert [rows.tolist() for rows in routes.parcels[0]] == [[0, 3]]
    assert routes.senders[1].tolist() == [4, 5, 6, 7, 0, 3]


def test_neighbors_that_want_the_same_rows_share_one_parcel():
    complete = build("complete6").mixing(0)
    routes = RowRoutes.cut(complete, tuple(range(7)))
    assert routes.leg.num_parcels == (1,) * 6


def test_a_block_that_hosts_everyone_needs_nobody():
    routes = RowRoutes.cut(build("social32").mixing(0), (0, 32))
    assert routes.leg.silent


def test_gather_and_dense_mixing_agree(monkeypatch):
    W = build("social32").mixing(0)
    x = torch.randn(32, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    routes = RowRoutes.cut(W, (0, 32))
    monkeypatch.setattr(Mixer, "DENSE_FROM", 0.0)
    dense = Mixer(routes, 0, x)
    monkeypatch.setattr(Mixer, "DENSE_FROM", 1.1)
    gather = Mixer(routes, 0, x)
    assert dense.dense is not None
    assert gather.dense is None
    torch.testing.assert_close(dense(x), gather(x), rtol=0, atol=1e-15)


@pytest.mark.parametrize("name", ["chain7", "star9", "social32"])
def test_edge_slots_pair_up(name):
    """The message i puts in its slot for j is what j finds in its slot for i."""
    W = build(name).mixing(0)
    routes = EdgeRoutes.cut(W, (0, W.num_clients))
    edges = routes.edges[0, 0]
    neighbors = [
        sorted(set(W.senders[W.receivers == i].tolist()) - {i}) for i in range(W.num_clients)
    ]
    assert len(edges) == sum(map(len, neighbors))
    for sender, slot_out, receiver, slot_in in edges.tolist():
        assert neighbors[sender][slot_out] == receiver
        assert neighbors[receiver][slot_in] == sender
    assert routes.num_slots == max(map(len, neighbors))


def test_a_schedule_is_cut_once_per_round_of_its_period():
    routing = Routing(build("onepeer-exponential8"), (0, 4, 8))
    assert routing.rows(0) is routing.rows(3)
    assert routing.rows(0) is not routing.rows(1)


def test_a_round_whose_w_cannot_be_made_is_refused_however_often_it_is_asked_for():
    def draw(round):
        if round == 1:
            raise TopologyError("no such round")
        return build("ring4").mixing(0)

    routing = Routing(Schedule("mine", 4, False, None, draw), (0, 4))
    before = routing.rows(0)
    for _ in range(2):
        with pytest.raises(TopologyError, match="no such round"):
            routing.rows(1)
    assert routing.rows(0) is before


def test_even_bounds_cover_all_clients_evenly():
    for n in range(1, 20):
        for blocks in range(1, n + 1):
            sizes = np.diff(even_bounds(n, blocks))
            assert sizes.sum() == n
            assert sizes.max() - sizes.min() <= 1
