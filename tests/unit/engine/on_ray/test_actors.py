"""What an actor makes of what the driver asks of it, in this process."""

import pytest

from p2pqg.engine.on_ray.actors import Branch, HostActor


class Full:
    """A host that cannot be there twice."""

    def fork(self):
        raise RuntimeError("no memory is left for a second one")


def test_why_a_fork_came_to_nothing_is_told_by_what_is_asked_of_it_next():
    actor = HostActor.__new__(HostActor)
    actor.branches, actor.unborn = {0: Branch(Full())}, {}
    actor.fork(0, 1)
    actor.fork(1, 2)
    for twin in (1, 2):
        for ask in (actor.advance, actor.collect, actor.step, actor.snapshot):
            with pytest.raises(RuntimeError, match="no memory is left"):
                ask(twin, None)
        actor.forget(twin)
    assert list(actor.branches) == [0]
