"""What a user's own function is given is for it to write into; nothing of it reaches the run."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F
from toys import TOY

import p2pqg
from p2pqg.base import draws
from p2pqg.base.errors import ConfigError
from p2pqg.engine import robust

OWN = TOY | {"topology": "ring4", "rounds": 2, "engine": "local", "precision": "float64"}


def loss(outputs, targets):
    return F.cross_entropy(2 * outputs, targets.clamp(max=1), reduction="none")


def loss_that_writes(outputs, targets):
    return F.cross_entropy(outputs.mul_(2), targets.clamp_(max=1), reduction="none")


def score(outputs, targets):
    return (outputs.max(1).values * (1 + targets)).mean()


def score_that_writes(outputs, targets):
    found = score(outputs, targets).item()
    outputs += 1
    targets += 1
    return found


def quarters(labels, clients, rng):
    return np.array_split(np.arange(len(labels)), clients)


def quarters_that_write(labels, clients, rng):
    parts = quarters(labels, clients, rng)
    labels[:] = 0
    return parts


@pytest.mark.parametrize(
    ("alike", "writes"),
    [
        ({"loss": loss}, {"loss": loss_that_writes}),
        (
            {"metrics": {"one": score, "two": score}},
            {"metrics": {"one": score_that_writes, "two": score_that_writes}},
        ),
        ({"partition": quarters}, {"partition": quarters_that_write}),
    ],
)
def test_figures_are_the_same_whether_a_function_writes_into_what_it_is_given(alike, writes):
    found = []
    for given in (alike, writes):
        with p2pqg.Simulation(**OWN | given) as sim:
            sim.advance(2)
            row = sim.evaluate()
            found.append((sim.parameters(), [row[k] for k in row if k in MEASURED]))
    np.testing.assert_allclose(found[0][0], found[1][0], rtol=0, atol=1e-12)
    assert found[0][1] == pytest.approx(found[1][1], abs=1e-12)


MEASURED = ("test_accuracy", "test_loss", "averaged_model_accuracy", "one", "two")


class Watch(draws.Watch):
    """Sees what another thread draws meanwhile."""

    def __exit__(self, *error):
        self.drawn = {"torch"}


@pytest.mark.parametrize("watch", [draws.Watch, Watch])
def test_a_rule_may_write_into_what_it_is_given(watch, tmp_path, monkeypatch):
    monkeypatch.setattr(robust, "Watch", watch)
    (tmp_path / "mine.py").write_text(
        "def plain(own, inbox, weights):\n"
        "    return own + (weights[:, None] * (inbox - own)).sum(0)\n"
        "def writes(own, inbox, weights):\n"
        "    mixed = plain(own, inbox, weights)\n"
        "    own.zero_(), inbox.zero_(), weights.zero_()\n"
        "    return mixed\n",
        encoding="utf-8",
    )
    found = []
    for name in ("plain", "writes"):
        with p2pqg.Simulation(**OWN | {"rule": f"{tmp_path}/mine.py:{name}"}) as sim:
            sim.advance(2)
            found.append(sim.parameters())
    assert (found[0] == found[1]).all()


def test_what_becomes_of_arrays_after_they_were_given_does_not_matter():
    x = np.random.default_rng(0).standard_normal((60, 5))
    y, float32 = (x[:, 0] > 0).astype(int), x.astype(np.float32)
    for given in ((x, x), (float32, float32), (x, x[:, :2]), (x, y)):
        found = []
        for late in (False, True):
            theirs = [a.copy() for a in (*given, *given)]
            with p2pqg.Simulation(**OWN | {"dataset": tuple(theirs), "model": "mlp"}) as sim:
                sim.advance(1)
                for array in theirs if late else ():
                    array[:] = 1
                sim.advance(1)
                seen = *sim.shard(0), *sim.batch(1, 1)
                found.append((sim.parameters(), sim.evaluate()["test_loss"], *seen))
        for one, other in zip(*found, strict=True):
            np.testing.assert_array_equal(one, other)


def remembers():
    seen = []

    def mean(outputs, targets):
        seen.append(float((outputs.argmax(1) == targets).double().mean()))
        return sum(seen) / len(seen)

    return mean


@pytest.mark.parametrize("metric", [remembers(), lambda outputs, targets: torch.rand(())])
def test_a_metric_that_is_another_number_when_it_is_asked_again_is_refused(metric):
    with pytest.raises(ConfigError, match="when the same samples come again; it must depend on"):
        p2pqg.Simulation(**OWN | {"metrics": {"odd": metric}})
