"""What a user may give as `dataset=`: arrays, data sets of torch and Hugging Face, frames."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from p2pqg.base.errors import DataError
from p2pqg.data import _tables
from p2pqg.data._columns import CLIENT, of_clients
from p2pqg.data._image_columns import with_files
from p2pqg.data._inputs import array_of, checked_lengths
from p2pqg.data._labels import check_called_alike
from p2pqg.data._map_style import classes_of, is_map_style, read_map_style
from p2pqg.data._reading import Raw, Reading, Samples
from p2pqg.data._tables import Columns

TAKEN = (
    "(X, y) or (X, y, X_test, y_test); a pair of map-style Datasets; a DatasetDict; a frame with "
    "label=; a list of (X, y), one for each client, with test=(X, y)"
)
TEST_SPLITS = ("test", "validation", "valid", "val")


def raw_of(value: Any, test: Any, chosen: Columns, beside: Sequence[str], what: str) -> Raw:
    """Samples of both parts, as they came.

    Args:
        value: one of TAKEN.
        test: the test part, where `value` holds none: (X, y), a Dataset or a frame.
        chosen: which columns of a table are what.
        beside: names of columns of a table that go along, such as the client's.
        what: the data are called in a message.

    Raises:
        DataError: something else, or what was given does not go together.
    """
    if isinstance(value, tuple) and len(value) == 2 and isinstance(value[1], str):
        value, chosen = value[0], dataclasses.replace(chosen, label=value[1])
    if isinstance(value, list) and value and all(map(_is_one_part, value)):
        return _clients(value, test, what, _passed_over(chosen, what))
    if _is_dict_of_tables(value):
        return _splits(value, test, chosen, beside, what)
    if isinstance(value, tuple):
        value, test = _both(value, test, what)
    if _is_table(value):
        train = _table_of(value, what)
        return raw_of_tables(train, test, chosen, beside, what)
    if beside:
        raise DataError(f"{what} has no column {beside[0]!r}; only tables have named columns")
    if isinstance(value, Mapping):
        keys = ", ".join(str(key) for key in list(value)[:6])
        by_name = "; of clients by name list(data.values())"
        raise DataError(
            f"{what} is a {type(value).__name__} with {keys}; what is taken: {TAKEN}"
            f"{by_name if all(map(_is_one_part, value.values())) else ''}"
        )
    if not _is_one_part(value):
        frame = "; its .to_pandas() is a frame" if hasattr(value, "to_pandas") else ""
        raise DataError(f"{what} is of type {type(value).__name__}; what is taken: {TAKEN}{frame}")
    first = _samples(value, what)
    second = None if test is None else _samples(test, what, " of the test", first)
    notes = (*_index_notes((value, test), what), *_passed_over(chosen, what))
    return Raw(what, first, second, notes=notes)


def _passed_over(chosen: Columns, what: str) -> tuple[str, ...]:
    """A line on settings of the columns of a table where the samples are none."""
    ours = {field.name for field in dataclasses.fields(Columns)}
    ours -= {field.name for field in dataclasses.fields(Reading)}
    usual = Columns()
    given = [name for name in sorted(ours) if getattr(chosen, name) != getattr(usual, name)]
    if not given:
        return ()
    return (
        f"{what}: dataset.{', dataset.'.join(given)} is ignored: it is of a table's columns, and "
        "these are samples and targets",
    )


def _index_notes(parts: Sequence[Any], what: str) -> tuple[str, ...]:
    """A line where the indices of X and y, of pandas, do not go together."""
    for part in parts:
        theirs = part if isinstance(part, tuple) and len(part) == 2 else ()
        if not theirs or any(type(one).__name__ not in ("DataFrame", "Series") for one in theirs):
            continue
        if [type(one).__module__.partition(".")[0] for one in theirs] != ["pandas"] * 2:
            continue
        one, other = (frame.index for frame in theirs)
        if one.equals(other) or len(one) != len(other):
            continue
        same = one.is_unique and set(one) == set(other)
        if same or not any(list(index) == list(range(len(index))) for index in (one, other)):
            how = "the same index in another order" if same else "two different indices"
            return (
                f"{what}: X and y have {how}; rows go together by their place, not by their index",
            )
    return ()


def raw_of_tables(train: Any, test: Any, chosen: Columns, beside: Sequence[str], what: str) -> Raw:
    """The raw data of tables (of pyarrow) or of what can become one; test may be None."""
    table = second = None
    if test is not None:
        if not _is_table(test):
            raise DataError(f"{what}: the test part must be a table, as the training part is")
        table = _table_of(test, f"{what} (test)")
    train, table, told = _tables.in_kinds(train, table, chosen, beside, what)
    first = _tables.samples_of(train, chosen, beside, what)
    if table is not None:
        table = table.drop_columns([name for name in beside if name in table.column_names])
        second = _test_part(table, first, chosen, f"{what} (test)")
    names = _tables.class_names(train, chosen, what)
    return Raw(what, first, second, names, scale=(0.5, 0.5), notes=told)


def _test_part(table: Any, train: Samples, chosen: Columns, what: str) -> Samples:
    """Test samples with the features of the training samples, in their order."""
    features = list(dict.fromkeys(train.features))
    if chosen.features or not features:
        return _tables.samples_of(table, chosen, (), what)
    alike = dataclasses.replace(chosen, features=features)
    samples = _tables.samples_of(table, alike, (), what)
    labels = _tables.labels_in(table.column_names, chosen, what)
    used = {*features, *chosen.leave_out, *labels, *_tables.index_of(table)}
    if others := [name for name in table.column_names if name not in used]:
        told = f"{what}: column {', '.join(others)} is not used: training samples have none"
        return dataclasses.replace(samples, notes=(*samples.notes, told))
    return samples


def _both(value: tuple[Any, ...], test: Any, what: str) -> tuple[Any, Any]:
    """The training part of a tuple, and its test part if it has one."""
    if len(value) == 4:
        first, second = value[:2], value[2:]
    elif len(value) == 2 and all(map(_is_part_by_itself, value)) and not _is_x_and_y(*value):
        first, second = value
    elif len(value) == 2:
        return value, test
    else:
        raise DataError(f"{what} is a tuple of {len(value)}; what is taken: {TAKEN}")
    if test is not None:
        raise DataError(f"{what} has a test part, and test= is given, too; leave one out")
    return first, second


def _is_part_by_itself(value: Any) -> bool:
    return isinstance(value, tuple) or _is_table(value) or is_map_style(value)


def _is_x_and_y(first: Any, second: Any) -> bool:
    """Whether two tables are features and labels, not two parts."""
    tables = _is_table(first) and _is_table(second)
    return tables and set(_names(first)) != set(_names(second))


def _names(table: Any) -> Sequence[str]:
    """The names of a table's columns."""
    return table.column_names if hasattr(table, "column_names") else table.columns


def _is_one_part(value: Any) -> bool:
    """Whether it is (X, y) or a map-style data set."""
    return (isinstance(value, tuple) and len(value) == 2) or is_map_style(value)


def _samples(part: Any, what: str, of: str = "", like: Samples | None = None) -> Samples:
    """The samples of one part; columns of frames in the order of those of `like`, another one."""
    if isinstance(part, tuple) and len(part) == 2:
        x, y = part
        names: tuple[str, ...] = ()
        if _is_table(x):
            table = _table_of(x, f"{what}: X{of}")
            x, names = _tables.features_of(table, f"{what}: X{of}", like.features if like else ())
        y, outputs = _targets(y, f"{what}: y{of}", like.outputs if like else ())
        return Samples(x, y, x_name=f"X{of}", y_name=f"y{of}", features=names, outputs=outputs)
    if is_map_style(part) or hasattr(part, "__iter__"):
        x, y, notes = read_map_style(part, f"{what}{of}")
        said, x_name, y_name = classes_of(part), f"samples{of}", f"targets{of}"
        return Samples(x, y, x_name=x_name, y_name=y_name, classes=said, notes=notes)
    raise DataError(
        f"{what}: the test part is of type {type(part).__name__}; give (X, y) or a Dataset"
    )


def _targets(y: Any, what: str, like: Sequence[str]) -> tuple[Any, Sequence[str]]:
    """Targets, and what they are called where they are several: columns of a frame.

    These come without an index, and in the order of `like`, those of other samples.
    """
    if not _is_table(y):
        return y, ()
    index = _tables.index_said(y) if type(y).__module__.startswith("pyarrow") else ()
    given = {str(name): name for name in _names(y) if name not in index}
    if len(given) + len(index) < len(_names(y)):
        return y, ()  # two of one name
    order = _tables.ordered(list(given), like, what)
    if order != list(map(str, _names(y))):
        picked = [given[name] for name in order]
        y = y.select(picked) if hasattr(type(y), "select") else y[picked]
    return y, order if len(order) > 1 else ()


def _clients(shards: Sequence[Any], test: Any, what: str, told: Sequence[str]) -> Raw:
    """Data that are split already, one part for each client; `told` is told of them, too."""
    parts = []
    notes: list[str] = []
    features: Sequence[str] = ()
    outputs: Sequence[str] = ()
    classes = dict[int, str]()
    for client, shard in enumerate(shards):
        named = Samples((), (), features=features, outputs=outputs)
        own = _samples(shard, f"{what}: client {client}", like=named)
        features, outputs = features or own.features, outputs or own.outputs
        if not getattr(own.y, "ndim", hasattr(own.y, "__len__")):
            raise DataError(
                f"{what} is a list of pairs, and of clients each is (X, y), two arrays; of single "
                "samples make two arrays, dataset=(X, y)"
            )
        x = array_of(own.x, f"{what}: X of client {client}")
        y = array_of(own.y, f"{what}: y of client {client}")
        checked_lengths(x, y, f"{what}: X of client {client}", "y")
        check_called_alike(y, own.classes, classes, f"{what}: y of client {client}")
        parts.append((x, y))
        notes += own.notes
    x = _joined([own for own, _ in parts], what, "X")
    y = _joined([own for _, own in parts], what, "y")
    column = of_clients([len(own) for own, _ in parts])
    beside = {CLIENT: column.codes}
    train = Samples(x, y, beside, features=features, outputs=outputs, notes=tuple(notes))
    second = None if test is None else _samples(test, what, " of the test", train)
    if second is not None:
        of_test = array_of(second.y, f"{what}: {second.y_name}")
        check_called_alike(of_test, second.classes, classes, f"{what} (test)")
    return Raw(what, train, second, notes=(*_index_notes((*shards, test), what), *told))


def _joined(rows: Sequence[np.ndarray], what: str, name: str) -> np.ndarray:
    """The clients' rows, one client after the other."""
    for client, own in enumerate(rows):
        if own.shape[1:] != rows[0].shape[1:]:
            raise DataError(
                f"{what}: {name} of client {client} has rows of shape {own.shape[1:]}, that of "
                f"client 0 {rows[0].shape[1:]}; they must be alike"
            )
    if len({own.dtype.kind in "UT" for own in rows}) > 1:
        raise DataError(f"{what}: {name} holds numbers of some clients and texts of others")
    images = name == "X" and rows[0].ndim > 2
    if images and len({own.dtype == np.uint8 for own in rows}) > 1:
        raise DataError(
            f"{what}: X holds bytes (uint8) of some clients and other numbers of others; images of "
            "bytes become 0 .. 1: give all alike"
        )
    return np.concatenate(rows)


# ---- tables


def _is_dict_of_tables(value: Any) -> bool:
    """Whether it is a DatasetDict of Hugging Face."""
    return isinstance(value, Mapping) and bool(value) and all(map(_is_table, value.values()))


def _is_table(value: Any) -> bool:
    home = type(value).__module__.partition(".")[0]
    if home in ("pandas", "polars"):
        return hasattr(value, "columns")
    return home in ("pyarrow", "datasets") and hasattr(value, "column_names")


def _table_of(value: Any, what: str) -> Any:
    """A frame, or a split of Hugging Face, as a table of pyarrow."""
    home = type(value).__module__.partition(".")[0]
    if home == "pyarrow":
        return value
    if home != "datasets":
        return _tables.from_frame(value, what)
    if not hasattr(value, "num_rows"):
        raise DataError(f"{what} is a stream (IterableDataset); load it without streaming=True")
    shown = value.format
    if shown["type"] == "custom":
        raise DataError(
            f"{what} has a transform (set_transform), which is made at each look, and a run reads "
            "samples once; use map instead"
        )
    columns = None if shown["output_all_columns"] else shown["columns"]
    return with_files(value.with_format("arrow", columns=columns)[:])


def _splits(
    splits: Mapping[str, Any], test: Any, chosen: Columns, beside: Sequence[str], what: str
) -> Raw:
    train = splits.get("train")
    if train is None:
        raise DataError(f"{what} has no split train, only {', '.join(splits)}")
    if test is None:
        name = next((name for name in TEST_SPLITS if name in splits), None)
        test = splits[name] if name else None
    return raw_of_tables(_table_of(train, what), test, chosen, beside, what)
