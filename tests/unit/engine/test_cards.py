"""GPUs are counted without torch; where only CUDA can tell what it will see, torch is asked."""

import subprocess
import sys

import pytest
import torch

from p2pqg.engine import cards
from p2pqg.engine.cards import Cards, told_by, torch_knows_cuda
from p2pqg.simulation.hosting import of_precision


class Library:
    """NVML on a machine with some cards, as its functions behave: 0 is success."""

    def __init__(self, *sizes, fails=(), mig=False, majors=()):
        self.sizes, self.mig, self.open = sizes, mig, 0
        self.majors = majors or [9] * len(sizes)
        for name in fails:
            setattr(self, name, lambda *args: 9)

    def nvmlInit_v2(self):
        self.open += 1
        return 0

    def nvmlShutdown(self):
        self.open -= 1
        return 0

    def nvmlDeviceGetCount_v2(self, number):
        number._obj.value = len(self.sizes)
        return 0

    def nvmlDeviceGetHandleByIndex_v2(self, index, card):
        card._obj.value = index + 1
        return 0

    def nvmlDeviceGetMigMode(self, card, mode, later):
        mode._obj.value = self.mig
        return 0

    def nvmlDeviceGetCudaComputeCapability(self, card, major, minor):
        major._obj.value = self.majors[card.value - 1]
        return 0

    def nvmlDeviceGetMemoryInfo(self, card, memory):
        memory._obj.total = self.sizes[card.value - 1]
        return 0


@pytest.mark.parametrize(
    ("visible", "found"),
    [
        (None, Cards(2, 120, 9)),
        ("1,0", Cards(2, 120, 9)),
        ("1", Cards(1, 40, 9)),  # which of the two it is nobody knows: it has at least so much
        ("", Cards(0, 0, 9)),
        ("0,5", Cards(1, 40, 9)),
        ("GPU-8932f937", None),
    ],
)
def test_those_are_counted_that_cuda_will_see(visible, found, monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    library = Library(40, 80)
    assert told_by(library) == found
    assert library.open == 0


@pytest.mark.parametrize(
    "library",
    [
        Library(40, mig=True),
        Library(40, fails=["nvmlInit_v2"]),
        Library(40, fails=["nvmlDeviceGetCount_v2"]),
        Library(40, fails=["nvmlDeviceGetHandleByIndex_v2"]),
        Library(40, fails=["nvmlDeviceGetMemoryInfo"]),
    ],
)
def test_torch_is_asked_where_the_library_cannot_tell(library, monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(cards.ctypes, "CDLL", lambda name: library)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    monkeypatch.setattr(
        torch.cuda, "get_device_properties", lambda i: type("", (), {"total_memory": 5, "major": 7})
    )
    monkeypatch.setattr(cards, "torch", torch)
    assert cards.cards() == Cards(3, 15, 7)


@pytest.mark.parametrize(
    ("majors", "precision", "lines"),
    [([9, 7], "bf16", 1), ([9, 7], "fp16", 0), ([8, 9], "bf16", 0)],
)
def test_a_card_without_bf16_costs_a_line(majors, precision, lines, monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(cards.ctypes, "CDLL", lambda name: Library(40, 80, majors=majors))
    said = of_precision(precision, "cuda", None)
    assert len(said) == lines
    assert all("fp16 and float32 are faster" in line for line in said)
    assert of_precision(precision, "cpu", None) == ()


def test_what_cannot_tell_its_age_is_not_called_slow():
    found = told_by(Library(40, fails=["nvmlDeviceGetCudaComputeCapability"]))
    assert found == Cards(1, 40)
    assert not found.slow_in_bf16


def test_what_torch_was_built_for_is_read_without_importing_it():
    assert torch_knows_cuda() == (torch.version.cuda is not None)
    code = "from p2pqg.engine.cards import torch_knows_cuda as ask; ask()"
    code += "; import sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
