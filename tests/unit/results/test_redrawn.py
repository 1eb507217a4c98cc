"""Who had another network under the same name is known, as long as one checkpoint tells it."""

import json

import pytest

from p2pqg.network.stored import fingerprint
from p2pqg.results.checkpoint import CHECKPOINTS, HEADER
from p2pqg.results.redrawn import drawn_otherwise
from p2pqg.topology import build


@pytest.fixture
def run(tmp_path):
    """A run of checkpoints that hold so much of a network, the oldest first."""

    def run(*stored):
        for round, topology in enumerate(stored):
            folder = tmp_path / CHECKPOINTS / f"round-{round:09d}"
            folder.mkdir(parents=True)
            text = topology if isinstance(topology, str) else header(topology)
            (folder / HEADER).write_text(text)
        return tmp_path

    return run


def header(topology):
    return json.dumps({"network": {"topology": topology}})


OLD = {"name": "base6", "fingerprint": "that of 0.1.0"}
SAME = {"name": "base6", "fingerprint": fingerprint(build("base6"))}
OTHER = {"name": "ring6", "fingerprint": fingerprint(build("ring6"))}


@pytest.mark.parametrize(
    ("stored", "otherwise"),
    [
        ([], False),
        ([SAME], False),
        ([OLD], True),
        ([OLD, "{"], True),  # the newest is damaged
        ([OLD, OTHER], True),  # another network since
        ([SAME, OTHER, "{"], False),
    ],
    ids=str,
)
def test_any_checkpoint_tells_that_the_network_was_another_one(run, stored, otherwise):
    assert drawn_otherwise(run(*stored), "base6") is otherwise
