"""The step size of every round, against the paper's recipe worked out by hand."""

import math
from fractions import Fraction

import pytest

from p2pqg.algorithms.lr import LrSchedule, learning_rate
from p2pqg.base.ranges import broken_rules

PAPER = LrSchedule(scaling="linear", warmup_epochs=5, milestones=(0.5, 0.75))


def paper_lr(num_clients, lr=0.1):
    """300 epochs of 98 rounds: CIFAR-10 over 16 clients, batches of 32."""
    return learning_rate(lr, PAPER, num_clients, 32, num_rounds=300 * 98, rounds_per_epoch=98)


def test_sixteen_clients_warm_up_to_eight_tenths_and_drop_at_a_half_and_three_quarters():
    lr = paper_lr(16)
    assert lr(0) == 0.1
    assert lr(245) == pytest.approx(0.45)  # half of the warm-up
    assert lr(490) == lr(150 * 98 - 1) == pytest.approx(0.8)
    assert lr(150 * 98) == lr(225 * 98 - 1) == pytest.approx(0.08)
    assert lr(225 * 98) == lr(300 * 98 - 1) == pytest.approx(0.008)


def test_a_rate_that_is_not_above_a_tenth_is_not_warmed_up():
    lr = paper_lr(16, lr=0.0125)
    assert lr(0) == lr(245) == pytest.approx(0.1)


def test_imagenet_drops_at_thirty_sixty_and_eighty_epochs_of_ninety():
    schedule = LrSchedule(milestones=(1 / 3, 2 / 3, 8 / 9))
    lr = learning_rate(1.0, schedule, 16, 64, num_rounds=90 * 50, rounds_per_epoch=50)
    drops = [t for t in range(1, 90 * 50) if lr(t) < lr(t - 1)]
    assert drops == [30 * 50, 60 * 50, 80 * 50]


@pytest.mark.parametrize("rounds_per_epoch", [0.5, 2 / 3, 1.0, 97.65625])
def test_steps_by_epochs_do_not_drift_where_an_epoch_is_no_whole_number_of_rounds(rounds_per_epoch):
    halved = LrSchedule(kind="step", step_epochs=3, decay=0.5)
    lr = learning_rate(1.0, halved, 16, 32, 2000, rounds_per_epoch)
    for at in range(60 if rounds_per_epoch < 2 else 2000):
        epochs = Fraction(at) / Fraction(rounds_per_epoch).limit_denominator(1000)
        assert lr(at) == 0.5 ** (epochs // 3)


@pytest.mark.parametrize(
    ("floor", "after"), [(0.25, 0.25), (0.0, (1 + math.cos(math.pi * 4 / 5)) / 2)]
)
def test_beyond_the_end_of_a_cosine_the_step_size_stays_and_is_never_0(floor, after):
    schedule = LrSchedule(kind="cosine", floor=floor, warmup_epochs=1, warmup_from=0.5)
    lr = learning_rate(1.0, schedule, 4, 8, num_rounds=7, rounds_per_epoch=2)
    assert [lr(t) for t in (7, 8, 1000)] == pytest.approx([after] * 3)
    assert lr(4) == pytest.approx(floor + (1 - floor) * (1 + math.cos(math.pi * 2 / 5)) / 2)


def test_a_cosine_waits_for_no_warm_up_that_there_is_not():
    schedule = LrSchedule(kind="cosine", floor=0.25, warmup_epochs=1, warmup_from=1.0)
    lr = learning_rate(1.0, schedule, 4, 8, num_rounds=8, rounds_per_epoch=2)
    assert [lr(t) for t in (0, 4, 8)] == pytest.approx([1, 0.625, 0.25])


def test_steps_without_length_are_no_steps_but_an_end():
    lr = learning_rate(1.0, LrSchedule(kind="step", step_epochs=5e-324), 4, 8, 20, 2)
    assert [lr(t) for t in (0, 1, 19)] == [1, 0, 0]


@pytest.mark.parametrize("key", ["warmup_epochs", "warmup_from", "decay"])
@pytest.mark.parametrize("value", [math.nan, math.inf, -1.0])
def test_what_is_no_number_in_range_is_refused(key, value):
    (problem,) = broken_rules(LrSchedule(**{key: value}), "lr_schedule.")
    assert problem.startswith(f"lr_schedule.{key} must be")


def of_the_official_code(iteration, batches, epochs):
    """epfml/quasi-global-momentum, pcode/create_scheduler.py: GradualWarmupScheduler, MultiStepLR.

    It is told the epoch, iterations over batches, after each iteration; the milestones are those
    epochs, rounded, and are seen where the epoch is just that.
    """
    milestones = [int(ratio * epochs + 0.5) for ratio in (0.5, 0.75)]
    dropped = sum(milestone <= iteration / batches for milestone in milestones)
    if iteration / batches <= 5:
        return 0.1 * ((8 - 1.0) * (iteration / batches) / 5 + 1.0)
    return 0.1 * 8 * 0.1**dropped


@pytest.mark.parametrize(("batches", "epochs"), [(97, 300), (98, 40), (1, 20), (7, 12)])
def test_every_iteration_has_the_step_size_of_the_official_code(batches, epochs):
    paper = LrSchedule(scaling="linear", warmup_epochs=5, milestones=(0.5, 0.75))
    lr = learning_rate(0.1, paper, 16, 32, batches * epochs, batches)
    for iteration in range(batches * epochs):
        expected = of_the_official_code(iteration, batches, epochs)
        assert lr(iteration) == pytest.approx(expected, rel=1e-12)


def test_a_warm_up_begins_where_it_is_told_to():
    schedule = LrSchedule(warmup_epochs=2, warmup_from=0.5)
    lr = learning_rate(1.0, schedule, 4, 8, num_rounds=20, rounds_per_epoch=2)
    assert [lr(round) for round in range(6)] == [0.5, 0.625, 0.75, 0.875, 1.0, 1.0]
