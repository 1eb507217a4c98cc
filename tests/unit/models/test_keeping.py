"""A module that was kept as code and weights is the same module, or it is refused with a reason."""

import pytest
import torch
from safetensors.torch import load
from torch import nn

from p2pqg.base.source import UnkeptError
from p2pqg.models._keeping import code_of_module, weights_of


class Remembers(nn.Module):
    """Its arguments are attributes."""

    def __init__(self, width, depth=1, *, activation="relu"):
        super().__init__()
        self.width, self.activation = width, activation
        self.layers = nn.ModuleList([nn.Linear(width, width) for _ in range(2)])
        self.bn = nn.BatchNorm1d(width, momentum=0.3)

    def forward(self, x):
        for layer in self.layers:
            x = layer(x)
        return getattr(torch, self.activation)(self.bn(x))


class Forgets(nn.Module):
    """Nobody can tell what it was made with."""

    def __init__(self, size):
        super().__init__()
        self.layer = nn.Linear(size, 2)


def again(model):
    text, _ = code_of_module(model)
    scope = {"__name__": "again"}
    exec(text, scope)
    made = scope["given"]()
    made.load_state_dict(load(weights_of(model)))
    return made


@pytest.mark.parametrize(
    "model",
    [
        Remembers(4, activation="tanh"),
        nn.Sequential(nn.Flatten(), nn.Linear(4, 3, bias=False), nn.ReLU(), nn.Linear(3, 2)),
        nn.Sequential(nn.Sequential(Remembers(4), nn.Dropout(0.25)), nn.LayerNorm(4)),
        nn.Sequential(nn.Unflatten(1, (1, 2, 2)), nn.Conv2d(1, 2, 3, padding="same", bias=False)),
        nn.Sequential(nn.Embedding(7, 3, padding_idx=2), nn.Flatten(), nn.Linear(12, 2)),
    ],
)
def test_what_is_made_anew_computes_the_same(model):
    x = torch.arange(8).view(2, 4) % 7
    x = (
        x
        if isinstance(model[0] if isinstance(model, nn.Sequential) else None, nn.Embedding)
        else (x.float())
    )
    made = again(model)
    assert repr(made) == repr(model)
    assert torch.equal(made.eval()(x), model.eval()(x))


def test_named_layers_keep_their_names():
    model = nn.Sequential()
    model.add_module("first", nn.Linear(2, 2))
    model.add_module("head", nn.Linear(2, 1))
    assert list(again(model).state_dict()) == list(model.state_dict())


def test_frozen_parameters_stay_frozen():
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 1))
    model[0].requires_grad_(False)
    assert [p.requires_grad for p in again(model).parameters()] == [False, False, True, True]


def test_what_cannot_be_made_anew_is_refused_with_the_reason():
    with pytest.raises(UnkeptError, match=r"was made with size=\.\.\., which it does not remember"):
        code_of_module(Forgets(3))
    changed = Remembers(4)
    changed.bn.momentum = 0.9
    with pytest.raises(UnkeptError, match="was changed after it was made"):
        code_of_module(changed)
    with pytest.raises(UnkeptError, match="has a MultiheadAttention in it"):
        code_of_module(nn.Sequential(nn.MultiheadAttention(4, 2)))
