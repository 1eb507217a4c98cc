"""A rule of gossip as a key of a recipe, as something that can be done, and in a checkpoint."""

from dataclasses import dataclass

import pytest
from toys import TOY, assert_same

import p2pqg
from p2pqg.base.errors import AlgorithmError, ConfigError

LOCAL = {**TOY, "engine": "local"}
MINE = "def plain(own, inbox, weights):\n    return own + weights @ (inbox - own)\n"


def test_a_recipe_names_a_rule_and_its_parameters_are_filled_in(tmp_path):
    run = p2pqg.run(**LOCAL, rule="clipped", rounds=4, out=str(tmp_path))
    assert run.config["rule"] == {"name": "clipped", "f": 1, "tau": "adaptive"}
    plain = p2pqg.run(**LOCAL, rounds=4, out=str(tmp_path))
    assert run.summary["consensus_distance"] > plain.summary["consensus_distance"]
    assert run.rounds["mean_drift"].iloc[-1] > 0


def test_a_rule_can_be_changed_on_the_way_and_forks_tell_what_it_does():
    with p2pqg.Simulation(**LOCAL, rounds=8, rule="median") as sim:
        sim.advance(rounds=3)
        assert sim.rule == "median"
        with sim.fork() as branch:
            branch.set_rule({"name": "clipped", "tau": float("inf")})
            assert branch.rule == {"name": "clipped", "f": 1, "tau": float("inf")}
            branch.advance(rounds=3)
            sim.do("set_rule", rule=None)
            assert sim.rule is None
            sim.advance(rounds=3)
            gap = abs(branch.parameters() - sim.parameters()).max()
            assert 0 < gap < 1e-5  # the same sum, in another order
        assert [event["what"] for event in sim.events] == ["set_rule none"]
        assert [event["what"] for event in branch.events] == ["set_rule clipped (tau inf)"]


def test_a_scenario_sets_a_rule():
    scenario = [{"at": 2, "set_rule": "median"}, {"at": 4, "set_rule": "none"}]
    with (
        p2pqg.Simulation(**LOCAL, rounds=6, scenario=scenario) as planned,
        p2pqg.Simulation(**LOCAL, rounds=6) as by_hand,
    ):
        planned.advance(rounds=6)
        by_hand.advance(rounds=2)
        by_hand.set_rule("median")
        by_hand.advance(rounds=2)
        by_hand.set_rule(None)
        by_hand.advance(rounds=2)
        assert (planned.parameters() == by_hand.parameters()).all()


def test_a_checkpoint_knows_the_rule_that_was_set(tmp_path):
    (tmp_path / "mine.py").write_text(MINE)
    with p2pqg.Simulation(**LOCAL, rounds=8, rule="median") as sim:
        sim.set_rule(f"{tmp_path}/mine.py:plain")
        sim.advance(rounds=3)
        sim.checkpoint(tmp_path / "there")
        sim.advance(rounds=3)
        with p2pqg.Simulation.restore(tmp_path / "there") as again:
            assert sim.rule.endswith("mine.py:plain")
            assert again.rule.endswith(".py:plain")
            again.advance(rounds=3)
            assert_same(sim, again)


def test_a_function_as_a_rule_works_but_cannot_be_saved(tmp_path):
    with p2pqg.Simulation(**LOCAL, rounds=8) as sim:
        sim.set_rule(own := lambda own, inbox, weights: own)
        assert sim.rule is own
        sim.advance(rounds=1)
        with pytest.raises(ConfigError, match="which cannot be saved; write it to a file"):
            sim.checkpoint(tmp_path / "there")


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        (
            {"rule": lambda own, inbox, weights: own},
            "rule lambda is a Python function; write it to",
        ),
        ({"rule": "cliped"}, "unknown rule 'cliped'; did you mean clipped"),
        ({"rule": {"name": "krum", "f": 1}}, "reckons with more liars than 'ring6' can bear"),
        ({"rule": "median", "algorithm": "sgp"}, "rule does not go with sgp"),
        ({"rule": "median", "impairments": {"noise": 0.1}}, "noise does not go with rule median"),
        ({"scenario": [{"at": 1, "set_rule": "krum"}], "rounds": 3}, r"scenario\[0\].*krum"),
        ({"scenario": [{"at": 1, "set_rule": 3}], "rounds": 3}, r"set_rule must be a rule such as"),
    ],
)
def test_a_rule_that_cannot_be_is_refused_before_anything_starts(settings, told):
    with pytest.raises(ConfigError, match=told):
        p2pqg.Simulation(**LOCAL | settings)


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ("pass", r"must return \[params\], a tensor; it returns something else, or nothing"),
        ("return inbox.numpy().mean(0)", r"compute with torch, without .numpy\(\)"),
        ("return own[:3]", r"must return \[params\], as many as it was given \(\d+\), got \[3\]"),
        (
            "return own.tolist() if own.norm().item() else own",
            r"must return \[params\].*, got list",
        ),
        ("return own + torch.randn_like(own)", "draws random numbers; the same inbox must give"),
        ("calls.append(0)\n    return own / len(calls)", "gives something else when the same"),
        (
            "calls.append(inbox.mean().item())\n    return own + sum(calls) / len(calls)",
            "gives something else when the same inbox comes again",
        ),
    ],
)
def test_a_rule_of_ones_own_that_does_not_keep_to_what_it_must_is_one_clear_line(
    tmp_path, body, told
):
    file = tmp_path / "mine.py"
    code = f"import torch\ncalls = []\ndef odd(own, inbox, weights):\n    {body}\n"
    file.write_text(code, encoding="utf-8")
    with (
        p2pqg.Simulation(**LOCAL | {"rule": f"{file}:odd"}) as sim,
        pytest.raises(AlgorithmError, match=f"odd {told}|odd .*{told}"),
    ):
        sim.advance(1)


def test_what_is_made_up_to_see_whether_a_rule_remembers_may_be_refused_by_it(tmp_path):
    """As by one that knows of which sign some parameters are."""
    file = tmp_path / "mine.py"
    file.write_text(
        "seen = []\n"
        "def sure(own, inbox, weights):\n"
        "    seen.append(own.sum().item())\n"
        "    assert seen[-1] != -seen[0]\n"
        "    return (own + inbox.mean(0)) / 2\n",
        encoding="utf-8",
    )
    with p2pqg.Simulation(**LOCAL | {"rule": f"{file}:sure"}) as sim:
        sim.advance(1)
        assert sim.round == 1


@dataclass
class Mean:
    """A rule with a field, of which Python makes no hash."""

    calls: list

    def __call__(self, own, inbox, weights):
        self.calls.append(len(inbox))
        return (own + inbox.mean(0)) / 2


def test_a_rule_that_has_no_hash_is_tried_before_its_first_round_and_no_more():
    rule, counts = Mean([]), []
    with p2pqg.Simulation(**LOCAL) as sim:
        sim.set_rule(rule)
        for _ in range(4):
            rule.calls.clear()
            sim.advance(1)
            counts.append(len(rule.calls))
    assert counts[0] > counts[2] == counts[3] > 0
