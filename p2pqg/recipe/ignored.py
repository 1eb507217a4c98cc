"""Settings that are accepted and change nothing beside the others: a line for each."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator
from dataclasses import fields
from itertools import groupby
from typing import Any

from p2pqg.algorithms.lr import LearningRate
from p2pqg.base.wording import counted, plain_text
from p2pqg.network import Event, Scenario
from p2pqg.network.lies import read_attacks
from p2pqg.network.units import seconds
from p2pqg.recipe.settings import RunConfig


def ignored(config: RunConfig, params: Any, lr: float, num_rounds: int) -> Iterator[str]:
    """What is set, not as it is by default, and does nothing.

    Args:
        config: the settings.
        params: of the algorithm; what they leave out they say themselves, by a method `ignored`
            that yields pairs of a name and the reason.
        lr: that the step size warms up to.
        num_rounds: of the run, as far as is known.
    """
    yield from _of_lr(config, lr)
    yield from _of_length(config, params, num_rounds)
    yield from _of_impairments(config)
    controlled = [t for t in config.consensus.targets if not isinstance(t, str) and t < math.inf]
    if not controlled:
        why = "no phase has a number as its target"
        names = ("reference", "measure", "max_exchanges")
        yield from _told(config.consensus, "consensus.", names, why)
    if config.stop.patience is None:
        yield from _told(
            config.stop, "stop.", ("metric", "best", "min_delta"), "they are of stop.patience"
        )
    if not config.privacy.sigma:
        yield from _told(config.privacy, "privacy.", ("delta",), "there is no privacy.sigma")
    if hasattr(params, "ignored"):
        for name, why in params.ignored():
            yield from _told(params, "algorithm.", (name,), why)


def _of_lr(config: RunConfig, lr: float) -> Iterator[str]:
    schedule = config.lr_schedule
    if schedule.function is not None:
        names = [field.name for field in fields(schedule) if field.name != "function"]
        yield from _told(schedule, "lr_schedule.", names, "a function says what lr is")
        return
    if schedule.scaling == "none":
        yield from _told(schedule, "lr_schedule.", ("base_batch_size",), "scaling is none")
    if not schedule.warmup_epochs:
        yield from _told(schedule, "lr_schedule.", ("warmup_from",), "there are no warmup_epochs")
    elif lr <= schedule.warmup_from:
        why = f"lr {lr:g} is not above warmup_from {schedule.warmup_from:g}"
        yield from _told(schedule, "lr_schedule.", ("warmup_epochs",), why)
    if schedule.kind == "cosine" or (schedule.kind == "milestones" and not schedule.milestones):
        yield from _told(schedule, "lr_schedule.", ("decay",), "there are no milestones or steps")
    if schedule.kind != "step":
        yield from _told(schedule, "lr_schedule.", ("step_epochs",), f"kind is {schedule.kind}")
    if schedule.kind != "cosine":
        yield from _told(schedule, "lr_schedule.", ("floor",), f"kind is {schedule.kind}")


def has_fractions(config: RunConfig) -> bool:
    """Whether something goes by fractions of the run: then its length changes its numbers."""
    schedule = config.lr_schedule
    by_schedule = schedule.function is None and (
        schedule.kind == "cosine" or (schedule.kind == "milestones" and bool(schedule.milestones))
    )
    # A rule of gossip may change as the run goes on.
    by_rule = config.rule is not None or _is_in_scenario("set_rule", config)
    return by_schedule or by_rule or bool(config.consensus.phases)


def _of_length(config: RunConfig, params: Any, num_rounds: int) -> Iterator[str]:
    if not has_fractions(config):
        why = "there are no milestones, cosine or phases, which are fractions of it"
        yield from _told(config, "", ("planned_rounds", "planned_epochs"), why)
    if config.time is not None or config.steps is not None:
        return
    yield from _too_long(config, params, num_rounds)
    for said in read_attacks(config.attacks):
        if said.first >= num_rounds:
            yield (
                f"{said.where} is ignored: it begins in round {said.first}, and the last one "
                f"is {num_rounds - 1}"
            )


def _too_long(config: RunConfig, params: Any, num_rounds: int) -> Iterator[str]:
    """What is done after so many rounds of which there are fewer, and phases without a round."""
    tau = getattr(params, "tau", None)
    if isinstance(tau, int) and tau > num_rounds:
        yield (
            f"algorithm.tau: the run has {num_rounds:,} rounds, and what is done after {tau:,} "
            "never is"
        )
    consensus = config.consensus
    if consensus.targets and config.planned_rounds is None and config.planned_epochs is None:
        ends = [round(share * num_rounds) for share in consensus.phases]
        phases = zip(consensus.targets, [0, *ends], [*ends, num_rounds], strict=True)
        for target in (target for target, first, end in phases if first >= end):
            why = f"its phase has none of {num_rounds:,} rounds"
            yield f"consensus.targets {plain_text(target)} is ignored: {why}"


def never_due(config: RunConfig, scenario: Scenario) -> Iterator[str]:
    """Items of a scenario that a run comes to its end before, on the simulated clock."""
    if config.time is None:
        return
    end = seconds(config.time, "time")
    for where, events in groupby(sorted(scenario.seconds, key=_place), key=_place):
        if (first := min(event.at for event in events)) >= end:
            yield f"{where} is ignored: it is due at {first:g} s, and the run ends at {end:g} s"


def never_out_of_patience(config: RunConfig, num_rounds: int) -> Iterator[str]:
    """A line that says that a run is over before its patience can be.

    Args:
        config: the settings, with those of evaluations filled in.
        num_rounds: of the run.
    """
    patience, every = config.stop.patience, config.eval_every
    if patience is None or every is None or config.time is not None or config.steps is not None:
        return
    count = math.ceil(num_rounds / every) + bool(config.eval_first and every > 1)
    if patience >= count:
        yield (
            f"stop.patience {patience} is ignored: the run has {counted(count, 'evaluation')}; set "
            "eval_every"
        )


def _place(event: Event) -> str:
    return event.where


def _is_in_scenario(verb: str, config: RunConfig) -> bool:
    return any(isinstance(item, dict) and verb in item for item in config.scenario)


def of_the_rounds(config: RunConfig, lr: LearningRate, num_rounds: int) -> Iterator[str]:
    """What step sizes would do before the first round, or after the last one.

    Args:
        config: the settings.
        lr: what became of them.
        num_rounds: of the run.
    """
    schedule = config.lr_schedule
    if schedule.function is not None:
        return
    if schedule.warmup_epochs and not lr.warmup_rounds and lr.target > lr.warmup_from:
        yield from _told(schedule, "lr_schedule.", ("warmup_epochs",), "it is under half a round")
    if lr.warmup_rounds >= num_rounds and lr.target > lr.warmup_from:
        yield (
            f"lr_schedule.warmup_epochs {plain_text(schedule.warmup_epochs)} end after "
            f"{counted(lr.warmup_rounds, 'round')}, and the run has {num_rounds:,}: lr "
            f"{lr.target:g} is never reached"
        )
    if schedule.kind == "step" and lr.length >= num_rounds:
        first = math.ceil(lr.length)
        why = f"the first step is after {first:,} rounds, and the run has {num_rounds:,}"
        yield f"lr_schedule.kind step is ignored: {why}"
    late = [m for m, at in zip(schedule.milestones, lr.drops, strict=True) if at >= num_rounds]
    if late and config.planned_rounds is None and config.planned_epochs is None:
        told = ", ".join(map(plain_text, late))
        yield f"lr_schedule.milestones {told} is ignored: it comes after the last round"


def of_the_clock(config: RunConfig, is_still: bool, all_reduces: bool) -> Iterator[str]:
    """What is set of a simulated clock and does nothing.

    Args:
        config: the settings.
        is_still: nothing takes time.
        all_reduces: the algorithm waits for everybody in every round.
    """
    network = config.network
    if network is None or _is_in_scenario("set_network", config):
        return
    if is_still:
        what = "network.deadline" if network.get("deadline") is not None else "network"
        yield f"{what} is ignored: nothing takes time; set network.compute or network.links"
    elif all_reduces and network.get("synchrony") == "neighbors":
        yield "network.synchrony neighbors is ignored: an all-reduce waits for everybody"


def _of_impairments(config: RunConfig) -> Iterator[str]:
    wrong, network = config.impairments, config.network or {}
    if _is_in_scenario("set_impairments", config):
        return
    if not wrong.loss:
        yield from _told(wrong, "impairments.", ("burst",), "there is no loss")
    if not {"loss", "delay"} & set(wrong.drawn) and network.get("deadline") is None:
        why = "nothing is lost or late"
        yield from _told(wrong, "impairments.", ("by", "on_loss"), why)
    least, most = wrong.delays
    if wrong.drawn == ("delay",) and least == most and network.get("deadline") is None:
        why = "nothing is lost, and all messages are equally late"
        # Of clients that come back nothing is under way.
        names = ("by",) if config.scenario else ("by", "on_loss")
        yield from _told(wrong, "impairments.", names, why)


def _told(settings: Any, prefix: str, names: Collection[str], why: str) -> Iterator[str]:
    """A line for each of the names that is not as it is by default."""
    for field in fields(settings):
        value = getattr(settings, field.name)
        if field.name in names and value != field.default:
            said = list(value) if isinstance(value, tuple) else value
            said = plain_text(said) if isinstance(said, float) else said
            yield f"{prefix}{field.name} {said} is ignored: {why}"
