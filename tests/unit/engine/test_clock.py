"""The clock's kinds of work add up to the time that passed."""

import pytest

from p2pqg.engine.clock import Clock


def test_what_a_gpu_still_has_to_do_counts_as_the_work_that_sent_it(monkeypatch):
    now, queue = [100.0], [0.0]
    monkeypatch.setattr("p2pqg.engine.clock.now", lambda: now[0])

    def settle():
        now[0] += queue[0]
        queue[0] = 0.0

    clock = Clock(on=True, settle=settle)
    with clock("compute"):
        queue[0] = 5.0  # sent in no time, done in five seconds
    with clock("recording"):
        now[0] += 1.0
    assert [(span.kind, span.seconds) for span in clock.take() if span.seconds] == [
        ("compute", pytest.approx(5.0)),
        ("recording", pytest.approx(1.0)),
    ]
