"""Tables, a row per sample -> samples and labels: from pandas, CSV, Parquet or Hugging Face."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np

from p2pqg.base.errors import DataError, did_you_mean
from p2pqg.base.memory import check_room
from p2pqg.base.ranges import broken
from p2pqg.base.wording import counted
from p2pqg.data import _image_columns, _parquet
from p2pqg.data._reading import Reading, Samples, kind_unknown

if TYPE_CHECKING:
    import pyarrow as pa

COMMA = re.compile(r"[+-]?\d+,\d+")
INDEX = re.compile(r"__index_level_\d+__|Unnamed: 0")
"""What the index of pandas is called that has no name: in Parquet, and read from CSV."""
NUMBERED = re.compile(r"(column_)?\d+")
"""What a column is called to which nobody gave a name: by pandas, and by polars."""
UNEQUAL = "must hold lists of one length, they differ; fill them up"
LABELS = ("label", "labels", "target", "targets", "class", "fine_label", "y")
"""Names that a column of labels may have where nobody says which it is."""


@dataclass(frozen=True, kw_only=True)
class Columns(Reading):
    """Which columns of a table are what."""

    label: str | list[str] = ""
    """Name of the column of labels, or of several (multilabel, or regression of several numbers).
    Default: label, target, class or y."""
    features: list[str] = field(default_factory=list)
    """Names of the columns of features. Default: all that are left but the index of pandas."""
    leave_out: list[str] = field(default_factory=list)
    """Names of columns that are no features."""
    categories: list[str] = field(default_factory=list)
    """Names of columns of features that say a kind: each kind becomes a feature, 0 or 1. Kinds that
    only test samples have are none."""
    text: str = ""
    """Name of the column of texts, if it is texts that are read."""
    image: str = ""
    """Name of the column of images, as files have them, if there is one."""
    side: Annotated[int, ">= 0"] = 0
    """Pixels that images are scaled to, the rest cut off; 0: all have one size, and keep it."""

    def problems(self) -> Iterator[str]:
        if bool(self.text) + bool(self.image) + bool(self.features) > 1:
            yield broken(
                "dataset.text, dataset.image and dataset.features exclude each other; set one",
                "text",
                "image",
                "features",
            )
        if self.categories and (self.text or self.image):
            yield "dataset.categories are for features, and it is a text or an image that is read"
        if self.features and (left := [n for n in self.categories if n not in self.features]):
            yield f"dataset.categories must be among dataset.features, {left[0]!r} is not; add it"


def samples_of(table: pa.Table, chosen: Columns, beside: Sequence[str], what: str) -> Samples:
    """Samples and labels of one part.

    Args:
        table: a row per sample.
        chosen: which columns are what.
        beside: names of columns that go along as they are, such as the client's.
        what: the table is called in a message.

    Raises:
        DataError: a column is missing or holds something else, or has empty cells.
    """
    names = table.column_names
    _check_rows(table, what)
    _check_names(names, what)
    labels = labels_in(names, chosen, what)
    named = (*chosen.features, *chosen.leave_out, *chosen.categories, chosen.text, chosen.image)
    for name in (*labels, *beside, *named):
        if name and name not in names:
            raise DataError(f"{what} has no column {name!r}{did_you_mean(name, names)}")
    _check_each_is_one_thing(labels, chosen, what)
    columns = {name: _values(table[name], f"{what}: column {name}") for name in beside}
    y = _targets(table, labels, what)
    of_y: Any = {"y_name": f"column {', '.join(labels)}", "classes": classes_said(table, labels)}
    other = {*labels, *beside, *chosen.leave_out}
    image = chosen.image or ("" if chosen.features else _image_columns.only_one(table, other))
    if chosen.text:
        _check_full(table[chosen.text], f"{what}: column {chosen.text}")
        texts = np.array(table[chosen.text].to_pylist())
        return Samples(texts, y, columns, x_name=f"column {chosen.text}", **of_y)
    if image:
        x, notes = _image_columns.read(table[image], chosen.side, f"{what}: column {image}")
        unused = [name for name in names if name not in {*other, image, *index_of(table)}]
        if unused and not chosen.image:  # nobody has said that it is the image
            more = f" and {len(unused) - 5:,} more" if len(unused) > 5 else ""
            which = f"column {', '.join(unused[:5])}{more} is not used"
            notes = (*notes, f"{what}: {which}: the images of {image} are read")
        return Samples(x, y, columns, x_name="features", notes=notes, **of_y)
    left = [name for name in names if name not in other]
    index = [] if chosen.features else [name for name in index_of(table) if name in left]
    features = chosen.features or [name for name in left if name not in index]
    x, named = _features(table, features, what)
    told = () if chosen.features else _that_count_rows(table, features, what)
    if index:
        which = f"column {', '.join(index)} is the index of pandas, and no feature"
        told = (*told, f"{what}: {which}; name it in dataset.features if it is one")
    return Samples(
        x,
        y,
        columns,
        x_name="features",
        features=named,
        kinds=tuple(dict.fromkeys(chosen.categories)),
        notes=told,
        **of_y,
    )


def _check_each_is_one_thing(labels: Sequence[str], chosen: Columns, what: str) -> None:
    """DataError for a label among the features, a column twice, or a feature that is left out."""
    places = [("label", labels), ("features", chosen.features)]
    seen = dict[str, str]()
    for key, names in (*places, ("text", [chosen.text]), ("image", [chosen.image])):
        for name in filter(None, names):
            if name in seen and seen[name] == "label" and not chosen.label:
                raise DataError(
                    f"{what}: column {name} is taken for the label, as none is named; set "
                    f"dataset.label, or take it out of dataset.{key}"
                )
            if name in seen:
                raise DataError(
                    f"{what}: column {name} is in dataset.{seen[name]} and again in dataset.{key}; "
                    "name it once"
                )
            seen[name] = key
    for key, names in (places[1], ("categories", chosen.categories)):
        if both := [name for name in names if name in chosen.leave_out]:
            raise DataError(
                f"{what}: column {both[0]} is in dataset.{key} and in dataset.leave_out; take it "
                "out of one"
            )


def index_of(table: pa.Table) -> list[str]:
    """Names of columns that are the index of pandas: it says so, or they are called as it is."""
    said = index_said(table)
    return [name for name in table.column_names if name in said or INDEX.fullmatch(name)]


def index_said(table: pa.Table) -> list[str]:
    """The columns that a table of pandas says to be its index."""
    try:
        about = json.loads((table.schema.metadata or {}).get(b"pandas", b"{}"))
    except ValueError:
        return []
    kept = about.get("index_columns") if isinstance(about, dict) else None
    # One that only counts is no column: of it there is a description.
    return [name for name in kept if isinstance(name, str)] if isinstance(kept, list) else []


def _check_rows(table: pa.Table, what: str) -> None:
    if not table.num_rows:
        raise DataError(f"{what} has no rows")


def _check_names(names: Sequence[str], what: str) -> None:
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise DataError(f"{what} has two columns called {twice!r}; rename one")


def in_kinds(
    train: pa.Table, test: pa.Table | None, chosen: Columns, beside: Sequence[str], what: str
) -> tuple[pa.Table, pa.Table | None, tuple[str, ...]]:
    """Tables whose `categories` are 0 or 1 for each kind that training samples have; and notes.

    Raises:
        DataError: there is no such column, or it is none of features.
    """
    notes = list[str]()
    for name in dict.fromkeys(chosen.categories):
        _check_rows(train, what)
        _check_names(train.column_names, what)
        if name in (*beside, *labels_in(train.column_names, chosen, what)):
            raise DataError(
                f"{what}: dataset.categories are features, and column {name} is something else; "
                "leave it out there"
            )
        if name not in train.column_names:
            raise DataError(
                f"{what} has no column {name!r}{did_you_mean(name, train.column_names)}"
            )
        kinds, counts = np.unique(
            _values(train[name], f"{what}: column {name}"), return_counts=True
        )
        if kinds.dtype.kind == "U" and (empty := int(counts[np.char.strip(kinds) == ""].sum())):
            notes.append(
                f"{what}: column {name}: that a cell is empty is taken for a kind "
                f"({counted(empty, 'training sample')}); fill them, or leave the rows out, if it "
                "is none"
            )
        check_room(4 * len(kinds) * train.num_rows, f"{what}: column {name}", "leave it out")
        train = _in_kinds(train, name, kinds, what)
        if test is not None and name in test.column_names:
            test = _in_kinds(test, name, kinds, f"{what} (test)", notes)
    return train, test, tuple(notes)


def _in_kinds(
    table: pa.Table, name: str, kinds: np.ndarray, what: str, notes: list[str] | None = None
) -> pa.Table:
    """The column as 0 or 1 for each kind; `notes` are told of cells that are of none."""
    import pyarrow as pa

    cells = _values(table[name], f"{what}: column {name}")
    if (cells.dtype.kind == "U") != (kinds.dtype.kind == "U"):  # a file of codes, and one with an x
        cells, kinds = cells.astype(str), kinds.astype(str)
    each = (cells[:, None] == kinds).astype(np.float32)
    if notes is not None and len(strange := cells[~each.any(axis=1)]):
        such = f", such as {strange[0]}"
        notes.append(kind_unknown(f"{what}: column {name}", len(strange), len(cells), such))
    lists = pa.FixedSizeListArray.from_arrays(pa.array(each.ravel()), len(kinds))
    return table.set_column(table.column_names.index(name), name, lists)


def class_names(table: pa.Table, chosen: Columns, what: str) -> tuple[str, ...]:
    """Names of the classes, where the table says them as Hugging Face's do; else of the outputs."""
    labels = labels_in(table.column_names, chosen, what)
    if len(labels) > 1:
        return tuple(labels)
    return classes_said(table, labels)


def classes_said(table: pa.Table, labels: Sequence[str]) -> tuple[str, ...]:
    """Names of the classes of a label, as Hugging Face's tables say them; empty: it does not."""
    return _parquet.names_in(table.schema.metadata, labels)


def labels_in(names: Sequence[str], chosen: Columns, what: str) -> list[str]:
    """The columns of labels."""
    if chosen.label:
        return [chosen.label] if isinstance(chosen.label, str) else list(chosen.label)
    found = [name for name in names if name in LABELS]
    if len(found) != 1:
        which = ", ".join(found or names)
        raise DataError(f"{what}: which column is the label, of {which}? Set dataset.label")
    return found


def _targets(table: pa.Table, labels: Sequence[str], what: str) -> Any:
    if len(labels) > 1:
        each = [_values(table[name], f"{what}: column {name}") for name in labels]
        return np.stack(each, axis=1)
    return _values(table[labels[0]], f"{what}: column {labels[0]}")


def _values(column: pa.ChunkedArray, what: str) -> np.ndarray:
    """Numbers, texts, or rows of numbers where the cells are lists.

    Raises:
        DataError: empty cells, or something else.
    """
    import pyarrow as pa

    _check_full(column, what)
    kind = column.type
    if pa.types.is_dictionary(kind):
        column = pa.chunked_array([_bare(chunk) for chunk in column.chunks], kind.value_type)
        kind = column.type
        _check_full(column, what)  # a kind may be empty itself
    if isinstance(kind, pa.BaseExtensionType) and _parquet.is_list(kind.storage_type):
        return _tensors(column, what)
    if _parquet.is_text(kind):
        return np.array(column.to_pylist(), dtype=str)
    if pa.types.is_boolean(kind) or pa.types.is_integer(kind) or pa.types.is_floating(kind):
        return column.to_numpy()
    if pa.types.is_decimal(kind):
        return column.cast(pa.float64()).to_numpy()
    if _parquet.is_list(kind):
        return _lists(column, what)
    raise DataError(f"{what} holds {kind}; numbers or texts are read")


def _check_full(column: pa.ChunkedArray, what: str) -> None:
    if column.null_count:
        empty = next(i for i, cell in enumerate(column) if not cell.is_valid)
        raise DataError(
            f"{what} has {counted(column.null_count, 'empty cell')} (the first in row {empty}, "
            "counted from 0); fill them, or leave the rows out"
        )


def _tensors(column: pa.ChunkedArray, what: str) -> np.ndarray:
    """[rows, ...] of arrays as Arrow, Hugging Face and Ray keep them: lists, and a shape."""
    found, shape = _lists(column, what), tuple(getattr(column.type, "shape", ()))
    if found.ndim == 2 and shape and np.prod(shape) == found.shape[1]:
        found = found.reshape(-1, *shape)
    order = getattr(column.type, "permutation", None)  # of Arrow: the shape is that in memory
    if not order:
        return found
    if any(order[order[axis]] != axis for axis in order):
        # Arrow's own from_numpy_ndarray writes the inverse of what its format says.
        two_ways = f"has axes in an order {order} that can be read in two ways"
        raise DataError(f"{what} {two_ways}; give arrays, (X, y)")
    return found.transpose(0, *(1 + axis for axis in order))


def _lists(column: pa.ChunkedArray, what: str) -> np.ndarray:
    """[rows, length, ...] of lists that are equally long, also of lists in lists, of their type."""
    parts, empty, first = list[np.ndarray](), list[int](), 0
    for chunk in filter(len, column.chunks):
        part, rows = _numbers_of(chunk, what)
        parts.append(part)
        empty += [first + row for row in rows]
        first += len(part)
    if empty:
        raise DataError(
            f"{what} has empty entries in {len(empty):,} of its lists (the first in row "
            f"{empty[0]}, counted from 0); fill them, or leave the rows out"
        )
    if len({part.shape[1:] for part in parts}) > 1:
        raise DataError(f"{what} {UNEQUAL}")
    return np.concatenate(parts)


def _numbers_of(chunk: pa.Array, what: str) -> tuple[np.ndarray, list[int]]:
    """The numbers of some lists, [rows, length, ...]; and the rows in which some are missing."""
    import pyarrow as pa
    import pyarrow.compute as pc

    shape, kind, chunk = [len(chunk)], chunk.type, _bare(chunk)
    while _parquet.is_list(chunk.type):
        lengths = pc.unique(pc.list_value_length(chunk))
        if len(lengths) != 1 or chunk.null_count:
            raise DataError(f"{what} {UNEQUAL}")
        shape.append(lengths[0].as_py())
        chunk = _bare(chunk.flatten())
    types = pa.types
    numbers = (types.is_integer, types.is_floating, types.is_boolean)
    if not any(is_one(chunk.type) for is_one in numbers):
        raise DataError(f"{what} holds lists of {kind}; lists of numbers are read")
    if not chunk.null_count:
        return chunk.to_numpy(zero_copy_only=False).reshape(shape), []
    missing = chunk.is_null().to_numpy(zero_copy_only=False).reshape(shape[0], -1).any(1)
    return np.zeros(shape), np.flatnonzero(missing).tolist()


def _bare(array: pa.Array) -> pa.Array:
    """What is kept of an array of a type of somebody's own, or of one with a dictionary."""
    import pyarrow as pa

    while isinstance(array.type, pa.BaseExtensionType):
        array = array.storage
    return array.dictionary_decode() if pa.types.is_dictionary(array.type) else array


def _that_count_rows(table: pa.Table, names: Sequence[str], what: str) -> tuple[str, ...]:
    """A line on columns that number the rows: what is sorted by its label can be told by them."""
    import pyarrow as pa

    found = []
    for name in names:
        column = table[name]
        if pa.types.is_integer(column.type) and len(column) > 2:
            first = column[0].as_py()
            if column[1].as_py() == first + 1 and column[-1].as_py() == first + len(column) - 1:
                numbers = column.to_numpy()
                if (np.diff(numbers) == 1).all():
                    found.append(name)
    if not found:
        return ()
    told = ", ".join(found)
    return (
        f"{what}: column {told} numbers the rows, and is learned from as a feature; if it is an "
        f"index, set dataset.leave_out: [{told}]",
    )


def _features(
    table: pa.Table, names: Sequence[str], what: str
) -> tuple[np.ndarray, tuple[str, ...]]:
    """[rows, numbers], and whose each is; columns of lists bring several.

    Of a column of nested lists [rows, ...].
    """
    import pyarrow as pa

    if not names:
        raise DataError(f"{what} has no columns but that of the label; there are no features")
    check_room(8 * len(names) * table.num_rows, f"{what}: {len(names)} features", "use fewer rows")
    parts = []
    for name in names:
        kind = table.schema.field(name).type
        if _parquet.is_text(kind) or pa.types.is_dictionary(kind):
            if COMMA.fullmatch(str(table[name][0])):
                raise DataError(
                    f"{what}: column {name} holds numbers with a comma, such as {table[name][0]}; "
                    "write decimals with a point, and thousands without: pandas reads them with "
                    "read_csv(..., decimal=',') or thousands=','"
                )
            raise DataError(
                f"{what}: column {name} holds texts, which are no features; set "
                f"dataset.categories: [{name}] if it says a kind, or dataset.text: {name} to read "
                f"it, or dataset.leave_out: [{name}]"
            )
        if _image_columns.holds_images(kind):
            raise DataError(
                f"{what}: column {name} holds {'files' if pa.types.is_struct(kind) else kind}; if "
                f"these are the images, set dataset.image: {name}, of a table that has the labels, "
                "too; else leave the column out"
            )
        parts.append(_values(table[name], f"{what}: column {name}"))
    flat = [part.reshape(table.num_rows, -1) for part in parts]
    named = [name for name, part in zip(names, flat, strict=True) for _ in range(part.shape[1])]
    return parts[0] if len(parts) == 1 else np.concatenate(flat, axis=1), tuple(named)


def from_frame(frame: Any, what: str) -> pa.Table:
    """A frame of pandas or polars as a table.

    Raises:
        DataError: a column holds a mixture.
    """
    import pyarrow as pa

    # Of the class: a frame of pandas has its columns as attributes.
    if hasattr(type(frame), "collect"):  # of polars, and lazy
        frame = frame.collect()
    if hasattr(type(frame), "to_arrow"):
        return frame.to_arrow()
    frame = frame.rename(columns=str).copy()  # Arrow reads memory that others may write into
    _check_names(list(frame.columns), what)
    try:
        return pa.Table.from_pandas(frame, preserve_index=False).replace_schema_metadata(None)
    except (pa.ArrowException, TypeError, ValueError) as error:
        for name in frame if len(frame) else ():
            if getattr(frame[name].iloc[0], "ndim", 0) > 1:
                raise DataError(
                    f"{what}: column {name} holds arrays of several dimensions; give arrays, "
                    f"(X, y) with X = np.stack(frame[{name!r}])"
                ) from None
        reason = str(error.args[0]).partition("\n")[0] if error.args else type(error).__name__
        raise DataError(f"{what} has a column of mixed content ({reason})") from error


def features_of(
    table: pa.Table, what: str, like: Sequence[str] = ()
) -> tuple[np.ndarray, tuple[str, ...]]:
    """All columns of a table but an index as features, and whose each is.

    Args:
        table: a row per sample.
        what: the table is called in a message.
        like: names of the features that other samples have: columns come in their order.

    Raises:
        DataError: as of `ordered`; or it has no rows.
    """
    _check_rows(table, what)
    index = index_said(table)
    names = [name for name in table.column_names if name not in index or name in like]
    return _features(table, ordered(names, like, what), what)


def ordered(names: Sequence[str], like: Sequence[str], what: str) -> list[str]:
    """Names of columns in the order of `like`, those of other samples; () leaves them as they are.

    Where one frame has names and another one numbers its columns, they go by their place.

    Raises:
        DataError: a column is missing, or there are others.
    """
    wanted = list(dict.fromkeys(like))
    if not wanted or ({*wanted} != {*names} and _go_by_place(wanted, names)):
        return list(names)
    for name in wanted:
        if name not in names:
            raise DataError(f"{what} has no column {name!r}{did_you_mean(name, names)}")
    if others := [name for name in names if name not in wanted]:
        raise DataError(f"{what} has a column {others[0]!r}, and other samples have none; drop it")
    return wanted


def _go_by_place(some: Sequence[str], others: Sequence[str]) -> bool:
    """Whether nobody says which column is which of another frame: one of them only counts its."""
    count = _count_up(some), _count_up(others)
    if all(count):
        return len(some) == len(others)  # as pandas does, and as polars
    names = others if count[0] else some
    return any(count) and not all(NUMBERED.fullmatch(name) for name in names)


def _count_up(names: Sequence[str]) -> bool:
    return any([*names] == [f"{way}{i}" for i in range(len(names))] for way in ("", "column_"))
