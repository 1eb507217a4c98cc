"""Modules of every kind that users have: the numbers of plain PyTorch, or one clear line."""

import copy
import math
import random
import threading
import warnings

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations
from torch.utils.checkpoint import checkpoint
from toys import TOY

import p2pqg
from p2pqg.base.errors import ConfigError, UserCodeError
from p2pqg.models._keeping import letters_of_fixed, weights_of
from p2pqg.recipe import against_pytorch
from p2pqg.recipe.settings import read_settings
from p2pqg.recipe.side_effects import weight_elsewhere
from p2pqg.simulation.build import build

ALONE = {"weight_decay": 0.0, "engine": "local", "precision": "float64"}
OWN = TOY | ALONE | {"topology": "ring4", "rounds": 4, "lr": 0.05}
BETA, MU = 0.9, 0.9


class Head(nn.Module):
    """A linear layer for the toy, and whatever a test adds."""

    def __init__(self):
        super().__init__()
        self.head = nn.Linear(8, 3)

    def forward(self, x):
        return self.head(x)


class Temperature(Head):
    def __init__(self):
        super().__init__()
        self.log = nn.Parameter(torch.tensor(0.3))

    def forward(self, x):
        return super().forward(x) * self.log.exp()


class DoublesTogether(Head):
    """A small part whose gradient is another one in a vectorised call, with the same value."""

    def __init__(self):
        super().__init__()
        self.small = nn.Parameter(torch.tensor(0.3))

    def forward(self, x):
        small = self.small
        if torch._C._functorch.maybe_current_level() is not None:
            small = 2 * small - small.detach()
        return super().forward(x) + 1e-4 * small * x[:, :3]


class AnswersInHalf(Temperature):
    """Computes in 16 bits within, whatever it is given."""

    def forward(self, x):
        return super().forward(x.bfloat16().to(x.dtype)).bfloat16()


class DoublesInHalf(DoublesTogether):
    """Is wrong by less than its rounding."""

    def forward(self, x):
        return super().forward(x).bfloat16()


class AddsRows(Head):
    """Adds outputs to rows of inputs' type, which autocast leaves alone."""

    def forward(self, x):
        found = super().forward(x)
        return x.new_zeros(found.shape).index_add(0, torch.arange(len(x)), found)


class BiasBeforeNorm(Head):
    """The gradient of its first bias is 0 but for rounding."""

    def __init__(self):
        super().__init__()
        self.first, self.norm = nn.Linear(8, 8), nn.BatchNorm1d(8)

    def forward(self, x):
        return super().forward(self.norm(self.first(x)).relu())


class InPlace(Head):
    """A running mean, and a count of floats that it divides by."""

    def __init__(self):
        super().__init__()
        self.register_buffer("mean", torch.zeros(8))
        self.register_buffer("count", torch.tensor(0.0), persistent=False)

    def forward(self, x):
        if self.training:
            self.count += 1
            self.mean += (x.mean(0) - self.mean) / self.count
        return super().forward(x - self.mean)


class PutInPlace(InPlace):
    """The same, with new tensors in place of the old ones; they remember where they come from."""

    def forward(self, x):
        h = x * self.head.weight.mean()
        if self.training:
            self.count = self.count + 1
            self.mean = self.mean + (h.mean(0) - self.mean) / self.count
        return Head.forward(self, h - self.mean.detach())


class AroundBatchNorm(Head):
    """Statistics that change, in both ways, while autograd still needs others."""

    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm1d(8)
        self.register_buffer("before", torch.ones(8))
        self.register_buffer("after", torch.zeros(3))

    def forward(self, x):
        h = self.norm(x) * self.before
        if self.training:
            self.before = 0.9 * self.before + 0.1 * x.std(0)
            h = h + self.norm(h)
        outputs = super().forward(h)
        if self.training:
            self.after += outputs.detach().mean(0)
        return outputs - self.after.tanh()


class Twice(nn.Module):
    """Weights under two names, a statistic under two names, and a module under two.

    A weight that nobody trains has digits of float64, and files are refused where they do not say
    that they are of this version, as torchvision's MNASNet does it.
    """

    _version = 2

    def __init__(self):
        super().__init__()
        self.third = nn.Parameter(torch.ones(3, dtype=torch.float64) / 3, requires_grad=False)
        self.one, self.two = nn.Linear(8, 8), nn.Linear(8, 8)
        self.two.weight = self.one.weight
        self.again = self.one
        self.register_buffer("mean", torch.zeros(8))
        self.register_buffer("same", self.mean)
        self.head = nn.Linear(8, 3)

    def forward(self, x):
        if self.training:
            self.mean.mul_(0.9).add_(0.1 * x.mean(0))
        hidden = self.again(self.two(self.one(x - self.same).tanh()).tanh())
        return self.third * self.head(hidden)

    def _load_from_state_dict(self, state, prefix, metadata, *others):
        assert metadata["version"] == self._version
        super()._load_from_state_dict(state, prefix, metadata, *others)


class Listed(nn.Module):
    def __init__(self):
        super().__init__()
        self.several = nn.ParameterList([nn.Parameter(0.3 * torch.randn(8, 3)) for _ in range(2)])
        self.named = nn.ParameterDict({"b": nn.Parameter(torch.zeros(3))})

    def forward(self, x):
        return x @ self.several[0] + (x @ self.several[1]).tanh() + self.named["b"]


class Looks(Head):
    def __init__(self):
        super().__init__()
        self.other = nn.Linear(8, 3)

    def forward(self, x):
        return super().forward(x) if x.mean() > 0 else self.other(x)


class Tallies(Head):
    """Counts what nothing depends on."""

    def __init__(self):
        super().__init__()
        self.calls = 0
        self.register_buffer("seen", torch.tensor(0))

    def forward(self, x):
        self.calls += 1
        self.seen += len(x)
        return super().forward(x)


class Masks(Head):
    """Builds its mask again where a longer input comes, as causal attention does."""

    def __init__(self):
        super().__init__()
        self.longest, self.mask = 0, None

    def forward(self, x):
        if x.shape[1] > self.longest:
            self.longest, self.mask = x.shape[1], torch.arange(x.shape[1]) % 2
        return super().forward(x * self.mask)


class Writes(Head):
    """Shifts the batch that it is given, which torch allows."""

    def forward(self, x):
        x -= 0.1
        return super().forward(x.mul_(1.5))


class AsksItsTensors(Head):
    """What torch does with a module's own tensors, and refuses or does otherwise with others.

    Complex numbers begin at even places, a batch norm of several processes counts its steps, and
    weights ask for gradients, when the model is tested, too.
    """

    def __init__(self):
        super().__init__()
        self.one = nn.Parameter(torch.tensor(0.3))
        self.pairs = nn.Parameter(torch.randn(5, 2))
        self.norm = nn.SyncBatchNorm(8)
        self.register_buffer("odd", torch.zeros(()))
        self.register_buffer("seen", torch.zeros(5, 2))

    def forward(self, x):
        waves = torch.fft.rfft(self.norm(x)) * torch.view_as_complex(self.pairs)
        if self.training:
            torch.view_as_complex(self.seen).add_(waves.detach().mean(0))
        x = torch.fft.irfft(waves - 0.1 * torch.view_as_complex(self.seen), n=8)
        with torch.enable_grad():
            energy = (x * self.one).square().mean()
            (slope,) = torch.autograd.grad(energy, self.one, create_graph=True)
        return super().forward(x * (self.one - 0.1 * slope))


def layers(norm, *more):
    return nn.Sequential(norm, *more, nn.Tanh(), nn.Linear(8, 3))


def with_hook():
    model = layers(nn.Linear(8, 8))
    model[0].register_forward_hook(lambda module, inputs, output: 2 * output)
    return model


def partly_frozen():
    model = layers(nn.Linear(8, 8), nn.BatchNorm1d(8))
    model[:2].requires_grad_(False)
    return model


MODELS = {
    "a number that is learned": Temperature,
    "statistics in place": InPlace,
    "statistics put in place of others": PutInPlace,
    "statistics around batch norm": AroundBatchNorm,
    "shared weights and statistics": Twice,
    "lists of parameters": Listed,
    "a look at values": Looks,
    "what is counted in vain": Tallies,
    "a mask that is kept": Masks,
    "a batch that is written to": Writes,
    "a hook": with_hook,
    "frozen layers": partly_frozen,
    "batch norm of another momentum": lambda: layers(nn.BatchNorm1d(8, momentum=0.3)),
    "spectral norm": lambda: layers(parametrizations.spectral_norm(nn.Linear(8, 8))),
    "weight norm": lambda: layers(parametrizations.weight_norm(nn.Linear(8, 8))),
    "tensors that are its own": AsksItsTensors,
    "half precision": lambda: layers(nn.Linear(8, 8)).bfloat16(),
}


def seeded(make):
    with torch.random.fork_rng():
        torch.manual_seed(1)  # noqa: TID251  of the fork
        return make()


def plain_qg_dsgdm_n(model, sim, rounds):
    """Every client a module of its own, as in a loop that a user writes.

    Returns:
        [clients, params], and the modules.
    """
    W, lr = torch.from_numpy(sim.W(0)), OWN["lr"]
    clients = [copy.deepcopy(model).double().train() for _ in W]
    x = torch.stack([torch.cat([p.detach().flatten() for p in trained(m)]) for m in clients])
    m = torch.zeros_like(x)
    for step in range(rounds):
        g = torch.zeros_like(x)
        for client, module in enumerate(clients):
            put(x[client], module)
            inputs, targets = map(torch.from_numpy, sim.batch(client, step))
            loss = F.cross_entropy(module(inputs), targets)
            grads = torch.autograd.grad(loss, trained(module), materialize_grads=True)
            g[client] = torch.cat([grad.flatten() for grad in grads])
        new = W @ (x - lr * (g + BETA * (BETA * m + g)))
        x, m = new, MU * m + (1 - MU) * (x - new) / lr
    for client, module in enumerate(clients):
        put(x[client], module)
    return x, clients


@torch.no_grad()
def put(row, module):
    sizes = [p.numel() for p in trained(module)]
    for parameter, values in zip(trained(module), row.split(sizes), strict=True):
        parameter.copy_(values.view(parameter.shape))


def trained(module):
    return [p for p in module.parameters() if p.requires_grad]


@pytest.mark.parametrize("make", MODELS.values(), ids=MODELS)
def test_clients_learn_what_a_loop_of_plain_pytorch_gives_each(make):
    model = seeded(make)
    algorithm = {"name": "qg-dsgdm-n", "beta": BETA, "mu": MU}
    with p2pqg.Simulation(**OWN | {"model": model, "algorithm": algorithm}) as sim:
        sim.evaluate()
        sim.advance(4)
        expected, clients = plain_qg_dsgdm_n(model, sim, 4)
        np.testing.assert_allclose(sim.parameters(), expected, rtol=0, atol=1e-12)
        row = sim.evaluate()
        inputs, targets = map(torch.from_numpy, sim.experiment.test)
        with torch.no_grad():
            right = [c.eval()(inputs.double().clone()).argmax(1) == targets for c in clients]
        assert row["test_accuracy"] == pytest.approx(torch.stack(right).double().mean().item())


@pytest.mark.parametrize("make", [InPlace, Twice])
def test_models_come_out_with_all_that_they_remember(make, tmp_path, monkeypatch):
    model = seeded(make)
    algorithm = {"name": "qg-dsgdm-n", "beta": BETA, "mu": MU}
    settings = OWN | {"model": model, "algorithm": algorithm}
    run = p2pqg.run(**settings, checkpoint_every=1e9, out=tmp_path, name="run")
    saved = []

    def stopped_in_the_second(state, path, about):
        if saved:
            raise KeyboardInterrupt
        saved.append(path)
        path.write_bytes(b"")

    with monkeypatch.context() as patched:
        patched.setattr("safetensors.torch.save_file", stopped_in_the_second)
        with pytest.raises(KeyboardInterrupt):
            run.save_models(tmp_path / "models")
    run.save_models(tmp_path / "models")  # nothing is left of the half
    scope = {"__file__": str(tmp_path / "models" / "load.py")}
    exec((tmp_path / "models" / "load.py").read_text(encoding="utf-8"), scope)
    with p2pqg.Simulation(**settings) as sim:
        clients = plain_qg_dsgdm_n(model, sim, 4)[1]
        x = torch.from_numpy(sim.experiment.test[0])
    for number, client in enumerate(clients):
        for module in (run.model(number), scope["load"](f"client-{number}")):
            torch.testing.assert_close(module(x), client.eval()(x), rtol=0, atol=1e-12)


def test_evaluating_leaves_no_trace_in_a_model_that_changes_or_draws_then_too():
    class Changes(Head):
        def __init__(self):
            super().__init__()
            self.register_buffer("mean", torch.zeros(8))

        def forward(self, x):
            self.mean.mul_(0.9).add_(0.1 * x.detach().mean(0))
            return super().forward(F.dropout(x - self.mean, 0.5, True))

    model, found = seeded(Changes), []
    for every in (1, 100):
        with p2pqg.Simulation(**OWN | {"model": model, "eval_every": every}) as sim:
            sim.advance(4)
            found.append((sim.parameters(), sim.evaluate()["test_accuracy"]))
    assert (found[0][0] == found[1][0]).all()
    assert found[0][1] == found[1][1]


class Warms(Head):
    """Goes on otherwise after a hundred steps."""

    def __init__(self):
        super().__init__()
        self.calls = 0

    def forward(self, x):
        self.calls += self.training
        return super().forward(x) * (1 if self.calls < 100 else 2)


class WarmsByBuffer(Head):
    def __init__(self):
        super().__init__()
        self.register_buffer("seen", torch.tensor(0))

    def forward(self, x):
        if self.training:
            self.seen += 1
        return super().forward(x) * (1 if self.seen < 100 else 2)


class Limits(Head):
    """Keeps its weights within a limit that they are far from, before it is tested."""

    def forward(self, x):
        if not self.training:
            with torch.no_grad():
                self.head.weight.clamp_(-50, 50)
        return super().forward(x)


class LimitsQuietly(Head):
    def forward(self, x):
        if self.training:
            self.head.weight.data.clamp_(-0.1, 0.1)
        return super().forward(x)


class DropsSometimes(Head):
    def forward(self, x):
        return super().forward(x * 0 if self.training and random.random() < 1e-6 else x)


class AddsNoise(Head):
    def forward(self, x):
        if not self.training:
            x = x + 1e-9 * np.random.rand()  # noqa: NPY002  as users do
        return super().forward(x)


class Complex(Head):
    def __init__(self):
        super().__init__()
        self.phase = nn.Parameter(torch.ones(3, dtype=torch.complex128))  # safetensors has none

    def forward(self, x):
        return (super().forward(x) * self.phase).abs()


class Locked(Head):
    def __init__(self):
        super().__init__()
        self.lock = threading.Lock()


class Answers(Head):
    def forward(self, x):
        return {"logits": super().forward(x)}


class Embeds(Head):
    def __init__(self):
        super().__init__()
        self.words = nn.Embedding(10, 3, sparse=True)


class Centers(nn.Module):
    def __init__(self):
        super().__init__()
        self.centers = nn.Parameter(torch.zeros(3, 3))

    def forward(self, outputs, targets):
        return ((outputs - self.centers[targets]) ** 2).sum(1)


class Recomputes(Head):
    """Computes a part anew when its gradient is wanted, when parameters are the template's."""

    def __init__(self):
        super().__init__()
        self.body = nn.Linear(8, 8)

    def forward(self, x):
        return super().forward(checkpoint(lambda x: self.body(x).tanh(), x, use_reentrant=False))


class HoldsOn(Head):
    """A function in it has hold of a weight, and so all copies of it of this one."""

    def __init__(self):
        super().__init__()
        self.body = nn.Linear(8, 8)
        weight = self.body.weight
        self.function = lambda x: (x @ weight).tanh()

    def forward(self, x):
        return super().forward(self.function(x))


def on_no_device():
    return nn.Linear(8, 3, device="meta")


def expanded():
    model = nn.Linear(8, 3)
    model.weight = nn.Parameter(torch.zeros(1, 8).expand(3, 8))
    return model


def hooked(register):
    model = Head()
    getattr(model.head.weight, register)(lambda given: None)
    return model


def with_buffer(made, **settings):
    model = nn.Linear(8, 3)
    model.register_buffer("other", made, **settings)
    return model


def by_rows():
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Sparse CSR tensor support is in beta")
        return with_buffer(torch.eye(3).to_sparse_csr())


class Remembers(Head):
    def get_extra_state(self):
        return {"seen": 1}


class Scaled(Head):
    """What scales its outputs is a buffer, though it is a Parameter, too."""

    def __init__(self):
        super().__init__()
        self.register_buffer("scale", nn.Parameter(torch.ones(3)))

    def forward(self, x):
        return super().forward(x) * self.scale


class Grows:
    """A loss that is another one after a hundred calls."""

    calls = 0

    def __call__(self, outputs, targets):
        self.calls += 1
        return F.cross_entropy(outputs, targets, reduction="none") * (1 + self.calls // 100)


def noisy(outputs, targets):
    return F.cross_entropy(outputs + torch.rand(()), targets, reduction="none") + torch.rand(())


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"model": Warms()}, "Warms.: it depends on calls = 1, which training changes"),
        ({"model": WarmsByBuffer()}, "it depends on seen = 1, which training changes"),
        ({"model": Limits()}, "a forward pass writes into its parameter head.weight, which is"),
        ({"model": LimitsQuietly()}, "a forward pass writes into its parameter head.weight"),
        ({"model": DropsSometimes()}, "draws numbers from Python's random, whose state all"),
        ({"model": AddsNoise()}, "draws numbers from numpy.random, whose state all that runs"),
        ({"model": Complex()}, "phase is complex, and clients' rows are real; keep torch.view_as_"),
        ({"model": Recomputes(), "precision": "float32"}, "its gradients are not those of plain"),
        ({"model": HoldsOn(), "precision": "float32"}, r"computes with a weight \[8, 8\] that is"),
        ({"model": layers(nn.BatchNorm1d(8, momentum=None))}, "0 averages over all of its steps"),
        (
            {"model": AddsRows(), "precision": "bf16"},
            r"same scalar type \(in bf16; take precision: f",
        ),
        ({"model": on_no_device()}, "weight has no values, being on torch's device meta"),
        ({"model": hooked("register_hook")}, "head.weight has a hook, which copies of"),
        ({"model": lambda: hooked("register_post_accumulate_grad_hook")}, "head.weight has a hook"),
        ({"model": expanded()}, "weight was expanded, and several of its numbers are one"),
        ({"model": with_buffer(torch.ones(1, 8).expand(3, 8))}, "other was expanded, and several"),
        ({"model": by_rows()}, "other is kept as sparse_csr, and clients' rows are plain"),
        ({"model": with_buffer(torch.eye(3).to_sparse())}, "other is kept as sparse_coo"),
        ({"model": Remembers()}, r"its state_dict has _extra_state, which is no tensor \(dict\)"),
        ({"model": Locked()}, "each client needs a copy, and it cannot be copied: cannot pickle"),
        ({"model": Answers()}, r"outputs must be \[batch, 3\] for 3 classes, got dict"),
        (
            {"model": Answers(), "loss": lambda o, t: F.nll_loss(o.logits, t, reduction="none")},
            r"is a plain dict here, so write outputs\['logits'\]",
        ),
        ({"model": lambda: nn.Flatten()}, "has no parameter that can be trained|outputs must be"),
        (
            {"model": nn.Sequential(nn.LazyLinear(3))},
            "0.weight has no size before it sees a sample",
        ),
        ({"model": nn.DataParallel(Head())}, "give the module inside, model.module"),
        ({"model": Embeds()}, "words has sparse gradients, .* leave sparse=True out"),
        ({"loss": Centers()}, "nobody trains its parameter centers, which belongs into the model"),
        ({"loss": Grows()}, "its values change with calls, which it changes itself"),
        ({"loss": lambda o, t: o.detach().sum(1)}, "has no gradient by the outputs, as after"),
        ({"loss": lambda o, t: (o.argmax(1) != t).long()}, "has no gradient by the outputs"),
        (
            {"loss": lambda o, t: o.sum(1) * math.nan},
            "a finite number, got nan on the first",
        ),
        ({"loss": lambda o, t: o**2}, r"got \[4, 3\]; take the mean over the rest, .flatten"),
        (
            {"loss": nn.CrossEntropyLoss(torch.ones(3), reduction="none"), "precision": "float64"},
            r"Double but found Float; outputs are float64 here,.* precision: float32",
        ),
        ({"loss": noisy}, r"loss noisy \(.*\): its values are others when it is asked again"),
    ],
)
def test_what_would_make_figures_depend_on_something_else_is_one_clear_line(settings, told):
    with pytest.raises(ConfigError, match=told) as error:
        p2pqg.Simulation(**OWN | {"model": Head()} | settings)
    assert "\n" not in str(error.value)


def hides(trained):
    """A model with a teacher that its parameters do not show."""
    model, teacher = Head(), nn.Linear(8, 8).requires_grad_(trained)
    model.others = [teacher]
    model.register_forward_pre_hook(lambda part, given: part.others[0](given[0]))
    return model


@pytest.mark.parametrize(
    "model",
    [
        with_buffer(torch.ones(1, 8).expand(3, 8), persistent=False),
        hides(False),
    ],
)
def test_what_nobody_trains_may_be_held_as_one_likes(model):
    p2pqg.Simulation(**OWN | {"model": model, "precision": "float32"}).close()


def test_a_buffer_that_asks_for_gradients_is_trained_by_nobody():
    asking = with_buffer(torch.ones(2, requires_grad=True))
    p2pqg.Simulation(**OWN | {"model": asking, "precision": "float64"}).close()


def test_a_buffer_that_is_a_parameter_is_one_of_its_own():
    assert weight_elsewhere(Scaled(), torch.ones(2, 8)) is None


def test_a_hidden_weight_that_asks_for_gradients_is_told_how_to_do_without():
    with pytest.raises(ConfigError, match=r"nobody trains it, requires_grad_\(False\)"):
        p2pqg.Simulation(**OWN | {"model": hides(True), "precision": "float32"})


class Weighs(nn.Module):
    """A loss with a parameter that is frozen, and so no one's to train."""

    def __init__(self):
        super().__init__()
        self.weights = nn.Parameter(torch.full((3,), 2.0), requires_grad=False)

    def forward(self, outputs, targets):
        return F.cross_entropy(outputs * self.weights, targets, reduction="none")


def test_a_loss_that_looks_at_values_is_computed_client_by_client():
    def plain(outputs, targets):
        return F.cross_entropy(outputs, targets, reduction="none")

    def looks(outputs, targets):
        if (outputs > 1e6).any():
            raise ValueError("so large")
        return plain(outputs, targets)

    model, found = seeded(Head), []
    for loss in (looks, plain):
        with p2pqg.Simulation(**OWN | {"loss": loss, "model": model}) as sim:
            sim.advance(2)
            found.append(sim.parameters())
    np.testing.assert_allclose(*found, rtol=0, atol=1e-12)


def test_a_loss_may_have_parameters_that_are_frozen():
    def plain(outputs, targets):
        return F.cross_entropy(2 * outputs, targets, reduction="none")

    found = []
    for loss in (Weighs(), plain):
        with p2pqg.Simulation(**OWN | {"loss": loss}) as sim:
            sim.advance(2)
            found.append(sim.parameters())
    np.testing.assert_allclose(*found, rtol=0, atol=1e-12)


RAY, PRIVATE = {"engine": "ray"}, {"privacy": {"clip": 1.0, "sigma": 0.5}}


@pytest.mark.parametrize(
    ("model", "more", "tried", "strategy"),
    [
        (Looks, {}, ["loop"], None),
        (Temperature, {}, ["loop"], None),
        (Temperature, RAY, ["loop", "vmap"], None),
        (Looks, RAY, ["loop", "vmap"], "loop"),
        (DoublesTogether, RAY, ["loop", "vmap"], "loop"),
        (BiasBeforeNorm, RAY, ["loop", "vmap"], None),
        (AnswersInHalf, RAY, ["loop", "vmap"], None),
        (DoublesInHalf, RAY, ["loop", "vmap"], "loop"),
        (DoublesTogether, PRIVATE, ["loop", "vmap"], "loop"),
        (Temperature, PRIVATE, ["loop", "vmap"], None),
    ],
)
def test_vectorised_gradients_are_tried_where_they_may_be_used(
    model, more, tried, strategy, monkeypatch
):
    found, differ = [], against_pytorch.AgainstPyTorch.differ
    monkeypatch.setattr(
        against_pytorch.AgainstPyTorch,
        "differ",
        lambda self, way: found.append(way) or differ(self, way),
    )
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)  # here; Ray's nodes may have one
    settings = OWN | {"model": model(), "precision": "float32"} | more
    experiment = build(*read_settings(settings))
    assert (found, experiment.task.model.strategy) == (tried, strategy)


@pytest.mark.filterwarnings(
    "ignore:.torch.jit:DeprecationWarning", "ignore:.torch.jit:FutureWarning"
)
@pytest.mark.filterwarnings("ignore:.torch.nn.utils.weight_norm:FutureWarning")
def test_what_cannot_be_called_with_other_weights_is_one_clear_line():
    scripted = torch.jit.trace(Head(), torch.zeros(2, 8))
    old = nn.Sequential(nn.utils.weight_norm(nn.Linear(8, 3)))
    for model, told in ((scripted, "is scripted or traced"), (old, "take torch.nn.utils.param")):
        with pytest.raises(ConfigError, match=told):
            p2pqg.Simulation(**OWN | {"model": model})


def in_another_order(shape, classes):
    return nn.Linear(shape[0], classes)


def of_what_it_does_not_name(**settings):
    return nn.Linear(8, settings["num_classes"])


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (
            in_another_order,
            "TypeError: .*; it was called with shape = num_classes and classes = in",
        ),
        (of_what_it_does_not_name, "KeyError: .*; what it is given it names: num_classes, input_"),
    ],
)
def test_a_function_that_fails_is_told_how_it_was_called(make, told):
    with pytest.raises(ConfigError, match=told):
        p2pqg.Simulation(**OWN | {"model": make})


def by_numpy(num_classes, input_shape):
    model = nn.Linear(*input_shape, num_classes)
    drawn = np.random.standard_normal((num_classes, *input_shape))  # noqa: NPY002  as users do
    model.weight.data.copy_(torch.from_numpy(drawn))
    return model


def test_weights_that_a_function_draws_are_keyed_by_the_seed_wherever_it_draws_them():
    def start(**more):
        with p2pqg.Simulation(**OWN | {"model": by_numpy} | more) as sim:
            return sim.parameters()

    before = np.random.get_state()[2]  # noqa: NPY002  it stays
    x = start(clients_per_actor=1)
    assert (x == x[0]).all()
    assert (start() == x).all()
    assert (start(seed=9) != x).any()
    assert np.random.get_state()[2] == before  # noqa: NPY002  the same


def test_a_model_that_is_another_one_in_each_actor_is_refused():
    generator = torch.Generator().manual_seed(0)

    def drawn(num_classes, input_shape):
        model = nn.Linear(*input_shape, num_classes)
        nn.init.normal_(model.weight, generator=generator)
        return model

    with pytest.raises(ConfigError, match="weight is another one when the model is built again"):
        p2pqg.Simulation(**OWN | {"model": drawn})


def test_so_is_one_whose_constants_are_others():
    def drawn(num_classes, input_shape):
        model = nn.Linear(*input_shape, num_classes)
        constant = torch.from_numpy(np.random.default_rng().random(3))
        model.register_buffer("shift", constant, persistent=False)
        model.scratch = torch.empty(99)  # what is in it does not count
        return model

    with pytest.raises(ConfigError, match="shift is another one when the model is built again"):
        p2pqg.Simulation(**OWN | {"model": drawn})


def test_what_code_of_a_users_reads_elsewhere_is_told_where_it_has_changed(tmp_path):
    weights, cut, code = (tmp_path / name for name in ("w.pt", "cut.txt", "mine.py"))
    code.write_text(
        "import numpy as np, torch\n\n\ndef net(num_classes, input_shape):\n"
        "    below, above = torch.nn.Linear(*input_shape, 4), torch.nn.Linear(4, num_classes)\n"
        f"    below.load_state_dict(torch.load({str(weights)!r}))\n"
        "    return torch.nn.Sequential(below.requires_grad_(False), above)\n\n\n"
        "def in_turn(labels, clients, rng):\n"
        f"    first = int(np.loadtxt({str(cut)!r}))\n"
        "    return np.array_split(np.arange(first, len(labels)), clients)\n"
    )

    def written(layer, first):
        torch.save(layer.state_dict(), weights)
        cut.write_text(str(first))

    below = nn.Linear(64, 4)
    written(below, 300)
    settings = OWN | {"model": f"{code}:net", "partition": f"{code}:in_turn", "dataset": "digits"}
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        ran = p2pqg.run(**settings | {"rounds": 1}, out=str(tmp_path))
        p2pqg.resume(ran.path, rounds=2)
        assert [str(line.message) for line in told if "now" in str(line.message)] == []
        ran.model(0)
        assert [str(line.message) for line in told if "frozen" in str(line.message)] == []
        written(nn.Linear(64, 4), 301)
        p2pqg.resume(ran.path, rounds=3)
    assert [str(line.message) for line in told if "now" in str(line.message)] == [
        f"what is frozen in model {code}:net is not, to the last bit, what the run began with; its "
        "models go on with what it is now",
        f"partition {code}:in_turn gives clients other samples than when the run began; it goes on "
        "with those of now",
    ]
    written(below, 301)
    with pytest.warns(p2pqg.errors.Notice, match="not, to the last bit, what its models were tra"):
        p2pqg.load(ran.path).model(0)


def test_weights_of_float64_in_a_file_keep_their_digits_in_a_run_of_that(tmp_path):
    model = nn.Linear(8, 3).double()
    nn.init.uniform_(model.weight)
    (tmp_path / "mine.py").write_text(
        "import torch\n\n\ndef net():\n    return torch.nn.Linear(8, 3)\n"
    )
    (tmp_path / "mine.safetensors").write_bytes(weights_of(model))
    given = {"name": f"{tmp_path}/mine.py:net", "start": f"{tmp_path}/mine.safetensors"}
    for precision, kept in (("float64", model), ("float32", copy.deepcopy(model).float())):
        with p2pqg.Simulation(**OWN | {"model": given, "precision": precision}) as sim:
            row = torch.cat([part.detach().reshape(-1) for part in kept.parameters()])
            assert np.array_equal(sim.parameters()[0], row.numpy())


def test_what_is_frozen_has_no_digits_beyond_those_of_its_run():
    """Checkpoints of float32 runs whose models have weights of float64, too, know them by those."""
    narrow = nn.Linear(3, 2).requires_grad_(False)
    wide = copy.deepcopy(narrow).double()
    known = letters_of_fixed(narrow, torch.float32)
    assert letters_of_fixed(wide, torch.float32) == letters_of_fixed(narrow, torch.float64) == known
    assert letters_of_fixed(wide, torch.float64) != known


def test_data_splits_and_networks_that_draw_are_the_same_in_another_process(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(
        "import numpy as np\n"
        "def load():\n"
        "    return np.random.randn(60, 8), np.random.randint(3, size=60)\n"
        "def split(labels, clients, rng):\n"
        "    return np.array_split(np.random.permutation(len(labels)), clients)\n"
        "def net(round):\n"
        "    return np.roll(np.eye(4), np.random.randint(1, 4), 0) / 2 + np.eye(4) / 2\n"
        "def lr(round):\n"
        "    return 0.01 + 0.01 * np.random.rand()\n",
        encoding="utf-8",
    )
    named = {"dataset": "load", "partition": "split", "topology": "net"}
    own = {key: f"{file}:{function}" for key, function in named.items()}
    settings = OWN | own | {"model": "logistic", "alpha": None, "clients": 4}
    found = []
    for _ in range(2):
        np.random.rand()  # noqa: NPY002  somebody else's draws
        with p2pqg.Simulation(**settings) as sim:
            sim.advance(4)
            found.append((sim.parameters(), *sim.shard(2), *(sim.W(round) for round in range(4))))
    for one, other in zip(*found, strict=True):
        np.testing.assert_array_equal(one, other)
    assert not all((found[0][3] == W).all() for W in found[0][3:])
    draws = np.random.default_rng(0)
    with pytest.raises(ConfigError, match="gives another network for round 0 when it is asked ag"):
        p2pqg.Simulation(
            **OWN | {"topology": lambda round: np.roll(np.eye(99), draws.integers(99), 0)}
        )


class Centres(Head):
    def forward(self, x):
        return super().forward(x - x.mean(0))


class CentresALittle(Head):
    def forward(self, x):
        return super().forward(x - 1e-3 * x.mean(0))


def dropped(kind):
    def make():
        return nn.Sequential(kind(), nn.Dropout(0.5))

    return make


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (InPlace, r"InPlace\): in its buffer mean the samples of a batch meet, so none has a grad"),
        (PutInPlace, r"PutInPlace\): in its buffer mean the samples of a batch meet"),
        (Centres, "what it makes of a sample depends on the others of its batch, so none has"),
        (CentresALittle, "what it makes of a sample depends on the others of its batch, so none"),
        (Temperature, ""),
        (AnswersInHalf, ""),
        (dropped(Centres), "what it makes of a sample depends on the others of its batch, so none"),
        (dropped(Head), ""),
    ],
)
def test_samples_that_meet_do_not_go_with_privacy(make, told):
    settings = OWN | {"model": seeded(make), "privacy": {"clip": 1.0}, "precision": "float32"}
    if not told:
        p2pqg.Simulation(**settings).close()
        return
    with pytest.raises(ConfigError, match=f"privacy does not go with model .*{told}"):
        p2pqg.Simulation(**settings)


class Slopes(Head):
    """Returns its answer with the graph that gradients by its inputs were taken in."""

    def forward(self, x):
        with torch.enable_grad():
            x = x.detach().requires_grad_()
            energy = super().forward(x).tanh().square().sum()
            (slopes,) = torch.autograd.grad(energy, x, create_graph=True)
            return slopes[:, :3]


def mean_by_numpy(outputs, targets):
    return float(outputs.numpy().mean())


@pytest.mark.parametrize(
    "more", [{}, {"loss": nn.CrossEntropyLoss(weight=torch.ones(3), reduction="none")}]
)
def test_rounding_is_no_fault_of_a_model(more, monkeypatch):
    """Deep networks with batch normalisation, such as MobileNetV2, were refused for theirs.

    A loss that knows float32 only, as one with weights of classes, is asked in that.
    """

    def close(one, other, *tolerance, really=against_pytorch.close):
        return one.dtype == torch.float64 and really(one, other, *tolerance)

    monkeypatch.setattr(against_pytorch, "close", close)
    settings = TOY | {"engine": "local", "model": nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 3))}
    settings |= {"precision": "float32"} | more
    with p2pqg.Simulation(**settings, rounds=1) as sim:
        assert sim._driver.engine.hosts[0].learner.stacked.strategy == "batched"


@pytest.mark.filterwarnings("error:Converting a tensor with requires_grad")
@pytest.mark.parametrize(
    "settings",
    [
        {"metrics": {"mean": mean_by_numpy}},
        {"metrics": {"mean": mean_by_numpy}, "model": AnswersInHalf()},
        {"privacy": {"clip": 1.0, "sigma": 0.5}},
    ],
)
def test_a_model_may_answer_with_a_graph_and_in_another_type_than_that_of_its_rows(settings):
    with p2pqg.Simulation(**OWN | {"model": seeded(Slopes)} | settings) as sim:
        sim.advance(1)
        sim.evaluate()


class Embeds(nn.Module):
    def __init__(self):
        super().__init__()
        self.vectors, self.head = nn.Embedding(10, 4), nn.Linear(4, 3)

    def forward(self, x):
        return self.head(self.vectors(x.long()).mean(1))


def test_a_model_that_fails_on_a_later_batch_is_told_with_its_line():
    few = np.arange(60).reshape(20, 3) % 10, np.arange(20) % 3
    shards = [few, few, few, (few[0] + 1, few[1])]  # the last one has a token too many
    own = OWN | {"dataset": shards, "test": few, "model": seeded(Embeds), "alpha": None}
    told = r"model Embeds .test_own_models.py line \d+.: IndexError"
    sim = p2pqg.Simulation(**own | {"partition": "column:client"})
    with sim, pytest.raises(UserCodeError, match=told):
        sim.advance(4)


class Squeezes(Head):
    def forward(self, x):
        return super().forward(x).squeeze()


class AnswersTwice(Head):
    """As networks with a second head do, in training alone."""

    def forward(self, x):
        return (super().forward(x), x) if self.training else super().forward(x)


def test_answers_that_are_no_row_for_each_sample_are_told(monkeypatch):
    monkeypatch.setattr("p2pqg.engine.judge.EVALUATION_SAMPLES", 29)  # of 30
    told = "Squeezes, in evaluation: must return a tensor with a row for each of 1 samples, got"
    few = np.ones((30, 8)), np.arange(30) % 3
    settings = OWN | {"dataset": (*few, *few), "model": Squeezes()}
    with p2pqg.Simulation(**settings) as sim, pytest.raises(UserCodeError, match=told):
        sim.evaluate()
    with pytest.raises(ConfigError, match="AnswersTwice, in training: must return .* got tuple"):
        p2pqg.Simulation(**OWN | {"model": AnswersTwice()})


def test_a_model_that_fails_in_training_alone_is_one_clear_line():
    model = nn.Sequential(nn.Linear(8, 4), nn.BatchNorm1d(4), nn.Linear(4, 3))
    with pytest.raises(ConfigError, match="model, in training: ValueError: Expected more than 1"):
        p2pqg.Simulation(**OWN | {"model": model, "batch_size": 1})


def test_targets_keep_their_digits_in_a_run_of_float64():
    x = np.random.default_rng(0).standard_normal((40, 8))
    y = 123456789.123 + x[:, 0]
    for precision, kept in (("float64", y), ("float32", y.astype("float32"))):
        data = {"dataset": (x, y, x[:5], y[:5]), "model": "mlp", "partition": "iid"}
        settings = OWN | data | {"precision": precision, "topology": "complete1", "alpha": None}
        with p2pqg.Simulation(**settings) as sim:
            assert set(sim.shard(0)[1]) == set(kept)


class AboveOurs(nn.Module):
    """An image model of ours, frozen with its statistics, below a head."""

    def __init__(self, num_classes, input_shape):
        super().__init__()
        self.body = p2pqg.build_model("resnet20-bn", 5, input_shape).requires_grad_(False)
        self.head = nn.Linear(5, num_classes)

    def train(self, mode=True):
        super().train(mode)
        self.body.eval()
        return self

    def forward(self, x):
        return self.head(torch.relu(self.body(x)))


def test_an_image_model_may_be_frozen_below_a_head_which_alone_is_trained_and_sent(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (40, 3, 8, 8)).astype(np.uint8)
    run = p2pqg.run(
        topology="ring4",
        dataset=(pixels, np.arange(40) % 4),
        model=AboveOurs,
        rounds=2,
        engine="local",
        checkpoint_every=1e9,
        out=str(tmp_path),
    )
    sent = 2 * 4 * 2 * (5 * 4 + 4) * 4  # rounds, clients, neighbors, the head's numbers, bytes
    assert run.summary["bytes_sent"] == sent
    one, other = (run.model(client).state_dict() for client in (0, 1))
    body = p2pqg.build_model("resnet20-bn", 5, (3, 8, 8)).state_dict()
    for name in body:
        assert torch.equal(one[f"body.{name}"], other[f"body.{name}"])
        if name.endswith(("running_mean", "running_var")):
            assert torch.equal(one[f"body.{name}"], body[name])
    assert not torch.equal(one["head.weight"], other["head.weight"])
