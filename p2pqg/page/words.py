"""What the page says in words: a title, the setting in a sentence, what went wrong or was done."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from p2pqg.base.wording import counted, in_words, plain_text
from p2pqg.data import label_skew
from p2pqg.network import Impairments
from p2pqg.page.runs import differing
from p2pqg.page.seeds import Seeds
from p2pqg.results.standing import Standing

MOST_ITEMS = 8
"""Items of a scenario that the text tells, at most."""


def heading(shown: Sequence[Standing], labels: Sequence[str]) -> str:
    first = shown[0]
    if len(shown) == 1:
        return f"{first.part('algorithm')} on {first.config['topology']}"
    place = _common([one.config["topology"] for one in shown])
    tail = f" on {place}" if place else ""
    if len(shown) <= 4 and all(len(label) <= 24 for label in labels):
        return f"{', '.join(labels[:-1])} and {labels[-1]}{tail}"
    what = "settings" if any(isinstance(one, Seeds) for one in shown) else "runs"
    return f"{len(shown)} {what} compared{tail}"


def sentence(shown: Sequence[Standing], counts: Sequence[np.ndarray | None]) -> str:
    """The setting, as far as it is common to all runs."""

    def common(key: str) -> Any:
        return _common([one.config.get(key) for one in shown])

    def part(key: str) -> str | None:
        return _common([one.part(key) for one in shown if one.config.get(key)])

    who = counted(int(common("clients")), "client") if common("clients") else "clients"
    text = f"{who} on the network {common('topology')}" if common("topology") else who
    text += f" learn {part('dataset')}" if part("dataset") else " learn"
    text += f" with the model {part('model')}" if part("model") else ""
    text += ", each from its own shard"
    split = [name] if (name := part("partition")) else []
    split += [f"alpha {plain_text(common('alpha'))}"] if common("alpha") is not None else []
    if counts[0] is not None and all(one is counts[0] for one in counts):
        mean = label_skew(counts[0])["classes_above_1_percent"]
        split.append(f"{mean:.1f} of {counts[0].shape[1]} classes per client")
    text += f" ({', '.join(split)})" if split else ""
    steps = []
    if len(shown) == 1:
        steps.append(f"the algorithm is {shown[0].part('algorithm')}")
    rounds = _common([_rounds_of(one) for one in shown])
    steps += [f"{counted(rounds, 'round')}"] if rounds else []
    steps += [f"batches of {common('batch_size')}"] if common("batch_size") else []
    steps += [f"lr {plain_text(common('lr'))}"] if common("lr") is not None else []
    seeds = _common([one.seeds if isinstance(one, Seeds) else None for one in shown])
    if seeds:
        steps.append(f"seeds {_and(seeds)}")
    elif not any(isinstance(one, Seeds) for one in shown) and common("seed") is not None:
        steps.append(f"seed {common('seed')}")
    text += f"; {', '.join(steps)}." if steps else "."
    if len(shown) > 1:
        keys = [key.replace("_", " ") for key in differing(shown)]
        told = f"They differ in {_and(keys)}." if keys else "They differ in no setting."
        count = sum(len(one.members) if isinstance(one, Seeds) else 1 for one in shown)
        of = f" of {len(shown)} settings" if count > len(shown) else ""
        return f"{count} runs{of}: {text} {told}"
    return text[:1].upper() + text[1:]


def _rounds_of(one: Standing) -> int | None:
    """Rounds done; None of seeds that did not do equally many."""
    members = one.members if isinstance(one, Seeds) else (one,)
    return _common([member.rounds_done for member in members])


def _common(values: Sequence[Any]) -> Any:
    """The value that all have, or None."""
    return values[0] if values and all(value == values[0] for value in values) else None


def _and(words: Sequence[str]) -> str:
    return " and ".join(filter(None, [", ".join(words[:-1]), words[-1]]))


def notes(shown: Sequence[Standing], labels: Sequence[str]) -> list[tuple[int, str, str]]:
    """(run, its label or "", what is to be known of its end and its numbers), a line each."""
    found = []
    for index, (one, label) in enumerate(zip(shown, labels, strict=True)):
        for text in filter(None, (one.ending, one.unsaved, one.warning, *one.never_came)):
            found.append((index, label if len(shown) > 1 else "", text))
    return found


def hardships(shown: Sequence[Standing]) -> list[tuple[tuple[int, ...], str]]:
    """What goes wrong by design, from the recipes: (the runs of which it is true, a sentence).

    Loss and noise, links and stragglers, what a scenario does, rules of gossip. () means all runs.
    """
    told: dict[str, list[int]] = {}
    for run, one in enumerate(shown):
        for text in _hardships_of(one):
            told.setdefault(text, []).append(run)
    return [(() if len(who) == len(shown) else tuple(who), text) for text, who in told.items()]


def _hardships_of(one: Standing) -> list[str]:
    config, texts = one.config, []
    known = {field.name for field in fields(Impairments)}
    given = {k: v for k, v in (config.get("impairments") or {}).items() if k in known}
    if wrong := Impairments(**given).describe():
        texts.append(f"What goes wrong in every round: {', '.join(wrong)}.")
    if clock := {k: v for k, v in (config.get("network") or {}).items() if v is not None}:
        links = in_words(clock.pop("links", "perfect"))
        rest = f"; {in_words(clock)}" if clock else ""
        texts.append(f"A clock is simulated: links {links}{rest}.")
    if scenario := config.get("scenario"):
        left_out = len(scenario) - MOST_ITEMS
        tail = f"; and {left_out} more" if left_out > 0 else ""
        texts.append(f"The scenario: {in_words(scenario[:MOST_ITEMS])}{tail}.")
    if attacks := config.get("attacks"):
        texts.append(f"Who lies: {in_words(attacks)}.")
    if rule := config.get("rule"):
        parts = {"name": rule} if isinstance(rule, str) else dict(rule)
        name, more = parts.pop("name", ""), f" ({in_words(parts)})" if parts else ""
        texts.append(f"Clients mix what they hear by the rule {name}{more}.")
    return texts


@dataclass(frozen=True)
class Event:
    runs: tuple[int, ...]
    """Whom it happened to; () means all."""
    round: int
    what: str
    came: tuple[str, ...] = ()
    """Warnings that came of it."""


def events(shown: Sequence[Standing]) -> list[Event]:
    """What happened to the runs on the way, by round; what happened to several, once.

    A warning is no event of its own: it stands with what it came of.
    """
    runs: dict[tuple[int, str, tuple[str, ...]], list[int]] = {}
    for run, one in enumerate(shown):
        done = set(one.interventions)
        found: list[tuple[int, str, list[str]]] = []
        restarts = " ".join(map(str, one.summary.get("restarts") or []))
        for round, what in one.events:
            cause = found[-1] if found and found[-1][0] == round else None
            is_warning = (round, what) not in done and what not in restarts
            if is_warning and cause and (round, cause[1]) in done:
                cause[2].append(what)
            else:
                found.append((round, what, []))
        for round, what, came in found:
            runs.setdefault((round, what, tuple(came)), []).append(run)
    everybody = list(range(len(shown)))
    in_order = sorted(runs.items(), key=lambda item: item[0][0])
    return [Event(() if who == everybody else tuple(who), *told) for told, who in in_order]
