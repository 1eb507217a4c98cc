"""Captured steps, rehearsed on a CPU: everything around a CUDA graph but the graph itself."""

import json
import re

import pytest
import torch
from torch import nn
from torch.testing import assert_close

import p2pqg
from p2pqg.base.errors import ClusterError
from p2pqg.engine import learner
from p2pqg.models import build_model
from p2pqg.models._capture import Capture
from p2pqg.models.judging.losses import LOSSES, Objective
from p2pqg.models.stacked import choosing, probe
from p2pqg.models.stacked.captured import Captured
from p2pqg.models.stacked.choosing import Examples, choose
from p2pqg.models.stacked.recording import Recorder, Rehearsal
from p2pqg.models.stacked.stacked import Stacked
from p2pqg.models.stacked.trying import Allowed, Tried, allowed, compared, difference, trials
from p2pqg.models.stacked.ways import WAYS, name_of, named, ways_for

REHEARSE = Capture("rehearse")
CLASSES = 3
STRICT = Allowed(1e-12, 1e-8)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("P2PQG_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "captured"


@pytest.fixture
def here(monkeypatch):
    """Ways are tried in this process; the jobs that there were."""
    jobs = []

    def attempt(job, pickling=None):
        jobs.append(job)
        return list(trials(job))

    for module in (choosing, learner):
        monkeypatch.setattr(module, "tried_elsewhere", attempt)
    return jobs


class Norms(nn.Sequential):
    """A small network with running statistics."""

    def __init__(self, classes=CLASSES, channels=2):
        super().__init__(
            nn.Conv2d(channels, 3, 3, padding=1),
            nn.BatchNorm2d(3),
            nn.ReLU(),
            nn.AvgPool2d(4),
            nn.Flatten(),
            nn.Linear(12, classes),
        )


def network(name="cnn", precision="float64", clients=5, module=None, **params):
    """Stacked, and arguments of its gradients."""
    module = module or build_model(name, CLASSES, (2, 8, 8), **params)
    stacked = Stacked(module, precision=precision)
    random = torch.Generator().manual_seed(1)
    noise = torch.randn(clients, stacked.num_params, generator=random, dtype=torch.float64)
    x = (stacked.initial_row() + 0.05 * noise).to(stacked.dtype)
    inputs = torch.randn(clients, 4, 2, 8, 8, generator=random, dtype=torch.float64)
    targets = torch.randint(0, CLASSES, (clients, 4), generator=random)
    buffers = stacked.initial_buffers().repeat(clients, 1)
    return stacked, (x, buffers, *stacked.batch(inputs, targets))


def rows(args, some):
    return tuple(t[some] for t in args)


class Unused:
    """A strategy of which nothing is asked."""

    def gradients(self, x, *others, scale):
        raise AssertionError("ten clients have no room" if len(x) == 10 else "there was room")


class Counting(Rehearsal):
    """Remembers at which shapes it recorded."""

    def __init__(self):
        self.shapes = []

    def record(self, step, *inputs):
        self.shapes.append(len(inputs[0]))
        return super().record(step, *inputs)


@pytest.mark.parametrize("way", [way for way in WAYS if way != "batched"])
def test_a_replay_gives_the_numbers_of_the_eager_strategy(way):
    stacked, args = network(module=Norms(), clients=2)
    wanted = stacked.gradients(*args)
    captured = Captured(WAYS[way].run(stacked), stacked.run, Rehearsal())
    captured.capture_gradients(*args)
    for found, right in zip(captured.gradients(*args), wanted, strict=True):
        assert difference(found, right) < 1e-12
    assert compared(captured.gradients, stacked.run.gradients, args, STRICT, stacked)[1] == ""


def test_dense_networks_are_captured_too():
    stacked, args = network("mlp")
    captured = Captured(WAYS["batched"].run(stacked), stacked.run, Rehearsal())
    captured.capture_gradients(*args)
    assert ways_for(stacked, args[2], True) == ("batched",)
    assert all(map(torch.equal, captured.gradients(*args), stacked.gradients(*args)))


def test_results_outlive_the_next_replay():
    stacked, args = network("mlp")
    captured = Captured(stacked.run, stacked.run, Rehearsal())
    captured.capture_gradients(*args)
    captured.capture_logits(args[0], args[1], args[2][0])
    first = captured.gradients(*args)
    kept = [t.clone() for t in first]
    with torch.inference_mode():
        answers = captured.logits(args[0], args[1], args[2][0])
        kept_answers = answers.clone()
        captured.logits(args[0] + 1, args[1], args[2][0])
    captured.gradients(args[0] + 1, *args[1:])
    assert all(map(torch.equal, first, kept))
    assert torch.equal(answers, kept_answers)


def test_what_a_recording_itself_returns_is_spoilt_by_the_next_replay():
    recording = Rehearsal().record(lambda t: (2 * t,), torch.ones(2))
    (first,) = recording(torch.ones(2))
    recording(torch.full((2,), 5.0))
    assert first.tolist() == [10.0, 10.0]


def test_many_clients_are_replayed_part_by_part_and_fewer_take_the_smallest_that_has_room():
    stacked, args = network(module=Norms(), clients=5)
    recorder = Counting()
    captured = Captured(stacked.run, stacked.run, recorder, part=2)
    captured.capture_gradients(*args)
    assert recorder.shapes == [2, 1]  # two parts of two, one of one
    plain = stacked.run.gradients
    for clients in (5, 4, 3, 1):
        some = rows(args, slice(clients))
        assert all(map(torch.equal, captured.gradients(*some), plain(*some)))
    whole = Captured(stacked.run, Unused(), Rehearsal())
    whole.capture_gradients(*args)
    whole.capture_gradients(*rows(args, slice(2)))
    for clients in (5, 3, 2, 1):  # nobody captured three, nor one
        some = rows(args, slice(clients))
        assert all(map(torch.equal, whole.gradients(*some), plain(*some)))
    more = tuple(torch.cat([t, t]) for t in args)
    with pytest.raises(AssertionError, match="ten"):
        whole.gradients(*more)


@pytest.mark.parametrize(
    ("clients", "most", "own_pace", "numbers"),
    [(16, 0, True, [16, 8, 4, 2, 1]), (5, 3, True, [5, 2, 1]), (16, 0, False, [16])],
)
def test_of_clients_that_do_not_wait_steps_of_half_of_them_and_so_on_are_captured(
    clients, most, own_pace, numbers
):
    _, args = network("mlp", clients=clients)
    assert Examples(args, own_pace=own_pace).numbers(most) == numbers


def test_float16_replays_at_the_largest_scale_and_only_there():
    stacked, args = network("mlp", "fp16")
    big = (args[0], args[1], args[2] * torch.tensor([1, 1, 1e4, 1, 1])[:, None, None, None, None])
    args = (*big, args[3])
    wanted = stacked.gradients(*args)
    assert all(t.isfinite().all() for t in wanted)
    captured = Captured(stacked.run, stacked.run, recorder := Counting())
    captured.capture_gradients(*args, scale=stacked.scale)
    stacked.use(captured)
    assert all(map(torch.equal, stacked.gradients(*args), wanted))
    assert recorder.shapes == [5]


def test_frozen_parameters_stay_those_of_the_template(here):
    module = build_model("cnn", CLASSES, (2, 8, 8), width=2)
    next(iter(module.parameters())).requires_grad_(False)
    stacked, args = network(module=module)
    wanted = stacked.gradients(*args)
    assert choose(stacked, Examples(args), REHEARSE).way.startswith(("captured", "eager"))
    for found, right in zip(stacked.gradients(*args), wanted, strict=True):
        assert difference(found, right) < 1e-12


class Refusing(Recorder):
    """Captures nothing, as a card does with a step that looks at values."""

    what = "refusal"

    def record(self, step, *inputs):
        raise RuntimeError("operation not permitted when stream is capturing")


class Stale(Recorder):
    """Replays do not follow their inputs."""

    what = "stale recording"

    def record(self, step, *inputs):
        results = step(*inputs)

        def recording(*others):
            return results

        return recording


def fastest(way, **more):
    """An attempt that finds one way twice as fast as eager."""
    return lambda job: [Tried("eager", 2.0, 1e-16), Tried(way, 1.0, 0.0, **more)]


def test_the_fastest_way_that_is_right_is_chosen_and_remembered(cache):
    stacked, args = network(width=2)
    eager = stacked.run

    def attempt(job):
        assert job.ways == ("loop", "loop-nchw", "vmap", "vmap-nhwc")
        return [
            Tried("eager", 9.0, 1e-16),
            Tried("loop", 3.0),
            Tried("vmap", 1.0, why="its numbers differ by 3e-02"),
            Tried("loop-nchw", 2.0),
        ]

    choice = choose(stacked, Examples(args), REHEARSE, attempt=attempt)
    assert choice.way == "captured loop-nchw"
    assert "loop-nchw, 2 ms when tried, eagerly 9" in choice.told
    assert stacked.run is not eager
    (file,) = cache.glob("*.json")
    assert json.loads(file.read_text())["use"] == "worked"

    def never(job):
        raise AssertionError("it is known already")

    again, _ = network(width=2)
    assert choose(again, Examples(args), REHEARSE, attempt=never) == choice
    file.write_text("no JSON")  # broken: as good as none, with a line
    again, _ = network(width=2)
    told = choose(again, Examples(args), REHEARSE, attempt=attempt).told
    assert "cannot be read and is ignored" in told
    other = json.loads(file.read_text())
    file.write_text(json.dumps({**other, "key": {**other["key"], "card": "another one"}}))
    again, _ = network(width=2)
    told = choose(again, Examples(args), REHEARSE, attempt=attempt).told
    assert "is about something else and is ignored" in told


def test_a_cache_that_cannot_be_written_costs_a_line(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("P2PQG_CACHE", str(tmp_path / "file"))
    stacked, args = network(width=2)
    choice = choose(stacked, Examples(args), REHEARSE, attempt=fastest("loop"))
    assert choice.way == "captured loop"
    assert "cannot be written" in choice.told


def test_what_a_run_began_with_it_goes_on_with():
    def attempt(job):
        return [Tried("eager", 1.0), Tried("loop", 9.0), Tried("vmap", 0.5)]

    stacked, args = network(width=2)
    wish = choose(stacked, Examples(args), REHEARSE, "captured loop", attempt)
    assert wish.way == "captured loop"  # though it is slow here
    stacked, args = network(width=2)
    assert choose(stacked, Examples(args), REHEARSE, "captured vmap/2", attempt).way == (
        "captured vmap/2"
    )
    stacked, args = network(width=2)
    assert choose(stacked, Examples(args), REHEARSE, "eager", attempt).way == "eager"
    stacked, args = network(width=2)  # of another version: chosen anew
    assert choose(stacked, Examples(args), REHEARSE, "captured magic", attempt).way == (
        "captured vmap"
    )


def test_nothing_is_captured_where_eager_steps_are_faster():
    stacked, args = network(width=2)
    slow = lambda job: [Tried("eager", 1.0), Tried("loop", 2.0)]  # noqa: E731  a line is enough
    choice = choose(stacked, Examples(args), REHEARSE, attempt=slow)
    assert choice == ("eager", "gradients computed eagerly: 1 ms, replayed 2 (loop)")


@pytest.mark.parametrize(
    ("recorder", "why"), [(Refusing, "not permitted"), (Stale, "its numbers differ by")]
)
def test_what_fails_in_use_is_not_used_now_nor_later(monkeypatch, recorder, why):
    monkeypatch.setattr(choosing, "recorder_for", lambda device, rehearse: recorder())
    stacked, args = network(width=2)
    eager = stacked.run
    choice = choose(stacked, Examples(args), REHEARSE, attempt=fastest("loop"))
    assert choice.way == "eager"
    assert why in choice.told
    assert stacked.run is eager
    monkeypatch.setattr(choosing, "recorder_for", lambda device, rehearse: Rehearsal())
    assert choose(stacked, Examples(args), REHEARSE, attempt=fastest("loop")) == choice


def test_what_fails_with_few_clients_says_nothing_of_runs_in_which_all_wait(monkeypatch):
    class OfAllOnly(Rehearsal):
        def record(self, step, *inputs):
            if len(inputs) == 4 and len(inputs[0]) < 5:
                raise RuntimeError("too few")
            return super().record(step, *inputs)

    monkeypatch.setattr(choosing, "recorder_for", lambda device, rehearse: OfAllOnly())
    stacked, args = network(width=2)
    few = Examples(args, own_pace=True)
    assert "too few" in choose(stacked, few, REHEARSE, attempt=fastest("loop")).told
    for examples, way in ((few, "eager"), (Examples(args), "captured loop")):
        stacked, _ = network(width=2)
        assert choose(stacked, examples, REHEARSE, attempt=fastest("loop")).way == way


def test_a_process_that_died_in_use_is_a_warning_to_the_next(cache):
    stacked, args = network(width=2)
    choose(stacked, Examples(args), REHEARSE, attempt=fastest("loop"))
    (file,) = cache.glob("*.json")
    said = json.loads(file.read_text())
    file.write_text(json.dumps({**said, "use": "began"}))
    stacked, args = network(width=2)
    choice = choose(stacked, Examples(args), REHEARSE, attempt=fastest("loop"))
    assert choice.way == "eager"
    assert str(file) in choice.told


def test_on_a_card_a_failed_capture_ends_the_process_that_it_spoilt(monkeypatch):
    stacked, args = network(width=2)
    monkeypatch.setattr(choosing, "recorder_for", lambda device, rehearse: Refusing())
    monkeypatch.setattr(choosing, "_on_card", lambda stacked, capture: True)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (2**40, 2**40))
    with pytest.raises(ClusterError, match="a new process computes eagerly"):
        choose(stacked, Examples(args), REHEARSE, attempt=fastest("loop"))
    stacked, args = network(width=2)
    choice = choose(stacked, Examples(args), REHEARSE, attempt=fastest("loop"))
    assert choice.way == "eager"


def test_a_recording_that_does_not_fit_into_the_memory_is_not_made(monkeypatch):
    monkeypatch.setattr(choosing, "_on_card", lambda stacked, capture: True)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (2**30, 2**36))
    stacked, args = network(width=2)
    choice = choose(stacked, Examples(args), REHEARSE, attempt=fastest("loop", size=2**31))
    assert choice.told == "gradients computed eagerly: loop needs 2.0 GiB, free are 1.0"
    stacked, args = network(width=2)
    small = fastest("loop", size=2**29)
    choice = choose(stacked, Examples(args, own_pace=True), REHEARSE, attempt=small)
    assert choice.told == "gradients computed eagerly: loop needs 1.0 GiB, free are 1.0"


@pytest.mark.parametrize(
    ("module", "why"),
    [
        (nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(128, 3)), "dropout draws anew"),
        (build_model("transformer", 3, (6,), dropout=0.0), "texts differ in length"),
    ],
)
def test_steps_that_are_never_alike_are_not_captured(module, why):
    stacked = Stacked(module)
    nothing = torch.empty(1, 0)
    choice = choose(stacked, Examples((nothing,) * 4), REHEARSE)
    assert choice.way == "eager"
    assert why in choice.told


def test_numbers_may_differ_by_what_the_order_of_sums_does():
    assert allowed(torch.float32, Tried("eager")) == (1e-6, 2e-3)
    off = Tried("eager", difference=3e-4, tensors=6e-4)
    assert allowed(torch.float32, off) == pytest.approx((1.2e-3, 2.4e-3))
    assert allowed(torch.float64, Tried("eager")) == (1e-12, 1e-8)


def test_a_small_tensor_that_is_all_wrong_is_found_in_a_row_that_is_off_by_less_than_rounding():
    stacked, args = network(width=2)
    (name, *_), layout = stacked.layouts[1].names, stacked.layouts[1]

    def shrunk(factor):
        def gradients(*given):
            losses, g, buffers = stacked.run.gradients(*given)
            layout.views(g)[name].mul_(1e-4 * factor)
            return losses, g, buffers

        return gradients

    most = Allowed(rows=1e-3, tensors=1e-3)
    assert compared(shrunk(1), shrunk(1), args, most, stacked)[1] == ""
    told = compared(shrunk(2), shrunk(1), args, most, stacked)[1]
    assert re.match(rf"its numbers differ by .* in {name}, allowed are 1.0e-03", told)
    # A bias before a norm: 0 but for rounding.
    assert compared(shrunk(1e-12), shrunk(1e-10), args, most, stacked)[1] == ""


def test_a_difference_is_that_of_the_worst_row():
    right = torch.tensor([[3.0, 4.0], [1.0, 0.0]])
    assert difference(right + torch.tensor([[0.0, 0.0], [0.0, 0.1]]), right) == pytest.approx(0.1)
    assert difference(torch.empty(2, 0), torch.empty(2, 0)) == 0
    assert not difference(torch.tensor([torch.nan]), torch.ones(1)) <= 1


def test_names_of_ways_come_back():
    assert [named(name_of(way, part)) for way in WAYS for part in (0, 3)] == [
        (way, part) for way in WAYS for part in (0, 3)
    ]
    assert named("eager") is None
    assert named("captured magic") is None
    assert named("captured loop/many") is None


def test_every_way_of_a_small_network_is_tried_and_right(here):
    stacked, args = network(width=2, clients=2)
    choose(stacked, Examples(args, tests=(args[2][0],)), REHEARSE)
    (job,) = here
    tried = list(trials(job))
    assert [one.way for one in tried] == ["eager", *job.ways]
    assert not any(one.why for one in tried)
    assert all(one.ms > 0 for one in tried)


def test_a_process_of_its_own_tries_and_one_that_fails_costs_a_way_only(monkeypatch):
    """The whole of it with real processes is in tests/end_to_end/test_capture.py."""
    lines = iter(
        [
            ([Tried("eager", 1.0), Tried("loop", 1.0)], "CUDA error: capture"),
            ([Tried("eager", 1.0), Tried("vmap", 1.0)], ""),
        ]
    )
    asked = []

    def process(path):
        asked.append(torch.load(path, weights_only=False).ways)
        return next(lines)

    monkeypatch.setattr(probe, "_process", process)
    stacked, args = network(width=2, clients=1)
    job = choosing._job(stacked, Examples(args), REHEARSE, ("loop", "loop-nchw", "vmap"))
    found = probe.tried_elsewhere(job)
    assert [(one.way, one.why) for one in found] == [
        ("eager", ""),
        ("loop", ""),
        ("loop-nchw", "CUDA error: capture"),
        ("vmap", ""),
    ]
    assert asked == [("loop", "loop-nchw", "vmap"), ("vmap",)]


def test_what_cannot_be_sent_to_another_process_is_computed_eagerly():
    class Local(nn.Linear):
        """Of a function: no other process can import it."""

    stacked, args = network(module=nn.Sequential(nn.Flatten(), Local(128, CLASSES)))
    choice = choose(stacked, Examples(args), REHEARSE)
    assert choice.way == "eager"
    assert "cannot be sent to another process" in choice.told


RUN = {
    "topology": "ring4",
    "dataset": {"name": "synthetic", "samples": 120, "test_samples": 600, "image_side": 8},
    "model": {"name": "cnn", "width": 2},
    "batch_size": 4,
    "precision": "float64",
    "engine": "local",
    "device": "cpu",
    "rounds": 4,
}


def outcome(sim):
    rows, _ = sim.rows
    return sim.parameters(), rows[-1]["test_accuracy"], rows[-1]["train_loss"]


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"topology": "ring5", "clients_per_actor": 3, "algorithm": "dsgdm"},  # blocks of two sizes
        {"personal": ["*.bias"], "algorithm": "dsgd"},
        {"model": lambda: Norms(10, 3)},  # statistics
    ],
    ids=["one block", "two", "personal", "statistics"],
)
def test_a_run_of_captured_steps_is_the_run_of_eager_ones(here, more):
    settings = RUN | more
    with p2pqg.Simulation(**settings, capture="rehearse") as sim:
        (told,) = set(sim.ways()) if "clients_per_actor" not in more else [sim.ways()[0]]
        assert "gradients" in told
        sim.advance(settings["rounds"])
        rehearsed = outcome(sim)
        assert sim.summary()["ways"][0] == told
        assert sim.summary()["gradients"] == settings["rounds"]
    assert len(here) == (2 if "clients_per_actor" in more else 1)
    with p2pqg.Simulation(**settings) as sim:
        assert sim.ways() == []
        sim.advance(settings["rounds"])
        plain = outcome(sim)
    assert_close(torch.tensor(rehearsed[0]), torch.tensor(plain[0]), rtol=0, atol=1e-10)
    assert rehearsed[1] == plain[1]
    assert rehearsed[2] == pytest.approx(plain[2], rel=1e-10)


def test_clients_that_do_not_wait_are_replayed_with_places_that_are_idle(here):
    speeds = {"network": {"compute": {"seconds": 1, "speeds": "lognormal"}}}
    settings = RUN | speeds | {"algorithm": "async-sgp", "model": lambda: Norms(10, 3)}
    found = []
    for capture in ("rehearse", "off"):
        with p2pqg.Simulation(**settings, capture=capture) as sim:
            sim.advance(settings["rounds"])
            assert any("replayed" in told for told in sim.ways()) == (capture == "rehearse")
            found.append(torch.tensor(sim.parameters()))
    assert_close(*found, rtol=0, atol=1e-10)


def test_a_checkpoint_keeps_which_way_was_chosen(monkeypatch, tmp_path):
    fast = fastest("vmap-nhwc")
    monkeypatch.setattr(choosing, "tried_elsewhere", fast)
    with p2pqg.Simulation(**RUN, capture="rehearse") as sim:
        sim.advance(2)
        sim.checkpoint(tmp_path / "half")
        sim.advance(2)
        whole = sim.parameters()
    said = json.loads((tmp_path / "half" / "checkpoint.json").read_text())
    assert said["clients"]["ways"] == ["captured vmap-nhwc"]
    # By now another way would be chosen.
    monkeypatch.setenv("P2PQG_CACHE", str(tmp_path / "another"))
    both = lambda job: [*fast(job), Tried("loop", 0.1)]  # noqa: E731  a line is enough
    monkeypatch.setattr(choosing, "tried_elsewhere", both)
    with p2pqg.Simulation.restore(tmp_path / "half") as sim:
        assert "vmap-nhwc" in sim.ways()[0]
        sim.advance(2)
        assert (sim.parameters() == whole).all()
    with p2pqg.Simulation.restore(tmp_path / "half", capture="off") as sim:
        assert sim.ways() == []
        sim.advance(2)
        assert_close(torch.tensor(sim.parameters()), torch.tensor(whole), rtol=0, atol=1e-10)


def test_an_objective_of_the_users_own_holds_for_one_run_only():
    capture = Capture("auto", 1.0, "this run")
    stacked, args = network(width=2)
    objective = Objective(LOSSES["cross-entropy"], outputs=CLASSES)
    assert stacked.objective.entry is objective.entry
    job = choosing._job(stacked, Examples(args), capture, ("loop",))
    sessions = capture, capture._replace(session="another")
    keys = [choosing._key(stacked, job, one, False) for one in sessions]
    assert keys[0] != keys[1]
