"""The three strategies agree with each other and with plain PyTorch, one client at a time."""

import copy
import sys

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.testing import assert_close

from p2pqg.base.errors import ConfigError
from p2pqg.models import build_model
from p2pqg.models.stacked.captured import Captured
from p2pqg.models.stacked.recording import Rehearsal
from p2pqg.models.stacked.stacked import Stacked

DENSE = [("logistic", (2, 3), {}), ("mlp", (6,), {}), ("mlp", (6,), {"hidden": (5, 4)})]
IMAGES = [
    ("cnn", (1, 8, 8), {"width": 4}),
    ("lenet", (1, 16, 16), {}),
    ("resnet20-bn", (3, 8, 8), {}),
    ("resnet20-gn", (3, 8, 8), {}),
    ("resnet20-evonorm", (3, 8, 8), {}),
    ("resnet20-evonorm-official", (3, 8, 8), {}),
]
STRATEGIES = [(model, strategy) for model in DENSE for strategy in ("batched", "loop", "vmap")]
STRATEGIES += [(model, strategy) for model in IMAGES for strategy in ("loop", "vmap")]
CLASSES = 4


def stacked_clients(spec, strategy, clients=3, batch=5, precision="float64"):
    """Stacked, and different rows, buffers, inputs and targets for each client."""
    name, shape, params = spec
    module = build_model(name, CLASSES, shape, **params)
    stacked = Stacked(module, precision=precision, strategy=strategy)
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(clients, stacked.num_params, generator=generator, dtype=torch.float64)
    x = (stacked.initial_row() + 0.01 * noise).to(stacked.dtype)
    buffers = stacked.initial_buffers().repeat(clients, 1)
    inputs = torch.randn(clients, batch, *shape, generator=generator, dtype=torch.float64)
    targets = torch.randint(0, CLASSES, (clients, batch), generator=generator)
    return stacked, module, x, buffers, inputs.to(stacked.dtype), targets


def plain_module(stacked, module, row, buffers):
    module = copy.deepcopy(module).to(stacked.dtype)
    module.load_state_dict(stacked.state_dict(row, buffers))
    return module


def plain_gradient(module, inputs, targets):
    loss = F.cross_entropy(module(inputs), targets)
    grads = torch.autograd.grad(loss, list(module.parameters()))
    return loss.detach(), torch.cat([grad.reshape(-1) for grad in grads])


@pytest.mark.parametrize(("spec", "strategy"), STRATEGIES)
def test_every_strategy_gives_the_gradients_of_plain_pytorch(spec, strategy):
    stacked, module, x, buffers, inputs, targets = stacked_clients(spec, strategy)
    before = [t.clone() for t in (x, buffers, inputs, targets)]
    losses, g, new_buffers = stacked.gradients(x, buffers, inputs, targets)
    for client in range(len(x)):
        plain = plain_module(stacked, module, x[client], buffers[client])
        loss, grad = plain_gradient(plain, inputs[client], targets[client])
        assert_close(losses[client], loss, rtol=0, atol=1e-10)
        assert_close(g[client], grad, rtol=0, atol=1e-10)
    assert not g.requires_grad
    assert not losses.requires_grad
    for now, then in zip((x, buffers, inputs, targets), before, strict=True):
        assert torch.equal(now, then), "gradients() wrote into its arguments"


@pytest.mark.parametrize("strategy", ["loop", "vmap"])
def test_running_statistics_follow_those_of_batchnorm(strategy):
    spec = ("resnet20-bn", (3, 8, 8), {})
    stacked, module, x, buffers, inputs, targets = stacked_clients(spec, strategy, clients=2)
    plain = [plain_module(stacked, module, row, own) for row, own in zip(x, buffers, strict=True)]
    for step in range(3):
        batch = inputs + step
        _, _, buffers = stacked.gradients(x, buffers, batch, targets)
        for client, own in enumerate(plain):
            own(batch[client])
    for client, own in enumerate(plain):
        ours = stacked.state_dict(x[client], buffers[client])
        for name, theirs in own.named_buffers():
            if theirs.is_floating_point():
                assert_close(ours[name], theirs, rtol=0, atol=1e-10)
    assert not torch.equal(buffers[0], buffers[1])  # statistics stay local


@pytest.mark.parametrize(("spec", "strategy"), STRATEGIES)
def test_evaluate_is_plain_evaluation_however_it_is_cut(spec, strategy):
    stacked, module, x, buffers, inputs, targets = stacked_clients(spec, strategy)
    buffers = stacked.gradients(x, buffers, inputs, targets)[2]
    samples, labels = inputs.flatten(0, 1)[:12], targets.flatten()[:12]
    # With batch statistics in evaluation, the cut matters: compare it with one cut only.
    cut = 12 if "official" in spec[0] else 5
    correct, loss = stacked.evaluate(x, buffers, samples, labels, max_batch=cut)
    assert correct.dtype == torch.float64
    for client in range(len(x)):
        plain = plain_module(stacked, module, x[client], buffers[client]).eval()
        with torch.no_grad():
            logits = plain(samples)
        assert correct[client] == (logits.argmax(1) == labels).sum()
        assert_close(loss[client], F.cross_entropy(logits, labels), rtol=0, atol=1e-10)
    loss += 1  # a plain tensor: callers may go on computing with it


class Slopes(nn.Module):
    """Answers with derivatives by its inputs, as force fields and energy models do."""

    def __init__(self):
        super().__init__()
        self.inner, self.head = nn.Linear(6, 5), nn.Linear(6, CLASSES)

    def forward(self, x):
        with torch.enable_grad():
            x = x.detach().requires_grad_()
            energy = self.inner(x).tanh().square().sum()
            (slopes,) = torch.autograd.grad(energy, x, create_graph=True)
            return self.head(slopes)


@pytest.mark.parametrize("captured", [False, True])
def test_a_network_that_differentiates_by_its_inputs_is_tested_as_plain_pytorch_does(captured):
    module = Slopes().double()
    stacked = Stacked(module, precision="float64", strategy="loop")
    if captured:
        stacked.use(Captured(stacked.run, stacked.run, Rehearsal()))
    x, inputs = stacked.initial_row()[None], torch.linspace(-1, 1, 48).double().reshape(8, 6)
    targets = torch.arange(8) % CLASSES
    if captured:
        stacked.run.capture_logits(x, stacked.initial_buffers()[None], inputs)
    loss = stacked.evaluate(x, stacked.initial_buffers()[None], inputs, targets)[1]
    assert_close(loss[0], F.cross_entropy(module(inputs), targets).detach(), rtol=0, atol=1e-12)


@pytest.mark.parametrize("strategy", ["batched", "loop", "vmap"])
@pytest.mark.parametrize("clients", [1, 70])
def test_a_client_does_not_feel_who_shares_its_block(strategy, clients):
    spec = ("mlp", (6,), {})
    stacked, _, x, buffers, inputs, targets = stacked_clients(spec, strategy, clients)
    losses, g, _ = stacked.gradients(x, buffers, inputs, targets)
    last = slice(clients - 1, clients)
    alone = stacked.gradients(x[last], buffers[last], inputs[last], targets[last])
    assert_close(losses[last], alone[0], rtol=0, atol=1e-12)
    assert_close(g[last], alone[1], rtol=0, atol=1e-12)


def test_the_strategy_suits_the_network():
    assert Stacked(build_model("mlp", 10, (64,))).strategy == "batched"
    assert Stacked(build_model("logistic", 10, (1, 8, 8))).strategy == "batched"
    assert Stacked(build_model("cnn", 10, (1, 8, 8))).strategy == "loop"
    tanh = nn.Sequential(nn.Linear(3, 3), nn.Tanh(), nn.Linear(3, 2))
    assert Stacked(tanh).strategy == "loop"


@pytest.mark.parametrize(
    "module",
    [
        nn.Sequential(nn.Linear(6, CLASSES, bias=False)),
        nn.Sequential(nn.Linear(6, 5), nn.Linear(5, CLASSES)),
        nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.ReLU(), nn.Linear(5, CLASSES, bias=False)),
    ],
)
def test_batched_takes_any_chain_of_linear_and_relu(module):
    stacked = Stacked(module, precision="float64")
    assert stacked.strategy == "batched"
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(2, stacked.num_params, generator=generator, dtype=torch.float64)
    inputs = torch.randn(2, 5, 6, generator=generator, dtype=torch.float64)
    targets = torch.randint(0, CLASSES, (2, 5), generator=generator)
    _, g, _ = stacked.gradients(x, x[:, :0], inputs, targets)
    for client in range(2):
        plain = plain_module(stacked, module, x[client], None)
        assert_close(
            g[client], plain_gradient(plain, inputs[client], targets[client])[1], rtol=0, atol=1e-10
        )


@pytest.mark.parametrize(
    ("spec", "strategy"),
    [
        (DENSE[1], "batched"),
        (IMAGES[3], "loop"),
        (IMAGES[2], "loop"),
        (IMAGES[3], "vmap"),
        (IMAGES[2], "vmap"),
    ],
)
@pytest.mark.parametrize(("precision", "cosine"), [("bf16", 0.9), ("fp16", 0.99)])
def test_half_precision_keeps_float32_rows_and_stays_near_their_gradient(
    spec, strategy, precision, cosine
):
    stacked, *_, x, buffers, inputs, targets = stacked_clients(spec, strategy, precision=precision)
    exact = stacked_clients(spec, strategy, precision="float32")[0]
    losses, g, new_buffers = stacked.gradients(x, buffers, inputs, targets)
    assert {losses.dtype, g.dtype, new_buffers.dtype} == {torch.float32}
    expected = exact.gradients(x, buffers, inputs, targets)[1]
    # bfloat16 has 8 significant bits, float16 has 11; errors grow over twenty layers and tiny
    # batch statistics.
    assert (F.cosine_similarity(g, expected, dim=1) > cosine).all()
    _, loss = stacked.evaluate(x, buffers, inputs[0], targets[0])
    assert loss.dtype == torch.float32


@pytest.mark.parametrize("strategy", ["loop", "vmap"])
def test_convolutions_compute_in_the_half_precision_that_was_asked_for(strategy):
    """Within vmap alone autocast on a CPU sees none of them."""
    stacked, *_, x, buffers, inputs, targets = stacked_clients(
        IMAGES[0], strategy, precision="bf16"
    )
    kinds = set()
    for layer in (*stacked.run.train.modules(), *stacked.run.evaluate.modules()):
        if isinstance(layer, nn.Conv2d):
            layer.register_forward_hook(
                lambda layer, given, found: kinds.add((layer.training, found.dtype))
            )
    stacked.gradients(x, buffers, inputs, targets)
    stacked.evaluate(x, buffers, inputs[0], targets[0])
    assert kinds == {(training, torch.bfloat16) for training in (True, False)}


def test_the_initial_row_is_the_template_in_parameter_order():
    module = build_model("resnet20-bn", 10, (3, 8, 8))
    stacked = Stacked(module)
    flat = torch.cat([p.detach().flatten() for p in module.parameters()])
    assert torch.equal(stacked.initial_row(), flat)
    assert stacked.num_params == flat.numel() == 272_474
    # A mean and a variance per channel, where there is a weight and a bias per channel.
    norms = [m for m in module.modules() if isinstance(m, nn.BatchNorm2d)]
    assert stacked.num_buffers == sum(2 * m.num_features for m in norms)


def test_the_template_is_copied():
    module = build_model("mlp", 10, (6,))
    stacked = Stacked(module)
    row = stacked.initial_row()
    nn.init.zeros_(module[1].weight)
    assert torch.equal(stacked.initial_row(), row)


def test_a_client_leaves_as_an_ordinary_state_dict():
    stacked, module, x, buffers, *_ = stacked_clients(IMAGES[2], "loop")
    state = stacked.state_dict(x[1], buffers[1])
    state["0.weight"].zero_()  # its own memory
    assert x[1].count_nonzero() == x[1].numel()
    assert state.keys() == module.state_dict().keys()


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("mlp", {"precision": "float16"}, "unknown precision 'float16'; did you mean"),
        ("mlp", {"strategy": "lop"}, "unknown strategy 'lop'; did you mean loop?"),
        ("cnn", {"strategy": "batched"}, "strategy batched needs a Sequential of Flatten, Linear"),
    ],
)
def test_wrong_options_are_one_clear_line(name, options, message):
    with pytest.raises(ConfigError, match=message):
        Stacked(build_model(name, 10, (1, 8, 8)), **options)


@pytest.mark.parametrize("clip", [float("inf"), 1.0])
def test_a_client_after_the_other_learns_without_what_takes_torch_half_a_second(clip, monkeypatch):
    """To compare shapes torch would import SymPy in every actor; here it could not."""
    monkeypatch.setitem(sys.modules, "torch.fx.experimental.symbolic_shapes", None)
    stacked, module, *given = stacked_clients(IMAGES[0], "loop")
    one = torch.ones((), requires_grad=True)
    with pytest.raises(ImportError):
        torch.autograd.grad(one, one, torch.ones(()))
    losses, g, _ = stacked.gradients(*given, clip=clip)
    assert losses.isfinite().all()
    assert (g.norm(dim=1) > 0).all()
