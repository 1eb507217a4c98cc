"""A user's own model, loss and metrics: objects and names, tried first, kept and resumed."""

import itertools
import math
from dataclasses import dataclass
from types import SimpleNamespace
from typing import NamedTuple

import networkx as nx
import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F
from toys import TOY, assert_same

import p2pqg
from p2pqg.algorithms import ALGORITHMS
from p2pqg.base.errors import ConfigError
from p2pqg.base.records import Records
from p2pqg.models.stacked.stacked import Stacked
from p2pqg.page import write_page
from p2pqg.recipe.own_files import from_copies
from p2pqg.recipe.stopping import Stop

OWN = TOY | {"engine": "local", "precision": "float64", "rounds": 6, "eval_every": 2}


class Net(nn.Module):
    """Takes the toy's eight features."""

    def __init__(self, width=5, classes=3):
        super().__init__()
        self.width, self.classes = width, classes
        self.body = nn.Linear(8, width)
        self.bn = nn.BatchNorm1d(width)
        self.head = nn.Linear(width, classes)

    def forward(self, x):
        return self.head(torch.relu(self.bn(self.body(x))))


def net(num_classes, input_shape, width=4):
    return nn.Sequential(nn.Linear(input_shape[0], width), nn.Tanh(), nn.Linear(width, num_classes))


def smooth(outputs, targets, amount=0.1):
    return F.cross_entropy(outputs, targets, reduction="none", label_smoothing=amount)


def share_of_zero(outputs, targets):
    return (outputs.argmax(1) == 0).double().mean()


def simulate(rounds=6, **settings):
    sim = p2pqg.Simulation(**OWN | settings)
    sim.advance(rounds)
    return sim


def seeded(make=Net, **arguments):
    with torch.random.fork_rng():
        torch.manual_seed(1)  # noqa: TID251  of the fork
        return make(**arguments)


def test_the_weights_of_a_module_are_everyones_start():
    model = seeded()
    with p2pqg.Simulation(**OWN | {"model": model}) as sim:
        expected = torch.nn.utils.parameters_to_vector(model.parameters()).detach().double()
        np.testing.assert_array_equal(sim.parameters(), expected.numpy()[None].repeat(6, 0))
        other = p2pqg.Simulation(**OWN | {"model": model, "seed": 9})
        np.testing.assert_array_equal(other.parameters(), sim.parameters())


def test_a_function_draws_weights_that_the_seed_decides():
    one, same, other = (simulate(0, model=net, seed=seed).parameters() for seed in (1, 1, 2))
    assert (one == same).all()
    assert (one != other).any()
    wide = simulate(0, model={"name": net, "width": 6})
    assert wide.parameters().shape[1] == 8 * 6 + 6 + 6 * 3 + 3


def test_own_parts_do_what_the_registered_ones_do(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(
        "from torch import nn\n"
        "from torch.nn import functional as F\n"
        "def ce(outputs, targets):\n"
        "    return F.cross_entropy(outputs, targets, reduction='none')\n"
        "def acc(outputs, targets):\n"
        "    return (outputs.argmax(1) == targets).double().mean()\n"
        "def mlp(num_classes, input_shape, width):\n"
        "    return nn.Sequential(nn.Linear(8, width), nn.ReLU(), nn.Linear(width, num_classes))\n"
    )
    start = simulate(0)
    with torch.no_grad():
        model = nn.Sequential(nn.Flatten(), nn.Linear(8, 4), nn.ReLU(), nn.Linear(4, 3))
        nn.utils.vector_to_parameters(
            torch.from_numpy(start.parameters()[0]).float(), model.parameters()
        )
    known = simulate(model=model)
    own = simulate(model=model, loss=f"{file}:ce", metrics=[f"{file}:acc"])
    np.testing.assert_allclose(own.parameters(), known.parameters(), rtol=0, atol=1e-12)
    rows = own.history.dropna(subset="test_accuracy")
    np.testing.assert_allclose(rows["acc"], rows["test_accuracy"], rtol=0, atol=1e-12)
    np.testing.assert_allclose(
        rows["averaged_acc"], rows["averaged_model_accuracy"], rtol=0, atol=1e-12
    )
    named = p2pqg.Simulation(**OWN | {"model": {"name": f"{file}:mlp", "width": 4}})
    assert named.experiment.cost == known.experiment.cost
    assert named.experiment.config.model == {"name": f"{file}:mlp", "width": 4}


@pytest.mark.parametrize("packing", [6, 2])
def test_own_parts_do_not_depend_on_the_packing(packing):
    settings = {"model": seeded(), "loss": smooth, "metrics": {"zero": share_of_zero}}
    settings |= {"validation": 0.2, "test": "own"}
    whole = simulate(**settings)
    parts = simulate(clients_per_actor=packing, **settings)
    np.testing.assert_allclose(parts.parameters(), whole.parameters(), rtol=0, atol=1e-12)
    for name in ("zero", "averaged_zero", "validation_accuracy", "personal_accuracy"):
        np.testing.assert_allclose(parts.history[name], whole.history[name], rtol=0, atol=1e-12)
    assert "validation_loss" in parts.clients


def test_a_run_keeps_what_it_was_given_and_goes_on_alike(tmp_path):
    settings = {
        "model": seeded(width=6),
        "loss": {"name": smooth, "amount": 0.2},
        "metrics": {"zero": share_of_zero},
    }
    with simulate(4, **settings) as sim:
        path = sim.checkpoint(tmp_path / "saved")
        sim.advance(2)
        with p2pqg.Simulation.restore(path) as restored:
            restored.advance(2)
            assert_same(restored, sim)
            assert not list(path.rglob("*.pkl"))
            names = {file.name for file in (path / "files").iterdir()}
            assert {"own_model.py", "own_model.safetensors", "own_loss.py"} <= names


def test_what_cannot_be_kept_is_said_and_asked_for_again(tmp_path):
    def loss(outputs, targets):
        return smooth(outputs, targets)

    with simulate(4, loss=loss) as sim:
        assert sim.experiment.warnings[-1] == (
            "loss: loss is made inside test_what_cannot_be_kept_is_said_and_asked_for_again, not "
            "at the top of a file; a run cannot keep it: give it again to resume"
        )
        path = sim.checkpoint(tmp_path / "saved")
        sim.advance(2)
        with pytest.raises(
            ConfigError, match=r"loss was an object of Python \(loss\), which a run"
        ):
            p2pqg.Simulation.restore(path)
        with p2pqg.Simulation.restore(path, loss=loss) as restored:
            restored.advance(2)
            assert_same(restored, sim)
        with pytest.raises(ConfigError, match="model cannot change in the middle of a run"):
            p2pqg.Simulation.restore(path, loss=loss, model=net)


def stepping(factor):
    """A factory, as notebooks have them: whoever calls it gets another algorithm of one name."""

    @dataclass(frozen=True, kw_only=True)
    class Params:
        lr: float

    class State(NamedTuple):
        x: torch.Tensor

    @p2pqg.algorithm("stepping", params=Params, start=lambda x0: State(x0))
    def step(s, grad, p):
        x = yield p2pqg.gossip(s.x - factor * p.lr * grad(s.x))
        return State(x)

    return step


def test_an_algorithm_that_cannot_be_kept_is_said_told_apart_and_asked_for_again(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(ALGORITHMS, "_entries", {**ALGORITHMS._entries})
    letters = []
    for factor in (1, 2, 1):
        stepping(factor)
        with simulate(4, algorithm="stepping") as sim:
            assert sim.experiment.warnings[-1] == (
                "algorithm: stepping is made inside stepping, not at the top of a file; a run "
                "cannot keep it: define it again before you resume"
            )
            letters.append(sim.experiment.own_files["own_algorithm.txt"])
            path = sim.checkpoint(tmp_path / f"saved{len(letters)}")
            sim.advance(2)
            with p2pqg.Simulation.restore(path) as restored:
                restored.advance(2)
                assert_same(restored, sim)
    assert letters[0] == letters[2] != letters[1]
    stepping(2)
    told = "algorithm stepping is not what the run began with"
    with pytest.warns(p2pqg.Notice, match=told), p2pqg.Simulation.restore(path):
        pass
    with pytest.warns(p2pqg.Notice, match=told):
        p2pqg.resume(path, rounds=6, out=str(tmp_path), name="on")
    ALGORITHMS._entries.pop("stepping")
    with pytest.raises(ConfigError, match="algorithm stepping was defined where a run cannot keep"):
        p2pqg.Simulation.restore(path)


def test_frozen_parameters_are_neither_trained_nor_sent():
    model = seeded()
    model.body.requires_grad_(False)
    with simulate(3, model=model) as sim:
        trained = 2 * 5 + 5 * 3 + 3
        assert sim.parameters().shape[1] == sim.experiment.cost.num_params == trained
        assert sim.history["bytes_sent"].iloc[-1] == 3 * 12 * trained * 8


class Wide(Net):
    def forward(self, x):
        return super().forward(x)[:, :2]


class Counts(Net):
    """Remembers how often it was called."""

    def __init__(self):
        super().__init__()
        self.calls = 0

    def forward(self, x):
        self.calls += 1
        return super().forward(x) * self.calls


def number(outputs, targets):
    return 0.5


class Breaks(Net):
    def forward(self, x):
        return self.head(x)


class Late(Net):
    """Makes its head when it sees a sample."""

    def __init__(self):
        super().__init__()
        self.head = None

    def forward(self, x):
        if self.head is None:
            self.head = nn.Linear(self.width, self.classes).to(x.dtype)
        return super().forward(x)


class Nothing(Net):
    def forward(self, x):
        return super().forward(x) / 0


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"model": Late()}, r"Late\): head.weight, head.bias must be there from the start"),
        ({"model": Nothing()}, r"Nothing\): outputs must be finite numbers, its first batch has"),
        ({"model": Wide()}, r"line \d+, Wide\): outputs must be \[batch, 3\] for 3 classes, got"),
        ({"model": Counts()}, r"Counts\): its losses are others when the same batch comes again"),
        ({"model": Breaks()}, r"\(test_own_parts.py line \d+\): RuntimeError: .* \(on inputs"),
        ({"model": 3}, "model must be a name, a module or a function .* got int"),
        ({"model": nn.Linear}, r"model is a class of torch; give a module, Linear\(\.\.\.\), or a"),
        (
            {"loss": nn.L1Loss},
            r"loss L1Loss is a class; give one of it: L1Loss\(reduction=\"none\"\)",
        ),
        ({"metrics": [nn.L1Loss]}, r"metric L1Loss is a class; give one of it: L1Loss\(\)"),
        ({"model": {"name": net, "widht": 3}}, "unknown key model.widht; did you mean width"),
        (
            {"model": {"name": net, "trained_layers": 1}},
            r"model.trained_layers is for text classifiers .* layer.requires_grad_\(False\)",
        ),
        ({"model": {"name": "mlp", "trained_layers": 1}}, "model.trained_layers is for text class"),
        ({"model": lambda a: Net()}, "must take .num_classes, input_shape. or nothing"),
        ({"model": lambda: nn.Sequential(nn.Flatten(), nn.LazyLinear(10))}, "1.weight has no size"),
        ({"loss": lambda o, t: o.mean()}, r"must return one number per sample, a tensor \[4\]"),
        ({"metrics": {"m": lambda o, t: o.mean(0)}}, r"must return one number, got a Tensor \[3\]"),
        *(
            ({"metrics": {name: number}}, f"metrics: {name} is a column that there is already")
            for name in ("lr", "validation_accuracy", "rounds")  # of summary.json
        ),
        ({"metrics": {"model_accuracy": number}}, "metrics: model_accuracy is"),  # averaged_...
        ({"metrics": {"averaged_m": number, "m": number}}, "averaged_m is a column that there is"),
        ({"metrics": {"a/b": lambda o, t: 0.5}}, "metrics: a name begins with a letter .* 'a/b'"),
        ({"metrics": ["no_file.py:f"]}, "metric no_file.py: no such file"),
        (
            {"metrics": {"m": lambda o: 0.5}},
            r"metric <lambda> must take \(outputs, targets\), got \(o",
        ),
        (
            {"loss": lambda o: o},
            r"loss <lambda> must take \(outputs, targets\) or nothing .* \(o\)",
        ),
        (
            {"partition": lambda y: []},
            r"partition <lambda> must take \(labels, clients, rng\), got",
        ),
        ({"lr": lambda: 0.1}, r"lr given:<lambda> must take \(round\), got \(\)"),
        (
            {"lr": lambda epoch, of: 0.1},
            r"lr given:<lambda> must take \(epoch\), got \(epoch, of\)",
        ),
        ({"topology": lambda n, k: None}, r"topology <lambda> must take \(round\), got \(n, k\)"),
        (
            {"topology": lambda round: 1 / round},
            r"topology <lambda> \(test_own_parts.py line .*Zero",
        ),
        ({"validation": 0.001}, "validation 0.001 of 120 samples is 0 of them"),
        ({"loss": "mse", "test": "own"}, "test own needs classes"),
    ],
)
def test_what_is_wrong_with_own_parts_is_told_before_anything_starts(settings, told):
    with pytest.raises(ConfigError, match=told):
        p2pqg.Simulation(**OWN | settings)


def test_training_samples_that_a_partition_of_ones_own_leaves_out_are_told_of():
    def warned(parts, **more):
        with p2pqg.Simulation(**OWN | {"partition": parts, "topology": "ring3"} | more) as sim:
            return [w for w in sim.experiment.warnings if w.startswith("partition")]

    few = [[0, 1], [1, 2], [3]]
    assert warned(few) == ["partition: 116 of 120 training samples belong to no client"]
    assert warned([range(k, 120, 3) for k in range(3)]) == []
    assert warned([range(k, 120, 3) for k in range(3)], validation=0.1) == []


def test_dropout_of_a_users_own_is_seen_wherever_it_is():
    class Drops(Net):
        def forward(self, x):
            return self.head(F.dropout(torch.relu(self.body(x)), 0.5, self.training))

    sims = [simulate(2, model=seeded(Drops), clients_per_actor=k) for k in (6, 2)]
    assert sims[0].experiment.task.model.draws
    np.testing.assert_allclose(*(sim.parameters() for sim in sims), rtol=0, atol=1e-12)


def test_a_loss_that_looks_at_its_whole_batch_is_computed_client_by_client():
    def centred(outputs, targets):
        each = F.cross_entropy(outputs, targets, reduction="none")
        return each + 0.1 * (outputs.mean() ** 2).expand(len(outputs))

    dense = nn.Sequential(nn.Linear(8, 4), nn.ReLU(), nn.Linear(4, 3))
    with p2pqg.Simulation(**OWN | {"model": dense, "loss": centred}) as sim:
        assert sim.experiment.task.model.strategy == "loop"
        assert "strategy batched does not fit" in sim.experiment.warnings[-1]
    with p2pqg.Simulation(**OWN | {"model": dense, "loss": smooth}) as sim:
        assert sim.experiment.task.model.strategy is None
        assert Stacked(dense).strategy == "batched"


def test_personal_accuracy_is_that_on_the_clients_own_mix():
    with simulate(4, test="own", alpha=0.1) as sim:
        arrays, parts = sim.experiment.arrays, sim.experiment.parts
        y = arrays.test_y
        model = nn.Sequential(nn.Flatten(), nn.Linear(8, 4), nn.ReLU(), nn.Linear(4, 3)).double()
        last = sim.clients[sim.clients["round"] == 3].set_index("client")
        for client, row in enumerate(torch.from_numpy(sim.parameters())):
            nn.utils.vector_to_parameters(row, model.parameters())
            with torch.no_grad():
                right = model(torch.from_numpy(arrays.test_x).double()).argmax(1).numpy() == y
            mix = np.bincount(arrays.train_y[parts[client]], minlength=3) / len(parts[client])
            of_class = [right[y == c].mean() for c in range(3)]
            assert last.loc[client, "personal_accuracy"] == pytest.approx(mix @ of_class)


def test_whose_classes_are_not_tested_has_no_personal_accuracy_and_is_not_in_the_mean():
    rng = np.random.default_rng(0)
    data = (
        rng.normal(size=(60, 8)).astype(np.float32),
        np.repeat([0, 1, 2], 20),
        rng.normal(size=(40, 8)).astype(np.float32),
        np.repeat([0, 1], 20),
    )
    parts = [np.arange(i * 20, i * 20 + 20) for i in range(3)]  # a class each
    settings = {"topology": "ring3", "dataset": data, "partition": parts, "test": "own"}
    with simulate(2, **settings, alpha=None) as sim:
        assert (
            "test own: the test set has no sample of any class of 1 client of 3; "
            "personal_accuracy is the mean of the others"
        ) in sim.experiment.warnings
        last = sim.clients[sim.clients["round"] == 1].set_index("client")["personal_accuracy"]
        assert last.isna().tolist() == [False, False, True]
        assert sim.history["personal_accuracy"].iloc[-1] == last[:2].mean()


def test_validation_samples_are_nobodys_and_the_test_set_stays_as_it_was():
    with simulate(2, validation=0.25) as sim, simulate(2) as whole:
        experiment = sim.experiment
        assert len(experiment.held_out) == 30
        taken = np.concatenate([*experiment.parts, experiment.held_out])
        assert len(np.unique(taken)) == len(taken) == 120
        assert experiment.num_test_samples == whole.experiment.num_test_samples
        assert sim.history["validation_accuracy"].notna().sum() == 1


def test_what_is_personal_is_never_mixed_nor_counted():
    model, settings = seeded(), {"algorithm": "dsgd", "weight_decay": 0.0}
    head = 5 * 3 + 3
    with simulate(3, model=model, personal=["head.*"], **settings) as sim:
        x = sim.parameters()
        sent = x.shape[1] - head
        assert sim.history["bytes_sent"].iloc[-1] == 3 * 12 * sent * 8
        shared = x[:, :sent]
        expected = ((shared - shared.mean(0)) ** 2).sum(1).mean()
        assert sim.history["consensus_distance"].iloc[-1] == pytest.approx(expected, rel=1e-9)
    # On a complete network one round of DSGD makes all models one, but for what is personal.
    with simulate(1, model=model, personal=["head.*"], topology="complete6", **settings) as sim:
        x = sim.parameters()
        assert np.ptp(x[:, :sent], axis=0).max() < 1e-12
        assert np.ptp(x[:, sent:], axis=0).max() > 1e-3


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"personal": ["haed.*"]}, "trains no parameter 'haed.\\*'"),
        ({"personal": ["*"]}, "nothing is shared"),
        ({"personal": ["head.*"], "algorithm": "choco-sgd"}, "personal does not go with"),
        ({"personal": ["head.*"], "algorithm": "cga"}, "personal does not go with"),
        ({"personal": ["head.*"], "algorithm": "sgp", "topology": "exponential6"}, "not go with"),
        ({"stop": {"when": "test_acuracy > 0.9"}}, "stop.when: no column 'test_acuracy'; did you"),
        ({"stop": {"when": "test_accuracy"}}, "stop.when must be COLUMN >= NUMBER"),
        ({"stop": {"patience": 0}}, "stop.patience must be >= 1, got 0"),
        ({"callbacks": [lambda sim: 0]}, r"callback <lambda> must take \(sim, row\), got"),
        ({"callbacks": [object()]}, r"callbacks\[0\] \(object\) must have on_round"),
        ({"callbacks": ["nope"]}, r"callbacks\[0\] must be FILE.py:NAME"),
        ({"lr": lambda round: -1.0}, "must return numbers > 0, got -1 for round 0"),
        (
            {"lr": lambda round: 1 / round},
            r"lr given:<lambda> \(test_own_parts.py line \d+\): Zero",
        ),
    ],
)
def test_what_is_wrong_with_the_rest_is_told_before_anything_starts(settings, told):
    with pytest.raises(ConfigError, match=told):
        p2pqg.Simulation(**OWN | {"model": seeded()} | settings)


class Watch:
    """Writes down what it is told, and cuts a link after the second round."""

    def __init__(self):
        self.rounds, self.evaluations = [], []

    def on_round(self, sim, row):
        assert sim.round == row["round"] + 1
        self.rounds.append(row["round"])
        if row["round"] == 1:
            sim.drop_links([(0, 1)])

    def on_evaluation(self, sim, row):
        self.evaluations.append((row["round"], row["test_accuracy"]))
        if row["round"] >= 3:
            sim.stop("seen enough")


@pytest.mark.parametrize("packing", [6, 2])
def test_callbacks_hear_of_every_row_and_may_act(packing):
    watch = Watch()
    with simulate(6, callbacks=[watch], clients_per_actor=packing) as sim:
        assert sim.stopped == sim.summary()["stopped"] == "seen enough"
        assert sim.round == 4
        assert watch.rounds == [0, 1, 2, 3]
        assert [round for round, _ in watch.evaluations] == [1, 3]
        assert sim.events[0] == {"round": 2, "what": "drop_links 0-1 1-0"} or sim.events
    with simulate(6, scenario=[{"at": 2, "drop_links": ["0-1"]}]) as planned:
        planned_rows = planned.history["train_loss"][:4]
        np.testing.assert_allclose(sim.history["train_loss"], planned_rows, rtol=0, atol=1e-12)


def broken(sim, row):
    raise KeyError("nope")


def test_a_callback_that_raises_is_told_with_its_line():
    with p2pqg.Simulation(**OWN | {"callbacks": [broken]}) as sim:
        with pytest.raises(
            p2pqg.UserCodeError, match=r"^round 0: callback .*\(test_own_parts.py line \d+\): KeyE"
        ):
            sim.advance(3)
        assert sim.round == 1


@pytest.mark.parametrize("what", ["advance(1)", "finish()", "close()", "go_back(begin)"])
def test_a_callback_may_not_move_the_simulation_that_tells_it(what):
    """The first two ended in a RecursionError, the third in a ValueError of ours."""
    told = []

    def meddle(sim, row):
        told.append(row["round"])
        eval(f"sim.{what}", {"sim": sim, "begin": begin})

    with p2pqg.Simulation(**OWN | {"callbacks": [meddle]}) as sim:
        begin = sim.moment()
        for done in (1, 2):  # it is no wreck after that
            with pytest.raises(p2pqg.UserCodeError, match=f"^round {done - 1}: a callback may not"):
                sim.advance(3)
            assert (sim.round, told) == (done, list(range(done)))


def test_a_callback_may_look_ahead_in_a_fork_after_every_round():
    """Its forks told it in turn, and it made forks of these, without an end."""
    ahead = []

    def look(sim, row):
        with sim.fork() as branch:
            branch.advance(1)
            ahead.append(branch.parameters())
            branch.go_back(begin)  # which is a moment of one that tells
            branch.advance(1)

    with p2pqg.Simulation(**OWN | {"callbacks": [look]}) as sim:
        begin = sim.moment()
        sim.advance(3)
        assert len(ahead) == 3
        np.testing.assert_array_equal(ahead[1], sim.parameters())


def test_a_run_stops_where_its_rule_says_and_is_not_resumed(tmp_path):
    settings = OWN | {"rounds": 40, "eval_every": 2, "out": str(tmp_path)}
    whole = p2pqg.run(**settings)
    accuracy = whole.rounds.dropna(subset="test_accuracy")
    bound = accuracy["test_accuracy"].iloc[3:].max() - 1e-9
    first = accuracy[accuracy["test_accuracy"] >= bound]["round"].iloc[0]
    run = p2pqg.run(**settings, stop={"when": f"test_accuracy >= {bound}"})
    assert run.rounds["round"].iloc[-1] == first
    assert run.finished
    assert run.summary["stopped"] == f"test_accuracy >= {bound}"
    with pytest.raises(ConfigError, match="nothing is left"):
        p2pqg.resume(run.path)


def test_patience_counts_evaluations_without_a_better_one():
    rows = [{"test_loss": 1, "f1": value} for value in (0.1, 0.3, 0.2, 0.3, 0.25)]
    stop = Stop(patience=3, metric="f1")
    assert [stop.reason(rows[:n]) is not None for n in range(6)] == [False] * 5 + [True]
    falling = Stop(patience=2, metric="test_loss", min_delta=0.5)
    rows = [{"test_loss": value} for value in (3, 2, 1.8, 1.6)]
    assert [bool(falling.reason(rows[:n])) for n in range(5)] == [False] * 4 + [True]


def test_a_long_run_is_not_read_row_by_row_at_every_evaluation():
    class Counted(Records):
        read = 0

        def __getitem__(self, at):
            self.read += 1
            return super().__getitem__(at)

    rows = Counted({"test_loss": 1.0, "f1": min(i, 5000)} for i in range(6000))
    rows.extend({"lr": 0.1} for _ in range(3))
    stop = Stop(when="f1 > 9000", patience=999, metric="f1")
    assert stop.reason(rows) == "f1 has not been better for 999 evaluations"
    assert Stop(metric="f1", patience=1).reason(rows).endswith("better for 1 evaluation")
    assert rows.read < 4


def test_lr_is_what_a_function_says(tmp_path):
    with simulate(6, lr=lambda round: 0.1 / (round + 1)) as sim:
        np.testing.assert_allclose(sim.history["lr"], 0.1 / np.arange(1, 7))
        path = sim.checkpoint(tmp_path / "saved")
    with pytest.raises(ConfigError, match="lr was an object of Python"):
        p2pqg.Simulation.restore(path)
    with p2pqg.Simulation.restore(path, lr=lambda round: 0.1 / (round + 1), rounds=8) as longer:
        longer.advance(2)
        assert longer.history["lr"].iloc[-1] == pytest.approx(0.1 / 8)
    with simulate(2, lr=lambda epoch: 1 + epoch) as sim:
        np.testing.assert_allclose(sim.history["lr"] - 1, [0, 1 / sim.experiment.rounds_per_epoch])


def nowhere_for_two(outputs, targets):
    each = F.cross_entropy(outputs, targets, reduction="none")
    return torch.where(targets == 2, math.nan, each)


def plain(outputs, targets):
    return F.cross_entropy(outputs, targets).item()


def nowhere_for_twos(outputs, targets):
    return torch.where(targets == 2, math.nan, (outputs - targets).square()).flatten()


def test_a_loss_that_is_no_number_for_a_test_sample_takes_nobodys_accuracy():
    x = np.random.default_rng(0).standard_normal((60, 8))
    y, test_y = np.arange(60) % 2, np.arange(60) % 3  # nobody learns from class 2
    found = []
    for loss in (nowhere_for_two, "cross-entropy"):
        watch = Watch()
        data = {"dataset": (x, y, x, test_y), "model": "mlp"}
        stop, metrics = {"when": "test_accuracy > 0"}, {"loss": plain, "correct": number}
        more = {"metrics": metrics, "callbacks": [watch], "stop": stop}
        with simulate(2, loss=loss, **more, **data) as sim:
            found.append(sim.evaluate())
            told = sim.summary(evaluate=False)  # what is on disk, and in tables
            assert told["test_accuracy"] == found[-1]["test_accuracy"]
            assert told["evaluated_rounds"] == 2
            assert sim.stopped == "test_accuracy > 0"
        assert watch.evaluations == [(1, found[-1]["test_accuracy"])]
    assert found[0]["test_accuracy"] == found[1]["test_accuracy"] > 0
    assert "test_loss" not in found[0]
    assert found[1]["test_loss"] == pytest.approx(found[1]["loss"], rel=1e-6)
    assert found[0]["loss"] > 0
    numbers = {"dataset": (x, y + x[:, 0], x, 1.0 * test_y), "loss": nowhere_for_twos}
    for stop in ({"when": "r2 < 9"}, {"patience": 1, "metric": "r2", "min_delta": 9}):
        seen = []
        watch = SimpleNamespace(on_evaluation=lambda sim, row, seen=seen: seen.append(row["r2"]))
        with simulate(3, model="mlp", eval_every=1, stop=stop, callbacks=[watch], **numbers) as sim:
            assert sim.evaluate()["r2"] == sim.summary(evaluate=False)["r2"] == seen[-1]
            assert sim.round == len(seen) == (1 if "when" in stop else 2)
            assert sim.stopped


def test_a_step_size_that_depends_on_how_often_it_is_asked_for_is_refused():
    """As that of a scheduler of torch which steps on: a second run began where the first ended."""
    steps = itertools.count(1)
    with pytest.raises(ConfigError, match=r"is 1 for round 0, and .* when it is asked again"):
        p2pqg.Simulation(**OWN | {"lr": lambda round: 1 / next(steps)})


def test_a_cosine_and_steps_end_where_they_should():
    cosine = {"kind": "cosine", "floor": 0.1}
    with simulate(6, lr=0.5, lr_schedule=cosine) as sim:
        half = 0.5 * (0.1 + 0.9 / 2)
        assert sim.history["lr"].iloc[0] == 0.5
        assert sim.history["lr"].iloc[3] == pytest.approx(half)
    step = {"kind": "step", "step_epochs": 0.4, "decay": 0.5}  # two of five rounds
    with simulate(6, lr=0.4, lr_schedule=step) as sim:
        assert sim.experiment.rounds_per_epoch == 5
        assert sim.history["lr"].tolist() == [0.4, 0.4, 0.2, 0.2, 0.1, 0.1]


def turning(round):
    """Everyone hears of one other, each round of another."""
    n, hop = 6, 1 + round % 3
    return (np.eye(n) + np.roll(np.eye(n), hop, 1)) / 2


STAR = nx.Graph([("hub", name) for name in ("a", "b", "c", "d", "e")])
RING = p2pqg.mixing_matrix("ring6")


@pytest.mark.parametrize("topology", [STAR, RING, np.stack([RING, np.eye(6)]), turning])
def test_a_network_given_as_an_object_is_kept_and_comes_back(tmp_path, topology):
    with simulate(3, topology=topology) as sim:
        assert not sim.experiment.own.lost
        path = sim.checkpoint(tmp_path / "saved")
        sim.advance(2)
        with p2pqg.Simulation.restore(path) as restored:
            restored.advance(2)
            assert_same(restored, sim)


def test_a_network_of_a_file_of_code_is_that_of_the_function(tmp_path):
    file = tmp_path / "nets.py"
    file.write_text(
        "import networkx as nx, numpy as np\n"
        "def star():\n    return nx.star_graph(5)\n"
        "def turning(round):\n    n, hop = 6, 1 + round % 3\n"
        "    return (np.eye(n) + np.roll(np.eye(n), hop, 1)) / 2\n"
        "def fails(round):\n    return 1 / round\n"
    )
    for name, same in (("star", "star6"), ("turning", turning)):
        one, other = simulate(4, topology=f"{file}:{name}"), simulate(4, topology=same)
        np.testing.assert_allclose(one.parameters(), other.parameters(), rtol=0, atol=1e-12)
    with pytest.raises(ConfigError, match=r"fails \(nets.py line 8\): ZeroDivisionError"):
        simulate(1, topology=f"{file}:fails")


GENERATOR = np.random.default_rng(5)
X, NOISE = GENERATOR.standard_normal((60, 8)), GENERATOR.standard_normal(60)
Y = (X[:, 0] > 0).astype(int) + (X[:, 1] > 1)
PARTS = np.array_split(np.arange(60), 6)
BY_HOSPITAL = [(X[part], Y[part]) for part in PARTS]
ALONE = {key: value for key, value in OWN.items() if key not in ("dataset", "model", "alpha")}


def by_thirds(labels, clients, rng):
    return np.array_split(rng.permutation(len(labels)), clients)


@pytest.mark.parametrize(
    "settings",
    [
        {"dataset": (X, Y, X[:20], Y[:20])},
        {"dataset": BY_HOSPITAL, "test": (X[:20], Y[:20])},
        {"dataset": (X, Y, X[:20], Y[:20]), "partition": PARTS, "validation": 0.2},
        {"dataset": (X, Y, X[:20], Y[:20]), "partition": by_thirds, "model": seeded()},
        {"dataset": (X, X[:, 0] + NOISE, X[:20], X[:20, 0]), "metrics": ["mae"]},
        {"dataset": (X, (X[:, :2] > 0), X[:20], (X[:20, :2] > 0)), "model": "logistic"},
    ],
)
def test_data_and_split_given_as_objects_are_kept_and_come_back(tmp_path, settings):
    with p2pqg.Simulation(**ALONE, **settings) as sim:
        sim.advance(3)
        path = sim.checkpoint(tmp_path / "saved")
        sim.advance(3)
        with p2pqg.Simulation.restore(path) as restored:
            restored.advance(3)
            assert_same(restored, sim)
        assert not list(path.rglob("*.pkl"))


def test_data_that_are_split_already_stay_so():
    with p2pqg.Simulation(**ALONE, dataset=BY_HOSPITAL, test=(X, Y)) as sim:
        arrays, parts = sim.experiment.arrays, sim.experiment.parts
        for part, (x, y) in zip(parts, BY_HOSPITAL, strict=True):
            np.testing.assert_array_equal(arrays.train_x[part], x)
            np.testing.assert_array_equal(arrays.train_y[part], y)


def test_regression_finds_the_weights_it_was_made_with():
    weights = np.arange(8) / 4
    data = (X, X @ weights, X, X @ weights)
    settings = {"model": "logistic", "weight_decay": 0.0, "lr": 0.05, "topology": "complete6"}
    with p2pqg.Simulation(
        **ALONE | settings | {"rounds": 400, "algorithm": "dsgd"}, dataset=data
    ) as sim:
        sim.advance(400)
        np.testing.assert_allclose(sim.parameters()[:, :8], weights[None].repeat(6, 0), atol=1e-3)
        last = sim.history.iloc[-1]
        assert last["r2"] > 0.999
        assert last["averaged_r2"] > 0.999
        assert last["mse"] == pytest.approx(last["test_loss"])
        assert np.isnan(last["test_accuracy"])
        assert sim.summary()["test_accuracy"] is None
        assert "test_accuracy" not in sim.rows[0][-1]


def test_a_run_of_objects_is_repeated_by_its_config(tmp_path):
    settings = ALONE | {
        "out": str(tmp_path),
        "dataset": BY_HOSPITAL,
        "test": (X, Y),
        "loss": smooth,
    }
    run = p2pqg.run(**settings, model=seeded())
    copies = from_copies(run.config, run.path)
    again = p2pqg.run(**run.config | copies | {"name": "again"})
    assert run.rounds.drop(columns="wall_seconds").equals(again.rounds.drop(columns="wall_seconds"))
    assert (run.path / "config.yaml").read_text().count("files/") == 4


def test_a_model_that_is_no_numbers_any_more_has_no_metric_either():
    """It had one that looks like any other: argmax and top-k of NaN are the first classes."""

    def careful(outputs, targets):
        assert outputs.isfinite().all()
        return 0.5

    metrics = {"zero": share_of_zero, "top": "top5", "careful": careful}
    with p2pqg.Simulation(
        **OWN | {"rounds": 1, "lr": 1e38, "precision": "float32", "metrics": metrics}
    ) as sim:
        sim.advance(1)
        last = sim.history.iloc[-1]
        assert sim.clients["test_accuracy"].isna().all()
        of_all = [f"{before}{key}" for before in ("", "averaged_") for key in metrics]
        assert last[["test_accuracy", *of_all]].isna().all()


def test_metrics_are_compared_reported_and_summed_up(tmp_path):
    settings = OWN | {"out": str(tmp_path), "metrics": {"zero": share_of_zero}}
    runs = [p2pqg.run(**settings | {"name": f"seed{seed}", "seed": seed}) for seed in (1, 2)]
    runs.append(p2pqg.run(**OWN | {"out": str(tmp_path), "name": "without"}))
    last = runs[0].rounds.dropna(subset="zero").iloc[-1]
    assert runs[0].summary["zero"] == last["zero"]
    assert runs[0].summary["averaged_zero"] == last["averaged_zero"]
    both = p2pqg.compare(*runs[:2])
    assert both.table["zero"].tolist() == [run.summary["zero"] for run in runs[:2]]
    assert "averaged zero" in repr(both)
    mixed = p2pqg.compare(*runs)
    assert np.isnan(mixed.table["zero"].iloc[-1])
    page = write_page([tmp_path]).read_text("utf-8")
    assert "Zero" in page
    assert "averaged zero" in page


def test_a_page_of_a_regression_has_r2_for_accuracy(tmp_path):
    data = (X, X[:, 0], X[:20], X[:20, 0])
    run = p2pqg.run(**ALONE | {"out": str(tmp_path)}, dataset=data)
    assert run.summary["r2"] == run.rounds["r2"].dropna().iloc[-1]
    assert "R2" in write_page([run.path]).read_text("utf-8")
    assert "r2" in repr(p2pqg.compare(run))


@pytest.mark.parametrize("algorithm", [{"name": "d2", "lazy": True}, "cga", "dsmt"])
def test_a_network_that_loses_its_symmetry_later_ends_the_run(algorithm):
    ring = np.roll(np.eye(6), 1, axis=0)
    even, one_way = (ring + ring.T + np.eye(6)) / 3, (ring + np.eye(6)) / 2

    def later(round):
        return even if round < 5 else one_way

    settings = {"topology": later, "clients": 6, "algorithm": algorithm, "lr": 0.01}
    name = settings["algorithm"]["name"] if isinstance(algorithm, dict) else algorithm
    with p2pqg.Simulation(**OWN | settings) as sim:
        sim.advance(5)
        with pytest.raises(ConfigError, match=f"round 5': {name} needs a symmetric W"):
            sim.advance(1)
        assert sim.round == 5


def test_a_run_of_a_cluster_that_is_gone_goes_on_here(tmp_path):
    with simulate(2, address="10.0.0.7:6379") as sim:
        assert sim.experiment.config.address == "10.0.0.7:6379"
        path = sim.checkpoint(tmp_path / "saved")
    with p2pqg.Simulation.restore(path, address="none") as here:
        assert here.experiment.config.address is None
    with p2pqg.Simulation.restore(path) as there:
        assert there.experiment.config.address == "10.0.0.7:6379"
