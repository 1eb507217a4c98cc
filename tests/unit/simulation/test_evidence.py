"""What a claim can be checked with is what the clients run on."""

import numpy as np
import pytest
import torch

from p2pqg import ConfigError, Simulation, build_model
from p2pqg.data.feeding.feed import Feed

SMALL = {
    "topology": "ring5",
    "alpha": 1.0,
    "model": {"name": "mlp", "hidden": [8]},
    "engine": "local",
    "seed": 3,
}


def gradient(x, inputs, targets, weight_decay):
    """Of the mean cross entropy at one row of parameters, by plain torch."""
    model = build_model("mlp", 10, (64,), hidden=[8], seed=0).double()
    torch.nn.utils.vector_to_parameters(torch.tensor(x), model.parameters())
    outputs = model(torch.tensor(inputs))
    loss = torch.nn.functional.cross_entropy(outputs, torch.tensor(targets))
    grads = torch.autograd.grad(loss, list(model.parameters()))
    return torch.cat([g.flatten() for g in grads]).numpy() + weight_decay * x


def test_dsgd_by_hand_from_shards_batches_and_w_is_what_the_simulation_did():
    wrong = {"loss": 0.2, "participation": 0.7}
    with Simulation(
        **SMALL, algorithm="dsgd", lr=0.2, rounds=9, impairments=wrong, precision="float64"
    ) as sim:
        decay = sim.experiment.task.weight_decay
        x = sim.parameters()
        for round in range(6):
            if round == 3:
                sim.drop_links(["0-1"])
            W, active = sim.W(round), sim.network.schedule.mixing(round).active
            g = np.stack([gradient(x[i], *sim.batch(i, round), decay) for i in range(5)])
            x = np.where(active[:, None], W @ (x - 0.2 * g), x)
            sim.advance(rounds=1)
            assert np.allclose(x, sim.parameters(), rtol=0, atol=1e-10)
            assert np.allclose(W.sum(1), 1)
        assert np.array_equal(sim.state(2)["x"], sim.parameters()[2])


def test_a_batch_is_of_the_clients_shard_and_the_one_that_its_feed_gives():
    with Simulation(**SMALL, algorithm="dsgdm-n", rounds=4, batch_size=4) as sim:
        feed = sim._driver.engine.hosts[0].learner.feed
        assert isinstance(feed, Feed)
        for step in (0, 7, 200):
            inputs, targets = feed.batch(step)
            for client in range(5):
                mine, labels = sim.batch(client, step)
                assert np.array_equal(mine, inputs[client].numpy())
                assert np.array_equal(labels, targets[client].numpy())
        samples, labels = sim.shard(3)
        assert len(samples) == len(labels) == len(sim.experiment.parts[3])
        assert (sim.batch(3, 0)[0][0] == samples).all(1).any()


def test_the_state_of_a_client_has_its_momentum_and_survives_what_it_is_asked_for():
    with Simulation(**SMALL, algorithm="dsgdm-n", rounds=4) as sim:
        sim.advance(rounds=3)
        before = sim.state(1)
        assert {"x", "m"} <= before.keys()
        assert before["m"].shape == before["x"].shape
        assert np.abs(before["m"]).max() > 0
        before["x"][:] = 0
        assert np.array_equal(sim.state(1)["x"], sim.parameters()[1])


def test_w_of_the_past_is_that_of_the_network_as_it_was():
    with Simulation(**SMALL, rounds=9) as sim:
        sim.advance(rounds=2)
        branch = sim.fork()
        branch.drop_clients([2])
        branch.advance(rounds=2)
        branch.add_clients(1)
        whole = sim.W(0)
        assert np.array_equal(branch.W(1), whole)
        gone = branch.W(3)
        assert gone[2, 2] == 1
        assert gone[2].sum() == gone[:, 2].sum() == 1
        assert branch.W(4).shape == (6, 6)
        assert np.array_equal(sim.W(5), whole)
        branch.close()


def test_a_restored_simulation_says_which_networks_it_does_not_know(tmp_path):
    with Simulation(**SMALL, rounds=9) as sim:
        sim.advance(rounds=2)
        sim.drop_links(["0-1"])
        sim.advance(rounds=2)
        sim.checkpoint(tmp_path / "here")
    with Simulation.restore(tmp_path / "here") as again:
        assert again.W(2)[0, 1] == 0
        with pytest.raises(ConfigError, match=r"changed before round 2.*from then on"):
            again.W(1)


def test_flipped_labels_are_seen_by_the_clients_that_learn_from_them():
    attacks = [{"who": [1], "how": "label-flip"}]
    with (
        Simulation(**SMALL, rounds=4) as honest,
        Simulation(**SMALL, rounds=4, attacks=attacks) as lying,
    ):
        assert np.array_equal(lying.batch(1, 0)[1], 9 - honest.batch(1, 0)[1])
        assert np.array_equal(lying.batch(2, 0)[1], honest.batch(2, 0)[1])


@pytest.mark.parametrize(
    ("ask", "said"),
    [
        (lambda sim: sim.shard(7), "no client is called 7"),
        (lambda sim: sim.batch(0, -1), "step must be a whole number >= 0, got -1"),
        (lambda sim: sim.W(1.5), "round must be a whole number >= 0, got 1.5"),
        (lambda sim: sim.state("Ann"), "no client is called 'Ann'"),
    ],
)
def test_what_is_not_there_is_told(ask, said):
    with Simulation(**SMALL, rounds=1) as sim, pytest.raises(ConfigError, match=said):
        ask(sim)


def test_w_of_the_past_is_that_of_the_moment_that_was_gone_back_to():
    """Also where it is that of another fork, to which other things were done."""
    with Simulation(**SMALL, rounds=9) as sim:
        sim.advance(rounds=2)
        branch = sim.fork()
        sim.drop_links(["0-1"])
        sim.advance(rounds=2)
        sim.set_lr(0.01)
        sim.advance(rounds=1)
        branch.advance(rounds=1)
        branch.drop_links(["2-3"])
        branch.advance(rounds=1)
        branch.go_back(sim.moment())
        for round in range(6):
            assert (branch.W(round)[0, 1] == 0) == (round >= 2)
            assert branch.W(round)[2, 3] > 0
        branch.close()


def test_flipped_labels_of_the_past_stay_flipped_when_the_lying_is_over(tmp_path):
    with Simulation(**SMALL, rounds=9) as honest, Simulation(**SMALL, rounds=9) as sim:
        sim.advance(rounds=1)
        sim.attack([1], "label-flip")
        sim.advance(rounds=2)
        sim.stop_attack()
        sim.checkpoint(tmp_path / "here")
        true = [honest.batch(1, step)[1] for step in range(5)]
        for step, labels in enumerate(true):
            learned = 9 - labels if step in (1, 2) else labels
            assert np.array_equal(sim.batch(1, step)[1], learned)
    with Simulation.restore(tmp_path / "here") as again:
        assert np.array_equal(again.batch(1, 3)[1], true[3])
        with pytest.raises(ConfigError, match="who lied, or .* before round 3"):
            again.batch(1, 2)


def test_flipped_labels_are_those_of_the_round_a_step_is_in_though_rounds_became_longer(tmp_path):
    """Steps were counted as if all rounds had as many as the first ones."""
    local = {**SMALL, "algorithm": "dsgd", "rounds": 20}
    attacks = [{"who": [1], "how": "label-flip", "when": [4, 4]}]
    with Simulation(**local) as honest, Simulation(**local, attacks=attacks) as sim:
        sim.advance(rounds=2)
        sim.set_algorithm_params(local_steps=3)
        sim.advance(rounds=1)
        sim.checkpoint(tmp_path / "here")
        true = [honest.batch(1, step)[1] for step in range(13)]
        flipped = [
            step for step in range(13) if not np.array_equal(sim.batch(1, step)[1], true[step])
        ]
        assert flipped == [8, 9, 10]  # rounds 0, 1; 2: steps 2 to 4; 3: 5 to 7; 4: 8 to 10
    with Simulation.restore(tmp_path / "here") as again:
        assert np.array_equal(again.batch(1, 9)[1], 9 - true[9])
        with pytest.raises(ConfigError, match="how many steps a round has, was changed before"):
            again.batch(1, 1)


def test_what_does_not_touch_the_network_or_the_steps_of_a_round_begins_no_era():
    """A step size that is set in every round made a list of 200,000, which was copied each time."""
    scenario = [{"every": 1, "set_lr": 0.05}, {"at": 4, "drop_links": ["0-1"]}]
    with Simulation(
        topology="ring4", engine="local", rounds=8, record_every=8, scenario=scenario
    ) as sim:
        sim.finish()
        assert [era.first for era in sim._networks] == [0, 4]
        assert [sim.W(round)[0, 1] > 0 for round in range(8)] == [True] * 4 + [False] * 4
