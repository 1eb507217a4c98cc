"""Map-style data sets of torch: `len(data)` and `data[i]`, which is a pair (sample, target)."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from p2pqg.base.draws import Watch, draws_from
from p2pqg.base.errors import DataError
from p2pqg.base.memory import check_room
from p2pqg.base.wording import counted
from p2pqg.data._inputs import array_of
from p2pqg.data._pixels import pixels


def is_map_style(value: Any) -> bool:
    """Whether it is a `torch.utils.data.Dataset`, or behaves like one."""
    kind = type(value)
    own = kind.__module__.partition(".")[0] not in (
        "numpy",
        "torch",
        "pandas",
        "polars",
        "pyarrow",
        "builtins",
    )
    ours = any(base.__module__.startswith("torch.utils.data") for base in kind.__mro__)
    return ours or (own and hasattr(value, "__getitem__") and hasattr(value, "__len__"))


class Read(NamedTuple):
    """Samples [samples, ...], their targets, and what was lost on the way, a line each."""

    x: np.ndarray
    y: np.ndarray
    notes: tuple[str, ...] = ()


def read_map_style(data: Any, what: str) -> Read:
    """All samples and targets, read once and one after the other.

    Args:
        data: a map-style data set.
        what: it is called in a message.

    Returns:
        all of them; Pillow's images as bytes, channels first.

    Raises:
        DataError: it has no length, items that are no pairs, samples of different shapes or which
            are others at each look, or an error of its own.
    """
    if hasattr(data, "dataset") and hasattr(data, "batch_size"):
        raise DataError(
            f"{what} is a DataLoader, and every client draws batches of its own; give what it "
            "loads from, loader.dataset"
        )
    if not (hasattr(data, "__getitem__") and hasattr(data, "__len__")):
        raise DataError(
            f"{what} is a data set without length or index (IterableDataset); give a map-style "
            "one, or arrays (X, y)"
        )
    tensors = getattr(data, "tensors", None)
    if isinstance(tensors, tuple) and len(tensors) == 2 and _hands_them_out(data):
        return Read(array_of(tensors[0], f"{what}: X"), array_of(tensors[1], f"{what}: y"))
    count = len(data)
    if not count:
        raise DataError(f"{what} has no samples")
    first, again = _item(data, 0, what), _item(data, 0, what)
    x, y = _value(first[0], f"{what}: sample 0"), _value(first[1], f"{what}: target 0")
    if not np.array_equal(x, _value(again[0], f"{what}: sample 0")):
        raise DataError(
            f"{what}: sample 0 is another at each look; leave random transforms out, and set "
            "dataset.augmentation instead"
        )
    _check_draws(draws_from(lambda: _item(data, 0, what)), what)
    watch = Watch()  # others may draw where the first one does not
    with watch:
        all_of = _images(data, count, what) if _is_image(first[0]) else _rows(data, x, y, what)
    drawn = watch.drawn
    if drawn and threading.active_count() > 1:  # perhaps it was another thread
        looks = (draws_from(partial(_item, data, i, what)) for i in range(count))
        drawn = next(filter(None, looks), set[str]())
    _check_draws(drawn, what)
    return all_of


def classes_of(data: Any) -> tuple[str, ...]:
    """Names of the classes 0, 1, 2, ... that a data set, or the one it is a part of, says it has.

    As torchvision's do, whose ImageFolder numbers the folders that it finds.
    """
    while not hasattr(data, "classes") and hasattr(data, "dataset"):
        data = data.dataset
    names = getattr(data, "classes", ())
    said = isinstance(names, list | tuple) and all(isinstance(name, str) for name in names)
    return tuple(names) if said else ()


def _hands_them_out(data: Any) -> bool:
    """Whether its samples are its tensors as they are: it is a TensorDataset with torch's own item.

    One of the user's, also one made of that, may normalise them first.
    """
    return type(data).__getitem__.__module__.startswith("torch.utils.data")


def _check_draws(drawn: set[str], what: str) -> None:
    if drawn:
        raise DataError(
            f"{what}: reading a sample draws numbers ({min(drawn)}), and a run reads it once; "
            "leave random transforms out, and set dataset.augmentation instead"
        )


def _rows(data: Any, x: np.ndarray, y: np.ndarray, what: str) -> Read:
    """All samples and targets, which are to be like the first ones, x and y."""
    count = len(data)
    check_room(count * (x.nbytes + y.nbytes), f"{what}: {counted(count, 'sample')}", "use fewer")
    all_x, all_y = _room_for(x, count), _room_for(y, count)
    for i in range(count):
        sample, target = _item(data, i, what)
        for rows, value, name in ((all_x, sample, "sample"), (all_y, target, "target")):
            item = _value(value, f"{what}: {name} {i}")
            if item.shape != rows.shape[1:]:
                raise DataError(
                    f"{what}: {name} {i} has shape {item.shape}, {name} 0 has {rows.shape[1:]}; "
                    "they must be alike"
                )
            if not np.can_cast(item.dtype, rows.dtype, "same_kind"):
                raise DataError(
                    f"{what}: {name} {i} is of {item.dtype}, {name} 0 of {rows.dtype}; "
                    "they must be alike"
                )
            rows[i] = item.item() if rows.ndim == 1 and rows.dtype == object else item
            if item.dtype.kind in "iu" and not (rows[i] == item).all():
                raise DataError(
                    f"{what}: {name} {i} does not fit into {rows.dtype}, of which {name} 0 is; "
                    "they must be alike"
                )
    return Read(all_x, all_y)


def _room_for(item: np.ndarray, count: int) -> np.ndarray:
    """Rows for so many items like this one; texts may be longer."""
    return np.empty((count, *item.shape), object if item.dtype.kind in "UT" else item.dtype)


def _item(data: Any, i: int, what: str) -> tuple[Any, Any]:
    try:
        item = data[i]
    except Exception as error:  # of the user's own code
        said = (str(error).strip().splitlines() or ["no message"])[0]
        raise DataError(f"{what}: sample {i}: {type(error).__name__}: {said}") from error
    if not isinstance(item, (tuple, list)) or len(item) != 2:
        raise DataError(
            f"{what}: sample {i} must be a pair (x, y), it is a {type(item).__name__}; "
            "give such pairs, or arrays (X, y)"
        )
    return item[0], item[1]


def _value(value: Any, what: str) -> np.ndarray:
    return np.asarray(value) if _is_image(value) else array_of(value, what, dimensions=0)


def _is_image(value: Any) -> bool:
    return type(value).__module__.startswith("PIL.")


def _images(data: Any, count: int, what: str) -> Read:
    """Pillow's images, as a viewer shows them."""
    labels: list[np.ndarray] = []

    def images() -> Iterator[tuple[str, Any]]:
        for i in range(count):
            image, label = _item(data, i, what)
            if not _is_image(image):
                raise DataError(
                    f"{what}: sample {i} is a {type(image).__name__}, sample 0 an image; they must "
                    "be alike"
                )
            labels.append(_value(label, f"{what}: target {i}"))
            yield f"{what}: sample {i}", image

    x, notes = pixels(images(), count, what)
    return Read(x, array_of(labels, f"{what}: y"), notes)
