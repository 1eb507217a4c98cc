"""What is told of a run in words: what it is before it begins, and what it came to.

Rows of (name, text), which `screen.py` shows in two columns.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from p2pqg.algorithms.lr import LearningRate
from p2pqg.base.config import plain
from p2pqg.base.digest import bare
from p2pqg.base.wording import counted, duration, human_bytes, in_words, number, percent, plain_text
from p2pqg.data.skew import describe_skew
from p2pqg.network.units import seconds
from p2pqg.results.columns import column, measured, say
from p2pqg.topology.words import describe_network

if TYPE_CHECKING:  # torch takes seconds to import; by then the screen should say something
    from p2pqg.network.lies import Attack
    from p2pqg.results.run import Run
    from p2pqg.simulation.experiment import Experiment
    from p2pqg.simulation.simulation import Simulation
    from p2pqg.topology import Schedule


def about(simulation: Simulation) -> list[tuple[str, str]]:
    """What runs on what, before the first round."""
    experiment, config = simulation.experiment, simulation.experiment.config
    task = experiment.task
    values = [f"{k} {v}" for k, v in config.algorithm.items() if k != "name"]
    epochs = experiment.num_rounds / experiment.rounds_per_epoch
    alpha = "" if config.alpha is None else f", alpha {plain_text(config.alpha)}"
    sizes = [len(part) for part in experiment.parts]
    low, high = min(sizes), max(sizes)
    samples = f"{low:,}" if low == high else f"{low:,} to {high:,}"
    kept = len(experiment.held_out)
    held_out = f", {kept:,} to validate" if kept else ""
    uses_network = not experiment.rule.centralized
    return [
        ("algorithm", ", ".join([config.algorithm["name"], *values, *_step_sizes(experiment)])),
        (
            "network",
            describe_network(experiment.schedule) if uses_network else "all-reduce over all",
        ),
        (
            "data",
            f"{config.dataset['name']}, {config.partition['name']}{alpha}: {samples} samples per "
            f"client, {experiment.num_test_samples:,} to test{held_out}",
        ),
        *_skew(experiment),
        (
            "model",
            f"{task.model.name}, {experiment.cost.num_params:,} parameters, {config.precision} on "
            f"{simulation.device}",
        ),
        (
            "length",
            f"{_until(experiment)}{counted(experiment.num_rounds, 'round')} = {epochs:.1f} epochs, "
            f"batches of {config.batch_size}, seed {config.seed}",
        ),
        *events(experiment),
        ("actors", _hosting(simulation)),
        *(("warning", warning) for warning in experiment.warnings),
    ]


def _step_sizes(experiment: Experiment) -> list[str]:
    """What the step size is, and how it changes."""
    config, lr = experiment.config, experiment.rule.lr
    assert isinstance(lr, LearningRate)  # that of the recipe; another comes later
    steps = [f"lr {lr.target:g}"]
    if lr.warmup_rounds and lr.target > lr.warmup_from:
        steps.append(f"from {lr.warmup_from:g} in {config.lr_schedule.warmup_epochs:g} epochs")
    if lr.values:
        steps = [f"lr by {bare(config.lr_schedule.function or '')}, {lr(0):g} at first"]
    elif lr.kind != "milestones":
        steps.append(f"{lr.kind}, {round(lr.length, 1):g} rounds")
    if lr.drops:
        steps.append(f"x {lr.decay:g} after rounds {', '.join(map(str, lr.drops))}")
    return steps


def _hosting(simulation: Simulation) -> str:
    """How clients are packed, and how gradients are computed where there was a choice."""
    if simulation.experiment.config.engine == "ray":
        hosting = simulation.placement.reason
    else:
        blocks = simulation.placement.num_actors
        hosting = f"none: {counted(blocks, 'block')} in this process (engine local)"
    return "; ".join(filter(None, [hosting, simulation.hosting.sharing, *simulation.ways()]))


def events(experiment: Experiment) -> list[tuple[str, str]]:
    """What will happen to the network, and what its clock counts."""
    rows = []
    if trouble := experiment.network.describe():
        rows.append(("trouble", trouble))
    if liars := [_lying(attack, experiment.schedule) for attack in experiment.network.attacks]:
        rows.append(("liars", "; ".join(liars)))
    if rule := experiment.rule.gossip_rule:
        more = in_words(plain(rule.params))
        rows.append(("rule", f"{rule.name} ({more})" if more else rule.name))
    if experiment.scenario:
        rows.append(("scenario", counted(len(experiment.scenario), "event")))
    if experiment.clock:
        links = experiment.clock.links
        kind = links if isinstance(links, str) else "of several kinds"
        together = f"{experiment.clock.synchrony} rounds"
        alone = "nobody waits: a round is as many steps as there are clients"
        rows.append(("clock", f"links {kind}, {together if experiment.waits else alone}"))
    return rows


def _lying(attack: Attack, schedule: Schedule) -> str:
    """Who lies, how, and when, if not all the time."""
    who = ", ".join(map(schedule.called, attack.who))
    when = f" from round {attack.first:,} on" if attack.first else ""
    if attack.last is not None:
        when = f" in rounds {attack.first:,} to {attack.last:,}"
    return f"{who}: {attack.lie.name}{when}"


def _until(experiment: Experiment) -> str:
    """What ends a run whose length is not said in rounds."""
    config = experiment.config
    if config.time is not None:
        unknown = experiment.scenario or experiment.rule.control  # what they do takes time, too
        about = "about " if unknown else ""
        return f"until {duration(seconds(config.time, 'time'))} on the simulated clock: {about}"
    if config.steps is not None and not experiment.waits:
        return f"until every client has made {counted(config.steps, 'step')}: "
    return ""


def _skew(experiment: Experiment) -> list[tuple[str, str]]:
    """How unlike the clients are; nothing where targets have no classes to tell that by."""
    counts = counts_of(experiment)
    return [("skew", describe_skew(counts))] if counts.shape[1] > 1 else []


def counts_of(experiment: Experiment) -> np.ndarray:
    """[clients, classes]: training samples."""
    from p2pqg.data import label_counts

    arrays = experiment.arrays
    return label_counts(experiment.parts, arrays.train_y, arrays.num_classes)


def outcome(run: Run) -> list[tuple[str, str]]:
    """What a run came to."""
    summary = run.summary
    lowest = run.rounds["test_accuracy_min"].dropna()
    accuracy, tested_at = "not measured", ""
    if summary["test_accuracy"] is not None:
        accuracy = (
            f"{percent(summary['test_accuracy'], 2)} ± {100 * summary['test_accuracy_std']:.2f} "
            f"over clients, lowest {percent(lowest.iloc[-1], 2)}"
        )
    if summary.get("evaluated_rounds"):
        tested_at = _age(summary, "evaluated_rounds")
    recorded = _age(summary, "recorded_rounds")
    speed = summary["client_steps_per_second"]
    tested = [
        ("test accuracy", accuracy + tested_at),
        ("averaged model", percent(summary["averaged_model_accuracy"], 2) + tested_at),
    ]
    if "honest_test_accuracy" in run.rounds and summary["test_accuracy"] is not None:
        honest = run.rounds.dropna(subset="honest_test_accuracy").iloc[-1]
        told = percent(honest["honest_test_accuracy"], 2)
        lowest_of = percent(honest["honest_test_accuracy_min"], 2)
        tested.insert(1, ("of the honest", f"{told}, lowest {lowest_of}{tested_at}"))
    losses = run.rounds["test_loss"]
    if summary["test_accuracy"] is None and losses.notna().any():  # numbers are never just right
        at = summary.get("evaluated_rounds")  # then it may be undefined, though it was not before
        there = losses.notna() if at is None else run.rounds["round"] == at - 1
        tested = [("test loss", number(losses[there].iloc[-1]) + tested_at)]
    more = measured(run.rounds)
    return [
        *tested,
        *((column(key).title, say(key, summary.get(key)) + tested_at) for key in more),
        ("consensus distance", number(summary["consensus_distance"]) + recorded),
        ("sent", human_bytes(summary["bytes_sent"]) + recorded),
        *(
            [("simulated time", duration(summary["sim_seconds"]) + recorded)]
            if summary.get("sim_seconds") is not None
            else []
        ),
        *([("steps", _steps(summary))] if summary.get("most_steps") is not None else []),
        *([("stopped", summary["stopped"])] if summary.get("stopped") else []),
        *(("scenario", line) for line in summary.get("never_came", ())),
        *([("checkpoint", summary["unsaved"])] if summary.get("unsaved") else []),
        ("time", _time(summary)),
        ("speed", "-" if speed is None else f"{speed:,.0f} client-steps/s"),
        *((("gradients", way) for way in summary.get("ways", ())) if run.profile else ()),
        *((f"time of {name}", shares(kinds)) for name, kinds in run.profile.items()),
    ]


def _time(summary: Mapping[str, Any]) -> str:
    """How long it took, and how much of that was the start; of a run that went on the last one."""
    whole, started = (duration(summary[key]) for key in ("wall_seconds", "startup_seconds"))
    if before := summary.get("seconds_before"):
        return f"{whole}, of it {duration(before)} before it went on, {started} to its next round"
    return f"{whole}, of it {started} to the first round"


def _age(summary: Mapping[str, Any], key: str) -> str:
    """After which round that was measured, where it was not after the last one."""
    at, done = summary.get(key, summary["rounds"]), summary["rounds"]
    return f", after round {at:,} of {done:,}" if at < done else ""


def shares(kinds: dict[str, float]) -> str:
    """Seconds of each kind of work as shares of their sum, largest first."""
    total = sum(kinds.values()) or 1.0
    largest_first = sorted(kinds.items(), key=lambda item: -item[1])
    return ", ".join(f"{kind} {percent(seconds / total)}" for kind, seconds in largest_first)


def _steps(summary: Mapping[str, Any]) -> str:
    """How often clients stepped that do not wait, and on how old news."""
    text = f"{summary['least_steps']:,} to {summary['most_steps']:,} of a client"
    if summary.get("staleness_mean") is not None:
        mean, most = summary["staleness_mean"], summary["staleness_max"]
        text += f"; the news was {number(mean)} steps old on average, at most {most:,.0f}"
    return text
