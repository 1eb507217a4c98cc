"""Numbers, and where a run stands, as a person reads them."""

from __future__ import annotations

import math
from ast import literal_eval
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any


def pace(rounds_per_second: float | None) -> str:
    """Rounds per second, or seconds per round where they are long."""
    if not rounds_per_second:
        return ""
    if rounds_per_second >= 1:
        return f"{rounds_per_second:5.3g}/s"
    return f"{1 / rounds_per_second:.3g} s each"


def aligned(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Columns of text, numbers to the right; the first line is the header."""
    columns = list(zip(header, *rows, strict=True))
    widths = [max(map(len, column)) for column in columns]
    right = [all(text[:1].isdigit() or text == "-" for text in column[1:]) for column in columns]
    return [
        "  ".join(
            text.rjust(width) if to_the_right else text.ljust(width)
            for text, width, to_the_right in zip(row, widths, right, strict=True)
        ).rstrip()
        for row in [header, *rows]
    ]


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """A table in Markdown, a line each; bars in a cell are escaped."""
    lines = [header, ["---"] * len(header), *rows]
    return [
        f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines
    ]


def missing(value: Any) -> bool:
    """Whether there is no value: None or NaN."""
    return value is None or (isinstance(value, float) and math.isnan(value))


def plain_text(value: Any) -> str:
    """A setting's value as a recipe would have it, lists and mappings in words.

    What is not equal has not the same text: a number has all its digits.

    >>> [plain_text(value) for value in (0.1, [], "[0.5, 0.75]", None, 0.10000001)]
    ['0.1', 'none', '0.5, 0.75', '-', '0.10000001']
    """
    if missing(value):
        return "-"
    if isinstance(value, str) and value[:1] == "[" and value[-1:] == "]":
        with suppress(ValueError, SyntaxError):  # a frame of settings has lists as texts
            value = literal_eval(value)
    if isinstance(value, Mapping | list | tuple):
        return in_words(value) or "none"
    if isinstance(value, float):
        short = f"{value:g}"
        return short if float(short) == value else repr(float(value))
    return str(value)


def group_name(value: Any) -> str:
    """What runs are called that have a setting in common; none: they do not have it.

    >>> group_name(0.1), group_name(float("nan"))
    ('0.1', 'none')
    """
    return "none" if missing(value) else plain_text(value)


def in_words(value: Any, key: str = "") -> str:
    """What a recipe says in lists and mappings, without their brackets.

    Args:
        value: plain data.
        key: whose it is: links are pairs of clients.

    >>> in_words([{"at": "round 20", "drop_links": [[3, 4], "5-6"]}, {"at": 30, "set_lr": 0.1}])
    'at round 20, drop links 3-4, 5-6; at round 30, set lr 0.1'
    >>> in_words({"links": "wan", "compute": {"seconds": 0.05, "speeds": {0: 0.25}}})
    'links wan, compute (seconds 0.05, speeds (0: 0.25))'
    """
    if isinstance(value, Mapping):
        parts = []
        for name, one in value.items():
            text = in_words(one, str(name))
            text = f"({text})" if isinstance(one, Mapping) and text else text
            text = f"round {text}" if name == "at" and isinstance(one, int) else text
            told = str(name).replace("_", " ")
            parts.append(f"{told}: {text}" if told.isdigit() else f"{told} {text}".strip())
        return ", ".join(parts)
    if isinstance(value, list | tuple):
        if key.endswith("links") and _is_pair(value):
            return "-".join(map(str, value))
        between = "; " if any(isinstance(one, Mapping) for one in value) else ", "
        return between.join(
            f"({in_words(one)})" if _is_inner(one, key) else in_words(one, key) for one in value
        )
    return plain_text(value)


def _is_inner(value: Any, key: str) -> bool:
    """Whether it is a list in a list, and no link."""
    return isinstance(value, list | tuple) and not (key.endswith("links") and _is_pair(value))


def _is_pair(value: Sequence[Any]) -> bool:
    """Whether it is one link, of two clients."""
    alone = all(not isinstance(end, list | tuple) and "-" not in str(end) for end in value)
    return len(value) == 2 and alone


def counted(count: int, what: str) -> str:
    """`1 round`, `2 rounds`, `1,200 rounds`."""
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def shortened(text: str, most: int) -> str:
    """So many letters of a text, the last of them … where there are more.

    >>> shortened("social32", 8), shortened("florentine15", 8)
    ('social32', 'florent…')
    """
    return text if len(text) <= most else f"{text[: most - 1]}…"


def number(value: float | None) -> str:
    """Three digits, in scientific notation where it is long."""
    return "-" if value is None or math.isnan(value) else f"{value:.3g}"


def percent(share: float | None, digits: int = 1) -> str:
    """0.873 -> `87.3 %`."""
    return "-" if share is None or math.isnan(share) else f"{100 * share:.{digits}f} %"


def human_bytes(count: float | None) -> str:
    """Bytes with a decimal unit.

    >>> human_bytes(18_470_400), human_bytes(999)
    ('18.5 MB', '999 B')
    """
    if count is None or math.isnan(count):
        return "-"
    power = min(5, int(math.log10(max(count, 1))) // 3)
    if power and round(count / 1000**power, 1) >= 1000 and power < 5:
        power += 1
    return f"{count:.0f} B" if power == 0 else f"{count / 1000**power:.1f} {' kMGTP'[power]}B"


def duration(seconds: float | None) -> str:
    """Seconds in the unit that suits them.

    >>> duration(0.0042), duration(2.14), duration(75), duration(9000)
    ('4.2 ms', '2.1 s', '1 min 15 s', '2 h 30 min')
    """
    if seconds is None or math.isnan(seconds):
        return "-"
    if 0 < seconds < 0.0995:
        return f"{1000 * seconds:.2g} ms"
    if round(seconds, 1) < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def seen(rows: Sequence[dict[str, Any]], done: int) -> str:
    """The last loss, accuracy and consensus distance on record, and of when they are, if older.

    Args:
        rows: of rounds.parquet so far, with rounds counted from 0.
        done: rounds done by now.

    >>> row = {"round": 0, "train_loss": 2.3, "test_accuracy": 0.1, "consensus_distance": 0.01}
    >>> seen([row], 1)
    'loss 2.300  test 10.0 %  consensus 1.0e-02'
    >>> seen([row], 1866)
    'after round 1: loss 2.300  test 10.0 %  consensus 1.0e-02'
    """
    from p2pqg.base.records import OF_TESTS, last_having  # NumPy, which a help text does without

    if not rows:
        return ""
    tested = last_having(rows, *OF_TESTS)
    last = rows[-1]
    loss = "-" if missing(last["train_loss"]) else f"{last['train_loss']:.3f}"  # nobody took part
    accuracy = "  -"
    if tested:
        known = "test_accuracy" in tested
        accuracy = percent(tested["test_accuracy"]) if known else f"loss {tested['test_loss']:.3f}"
    if tested and tested["round"] < last["round"]:
        accuracy += f" (round {tested['round'] + 1:,})"
    measured = last["round"] + 1
    told = "  ".join(
        [
            f"loss {loss}",
            f"test {accuracy}",
            f"consensus {last['consensus_distance']:.1e}",
        ]
    )
    return told if measured >= done else f"after round {measured:,}: {told}"
