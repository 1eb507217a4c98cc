"""Private gradients against a plain loop over the samples, and what they cost against formulas.

Sources: Abadi et al., CCS 2016, arXiv:1607.00133; Mironov, Talwar, Zhang, arXiv:1908.10530.
"""

import math

import numpy as np
import pytest
import torch
from torch.func import functional_call
from torch.nn import functional as F
from toys import TOY

import p2pqg
from p2pqg.algorithms.privacy import LEAST_NOISE, ORDERS, Accounts, Privacy
from p2pqg.base.errors import ConfigError
from p2pqg.base.seeding import rng
from p2pqg.engine.block import lockstep
from p2pqg.engine.learner import Learner, Shards, Task
from p2pqg.models import blueprint, build_model
from p2pqg.models.judging.losses import LOSSES, Objective
from p2pqg.models.stacked.stacked import Stacked
from p2pqg.testing import Quadratics, starts
from p2pqg.theory.trajectories import at_start

CLIENTS, BATCH = 3, 5


def made(name, strategy, shape, precision="float64", **params):
    model = build_model(name, 4, shape, **params)
    stacked = Stacked(model, precision=precision, strategy=strategy)
    generator = torch.Generator().manual_seed(0)
    x = stacked.initial_row() + 0.3 * torch.randn(
        CLIENTS, stacked.num_params, generator=generator, dtype=stacked.dtype
    )
    inputs = torch.randn(CLIENTS, BATCH, *shape, generator=generator, dtype=torch.float64)
    targets = torch.randint(0, 4, (CLIENTS, BATCH), generator=generator)
    return model.double(), stacked, x, inputs, targets


def looped(model, named, x, inputs, targets, clip):
    """One sample after the other: mean losses, means of clipped gradients, and their lengths."""
    losses, rows, lengths = [], [], []
    for row, batch, target in zip(x.double(), inputs, targets, strict=True):
        found, loss_sum = torch.zeros_like(row), 0.0
        for sample, label in zip(batch, target, strict=True):
            leaf = row.clone().requires_grad_()
            logits = functional_call(model, named.state_dict_of(leaf), (sample[None],))
            loss = F.cross_entropy(logits, label[None])
            (g,) = torch.autograd.grad(loss, leaf)
            lengths.append(g.norm().item())
            found += g * min(1.0, clip / g.norm().item())
            loss_sum += loss.item()
        rows.append(found / BATCH)
        losses.append(loss_sum / BATCH)
    return torch.tensor(losses, dtype=torch.float64), torch.stack(rows), lengths


class Named:
    """Rows as the parameters of a module."""

    def __init__(self, model):
        self.shapes = [(name, p.shape) for name, p in model.named_parameters()]

    def state_dict_of(self, row):
        parts = row.split([shape.numel() for _, shape in self.shapes])
        return {n: p.view(s) for (n, s), p in zip(self.shapes, parts, strict=True)}


KINDS = [
    ("mlp", "batched", (6,), {"hidden": [7, 5]}),
    ("mlp", "loop", (6,), {"hidden": [7]}),
    ("mlp", "vmap", (6,), {"hidden": [7]}),
    ("lenet", "loop", (1, 16, 16), {}),
    ("lenet", "vmap", (1, 16, 16), {}),
]


@pytest.mark.parametrize(("name", "strategy", "shape", "params"), KINDS)
def test_each_sample_adds_no_more_than_its_clip(name, strategy, shape, params):
    model, stacked, x, inputs, targets = made(name, strategy, shape, **params)
    _, _, lengths = looped(model, Named(model), x, inputs, targets, math.inf)
    clip = float(np.median(lengths))  # some are cut, some are not
    losses, g, _ = looped(model, Named(model), x, inputs, targets, clip)
    none = x.new_empty(CLIENTS, 0)
    found_losses, found, _ = stacked.gradients(x, none, inputs, targets, clip=clip)
    torch.testing.assert_close(found, g, rtol=0, atol=1e-12)
    torch.testing.assert_close(found_losses, losses, rtol=0, atol=1e-12)


def test_a_network_that_looks_at_values_is_taken_sample_by_sample():
    class Choosy(torch.nn.Linear):
        def forward(self, x):
            return super().forward(x if x.sum() > 0 else -x)

    model = torch.nn.Sequential(torch.nn.Tanh(), Choosy(6, 4)).double()
    stacked = Stacked(model, precision="float64")
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(CLIENTS, stacked.num_params, generator=generator, dtype=torch.float64)
    inputs = torch.randn(CLIENTS, BATCH, 6, generator=generator, dtype=torch.float64)
    targets = torch.randint(0, 4, (CLIENTS, BATCH), generator=generator)
    _, g, _ = looped(model, Named(model), x, inputs, targets, 1.0)
    found = stacked.gradients(x, x.new_empty(CLIENTS, 0), inputs, targets, clip=1.0)[1]
    torch.testing.assert_close(found, g, rtol=0, atol=1e-12)


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
@pytest.mark.parametrize("strategy", ["batched", "loop"])
def test_products_of_16_bits_are_clipped_near_the_same_length(strategy, precision):
    model, stacked, x, inputs, targets = made("mlp", strategy, (6,), precision, hidden=[7])
    _, g, _ = looped(model, Named(model), x, inputs, targets, 0.5)
    none = x.new_empty(CLIENTS, 0)
    _, found, _ = stacked.gradients(x, none, inputs.float(), targets, clip=0.5)
    torch.testing.assert_close(found.double(), g, rtol=0, atol=0.01)


def learner(clients, privacy, precision="float32", seed=1):
    generator = np.random.default_rng(0)
    x = generator.standard_normal((60, 6)).astype(np.float32)
    y = generator.integers(0, 4, 60)
    objective = Objective(LOSSES["cross-entropy"], outputs=4)
    model = blueprint("mlp", hidden=(7,))
    parts = model, 4, (6,), None, None, None, BATCH, 0.01, precision, seed, objective
    rows = slice(10 * clients.start, 10 * clients.stop)
    shards = Shards(x[rows], y[rows], np.full(len(clients), 10))
    task = Task(*parts, privacy=privacy)
    return Learner(task, clients, shards, (x[:6], y[:6]), torch.device("cpu"))


CLIPPED = Privacy(clip=0.7)
NOISY = Privacy(clip=0.7, sigma=2.0)


def test_noise_is_that_of_the_seed_the_client_and_the_number_of_the_gradient():
    noisy, clipped = (learner(range(6), p, "float64") for p in (NOISY, CLIPPED))
    x = noisy.initial()
    for step, again, number in [(0, False, None), (1, False, None), (1, True, 2)]:
        noise = noisy.gradient(x, step, again, number) - clipped.gradient(x, step, again, number)
        key = step if number is None else number
        normal = [rng(1, "privacy", i, key).standard_normal(x.shape[1]) for i in range(6)]
        expected = torch.from_numpy(np.stack(normal)) * 2.0 * 0.7 / BATCH
        torch.testing.assert_close(noise, expected, rtol=0, atol=1e-12)


def test_noise_does_not_depend_on_who_else_is_hosted():
    everyone, last = learner(range(6), NOISY), learner(range(4, 6), NOISY)
    x = everyone.initial()
    ours, theirs = everyone.gradient(x, 3)[4:], last.gradient(x[4:], 3)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-6)
    draws = [one.gradient(x[4:], 3) for one in (last, learner(range(4, 6), NOISY))]
    assert (draws[0] == draws[1]).all()


def test_clients_that_do_not_wait_have_the_same_private_gradients():
    one = learner(range(6), NOISY, "float64")
    x = one.initial()
    found = one.gradient_of(x[:2], np.array([1, 4]), np.array([2, 2])).g
    torch.testing.assert_close(found, one.gradient(x, 2)[[1, 4]], rtol=0, atol=1e-12)


# Whole runs

PACE = {"links": "lan", "compute": {"seconds": 0.1, "varies": "exponential"}}
METHODS = ["dsgd", "qg-dsgdm-n", "dsgd-gt", "dfedsam", "ad-psgd"]


def models(algorithm="dsgd", rounds=6, **more):
    clock = {"network": PACE} if algorithm == "ad-psgd" else {}
    settings = {"engine": "local", "rounds": rounds, "algorithm": algorithm, **clock, **more}
    with p2pqg.Simulation(**TOY | settings) as sim:
        sim.advance(rounds)
        return sim.parameters()


@pytest.mark.parametrize("algorithm", METHODS)
def test_without_noise_and_limit_nothing_changes(algorithm):
    plain = models(algorithm)
    for off in ({}, {"clip": None}, {"clip": math.inf, "sigma": 0.0}):
        assert (models(algorithm, privacy=off) == plain).all()
    far = models(algorithm, privacy={"clip": 1e9}, precision="float64")
    np.testing.assert_allclose(far, models(algorithm, precision="float64"), rtol=0, atol=1e-12)
    assert np.abs(models(algorithm, privacy={"clip": 0.1}) - plain).max() > 1e-3


@pytest.fixture
def accountant():
    return pytest.importorskip("dp_accounting", reason="the extra `privacy` is not installed")


def test_epsilon_of_a_gaussian_is_that_of_its_formula(accountant):
    """One pass in whole batches: alpha / (2 sigma^2) at every order (Mironov 2017)."""
    accounts = Accounts(Privacy(clip=1.0, sigma=3.0), 8, np.array([80, 80]))
    spent = accounts.epsilons(np.array([10, 11]))
    a = np.array(ORDERS)

    def bound(times):
        divergence = times * a / (2 * 9.0)
        return (divergence + np.log1p(-1 / a) - np.log(1e-5 * a) / (a - 1)).min()

    np.testing.assert_allclose(spent["epsilon_unsampled"], [bound(1), bound(2)], rtol=1e-9)


def test_where_batches_run_over_the_border_of_an_epoch_a_sample_may_count_double(accountant):
    whole, over = (Accounts(Privacy(clip=1.0, sigma=3.0), 8, np.array([size])) for size in (80, 81))
    twice = whole.epsilons(np.array([31]))["epsilon_unsampled"]  # four passes
    assert over.epsilons(np.array([11]))["epsilon_unsampled"] == pytest.approx(twice)  # two


def test_epsilon_of_sampled_steps_is_that_of_the_binomial_formula(accountant):
    share, sigma, steps = 0.05, 1.5, 40
    accounts = Accounts(Privacy(clip=1.0, sigma=sigma), 5, np.array([100]))
    best = math.inf
    for a in range(2, 65):
        k = np.arange(a + 1)
        terms = [math.log(math.comb(a, j)) for j in k]
        terms += (a - k) * np.log(1 - share) + k * np.log(share) + (k * k - k) / (2 * sigma**2)
        divergence = steps * np.logaddexp.reduce(terms) / (a - 1)
        best = min(best, divergence + math.log1p(-1 / a) - math.log(1e-5 * a) / (a - 1))
    assert accounts.epsilons(np.array([steps]))["epsilon"][0] == pytest.approx(best, rel=1e-6)


@pytest.mark.parametrize(("share", "sigma", "steps"), [(0.01, 0.5, 100), (0.1, 0.8, 60)])
def test_where_much_is_told_broken_orders_count(accountant, share, sigma, steps):
    """E[((1 - q) + q exp((2 z - 1) / (2 sigma^2)))^a], z normal, by the trapezoid rule.

    `dp-accounting` adds the terms of a series whose signs alternate: a little too much, never less.
    """
    accounts = Accounts(Privacy(clip=1.0, sigma=sigma), 10, np.array([round(10 / share)]))
    z = np.linspace(-12 * sigma, 12 * sigma + 12, 40_001)
    log_ratio = np.logaddexp(math.log(1 - share), math.log(share) + (2 * z - 1) / (2 * sigma**2))
    log_density = -(z**2) / (2 * sigma**2) - math.log(sigma * math.sqrt(2 * math.pi))
    best = {}
    for a in np.arange(1.3, 11, 0.1):
        moment = np.exp(log_density + a * log_ratio).sum() * (z[1] - z[0])
        divergence = steps * math.log(moment) / (a - 1)
        best[round(a, 1)] = divergence + math.log1p(-1 / a) - math.log(1e-5 * a) / (a - 1)
    found = accounts.epsilons(np.array([steps]))["epsilon"][0]
    assert 1 - 1e-9 < found / min(best.values()) < 1.005
    assert found < 0.95 * min(best[a] for a in best if a == int(a))


def test_two_gradients_of_a_batch_cost_as_much_as_one_with_less_noise(accountant):
    sizes = np.array([100])
    twice = Accounts(Privacy(clip=1.0, sigma=2.0), 5, sizes).epsilons(np.array([7]), 2)
    once = Accounts(Privacy(clip=1.0, sigma=2.0 / math.sqrt(2)), 5, sizes).epsilons(np.array([7]))
    assert twice == once


def test_every_client_is_told_its_epsilon_and_that_of_one_that_left_counts(accountant, tmp_path):
    run = p2pqg.run(
        **TOY | {"alpha": None},
        partition=np.split(np.arange(96), [8, 20, 36, 56, 76]),
        scenario=[{"at": "round 6", "drop_clients": [0]}],
        rounds=8,
        engine="local",
        privacy={"clip": 1.0, "sigma": 1.0},
        out=str(tmp_path),
    )
    last = run.clients[run.clients["round"] == 7]
    sizes = np.array([8, *last["num_samples"]])
    assert sizes.tolist() == [8, 12, 16, 20, 20, 20]
    accounts = Accounts(Privacy(clip=1.0, sigma=1.0), 4, sizes).epsilons(np.full(6, 8))
    for name, values in accounts.items():
        np.testing.assert_allclose(last[name], values[1:])
        assert run.rounds[name].iloc[-1] == run.summary[name] == values[0] > max(values[1:])
    assert (last["epsilon"] < last["epsilon_unsampled"]).all()


CHANGES = np.stack([np.full((6, 6), 1 / 6), np.kron(np.eye(3), np.full((2, 2), 0.5))])
"""Everybody talks to five others in the first round, to one in the second, and so on."""


def test_where_a_network_changes_the_most_gradients_of_a_batch_count(accountant, tmp_path):
    """The divergence of sampled steps grows faster than their number: a mean says too little."""
    settings = {"topology": CHANGES, "algorithm": "ngc", "engine": "local", "rounds": 4}
    private = {"privacy": {"clip": 1.0, "sigma": 2.0}, "eval_every": 1}
    with p2pqg.Simulation(**TOY | settings | private) as sim:
        sim.advance(3)
        sim.checkpoint(tmp_path / "kept")
    with p2pqg.Simulation.restore(tmp_path / "kept", engine="local") as sim:
        sim.advance(1)
        last = sim.clients[sim.clients["round"] == 3]
        assert sim.history["gradients"].iloc[-1] == 6 + 2 + 6 + 2
    accounts = Accounts(Privacy(clip=1.0, sigma=2.0), 4, last["num_samples"].to_numpy())
    np.testing.assert_allclose(last["epsilon"], accounts.epsilons(np.full(6, 4), 6)["epsilon"])


def test_gradients_on_one_batch_are_counted_over_rounds_and_checkpoints():
    problem, x0 = Quadratics.random(6, 4), starts(6, 4)
    (block,) = at_start("ngc", problem.gradient, x0, topology=CHANGES[::-1], lr=0.1)
    (other,) = at_start("ngc", problem.gradient, x0, topology=CHANGES[::-1], lr=0.1)
    seen = []
    for done in range(1, 5):
        lockstep([block], done)
        other.load(block.snapshot())
        block, other = other, block
        seen.append((block.gradients, block.on_batch, block.most_on_batch))
    assert seen == [(2, 2, 2), (8, 6, 6), (10, 2, 6), (16, 6, 6)]


@pytest.mark.parametrize(
    ("privacy", "more", "told"),
    [
        ({"sigma": 0.5}, {}, "privacy.sigma 0.5 needs a clip"),
        ({"clip": math.inf, "sigma": 0.5}, {}, "privacy.sigma 0.5 needs a clip"),
        ({"clip": 0}, {}, "privacy.clip must be > 0, got 0"),
        ({"clip": 1, "sigma": -1}, {}, "privacy.sigma must be >= 0"),
        ({"clip": 1, "sigma": 5e-324}, {}, "privacy.sigma must be 0, or >= 1e-100, got 5e-324: "),
        ({"clip": 1, "delta": 1}, {}, r"privacy.delta must be in \(0, 1\)"),
        ({"clip": 1, "noise": 1}, {}, "unknown key privacy.noise"),
        ({"clip": 1}, {"batch_size": 64}, r"client \d has \d+ samples, batch_size is 64"),
        (
            {"clip": 1},
            {
                "model": "resnet20-bn",
                "dataset": {"name": "synthetic", "samples": 120, "image_side": 8},
            },
            "privacy does not go with resnet20-bn: in .* the samples of a batch meet",
        ),
    ],
)
def test_what_cannot_be_private_is_refused_with_the_reason(privacy, more, told):
    with pytest.raises(ConfigError, match=told):
        models(privacy=privacy, **more)


def test_the_smallest_shard_is_to_have_a_batch():
    Privacy(clip=1.0).check_shards(np.array([10, 8, 9]), 8)
    Privacy().check_shards(np.array([10, 7, 9]), 8)  # which promises nothing
    with pytest.raises(ConfigError, match="client 1 has 7 samples, batch_size is 8"):
        Privacy(clip=1.0).check_shards(np.array([10, 7, 9]), 8)
    joins = [{"at": "round 3", "add_clients": {"shards": [[1, 2, 3]]}}]
    with pytest.raises(
        ConfigError, match=r"scenario\[0\].*shards\[0\] has 3 samples, batch_size is 4"
    ):
        p2pqg.Simulation(**TOY, engine="local", privacy={"clip": 1.0}, scenario=joins)


@pytest.mark.parametrize(
    ("least", "at_least"), [({"sigma": LEAST_NOISE}, 1e199), ({"sigma": 1.0, "delta": 5e-324}, 100)]
)
def test_the_least_noise_and_the_least_delta_have_an_epsilon_that_is_a_number(
    accountant, least, at_least
):
    accounts = Accounts(Privacy(clip=1.0, **least), 4, np.array([10, 8]))
    for spent in accounts.epsilons(np.array([10**6, 10**6]), 10**6).values():
        assert (spent > at_least).all()
        assert np.isfinite(spent).all()


def test_without_the_accountant_noise_is_refused(monkeypatch):
    monkeypatch.setattr("p2pqg.algorithms.privacy.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"pip install 'p2pqg\[privacy\]'"):
        models(privacy={"clip": 1.0, "sigma": 1.0})
    models(privacy={"clip": 1.0})
