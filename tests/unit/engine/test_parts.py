"""Clients that are many play a round a part of them at a time, and come to the same numbers."""

import numpy as np
import pytest
import torch

import p2pqg
from p2pqg.engine import learner, parts
from p2pqg.engine.learner import Learner
from p2pqg.models.stacked import batched

ROUNDS = 5
LIARS = {"attacks": [{"who": [1], "how": "alie"}]}
CASES = {
    "qg-dsgdm-n": {},
    "qg-dsgdm": {"algorithm": {"name": "qg-dsgdm", "tau": 2}},
    "d2": {"topology": "ring9"},
    "k-gt": {"local_steps": 3},
    "dfedsam": {"local_steps": 2},
    "choco-sgd": {"algorithm": {"name": "choco-sgd", "compressor": "random-k"}},
    "relay-sgd": {"topology": "binary-tree8"},
    "sgp": {"topology": "onepeer-exponential8"},
    "dsgdm-sync": {},
    "diloco": {"algorithm": {"name": "diloco", "local_steps": 3}},
    "dsgdm-n": {"topology": "complete8"},
    "dsgd": {"consensus": {"targets": [0.5], "reference": [0.1]}},
    "dsgdm": {"personal": ["*bias"]},
    "dadam": {"impairments": {"delay": [0, 2], "loss": 0.2}},
    "decentlam": {"impairments": {"participation": 0.6}},
    "edm": {"topology": "ring9", "impairments": {"noise": 0.01}},
    "momentum-tracking": {"scenario": [{"at": 2, "drop_clients": [3]}]},
    "qg-dadam": {"rule": "median"},
    "slowmo": LIARS,
}


def run(**settings):
    with p2pqg.Simulation(**settings) as sim:
        sim.advance(2)
        with sim.fork() as branch:
            sim.advance(ROUNDS - 2)
            branch.advance(ROUNDS - 2)
            np.testing.assert_array_equal(branch.parameters(), sim.parameters())
            return sim.parameters(), sim.history, sim.clients


@pytest.mark.parametrize("name", CASES)
def test_parts_come_to_the_same_numbers(name, monkeypatch):
    settings = {"topology": "ring8", "algorithm": name, "alpha": 1.0, "batch_size": 4, "lr": 0.02}
    settings |= {"rounds": ROUNDS, "engine": "local", "precision": "float64"} | CASES[name]
    whole, rows, clients = run(**settings)
    monkeypatch.setattr(parts, "WORTH_IT", 0)
    monkeypatch.setattr(Learner, "at_once", 3)
    by_parts, same_rows, same_clients = run(**settings)
    np.testing.assert_allclose(by_parts, whole, rtol=1e-10, atol=1e-12)
    for ours, theirs in ((same_rows, rows), (same_clients, clients)):
        numbers = [c for c in theirs.select_dtypes("number") if c != "wall_seconds"]
        np.testing.assert_allclose(ours[numbers], theirs[numbers], rtol=1e-9, atol=1e-12)


def test_what_a_state_keeps_of_the_one_before_is_not_overwritten():
    """In place, or the model of the round before would be that of this round."""
    before = (torch.arange(4.0)[:, None], torch.zeros(4, 1))
    new = parts.Successor(before, 4)
    for part in (slice(0, 2), slice(2, 4)):
        x, _ = parts.of_part(before, part)
        new.put(part, (x + 10, x))
    x, last = new.whole()
    assert x.flatten().tolist() == [10, 11, 12, 13]
    assert last.flatten().tolist() == [0, 1, 2, 3]
    assert x.data_ptr() == before[0].data_ptr()  # it took the place of the old one


def test_two_names_for_the_same_rows_part():
    x = torch.zeros(2, 1)
    new = parts.Successor((x, x), 2)
    new.put(slice(0, 2), (x + 1, x + 2))
    assert [rows.flatten().tolist() for rows in new.whole()] == [[1, 1], [2, 2]]


def test_few_clients_are_one_part():
    assert parts.cut(10, 3, row_bytes=4) == [slice(0, 10)]
    many = parts.cut(10, 3, row_bytes=parts.WORTH_IT)
    assert [(part.start, part.stop) for part in many] == [(0, 3), (3, 6), (6, 9), (9, 10)]


@pytest.mark.parametrize(("name", "vectors"), [("dsgd", 1), ("momentum-tracking", 2)])
def test_what_is_sent_lies_in_the_same_memory_round_after_round(name, vectors, monkeypatch):
    """Of 2 GB, new memory would cost half a million page faults a round."""
    lend, lent = parts.Spare.lend, []

    def noted(self, tensors):
        lent.extend(tensors)  # they are held here, so memory of them cannot come back by chance
        lend(self, tensors)

    monkeypatch.setattr(parts.Spare, "lend", noted)
    monkeypatch.setattr(parts, "WORTH_IT", 0)
    monkeypatch.setattr(Learner, "at_once", 12)
    with p2pqg.Simulation(topology="ring32", algorithm=name, engine="local", rounds=4) as sim:
        sim.advance(4)
    assert len(lent) == 4 * vectors
    assert len({t.data_ptr() for t in lent}) == vectors


def test_memory_that_is_still_read_is_not_given_to_the_next_request():
    rows, spare = torch.zeros(2, 3), parts.Spare()
    first = spare.like(rows, 5)
    spare.lend([first])
    second = spare.like(rows, 5)
    assert first.data_ptr() != second.data_ptr()
    spare.take_back()
    assert spare.like(rows, 6).shape == (6, 3)  # of another length it is of no use
    assert spare.like(rows, 5).data_ptr() == first.data_ptr()


@pytest.mark.parametrize("topology", ["ring32", "onepeer-exponential32"])
def test_what_comes_in_from_other_blocks_lies_below_without_a_copy_of_what_is_sent(
    topology, monkeypatch
):
    settings = {"topology": topology, "algorithm": "dsgdm-n", "engine": "local", "rounds": 4}
    settings |= {"clients_per_actor": 16, "precision": "float64", "alpha": 1.0}

    def models():
        with p2pqg.Simulation(**settings) as sim:
            sim.advance(4)
            return sim.parameters()

    whole, copied, below = models(), [], parts.below

    def noted(own, arrived):
        found = below(own, arrived)
        copied.append(found.data_ptr() != own.data_ptr())
        return found

    monkeypatch.setattr("p2pqg.engine.answers.below", noted)
    monkeypatch.setattr(parts, "WORTH_IT", 0)
    monkeypatch.setattr(Learner, "at_once", 6)
    np.testing.assert_allclose(models(), whole, rtol=1e-10, atol=1e-12)
    assert copied
    assert not any(copied)


def test_rows_without_room_behind_them_are_copied():
    own, more = torch.ones(2, 3), [torch.full((1, 3), 2.0), torch.full((2, 3), 3.0)]
    assert parts.below(own, more)[:, 0].tolist() == [1, 1, 2, 3, 3]
    roomy = parts.Spare().like(own, 2, room=3)
    roomy.copy_(own)
    found = parts.below(roomy, more)
    assert found[:, 0].tolist() == [1, 1, 2, 3, 3]
    assert found.data_ptr() == roomy.data_ptr()


OWN = """
from p2pqg import algorithm, gossip
from p2pqg.algorithms.dsgd import State, start
from p2pqg.algorithms.ad_psgd import Params

@algorithm("{name}", params=Params, start=start)
def own(s, grad, p):
    half = s.x - 0.1 * grad(s.x)
    x = yield gossip({sent})
    {then}
    return State(x)
"""


@pytest.mark.parametrize(
    ("sent", "then", "told"),
    [
        ("half", "1 / (len(x) - 2)", "ZeroDivisionError"),
        ("half[:, : len(half)]", "", "line 9, in own: what a round yields"),
    ],
)
def test_a_round_that_breaks_off_half_way_is_told_and_not_gone_on_from(
    sent, then, told, tmp_path, monkeypatch
):
    monkeypatch.setattr(parts, "WORTH_IT", 0)
    monkeypatch.setattr(Learner, "at_once", 3)  # 3 clients, 3 more, and the last 2
    file = tmp_path / "own.py"
    file.write_text(OWN.format(name=f"broken-{len(then)}", sent=sent, then=then or "pass"))
    with p2pqg.Simulation(topology="ring8", algorithm=f"{file}:own", engine="local") as sim:
        with pytest.raises(p2pqg.AlgorithmError, match=told):
            sim.advance(1)
        with pytest.raises(p2pqg.AlgorithmError, match="after 0 rounds one broke off half-way"):
            sim.parameters()


def test_dense_models_are_bound_by_bytes_in_whole_products_with_the_same_bits(monkeypatch):
    """Of 270,000 parameters 256 at once were 280 MB, and a round makes a handful of those."""
    product, seen = 4, {}
    for module in (batched, learner):  # whatever the number of threads
        monkeypatch.setattr(module, "clients_per_product", lambda: product)
    monkeypatch.setattr(parts, "WORTH_IT", 0)
    settings = {"topology": "ring32", "algorithm": "qg-dsgdm-n", "rounds": 3, "alpha": 1.0}
    settings |= {"engine": "local", "model": {"name": "mlp", "hidden": [9]}}
    with p2pqg.Simulation(**settings) as sim:
        row_bytes = sim.parameters()[:1].nbytes
    for fitting in (0.5, 2.5, 1e6):  # products that fit into the bytes of a part
        monkeypatch.setattr(learner, "PART_BYTES", int(fitting * product * row_bytes))
        lengths, played = [], parts.together

        def noted(round, calls, slices, *more, lengths=lengths, played=played):
            lengths.extend(len(range(part.start, part.stop)) // product for part in slices)
            return played(round, calls, slices, *more)

        monkeypatch.setattr("p2pqg.engine.block.together", noted)
        with p2pqg.Simulation(**settings) as sim:
            sim.advance(1)
            seen[fitting] = lengths, sim.parameters()
        monkeypatch.setattr("p2pqg.engine.block.together", played)
    lengths = [lengths for lengths, _ in seen.values()]
    assert lengths == [[1] * 8, [2] * 4, []]  # [] is all at once
    for _, models in seen.values():
        np.testing.assert_array_equal(models, seen[1e6][1])
