"""A comparison as a person reads it: titles, numbers with their spread, an HTML table."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from html import escape
from itertools import starmap
from typing import Any

from p2pqg.base.wording import missing, plain_text
from p2pqg.recipe.keys import SELF_EVIDENT
from p2pqg.results.alike import OWN_FILES
from p2pqg.results.columns import COLUMNS, column, share

ASKED_FOR = re.compile(
    r"(rounds|bytes|sim_seconds|wall_seconds)_to_[0-9.e-]+|accuracy_after_\d+_rounds"
)
COMPARED = tuple(key for key in COLUMNS if key != "train_loss")
"""Columns of the table of a comparison."""

WIDEST = 120
"""Characters of a table beyond which a notebook shows it with a column for each run."""


def setting(key: str, value: Any) -> str:
    """A setting in a name: `lr 0.1`, but parts of a run say by themselves what they are."""
    text = plain_text(value)
    if key.startswith(OWN_FILES):
        return f"{key.removeprefix(OWN_FILES)} {text}"
    return text if key in SELF_EVIDENT else f"{key.rpartition('.')[2]} {text}"


def set_apart(settings: Mapping[str, Any]) -> list[str]:
    """What sets a run apart from others: the settings in which they differ, as far as it has them.

    Args:
        settings: key -> value, or a text of it; None, NaN and "-" where it has none.
    """
    known = {key: v for key, v in settings.items() if plain_text(v) not in ("-", "none")}
    return list(starmap(setting, (known or settings).items()))


def result(key: str) -> tuple[str, Callable[[float], str]]:
    """Title and reader's form of a column of results, be it asked for or in every table."""
    return _asked_for(key) if is_asked_for(key) else column(key)[:2]


def is_asked_for(key: str) -> bool:
    """Whether a column answers a question of the reader's, rather than being a metric of a run.

    >>> is_asked_for("bytes_to_0.9"), is_asked_for("distance_to_optimum")
    (True, False)
    """
    return ASKED_FOR.fullmatch(key) is not None


def _asked_for(key: str) -> tuple[str, Callable[[float], str]]:
    """Title and reader's form of `accuracy_after_100_rounds` and `bytes_to_0.9`."""
    what, _, accuracy = key.partition("_to_")
    if not accuracy:
        return key.removeprefix("accuracy_").replace("_", " "), share
    title, say = COLUMNS["bytes_sent" if what == "bytes" else what][:2]
    title = "bytes" if what == "bytes" else title
    share_of = plain_text(round(100 * float(accuracy), 9))
    return f"{title} to {share_of} %", lambda n: "-" if missing(n) else say(n)


def with_spread(say: Callable[[float], str], mean: float, deviation: float) -> str:
    """`9.5 ± 0.4 s`; without what is not known, or nothing."""
    text, more = say(mean), say(deviation)
    if missing(deviation) or missing(mean) or not deviation:
        return text
    unit = more.partition(" ")[2]
    if unit and text.count(" ") == 1 and text.endswith(f" {unit}"):
        text = text.removesuffix(f" {unit}")
    return f"{text} ± {more}"


def html(header: Sequence[str], rows: Sequence[Sequence[str]], notes: Sequence[str] = ()) -> str:
    """A table for a notebook, and what is to be said of its rows."""
    lines = [header, *rows]
    if sum(max(map(len, column)) + 2 for column in zip(*lines, strict=True)) > WIDEST:
        lines = list(zip(*lines, strict=True))  # a column for each run
    top, *body = (_line(line, "td" if k else "th") for k, line in enumerate(lines))
    below = "".join(f"<p>{escape(note)}</p>" for note in notes)
    return f"<table><thead>{top}</thead><tbody>{''.join(body)}</tbody></table>{below}"


def _line(texts: Sequence[str], kind: str) -> str:
    """A line of an HTML table."""
    cell = f'<{kind} style="white-space:nowrap">{{}}</{kind}>'
    return f"<tr>{''.join(cell.format(escape(text)) for text in texts)}</tr>"
