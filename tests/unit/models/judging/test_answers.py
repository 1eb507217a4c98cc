"""Models that return several things: the first is judged, a loss of one's own is given all."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F
from toys import TOY

import p2pqg
from p2pqg.base.errors import ConfigError
from p2pqg.models.judging import Answer, Objective, find_loss, in_columns
from p2pqg.models.stacked.stacked import Stacked

OUTPUTS = torch.arange(6.0).view(2, 3), torch.tensor([7.0, 8.0]), torch.ones(2, 2, 2)


@pytest.mark.parametrize("outputs", [OUTPUTS, dict(zip("abc", OUTPUTS, strict=True))])
def test_several_tensors_stand_side_by_side_and_come_apart_again(outputs):
    answer = Answer.of(outputs)
    columns = in_columns(outputs)
    assert columns.shape == (2, answer.width) == (2, 8)
    again = answer.again(columns)
    assert type(again) is type(outputs)
    for one, other in zip(
        again.values() if isinstance(again, dict) else again, OUTPUTS, strict=True
    ):
        assert torch.equal(one, other)


@pytest.mark.parametrize("half", [torch.float32, torch.bfloat16, torch.float64])
def test_whole_numbers_and_truth_values_stay_what_they_are(half):
    logits = torch.tensor([[0.5, -1.0], [2.0, 0.25]], dtype=half)
    codes, kept = torch.tensor([[16_777_215], [-4_097]]), torch.tensor([True, False])
    answer = Answer.of((logits, codes, kept))
    again = answer.again(in_columns((logits, codes, kept)))
    assert torch.equal(again[0].to(half), logits)
    assert torch.equal(again[1], codes)
    assert again[1].dtype == torch.int64
    assert torch.equal(again[2], kept)
    assert again[2].dtype == torch.bool


class Quantised(nn.Module):
    """Classes, and the entry of a table that is nearest to each sample, by its number."""

    def __init__(self):
        super().__init__()
        self.table, self.classes = nn.Parameter(torch.eye(8)[:5].clone()), nn.Linear(8, 3)

    def forward(self, x):
        number = torch.cdist(x, self.table).argmin(1)
        return self.classes(x), number


def by_number(outputs, targets):
    logits, number = outputs if isinstance(outputs, tuple) else (outputs, None)
    assert number.dtype == torch.int64
    weights = torch.arange(1.0, 6.0, dtype=logits.dtype)[number]  # only whole numbers are places
    return weights * F.cross_entropy(logits, targets, reduction="none")


def test_a_loss_may_take_entries_by_a_number_that_the_model_returned():
    with torch.random.fork_rng(devices=[]):
        model = Quantised()
    settings = TOY | {"engine": "local", "rounds": 2, "model": model, "loss": by_number}
    with p2pqg.Simulation(**settings) as sim:
        sim.advance(2)
        assert np.isfinite(sim.parameters()).all()


@pytest.mark.parametrize("outputs", [OUTPUTS[0], (), (OUTPUTS[0], None), "text", [1.0]])
def test_what_is_not_several_tensors_is_no_answer(outputs):
    assert Answer.of(outputs) is None


class Coded(nn.Module):
    """Classes, and in training an attempt to draw the sample again."""

    def __init__(self, num_classes, input_shape, always=False):
        super().__init__()
        self.code, self.always = nn.Linear(64, 8), always
        self.classes, self.drawn = nn.Linear(8, num_classes), nn.Linear(8, 64)

    def forward(self, x):
        h = torch.tanh(self.code(x))
        logits = self.classes(h)
        if not (self.training or self.always):
            return logits
        return {"logits": logits, "error": (self.drawn(h) - x).square()}


def both(outputs, targets, share=0.5):
    if isinstance(outputs, torch.Tensor):
        return F.cross_entropy(outputs, targets, reduction="none")
    each = F.cross_entropy(outputs["logits"], targets, reduction="none")
    return each + share * outputs["error"].mean(1)


@pytest.mark.parametrize("strategy", ["loop", "vmap"])
def test_gradients_are_those_of_the_whole_loss(strategy):
    generator = torch.Generator().manual_seed(0)
    with torch.random.fork_rng(devices=[]):
        module = Coded(3, (64,)).double()
    x, y = torch.randn(2, 5, 64, generator=generator).double(), torch.tensor([[0, 1, 2, 1, 0]] * 2)
    answer = Answer.of(module(x[0]))
    loss = find_loss(both, "both")
    objective = Objective(loss, loss.params(), outputs=3, answers=(answer,))
    stacked = Stacked(module, precision="float64", strategy=strategy, objective=objective)
    rows = stacked.initial_row().repeat(2, 1)
    losses, g, _ = stacked.gradients(rows, stacked.initial_buffers().repeat(2, 1), x, y)
    for client in range(2):
        expected = both(module(x[client]), y[client]).mean()
        theirs = torch.autograd.grad(expected, list(module.parameters()))
        np.testing.assert_allclose(losses[client], expected.detach())
        np.testing.assert_allclose(g[client], torch.cat([t.reshape(-1) for t in theirs]))


def test_a_run_judges_the_first_and_learns_from_all():
    common = {"topology": "ring2", "rounds": 3, "engine": "local", "seed": 1}

    def of(model, loss, **more):
        with p2pqg.Simulation(model=model, loss=loss, **{**common, **more}) as sim:
            sim.finish()
            return sim.parameters(), sim.evaluate()

    def always(num_classes, input_shape):
        return Coded(num_classes, input_shape, always=True)

    def only_classes(outputs, targets):
        return both(outputs, targets, share=0.0)

    learned, judged = of(Coded, both)
    again, same = of(always, both)
    np.testing.assert_array_equal(learned, again)  # what is judged changes nothing
    assert judged["test_accuracy"] == same["test_accuracy"]
    assert judged["test_loss"] < same["test_loss"]  # in which the error is, too
    apart, _ = of(Coded, only_classes)
    assert np.abs(apart - learned).max() > 1e-4


def test_several_outputs_without_a_loss_that_takes_them_are_told():
    with pytest.raises(ConfigError, match=r"got dict for inputs \[\d+, 64\]; several, .* loss of"):
        p2pqg.run(
            topology="ring2",
            model=lambda num_classes, input_shape: Coded(num_classes, input_shape, always=True),
            engine="local",
            rounds=1,
        )


class TwoFaced(nn.Module):
    """Returns as many numbers in training as in evaluation, under other names."""

    def __init__(self, num_classes, input_shape):
        super().__init__()
        self.classes = nn.Linear(64, num_classes)

    def forward(self, x):
        logits = self.classes(x)
        return {"logits": logits, "drawn" if self.training else "mean": logits}


def test_answers_that_cannot_be_told_apart_are_refused():
    def loss(outputs, targets):
        return F.cross_entropy(outputs["logits"], targets, reduction="none")

    with pytest.raises(ConfigError, match="must be alike where both have 20 numbers"):
        p2pqg.run(topology="ring2", model=TwoFaced, loss=loss, rounds=1, engine="local")
