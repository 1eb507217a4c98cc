"""The clock's kinds of work add up to the time that passed."""

import pytest

from p2pqg.engine.clock import Clock, chrome_trace, totals


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


def test_the_seconds_of_all_kinds_are_those_that_passed_whatever_is_inside_what(monkeypatch):
    now = [100.0]
    monkeypatch.setattr("p2pqg.engine.clock.now", lambda: now[0])
    clock, off = Clock(on=True), Clock(on=False)

    def work(kinds):
        for kind in kinds[:1]:
            with clock(kind), clock(kind), off(kind):
                now[0] += 1.0
                work(kinds[1:])
                now[0] += 10.0

    work(["compute", "mixing", "compute"])
    spans, passed = clock.take(), {"compute": 22.0, "mixing": 11.0}
    assert {kind: seconds for kind, seconds in totals(spans).items() if seconds} == passed
    assert sum(passed.values()) == now[0] - 100
    assert sum(totals(spans).values()) == now[0] - 100
    assert (clock.take(), off.take()) == ([], [])
    name, *events = chrome_trace({"driver": [], "actor 0": spans})["traceEvents"][1:]
    assert (name["pid"], name["args"]) == (1, {"name": "actor 0"})
    assert {event["name"] for event in events} == {"compute", "mixing"}
    assert sum(event["dur"] for event in events) == 1e6 * (now[0] - 100)
    assert min(event["ts"] for event in events) == 100e6
