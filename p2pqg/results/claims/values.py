"""The runs that a rule speaks of, and the values it compares: one for each seed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from p2pqg.base.config import Problems
from p2pqg.base.dotted import flat
from p2pqg.base.errors import ConfigError, did_you_mean
from p2pqg.base.wording import missing, plain_text
from p2pqg.recipe.own_files import NAMED
from p2pqg.results.alike import OWN_FILES, check_one_setting
from p2pqg.results.claims.claim import Claim, Side, told
from p2pqg.results.claims.findings import ROUNDING
from p2pqg.results.run_frames import OUTCOME, one_a_seed
from p2pqg.results.tuned import best_of, chosen_by

Chosen = set[tuple[str, str]]
"""Tuned keys, and the column by which their values were chosen."""


class Compared(NamedTuple):
    """A comparison.

    Attributes:
        about: what sets it apart from the others of its claim.
        values: by seed.
        chosen: which keys have their best value, and by what.
    """

    about: str
    values: pd.Series
    chosen: Chosen


def comparisons(
    claims: Mapping[str, Claim], frame: pd.DataFrame, planned: bool = False
) -> dict[str, list[Compared]]:
    """Claim -> its comparisons.

    Args:
        claims: by name.
        frame: a row per run, or per number of a figure.
        planned: they have yet to be done: what a part has by default may be missing.

    Raises:
        ConfigError: runs, seeds or columns that a rule needs are not there.
    """
    problems, frame = Problems(), _quick(frame)
    found: dict[str, list[Compared]] = {}
    for name, claim in claims.items():
        for case in product(*claim.each.values()):
            apart = dict(zip(claim.each, case, strict=True))
            with problems:
                where, chosen = f"claim {name}".strip(), Chosen()
                values = _values(claim, frame, apart, where, planned, chosen)
                about = [told(apart), *_edited_between(claim, frame, apart)]
                one = Compared("; ".join(filter(None, about)), values, chosen)
                found.setdefault(name, []).append(one)
    problems.refuse()
    return found


def _quick(frame: pd.DataFrame) -> pd.DataFrame:
    """The same, and rows are taken in a third of the time: columns of Arrow's are taken singly."""
    texts = [key for key, kind in frame.dtypes.items() if isinstance(kind, pd.StringDtype)]
    return frame.astype(dict.fromkeys(texts, object)).copy()


def _values(
    claim: Claim, frame: pd.DataFrame, apart: Side, where: str, planned: bool, chosen: Chosen
) -> pd.Series:
    """The difference or ratio, by seed; `chosen` gets what was chosen on the way."""
    common = {**flat(claim.where), **flat(apart)}
    for key in claim.tune:
        if key not in frame:
            raise ConfigError(f"{where}: the runs have no column {key}{did_you_mean(key, frame)}")
    left = _side(claim.left, common, claim, frame, f"{where}: left", planned, chosen)
    if claim.right is None:
        values = left
    else:
        right = _side(claim.right, common, claim, frame, f"{where}: right", planned, chosen)
        values = _compared(left, right, claim.by, where)
        if planned and claim.tune:
            _equally_tuned(claim, common, frame, where)
    if len(values) < 2:
        seeds = ", ".join(map(str, values.index))
        raise ConfigError(f"{where} needs two seeds or more, the runs have only seed {seeds}")
    return values


def _equally_tuned(claim: Claim, common: Side, frame: pd.DataFrame, where: str) -> None:
    """Refuse sides of which one is tuned over more runs than the other."""
    sides = [side for side in (claim.left, claim.right) if side and "left" not in side]
    runs = [len(_planned({**common, **flat(side)}, frame, where)) for side in sides]
    if len(set(runs)) > 1:
        raise ConfigError(
            f"{where}: left has {runs[0]} runs and right {runs[1]}; give both equally many to be "
            f"tuned by {', '.join(claim.tune)}"
        )


def _side(
    side: Side,
    common: Side,
    claim: Claim,
    frame: pd.DataFrame,
    where: str,
    planned: bool,
    chosen: Chosen,
) -> pd.Series:
    """The metric of one side, by seed."""
    metric = claim.metric
    if "left" in side:
        left, right = (
            _side(side[key], common, claim, frame, f"{where}.{key}", planned, chosen)
            for key in ("left", "right")
        )
        return _compared(left, right, side.get("by", "difference"), where)
    wanted = {**common, **flat(side)}
    rows = _planned(wanted, frame, where) if planned else selected(wanted, frame, where)
    # Before the best is chosen: it may be that of one of several settings, and hide the others.
    tuned = [key for key in ("lr", *claim.tune) if key not in wanted]
    check_one_setting(rows, where, told(wanted), "name it", tuned)
    if planned:
        rows = rows.drop_duplicates("seed")
    else:
        rows = one_a_seed(_at_best(rows, tuned, chosen), where, told(wanted), "name it")
    if metric not in rows:
        known = [key for key in (*OUTCOME, *frame) if key in frame]
        raise ConfigError(f"{where}: the runs have no column {metric}{did_you_mean(metric, known)}")
    values = rows.set_index("seed")[metric].astype(float)
    lost = values.index[~np.isfinite(values)]
    if len(lost):
        seeds = ", ".join(map(str, lost))
        raise ConfigError(f"{where} ({told(wanted)}): no {metric} of seed {seeds}")
    return values


def _compared(left: pd.Series, right: pd.Series, by: str, where: str) -> pd.Series:
    """Left - right, or left / right, of the same seeds; those equal to rounding are equal."""
    apart = {
        "left": sorted(set(right.index) - set(left.index)),
        "right": sorted(set(left.index) - set(right.index)),
    }
    for side, seeds in apart.items():
        if seeds:
            lost = ", ".join(map(str, seeds))
            raise ConfigError(f"{where}: {side} lacks seed {lost}, which the other side has")
    equal = (left - right).abs() <= ROUNDING * np.maximum(left.abs(), right.abs())
    if by == "difference":
        return (left - right).mask(equal, 0.0)
    if not ((left > 0).all() and (right > 0).all()):
        raise ConfigError(f"{where}: a ratio needs numbers > 0; compare by difference")
    return (left / right).mask(equal, 1.0)


def _edited_between(claim: Claim, frame: pd.DataFrame, apart: Side) -> Iterator[str]:
    """A note on each file that both sides name, and that is not the same for all of their runs."""
    files = [key for key in frame if key.startswith(OWN_FILES)]
    if not files:
        return
    common = {**flat(claim.where), **flat(apart)}
    sides = [{**common, **one} for one in _settings_in(claim.left, claim.right)]
    rows = pd.concat([selected(wanted, frame, "") for wanted in sides])
    for key in files:
        name = key.removeprefix(OWN_FILES)
        if any(key in wanted for wanted in sides):
            continue
        found = rows[rows[key].notna()]
        places = [_places(name, row) for row in found.to_dict("records")]
        if len(set(zip(places, found[key], strict=True))) > len(set(places)):
            yield f"{name} was edited between its sides"


def _settings_in(*sides: Side | None) -> Iterator[dict[str, Any]]:
    """The settings of the runs that are compared."""
    for side in filter(None, sides):
        if "left" in side:
            yield from _settings_in(side["left"], side["right"])
        else:
            yield flat(side)


def _places(name: str, run: Mapping[str, Any]) -> tuple[str, ...]:
    """Where a run had that file of its user from: its paths, or the folders of what imports it."""
    texts = (value for value in run.values() if isinstance(value, str))
    paths = {Path(match[1]) for text in texts if (match := NAMED.fullmatch(text))}
    own = {str(path) for path in paths if path.name == name}
    return tuple(sorted(own or {str(path.parent) for path in paths}))


def selected(wanted: Side, frame: pd.DataFrame, where: str) -> pd.DataFrame:
    """The runs of those settings."""
    rows = list(range(len(frame)))
    for key, value in wanted.items():
        if key not in frame:
            raise ConfigError(f"{where}: the runs have no column {key}{did_you_mean(key, frame)}")
        values, same = frame[key].tolist(), _comparable(value)
        found = [row for row in rows if _comparable(values[row]) == same]
        if not found:
            known = ", ".join(sorted({plain_text(values[row]) for row in rows}))
            raise ConfigError(f"{where}: no run with {told({key: value})}; they have {known}")
        rows = found
    return frame.iloc[rows].sort_values("seed")


def _planned(wanted: Side, frame: pd.DataFrame, where: str) -> pd.DataFrame:
    """The same of runs that have yet to be done; what is by default is not known of them."""

    def by_default(key: str) -> bool:
        return frame[key].isna().all() if key in frame else "." in key

    return selected({k: v for k, v in wanted.items() if not by_default(k)}, frame, where)


def _at_best(rows: pd.DataFrame, keys: Sequence[str], chosen: Chosen) -> pd.DataFrame:
    """At the best of the tuned keys."""
    keys = [key for key in keys if key in rows and rows[key].nunique(dropna=False) > 1]
    if not keys or "test_accuracy" not in rows:
        return rows
    chosen |= {(key, chosen_by(rows)) for key in keys}
    return selected(best_of(rows, keys), rows, "")


def _comparable(value: Any) -> Any:
    """A setting so that 10 is 10.0, a list is its text, and what is not set equals itself."""
    if missing(value):
        return plain_text(None)
    if isinstance(value, int | float | np.number) and not isinstance(value, bool):
        return float(value)
    return plain_text(value)
