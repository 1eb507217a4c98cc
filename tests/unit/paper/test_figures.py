"""The numbers behind the paper's figures, and the files they go to."""

from math import sqrt
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

import p2pqg
from p2pqg.base.config import load_yaml
from p2pqg.base.errors import ConfigError
from p2pqg.base.shipped import shipped_folder
from p2pqg.paper.figures import (
    FIGURES,
    Recipe,
    momentum_bias,
    read_figure,
    run_figure,
    step_size,
    two_agents,
    valley,
)
from p2pqg.paper.figures.accuracy_against import Params, accuracy_against
from p2pqg.recipe.tiers import at_tier
from p2pqg.results.run_frames import read_runs
from p2pqg.results.tuned import tuned
from p2pqg.running.grid import read_sweep
from p2pqg.running.sweep import run_sweep
from p2pqg.theory.quadratics import Quadratics
from p2pqg.topology import build

RECIPES = sorted(shipped_folder("runs").glob("figure*.yaml"))
MOMENTUM = {"dsgd": {}, "dsgdm": {"beta": 0.9}, "qg-dsgdm": {"beta": 0.9, "mu": 0.9}}


def test_every_figure_of_the_paper_has_a_recipe():
    figures = [load_yaml(path)["figure"] for path in RECIPES]
    assert [FIGURES[name].traits["number"] for name in figures] == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize("tier", ["smoke", "cpu", "paper"])
@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_every_tier_of_every_recipe_is_right(path, tier, tmp_path):
    values = at_tier(load_yaml(path), tier, path.stem)
    read_figure(values)
    if "sweep" in values:
        read_sweep(values, path.stem, str(tmp_path))


@pytest.mark.parametrize(
    ("values", "complaint"),
    [
        ({"figure": "two-agent"}, "unknown figure 'two-agent'; did you mean two-agents"),
        ({}, "unknown figure 'None'; known: "),
        ({"figure": "two-agents", "round": 3}, "unknown key round; did you mean rounds"),
        ({"figure": "two-agents", "lr": 0}, "figure two-agents: lr must be > 0, got 0"),
        ({"figure": "two-agents", "beta": 1}, "beta must be in"),
        ({"figure": "average-consensus", "topologies": []}, "at least one"),
        ({"figure": "momentum-bias", "methods": ["d3"]}, "methods must be of dsgd, .*, got d3"),
        ({"figure": "momentum-bias", "lrs": [0]}, "lrs must be > 0"),
        ({"figure": "valley", "rounds": "many"}, "rounds must be an integer, got 'many'"),
        ({"figure": "step-size", "momentun": 1}, "unknown key momentun; did you mean momentum"),
        ({"figure": "step-size", "models": [], "lr": -1}, "2 problems\n  models .*\n  lr must"),
    ],
)
def test_a_wrong_recipe_is_refused_before_anything_starts(values, complaint, tmp_path):
    with pytest.raises(ConfigError, match=complaint):
        run_figure(values, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_figure_is_written_in_every_format_with_the_numbers_it_is_drawn_of(tmp_path):
    values = {"figure": "two-agents", "rounds": 5, "source": "said", "tiers": {"smoke": {}}}
    path = run_figure(values, tmp_path / "new" / "folder")
    names = {file.name for file in path.parent.iterdir()}
    assert names == {f"figure2.{suffix}" for suffix in ("csv", "svg", "pdf", "png")}
    again = FIGURES["two-agents"].traits["draw"](pd.read_csv(path.with_suffix(".csv")))
    again.savefig(tmp_path / "again.png")
    assert len(again.axes) == 4


# Figure 1


def test_the_dots_are_all_samples_of_the_data_set(tmp_path):
    values = {"figure": "label-dots", "dataset": "digits", "partition": "dirichlet"}
    frame = pd.read_csv(run_figure(values | {"alphas": [1, 0.1]}, tmp_path).with_suffix(".csv"))
    assert frame.groupby("alpha")["samples"].sum().nunique() == 1
    largest = frame.groupby(["alpha", "client"])["samples"].max().groupby("alpha").mean()
    assert largest[0.1] > largest[1.0]


# The bias of momentum (DecentLaM's)


@pytest.mark.parametrize("method", [*momentum_bias.STEPS, *momentum_bias.EXACT])
def test_methods_come_to_rest_where_the_closed_form_says(method):
    p = momentum_bias.Params(beta=0.5, samples=60)
    problems = [Quadratics.regression(8, p.dim, p.samples, seed) for seed in (1, 2)]
    W = build("ring8").mixing(0).dense()
    found = momentum_bias.came_to_rest(method, problems, p, 0.1)
    for problem, x in zip(problems, found, strict=True):
        rest = momentum_bias.point_of_rest(method, problem, W, 0.1, p.beta)
        np.testing.assert_allclose(x, rest, rtol=0, atol=1e-6)


def test_to_first_order_the_bias_is_lr_times_a_known_vector_and_momentum_multiplies_it():
    problem, W = Quadratics.regression(8, 5, 30, 1), build("ring8").mixing(0).dense()
    best = problem.optimum()
    h = problem.gradient(np.broadcast_to(best, problem.b.shape), 0)
    inverse = np.linalg.pinv(np.eye(8) - W, rcond=1e-9)  # I - W is singular
    apart = -inverse @ W @ h  # (I - W) u = -W h, up to what all share
    # At rest the mean gradient is 0: sum_i A_i u_i = 0 says what that is.
    common = np.linalg.solve(problem.A.sum(0), -np.einsum("cij,cj->i", problem.A, apart))
    expected = np.square(apart + common).sum(1).mean()

    def bias(method, lr):
        rest = momentum_bias.point_of_rest(method, problem, W, lr, 0.8)
        return problem.squared_bias(rest)

    assert bias("dsgd", 1e-5) / 1e-10 == pytest.approx(expected, rel=1e-3)
    assert bias("dsgdm", 1e-5) / bias("dsgd", 1e-5) == pytest.approx(25, rel=1e-2)
    assert bias("qg-dsgdm", 0.1) == bias("decentlam", 0.1) == bias("dsgd", 0.1)


def test_regression_has_the_minima_of_least_squares():
    problem = Quadratics.regression(2, 3, 3, 4)  # as many samples as weights: noise is fitted
    assert problem.gradient(problem.b, 0) == pytest.approx(0)
    assert not np.allclose(problem.b[0], problem.b[1])


# Figure 2


@pytest.mark.parametrize("method", list(MOMENTUM))
def test_the_average_of_the_two_agents_is_the_trajectory_of_the_actors_code(method):
    _, average = two_agents.steps(method, 40, 0.1, **MOMENTUM[method])
    expected = p2pqg.trajectory(
        method,
        lambda x, round: two_agents.gradient(torch.from_numpy(x)).numpy(),
        np.zeros(2),
        topology="complete2",
        rounds=40,
        lr=0.1,
        **MOMENTUM[method],
    )
    np.testing.assert_allclose(average, expected[:, 0], rtol=0, atol=1e-12)


def test_the_first_step_of_all_methods_is_the_plain_one():
    for method, params in MOMENTUM.items():
        local, _ = two_agents.steps(method, 1, 0.1, **params)
        np.testing.assert_allclose(local[0], [[0, 0.1], [0.1, 0]], atol=1e-15)


@pytest.mark.parametrize(("method", "steps_apart"), [("dsgd", 2), ("qg-dsgdm", 2), ("dsgdm", 20)])
def test_between_the_minima_local_momentum_parts_the_agents_by_1_over_1_minus_beta(
    method, steps_apart
):
    # There the unit gradients are opposite: 2 apart; local momentum sums them up: 2 / (1 - 0.9).
    local, _ = two_agents.steps(method, 600, 0.01, **MOMENTUM[method])
    apart = np.linalg.norm(local[:, 0] - local[:, 1], axis=1) / 0.01
    assert apart[-1] == pytest.approx(steps_apart, rel=0.02)
    assert apart.max() <= steps_apart * (1 + 1e-12)


def test_without_momentum_the_agents_end_where_the_difference_of_the_distances_was_at_the_start():
    # The flow of |x - a| + |x - b| stays on a hyperbola, 5 - 4 = 1 here, down to the line ab.
    a, b = two_agents.MINIMA
    end = a + (sqrt(41) + 1) / 2 * (b - a) / sqrt(41)
    _, average = two_agents.steps("dsgd", 3000, 0.01)
    np.testing.assert_allclose(average[-1], end, atol=2e-3)


def test_momentum_is_past_the_line_where_plain_steps_have_not_reached_it():
    beyond = {}
    for method, params in MOMENTUM.items():
        _, average = two_agents.steps(method, 60, 0.1, **params)
        beyond[method] = (average @ (5, 4) - 20).max() / sqrt(41)
    assert beyond["dsgd"] < 0 < min(beyond["dsgdm"], beyond["qg-dsgdm"])


# Figure 3


def test_on_rings_momentum_is_the_first_at_a_hundredth_and_gossip_in_the_end():
    frame = FIGURES["average-consensus"].build(
        FIGURES["average-consensus"].params(topologies=("ring16",), rounds=300), None
    )
    methods = frame.groupby("method", sort=False)["consensus_distance"]
    gossip, qg = (distances.to_numpy() for _, distances in methods)
    assert [int(np.argmax(path <= path[0] / 100)) for path in (gossip, qg)] == [26, 15]
    assert gossip[-1] < qg[-1]


# Figure 4


def test_the_valley_is_the_papers_and_its_gradient_is_its_derivative():
    assert valley.loss(np.array(1.0), np.array(1.0)) == 0
    assert valley.loss(np.array(0.0), np.array(0.0)) == 100
    at = torch.tensor([[0.3, -0.7]], dtype=torch.float64, requires_grad=True)
    ((at[0, 1] - at[0, 0] ** 2) ** 2 + 100 * (at[0, 0] - 1) ** 2).backward()
    np.testing.assert_allclose(valley.gradient(at.detach().numpy(), 0), at.grad, rtol=1e-14)


def test_with_quasi_global_momentum_a_worker_swings_less_and_arrives_later():
    frame = valley.valley(valley.Params(), None)
    sgdm, qg = (frame[frame["method"] == name] for name in ("SGDm", "QG-SGDm"))
    assert sgdm["x"].iloc[1] == qg["x"].iloc[1] == pytest.approx(0.2)  # 0.001 x 200
    assert qg["x"].max() - 1 < 0.3 * (sgdm["x"].max() - 1)
    crossings = [int((np.diff(np.sign(one["x"] - 1)) != 0).sum()) for one in (sgdm, qg)]
    assert crossings[1] < crossings[0] / 4
    assert qg["loss"].iloc[-1] > sgdm["loss"].iloc[-1]


# Figure 5


def test_the_effective_step_size_falls_with_the_square_of_the_length():
    x = np.array([3.0, 4.0], dtype=np.float32)
    assert step_size.effective_step_size(0.1, x) == pytest.approx(0.1 / 25)
    assert step_size.effective_step_size(0.1, 10 * x) == pytest.approx(0.1 / 2500)


def test_where_weights_hardly_move_the_effective_step_size_follows_the_schedule():
    curve = step_size.train(
        {
            "topology": "complete1",
            "engine": "local",
            "rounds": 10,
            "lr": 1e-7,
            "lr_schedule": {"milestones": [0.5]},
            "record_every": 1,
        }
    )
    assert curve["round"].tolist() == list(range(1, 11))
    share = curve["effective_step_size"] / curve["effective_step_size"].iloc[0]
    np.testing.assert_allclose(share, [1] * 5 + [0.1] * 5, rtol=1e-4)


def test_a_curve_with_the_same_settings_is_not_trained_again(tmp_path, monkeypatch):
    trained = []

    def train(settings):
        trained.append((settings["model"], settings["algorithm"], settings["lr"]))
        points = [1.0, 2.0]
        return pd.DataFrame(
            {"round": points, "epoch": points, "lr": 0.1, "effective_step_size": points}
        )

    monkeypatch.setattr(step_size, "train", train)

    def call(lr, *models):
        recipe = Recipe({"dataset": "digits", "lr": lr}, tmp_path)
        return step_size.step_size(step_size.Params(models=models), recipe)

    first = call(0.1, "mlp")
    assert trained == [("mlp", "dsgdm", 0.1), ("mlp", "qg-dsgdm", 0.1)]
    assert call(0.1, "mlp", "logistic")["model"].tolist() == ["mlp"] * 4 + ["logistic"] * 4
    assert trained[2:] == [("logistic", "dsgdm", 0.1), ("logistic", "qg-dsgdm", 0.1)]
    assert set(call(0.2, "mlp")["settings"]).isdisjoint(first["settings"])
    assert len(trained) == 6

    def stopped(settings):
        if settings["algorithm"] == "qg-dsgdm":
            raise KeyboardInterrupt
        return train(settings)

    monkeypatch.setattr(step_size, "train", stopped)
    with pytest.raises(KeyboardInterrupt):
        call(0.2, "logistic", "mlp")
    monkeypatch.setattr(step_size, "train", train)
    assert call(0.2, "logistic", "mlp")["model"].tolist() == ["logistic"] * 4 + ["mlp"] * 4
    assert trained[6:] == [("logistic", "dsgdm", 0.2), ("logistic", "qg-dsgdm", 0.2)]

    def half(frame, path, **options):
        Path(path).write_text("model,meth")
        raise KeyboardInterrupt

    (kept,) = tmp_path.glob("*.csv")
    before = kept.read_text()
    monkeypatch.setattr(pd.DataFrame, "to_csv", half)
    with pytest.raises(KeyboardInterrupt):
        call(0.3, "mlp")
    assert [path.read_text() for path in tmp_path.iterdir()] == [before]


def test_where_the_data_lie_does_not_make_another_curve():
    settings = {"lr": 0.1, "model": "mlp"}
    assert step_size.fingerprint(settings) == step_size.fingerprint(settings | {"data_dir": "d"})
    assert step_size.fingerprint(settings) != step_size.fingerprint(settings | {"lr": 0.2})


def test_what_the_figure_sets_itself_cannot_be_set(tmp_path):
    with pytest.raises(ConfigError, match="model cannot be set, the figure sets it"):
        run_figure({"figure": "step-size", "model": "mlp"}, tmp_path)


# Figure 6


def test_the_size_of_the_network_and_the_best_learning_rate_are_read_from_the_runs(
    tmp_path, fake_run
):
    for clients in (4, 8):
        for method, gain in (("dsgdm-n", 0.0), ("qg-dsgdm-n", 0.05)):
            for lr, seed in ((0.1, 1), (0.1, 2), (0.2, 1), (0.2, 2)):
                accuracy = 0.9 - clients / 100 + gain + seed / 100 - lr
                name = f"{clients}{method}{lr}{seed}"
                algorithm = {"name": method}
                fake_run(
                    name, accuracy, topology=f"ring{clients}", lr=lr, seed=seed, algorithm=algorithm
                )
    path = run_figure({"figure": "network-size", "sweep": {}}, tmp_path)
    frame = pd.read_csv(path.with_suffix(".csv")).set_index(["clients", "method"])
    assert frame["lr"].unique().tolist() == [0.1]
    assert frame.loc[(8, "dsgdm-n"), "mean"] == pytest.approx(0.9 - 0.08 + 0.015 - 0.1)
    assert frame.loc[(4, "qg-dsgdm-n"), "mean"] == pytest.approx(0.9 - 0.04 + 0.065 - 0.1)
    assert frame["network"].unique().tolist() == ["ring"]


def test_a_figure_of_runs_that_are_not_there_is_refused(tmp_path, fake_run):
    with pytest.raises(ConfigError, match="no run in or below it"):
        run_figure({"figure": "network-size"}, tmp_path)
    fake_run("stopped", rounds_done=1)
    with pytest.raises(ConfigError, match="no run of the figure's sweep has finished"):
        run_figure({"figure": "accuracy-by-epoch"}, tmp_path)


# Accuracy against a setting


def test_accuracy_is_drawn_against_any_setting_at_the_tuned_rate(tmp_path, fake_run):
    for batch_size in (8, 64):
        for lr, seed in ((0.1, 1), (0.1, 2), (0.2, 1), (0.2, 2)):
            accuracy = 0.9 - batch_size / 1000 + seed / 100 - lr
            name = f"{batch_size}-{lr}-{seed}"
            fake_run(name, accuracy, batch_size=batch_size, lr=lr, seed=seed)
    said = {"name": "accuracy-against", "x": "batch_size", "log": True, "where": {"alpha": 0.1}}
    path = run_figure({"figure": said, "sweep": {}}, tmp_path)
    assert path.name == "accuracy-against.svg"
    frame = pd.read_csv(path.with_suffix(".csv"))
    assert frame[["value", "lr", "seeds"]].to_numpy().tolist() == [[8, 0.1, 2], [64, 0.1, 2]]
    assert frame["mean"].tolist() == pytest.approx([0.807, 0.751])
    with pytest.raises(ConfigError, match="no setting batchsize; did you mean batch_size"):
        run_figure({"figure": said | {"x": "batchsize"}}, tmp_path)
    with pytest.raises(ConfigError, match="x and by must be two settings, got lr twice"):
        run_figure({"figure": said | {"x": "lr", "by": "lr"}}, tmp_path)
    for lr in (0.1, 0.2):
        fake_run(f"other-{lr}", 0.5, batch_size=8, lr=lr, seed=1, alpha=1.0)
    assert pd.read_csv(run_figure({"figure": said}, tmp_path).with_suffix(".csv")).equals(frame)
    with pytest.raises(ConfigError, match="differ in alpha: name it under figure.where"):
        run_figure({"figure": said | {"where": {}}}, tmp_path)
    with pytest.raises(ConfigError, match="x must be a setting of numbers, topology is 'ring16'"):
        run_figure({"figure": said | {"x": "topology"}}, tmp_path)


def test_runs_without_the_setting_that_names_the_lines_have_a_line_too(tmp_path, fake_run):
    for rule, accuracy in ((None, 0.5), ({"name": "median"}, 0.7)):
        fake_run(f"{accuracy}", accuracy, rule=rule)
    frame = accuracy_against(Params(x="alpha", by="rule"), Recipe({}, tmp_path))
    assert frame[["method", "mean"]].to_numpy().tolist() == [["median", 0.7], ["none", 0.5]]
    alone = Params(x="alpha", where={"rule": None, "model.hidden": [64]})
    assert accuracy_against(alone, Recipe({}, tmp_path))["mean"].tolist() == [0.5]


# Accuracy against epochs


def test_accuracy_by_epoch_is_the_mean_over_the_seeds_of_the_tuned_rate(tmp_path):
    said = {
        "figure": "accuracy-by-epoch",
        "sweep": {"algorithm": ["dsgd"], "lr": [0.05, 0.2], "seed": [1, 2]},
        "tune": "lr",
        "topology": "ring4",
        "model": "logistic",
        "rounds": 6,
        "eval_every": 3,
    }
    run_sweep(read_sweep(said, "by-epoch", str(tmp_path)), jobs=1)
    path = run_figure(said, tmp_path / "by-epoch")
    frame = pd.read_csv(path.with_suffix(".csv"))
    (lr,) = frame["lr"].unique()
    pair = [p2pqg.load(tmp_path / "by-epoch" / f"dsgd-lr{lr:g}-seed{seed}") for seed in (1, 2)]
    for of, line in frame.groupby("of"):
        found = np.array([run.rounds.dropna(subset=[of])[of] for run in pair])  # [seeds, times]
        np.testing.assert_allclose(line["mean"], found.mean(0))
        np.testing.assert_allclose(line["std"], found.std(0, ddof=1))
    assert len(frame) == 2 * len(found[0])
    assert (frame["seeds"] == 2).all()
    assert lr == tuned(read_runs([tmp_path / "by-epoch"]))
    file = pair[1].path / "rounds.parquet"  # as of a run that ended earlier
    pair[1].rounds[:-1].to_parquet(file)
    shorter = pd.read_csv(run_figure(said, tmp_path / "by-epoch").with_suffix(".csv"))
    assert shorter.equals(frame[frame["epoch"] < frame["epoch"].max()].reset_index(drop=True))
    pair[1].rounds.to_parquet(file)
    other = said | {"figure": {"name": "accuracy-by-epoch", "by": "seed"}}
    with pytest.raises(ConfigError, match="by must be a setting that is not averaged"):
        run_figure(other, tmp_path / "by-epoch")
    once = {key: value for key, value in said.items() if key not in ("figure", "sweep", "tune")}
    more = {"topology": "ring5", "algorithm": "dsgd", "lr": lr, "engine": "local"}
    p2pqg.run(**once | more, seed=1, name="more", out=str(tmp_path / "by-epoch"))
    with pytest.raises(ConfigError, match="runs with dsgd differ in topology: keep one"):
        run_figure(said, tmp_path / "by-epoch")


# Accuracy against the consensus distance


def test_the_critical_distance_is_the_largest_that_loses_no_more_than_is_allowed(
    tmp_path, fake_run
):
    lost = {"exact": 0.0, 0.125: 0.001, 0.25: 0.002, 0.5: 0.008, "free": 0.02}
    for target, loss in lost.items():
        for seed in range(1, 5):
            targets = [target, "exact"]
            accuracy = 0.9 - loss + seed / 100 + (-1) ** seed * loss / 50
            control = {"targets": targets, "phases": [0.5]}
            fake_run(f"{target}-{seed}", accuracy, consensus=control, seed=seed)
    path = run_figure({"figure": "critical-distance", "sweep": {"seed": [1]}}, tmp_path)
    frame = pd.read_csv(path.with_suffix(".csv"))
    assert frame["share"].tolist() == [0.125, 0.25, 0.5, 1]
    assert frame["mean"].tolist() == pytest.approx([-0.001, -0.002, -0.008, -0.02])
    assert frame["verdict"].tolist() == ["holds"] * 2 + ["does not hold"] * 2
    assert frame["critical"].tolist() == [False, True, False, False]
    with pytest.raises(ConfigError, match=r"allowed must be in \(0, 1\), got 0"):
        run_figure({"figure": {"name": "critical-distance", "allowed": 0}, "sweep": {}}, tmp_path)
