"""A simulation in a user's process computes as in one of its own, and leaves all as it was."""

import warnings
from contextlib import contextmanager
from threading import Event, Thread

import pytest
import torch
from toys import TOY

import p2pqg
from p2pqg.engine.guest import with_threads
from p2pqg.engine.host import Host
from p2pqg.models.stacked.promises import keep_promises, promised


@pytest.fixture
def three_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def switches():
    """What reads torch's switches, which are as no simulation has them."""
    cudnn, products = torch.backends.cudnn, torch.backends.cuda.matmul
    undo = keep_promises()
    cudnn.deterministic, cudnn.benchmark, cudnn.allow_tf32 = False, True, True
    torch.set_float32_matmul_precision("high")

    def read():
        exact = torch.get_float32_matmul_precision(), products.allow_tf32, cudnn.allow_tf32
        return cudnn.deterministic, cudnn.benchmark, *exact

    yield read
    undo()


OWN = False, True, "high", True, True
PROMISED = True, False, "highest", False, False


@pytest.mark.usefixtures("three_threads")
@pytest.mark.parametrize("algorithm", ["qg-dsgdm-n", "ad-psgd"])
def test_a_script_has_its_threads_again_and_those_of_a_simulation_are_its_own(
    algorithm, monkeypatch, switches
):
    """On how many there are the last bits of sums depend; on torch's switches, all but the first.

    They may allow products that keep three digits, where a run says float32.
    """
    seen = []

    def measure(self, *given, really=Host.measure):
        seen.append((torch.get_num_threads(), switches()))
        really(self, *given)

    monkeypatch.setattr(Host, "measure", measure)
    made = {**TOY, "algorithm": algorithm, "rounds": 4, "network": {"compute": "1 s"}}
    with p2pqg.Simulation(**made, engine="local") as sim:
        assert sim.placement.num_threads == 1
        assert torch.get_num_threads() == 3
        sim.advance(2)
        branch = sim.fork()
        assert torch.get_num_threads() == 3
        branch.advance(2)
    assert (torch.get_num_threads(), switches()) == (3, OWN)
    assert set(seen) == {(1, PROMISED)}


def test_switches_of_torch_are_put_back_in_whatever_words_they_were_said(switches):
    """Who asks in the older words where the newer ones were said is refused by torch."""
    backends = torch.backends
    if not hasattr(backends.cudnn, "conv"):
        pytest.skip("PyTorch before 2.9")
    backends.fp32_precision = "tf32"
    with promised():
        assert switches() == PROMISED
        assert backends.mkldnn.conv.fp32_precision == "none"
        with promised():
            pass
        assert switches() == PROMISED
    assert backends.mkldnn.conv.fp32_precision == "tf32"
    backends.fp32_precision = "none"
    assert backends.mkldnn.conv.fp32_precision == "none"
    assert switches() == OWN


def test_what_python_tells_once_is_not_told_anew_in_every_round():
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("default")
        for _ in range(3):
            with with_threads(1):
                warnings.warn("said by a user's model", stacklevel=1)
    assert len(told) == 1


@pytest.mark.usefixtures("three_threads")
def test_of_simulations_in_threads_the_last_one_leaves_what_the_first_one_found():
    seen, began, ended = [], Event(), Event()

    def first():
        with with_threads(1):
            began.set()
            ended.wait(10)
            seen.append(torch.get_num_threads())

    def second():
        with with_threads(2):
            seen.append(torch.get_num_threads())
        seen.append(torch.get_num_threads())
        ended.set()

    threads = [Thread(target=first), Thread(target=second)]
    threads[0].start()
    began.wait(10)
    threads[1].start()
    for thread in threads:
        thread.join()
    new = Thread(target=lambda: seen.append(torch.get_num_threads()))
    new.start()
    new.join()
    assert seen == [2, 3, 1, 3]


@pytest.mark.usefixtures("three_threads")
def test_who_leaves_first_leaves_the_others_theirs():
    seen, (began, came, left) = [], (Event(), Event(), Event())

    def first():
        with with_threads(1):
            began.set()
            came.wait(10)
        left.set()

    def second():
        began.wait(10)
        with with_threads(2):
            came.set()
            left.wait(10)
            seen.append(torch.get_num_threads())

    threads = [Thread(target=first), Thread(target=second)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    new = Thread(target=lambda: seen.append(torch.get_num_threads()))
    new.start()
    new.join()
    assert seen == [2, 3]


@contextmanager
def by_default(dtype):
    torch.set_default_dtype(dtype)
    try:
        yield
        assert torch.get_default_dtype() == dtype
    finally:
        torch.set_default_dtype(torch.float32)


def net(num_classes, input_shape):
    layers = torch.nn.Conv2d(3, 2, 3), torch.nn.BatchNorm2d(2), torch.nn.Flatten()
    return torch.nn.Sequential(*layers, torch.nn.Linear(72, num_classes))


def learned():
    """The parameters of a user's model, on images that are scaled."""
    images = {"name": "synthetic", "samples": 36, "image_side": 8, "classes": 3}
    made = {**TOY, "model": net, "dataset": images, "rounds": 3}
    with p2pqg.Simulation(**made, engine="local") as sim:
        sim.advance(3)
        return sim.parameters()


@pytest.mark.parametrize(
    "inside",
    [
        torch.no_grad,
        torch.inference_mode,
        lambda: torch.autocast("cpu", torch.bfloat16),
        lambda: by_default(torch.float64),
        lambda: torch.device("meta"),
    ],
    ids=["no_grad", "inference_mode", "autocast", "default dtype", "default device"],
)
def test_what_a_script_has_chosen_of_torch_for_itself_a_simulation_sees_not(inside):
    expected = learned()
    with inside():
        assert (learned() == expected).all()
