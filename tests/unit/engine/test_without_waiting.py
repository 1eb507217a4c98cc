"""Between two rounds that record nothing the host does not wait for a device.

A value that Python looks at is such a wait on a GPU. On a CPU nobody waits, but the calls are the
same: they are caught here.
"""

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from toys import TOY

import p2pqg
from p2pqg.engine import learner
from p2pqg.models.stacked import choosing
from p2pqg.models.stacked.trying import trials
from p2pqg.models.stacked.ways import EAGER

LOOKS = ("_local_scalar_dense", "nonzero", "is_nonzero", "equal", "masked_select", "_unique2")
"""Operations whose result, or the shape of it, is not known before the values are."""


class NoLook(TorchDispatchMode):
    """Fails where a value is looked at."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func._schema.name.removeprefix("aten::")
        by_mask = name in ("index", "index_put", "index_put_", "_index_put_impl_") and any(
            at is not None and at.dtype == torch.bool for at in args[1]
        )
        if by_mask or name in LOOKS:
            pytest.fail(f"the host waits in {name}")
        return func(*args, **(kwargs or {}))


def run_without_a_look(**settings):
    settings = TOY | {"engine": "local", "rounds": 50, "record_every": 50} | settings
    settings |= {"eval_every": 50, "eval_first": False}
    with p2pqg.Simulation(**settings) as sim:
        sim.advance(2)  # what is made once may be looked at
        host = sim._driver.engine.hosts[0]
        assert settings.get("capture") != "rehearse" or host.learner.way == "captured batched"
        block = host.block
        with NoLook():
            for _ in block.rounds(5):
                raise AssertionError("a sole host waits for others")
        assert block.round == 5


def tried_here_and_taken(job, pickling=None):
    """What a process of its own would find, were every replay the faster one."""
    return [one._replace(ms=float(one.way == EAGER)) for one in trials(job)]


IMAGES = {"name": "synthetic", "samples": 48, "image_side": 8, "classes": 3}


@pytest.mark.parametrize(
    "settings",
    [
        {"algorithm": "qg-dsgdm-n"},
        {"algorithm": "dsgd-gt"},
        {"algorithm": "d2", "topology": "torus6"},
        {"algorithm": "choco-sgd"},
        {"algorithm": {"name": "choco-sgd", "compressor": "random-k"}},
        {"algorithm": "ef21"},
        {"algorithm": "powergossip"},
        {"algorithm": "dadam"},
        {"algorithm": "sgp", "topology": "onepeer-exponential6"},
        {"algorithm": "relay-sgd", "topology": "chain6"},
        {"algorithm": "dsgdm-sync"},
        {"impairments": {"loss": 0.2, "noise": 0.1, "participation": 0.7}},
        {"attacks": [{"who": [0], "how": "sign-flip"}]},
        {"model": "resnet20-gn", "dataset": IMAGES, "precision": "bf16"},
        {"capture": "rehearse"},
    ],
    ids=str,
)
def test_a_round_looks_at_no_value(settings, tmp_path, monkeypatch):
    monkeypatch.setenv("P2PQG_CACHE", str(tmp_path))
    for module in (choosing, learner):
        monkeypatch.setattr(module, "tried_elsewhere", tried_here_and_taken)
    run_without_a_look(**settings)


def test_a_look_would_be_seen():
    with NoLook():
        for look in (torch.Tensor.item, torch.Tensor.nonzero, lambda t: t[t > 0], bool):
            with pytest.raises(pytest.fail.Exception, match="the host waits"):
                look(torch.ones(1))


@pytest.mark.parametrize(
    "settings", [{"precision": "fp16"}, {"consensus": {"targets": [1e-3]}}, {"rule": "median"}]
)
def test_where_the_handbook_says_so_it_does(settings, monkeypatch):
    monkeypatch.setattr("p2pqg.engine.robust.compiled", lambda: None)  # as on a GPU
    with pytest.raises(pytest.fail.Exception, match="the host waits"):
        run_without_a_look(**settings)
