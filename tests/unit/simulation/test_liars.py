"""Liars in a run: as a key of a recipe, as something that can be done, in results and forks."""

import numpy as np
import pytest
from toys import TOY, assert_same

import p2pqg
from p2pqg.base.errors import ConfigError

LOCAL = {**TOY, "engine": "local", "eval_every": 1}
MINE = "def big(honest, W, round):\n    return 3 + honest.mean(0)\n"


def sim(**settings):
    return p2pqg.Simulation(**LOCAL | {"rounds": 8} | settings)


def test_rows_tell_who_lied_and_how_the_honest_fare():
    lies = [{"who": [1, 4], "how": "sign-flip", "when": [2, 3]}]
    with sim(attacks=lies) as one:
        one.advance(rounds=5)
        rounds, clients = one.history, one.clients
    assert rounds["liars"].tolist() == [0, 0, 2, 2, 0]
    assert [set(c[c["lied"]]["client"]) for _, c in clients.groupby("round")] == [
        set(),
        set(),
        {1, 4},
        {1, 4},
        set(),
    ]
    for round, row in rounds.iterrows():
        here = clients[clients["round"] == round]
        honest = here[~here["lied"]]
        assert row["honest_test_accuracy"] == pytest.approx(honest["test_accuracy"].mean())
        assert row["honest_test_accuracy_min"] == pytest.approx(honest["test_accuracy"].min())
        assert row["honest_test_loss"] == pytest.approx(honest["test_loss"].mean())
        if not len(here[here["lied"]]):
            assert row["honest_consensus_distance"] == row["consensus_distance"]


@pytest.mark.parametrize("per_actor", [6, 2])
def test_the_honest_agree_on_their_own_mean(per_actor):
    with sim(attacks=[{"who": [0, 3], "how": "scale"}], clients_per_actor=per_actor) as one:
        one.advance(rounds=3)
        x = one.parameters()[[1, 2, 4, 5]].astype(np.float64)
        distance = ((x - x.mean(0)) ** 2).sum(1).mean()
        assert one.history["honest_consensus_distance"].iloc[-1] == pytest.approx(distance, 1e-5)


def test_forks_with_and_without_liars_draw_the_same_batches_and_end_lies_alike():
    with sim() as one:
        one.advance(rounds=2)
        with one.fork() as branch, one.fork() as calm:
            branch.attack([2], {"name": "scale", "factor": 1.0})  # no lie
            branch.advance(rounds=2)
            calm.advance(rounds=2)
            gap = np.abs(branch.parameters() - calm.parameters()).max()
            assert gap < 1e-6  # the same sums, in another order
            branch.stop_attack()
            branch.attack([2], "sign-flip")
            branch.advance(rounds=1)
            assert np.abs(branch.parameters() - calm.parameters()).max() > 1e-3
            said = [event["what"] for event in branch.events]
            assert said == ["attack by 2: scale (factor 1.0)", "stop_attack all"] + [
                "attack by 2: sign-flip"
            ]


def test_a_scenario_brings_liars_and_takes_them_away(tmp_path):
    scenario = [
        {"at": 2, "attack": {"who": [5], "how": {"name": "noise", "sigma": 0.3}}},
        {"at": 4, "stop_attack": [5]},
    ]
    planned = [{"who": [5], "how": {"name": "noise", "sigma": 0.3}, "when": [2, 3]}]
    with sim(scenario=scenario) as one, sim(attacks=planned) as other:
        one.advance(rounds=6)
        other.advance(rounds=6)
        assert (one.parameters() == other.parameters()).all()
        assert one.history["liars"].tolist() == [0, 0, 1, 1, 0, 0]
        other.stop_attack()
        other.checkpoint(tmp_path / "no more")
        with p2pqg.Simulation.restore(tmp_path / "no more") as again:
            assert again.history.equals(other.history)
            assert again.clients.equals(other.clients)


def test_flipped_labels_are_learned_by_the_liar_alone():
    """After one round of DSGD only it and its neighbors have come elsewhere."""
    ring = {"topology": "ring6", "algorithm": "dsgd"}
    with sim(**ring, attacks=[{"who": [1], "how": "label-flip"}]) as lying, sim(**ring) as calm:
        lying.advance(rounds=1)
        calm.advance(rounds=1)
        moved = np.abs(lying.parameters() - calm.parameters()).max(1) > 0
        assert moved.tolist() == [True, True, True, False, False, False]


def test_label_flips_end_when_they_should_and_do_not_depend_on_packing():
    lies = {"attacks": [{"who": [1, 5], "how": "label-flip", "when": [1, 2]}]}
    with sim(**lies) as one, sim(**lies, clients_per_actor=2) as three, sim() as calm:
        for each in (one, three, calm):
            each.advance(rounds=4)
        np.testing.assert_allclose(one.parameters(), three.parameters(), atol=1e-6)
        assert np.abs(one.parameters() - calm.parameters()).max() > 1e-4


def test_a_checkpoint_knows_the_liars(tmp_path):
    (tmp_path / "mine.py").write_text(MINE)
    with sim(attacks=[{"who": [3], "how": "alie", "when": 5}]) as one:
        one.advance(rounds=1)
        one.attack([0], f"{tmp_path}/mine.py:big")
        one.advance(rounds=2)
        one.checkpoint(tmp_path / "there")
        one.advance(rounds=4)
        with p2pqg.Simulation.restore(tmp_path / "there") as again:
            again.advance(rounds=4)
            assert_same(one, again)
            assert again.network.liars(6).tolist() == [True, False, False, True, False, False]


def test_a_run_says_it_all_again_and_keeps_the_users_file(tmp_path):
    (tmp_path / "mine.py").write_text(MINE)
    lies = [{"who": {"count": 2}, "how": f"{tmp_path}/mine.py:big", "when": [1, 3]}]
    run = p2pqg.run(**LOCAL, rounds=4, attacks=lies, out=str(tmp_path / "out"))
    (item,) = run.config["attacks"]
    assert item["when"] == [1, 3]
    assert len(item["who"]) == 2
    assert (run.path / "files" / "mine.py").exists()
    assert run.clients["lied"].dtype == bool
    again = p2pqg.run(**{**run.config, "out": str(tmp_path / "again"), "name": "again"})
    assert again.clients["test_loss"].tolist() == run.clients["test_loss"].tolist()


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"attacks": [{"who": [9], "how": "noise"}]}, r"attacks\[0\].who: no client is called 9"),
        (
            {"scenario": [{"at": 1, "attack": {"who": [9], "how": "noise"}}]},
            r"scenario\[0\].*no client is called 9",
        ),
        ({"scenario": [{"at": 1, "attack": "noise"}]}, r"attack must be like \{who: \[3\], how"),
        ({"scenario": [{"at": 1, "stop_attack": [2]}]}, "stop_attack: client 2 does not lie"),
        (
            {
                "scenario": [
                    {"at": 1, "drop_clients": [2]},
                    {"at": 2, "attack": {"who": [2], "how": "noise"}},
                ]
            },
            "client 2 left and sends nothing; leave it out",
        ),
        (
            {"rule": "trimmed-mean", "attacks": [{"who": [0, 2], "how": "noise"}]},
            r"client 1 has 2 \(0, 2\): more than it can bear",
        ),
        ({"algorithm": "sgd", "attacks": [{"who": [1], "how": "ipm"}]}, "ipm does not go with sgd"),
    ],
)
def test_liars_that_cannot_be_are_refused_before_anything_starts(settings, told):
    with pytest.raises(ConfigError, match=told):
        sim(**settings)


def test_who_left_does_not_lie():
    with sim(attacks=[{"who": [2], "how": "noise"}]) as one:
        one.drop_clients([2])
        one.advance(rounds=1)
        one.stop_attack([2])
        with pytest.raises(ConfigError, match="client 2 left and sends nothing"):
            one.attack([2], "noise")
        assert one.history["liars"].tolist() == [0]


@pytest.mark.parametrize(
    "settings",
    [
        {"algorithm": "dsgd", "local_steps": 3, "topology": "exponential6", "rule": "median"},
        {"algorithm": "k-gt", "topology": "erdos-renyi6:p=0.7", "rule": "clipped"},
        {"algorithm": "qg-dsgdm-n", "topology": "onepeer-exponential6", "precision": "float64"},
    ],
)
def test_liars_under_churn_and_losses_go_on_from_a_checkpoint_and_in_any_packing(
    settings, tmp_path
):
    settings = {
        "attacks": [{"who": [1], "how": {"name": "alie", "z": 1.0}, "when": [1, 6]}],
        "impairments": {"loss": 0.3, "by": "link"},
        "scenario": [
            {"at": 2, "drop_clients": [4]},
            {"at": 3, "attack": {"who": [2], "how": "label-flip"}},
            {"at": 5, "restore_clients": [4]},
            {"at": 6, "stop_attack": [2]},
        ],
        **settings,
    }
    with sim(**settings) as one, sim(clients_per_actor=2, **settings) as packed:
        one.advance(rounds=4)
        stored = one.checkpoint(tmp_path / "stored")
        with one.fork() as branch, p2pqg.Simulation.restore(stored) as again:
            for other in (one, branch, again):
                other.advance(rounds=4)
                assert (other.parameters() == one.parameters()).all()
                assert other.history["liars"].tolist()[-4:] == [2, 2, 1, 0]
        packed.advance(rounds=8)
        np.testing.assert_allclose(packed.parameters(), one.parameters(), rtol=0, atol=1e-6)


def test_who_is_left_may_not_only_be_liars_but_may_have_been():
    settings = TOY | {"engine": "local", "rounds": 8}
    with p2pqg.Simulation(**settings) as sim:
        sim.attack([0, 1], "sign-flip")
        sim.advance(2)
        with pytest.raises(ConfigError, match="nobody honest would be left; stop_attack first"):
            sim.drop_clients([2, 3, 4, 5])
        sim.drop_clients([2, 3, 4])
        sim.stop_attack()
        sim.drop_clients([5])
        sim.advance(2)
        assert sim.evaluate()["present"] == 2
    over = [{"who": [0, 1], "how": "sign-flip", "when": [0, 3]}]
    leave = [{"at": "round 5", "drop_clients": [2, 3, 4, 5]}]
    with p2pqg.Simulation(**settings, attacks=over, scenario=leave) as sim:
        sim.finish()
        assert sim.history["present"].iloc[-1] == 2
    with pytest.raises(ConfigError, match="nobody honest would be left"):
        p2pqg.Simulation(**settings, attacks=[{"who": [0, 1], "how": "sign-flip"}], scenario=leave)
