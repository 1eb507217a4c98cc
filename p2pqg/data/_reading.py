"""From samples as they come, out of memory or a file, to `Arrays`: one way for all of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

import numpy as np

from p2pqg.base.errors import ConfigError, DataError
from p2pqg.base.memory import available_memory
from p2pqg.base.seeding import rng
from p2pqg.base.wording import counted
from p2pqg.data._arrays import Arrays
from p2pqg.data._columns import Column
from p2pqg.data._inputs import array_of, check_finite, checked_lengths, inputs
from p2pqg.data._labels import check_called_alike
from p2pqg.data._leak import leaked
from p2pqg.data._pixels import in_color
from p2pqg.data._scales import scales_told, standardised
from p2pqg.data._targets import Targets, targets
from p2pqg.data._tokens import known_tokens, tokenise


@dataclass(frozen=True, kw_only=True)
class Reading:
    """What may be set of all data of a user's own."""

    task: Literal["auto", "classes", "regression", "multilabel", "own"] = "auto"
    """auto: whole numbers and texts are classes, floats are regression, a matrix of 0 and 1 is
    multilabel. own: targets of any shape, such as a label for each pixel or word, as a loss of your
    own takes them."""
    tokens: bool = False
    """Whole numbers in samples stay whole, for a model of your own that embeds them."""
    test_share: Annotated[float, "(0, 1)"] = 0.2
    """Where no test part is given: of the samples, the share that is held out; in (0, 1)."""
    augmentation: Literal["none", "crop-flip"] = "none"
    """What images go through. crop-flip: pad 4, random crop, random mirror."""
    length: Annotated[int, ">= 1"] = 64
    """Tokens kept of a text, >= 1."""
    standardise: bool = False
    """Columns of features: each minus its mean over the training samples, by its deviation."""


@dataclass(frozen=True)
class Samples:
    """Samples of one part, as they came.

    Attributes:
        x: [samples, ...] numbers, or [samples] texts: anything that `array_of` takes.
        y: [samples] or [samples, outputs].
        columns: name -> [samples], what belongs to each sample beside it.
        x_name, y_name: what they are called in a message.
        features, outputs: names of the columns of x, and of y, where it has some.
        kinds: which of these names have a column of 0 and 1 for each kind of something.
        classes: names of the classes 0, 1, 2, ..., where the part itself says them.
        notes: what should be known of them, a line each.
    """

    x: Any
    y: Any
    columns: Mapping[str, Any] = field(default_factory=dict)
    x_name: str = "X"
    y_name: str = "y"
    features: Sequence[str] = ()
    outputs: Sequence[str] = ()
    kinds: Sequence[str] = ()
    classes: Sequence[str] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Raw:
    """Samples of both parts, as they came.

    Attributes:
        what: the data are called in a message.
        test: None: a share of the training samples is held out.
        names: of the classes or outputs, where the data say them.
        scale: (mean, std) of images, see `Arrays`; None: bytes become 0 .. 1.
        notes: what should be known of both parts together, a line each.
        held: somebody holds them, and may write into them.
    """

    what: str
    train: Samples
    test: Samples | None = None
    names: Sequence[str] = ()
    scale: tuple[float, float] | None = None
    notes: tuple[str, ...] = ()
    held: bool = False


def arrays_from(raw: Raw, reading: Reading, tokenizer: str | None = None) -> Arrays:
    """Check samples, number their classes, hold a test part out if there is none.

    Args:
        raw: the samples.
        reading: what the user set.
        tokenizer: how the model reads texts; None: it takes numbers; "": whole numbers are tokens.

    Raises:
        DataError: X and y of unequal length, NaN or infinity, targets of the wrong kind, and so on.
        ConfigError: texts for a model that reads none.
    """
    what, parts = raw.what, filter(None, (raw.train, raw.test))
    notes = [*raw.notes, *(note for part in parts for note in part.notes)]
    train = _checked(raw.train, what)
    if raw.test is not None and reading.test_share != Reading.test_share:
        notes.append(f"{what}: dataset.test_share is ignored: a test part is given")
    if train.x.dtype.kind not in "UT" and reading.length != Reading.length:
        notes.append(f"{what}: dataset.length is ignored: it is of texts")
    columns = {name: Column.of(v, f"{what}: {name}") for name, v in raw.train.columns.items()}
    for name, column in columns.items():
        checked_lengths(train.x, column, train.x_name, f"column {name}")
    if raw.test is None:
        rest, held_out = held_out_of(len(train.y), reading.test_share, columns.values(), what)
        test = dataclasses.replace(train, x=train.x[held_out], y=train.y[held_out])
        train = dataclasses.replace(train, x=train.x[rest], y=train.y[rest])
        columns = {name: column.at(rest) for name, column in columns.items()}
        notes.append(told_of(held_out, rest, what))
        train, test, told = _without_strange_kinds(train, test, what)
        notes += told
    else:
        test = _checked(raw.test, what)
        check_called_alike(test.y, test.classes, dict(enumerate(train.classes)), f"{what} (test)")
    train_x, said = _seen(train, reading, tokenizer)
    test_x, _ = _seen(test, reading, tokenizer)
    if {train_x.shape[1:2], test_x.shape[1:2]} == {(1,), (3,)} and _are_images(train_x, test_x):
        train_x, test_x = in_color(train_x), in_color(test_x)
    if len({x.dtype == np.uint8 for x in (train_x, test_x)}) > 1:
        raise DataError(
            f"{what}: training samples are {train_x.dtype}, test samples {test_x.dtype}; images of "
            "bytes become 0 .. 1, and other numbers stay what they are: give both alike"
        )
    if train_x.shape[1:] != test_x.shape[1:]:
        raise DataError(
            f"{what}: a training sample has shape {train_x.shape[1:]}, a test sample "
            f"{test_x.shape[1:]}; they must be alike"
        )
    if tokenizer and train_x.dtype != np.int32:
        raise ConfigError(f"{what} holds no texts, and the model reads nothing else; use model mlp")
    found = targets(train.y, test.y, train.y_name, reading.task, raw.names)
    said = (*said, *leaked(train_x, test_x, what))
    if reading.standardise:
        train_x, test_x = standardised(train_x, test_x, what)
    else:
        said = (*said, *scales_told(train_x, train.features, what))
    arrays = _finished(train_x, test_x, found, raw, reading, columns, (*notes, *said))
    if raw.held:
        arrays = _apart(arrays, (train, test), what)
    drawn = len(test.y) if raw.test is None else 0
    return dataclasses.replace(arrays, tokenizer=tokenizer or "", drawn=drawn)


def _apart(arrays: Arrays, parts: tuple[Samples, Samples], what: str) -> Arrays:
    """The arrays, not in the memory of those that came, which may change; files stay files."""
    train, test = parts
    came = {"train_x": train.x, "train_y": train.y, "test_x": test.x, "test_y": test.y}
    same = {
        name: getattr(arrays, name)
        for name, theirs in came.items()
        if _may_change(theirs) and np.may_share_memory(getattr(arrays, name), theirs)
    }
    free = available_memory()
    if free is not None and sum(array.nbytes for array in same.values()) > free / 2:
        line = f"{what}: so large that it is not copied; do not write into it while it is learned"
        return dataclasses.replace(arrays, notes=(*arrays.notes, line))
    return dataclasses.replace(arrays, **{name: array.copy() for name, array in same.items()})


def _may_change(array: np.ndarray) -> bool:
    """Whether somebody can write into it, or into what it is a view of, as the frames of pandas."""
    one: Any = array
    while isinstance(one, np.ndarray) and not one.flags.writeable:
        one = one.base
    return isinstance(one, np.ndarray)


def _finished(
    train_x: np.ndarray,
    test_x: np.ndarray,
    found: Targets,
    raw: Raw,
    reading: Reading,
    columns: dict[str, Column],
    notes: tuple[str, ...],
) -> Arrays:
    if reading.augmentation != "none" and train_x.ndim != 4:
        raise ConfigError(
            f"dataset.augmentation {reading.augmentation} is for images; a sample of {raw.what} "
            f"has shape {train_x.shape[1:]}"
        )
    scale = raw.scale if train_x.dtype == np.uint8 else None
    mean, std = ((value,) * train_x.shape[1] for value in scale) if scale else (None, None)
    return Arrays(
        train_x,
        found.train,
        test_x,
        found.test,
        num_classes=found.outputs,
        mean=mean,
        std=std,
        augmentation=None if reading.augmentation == "none" else reading.augmentation,
        task=found.task,
        classes=found.names,
        columns=columns,
        notes=(*notes, *found.notes),
    )


def _checked(part: Samples, what: str) -> Samples:
    """The part with arrays of equal length; their names tell whose they are."""
    x_name, y_name = f"{what}: {part.x_name}", f"{what}: {part.y_name}"
    x, y = array_of(part.x, x_name), array_of(part.y, y_name)
    checked_lengths(x, y, x_name, y_name)
    for values, name in ((x, x_name), (y, y_name)):
        if values.dtype.kind == "f":
            check_finite(values, name)
    return dataclasses.replace(part, x=x, y=y, x_name=x_name, y_name=y_name)


def _without_strange_kinds(
    train: Samples, test: Samples, what: str
) -> tuple[Samples, Samples, list[str]]:
    """Both parts without the kinds that only samples held out for the test have; and notes."""
    if not train.kinds:
        return train, test, []
    strange = np.isin(train.features, train.kinds) & ~train.x.any(axis=0)
    told = [
        kind_unknown(f"{what}: column {name}", int(test.x[:, own].any(axis=1).sum()), len(test.y))
        for name in train.kinds
        if (own := strange & np.equal(train.features, name)).any()
    ]
    features = np.array(train.features)[~strange].tolist()
    first, second = (
        dataclasses.replace(part, x=part.x[:, ~strange], features=features)
        for part in (train, test)
    )
    return first, second, told


def kind_unknown(column: str, count: int, num_samples: int, such: str = "") -> str:
    """The line on test samples whose kind no training sample has."""
    return (
        f"{column}: no training sample has the kind of {count:,} of {num_samples:,} samples"
        f"{such}; they are of none"
    )


def _seen(
    part: Samples, reading: Reading, tokenizer: str | None
) -> tuple[np.ndarray, tuple[str, ...]]:
    """The inputs of a part, and what should be known of them."""
    if part.x.dtype.kind not in "UT":
        x, notes = inputs(part.x, part.x_name, tokens=tokenizer is not None or reading.tokens)
        if reading.tokens and x.dtype != np.int32:
            raise ConfigError(
                f"{part.x_name} is of {part.x.dtype}, and dataset.tokens is of whole numbers; "
                "leave it out"
            )
        if tokenizer and x.dtype == np.int32 and x.max() >= known_tokens(tokenizer):
            raise ConfigError(
                f"{part.x_name} has tokens up to {x.max():,}, and the model knows "
                f"{known_tokens(tokenizer):,}; set model.vocabulary to {x.max() + 1}"
            )
        return x, notes
    if part.x.ndim != 1:
        raise DataError(f"{part.x_name} must hold one text for each sample, found {part.x.shape}")
    if not tokenizer:
        raise ConfigError(f"{part.x_name} holds texts; use model transformer or distilbert")
    return tokenise(part.x.tolist(), tokenizer, reading.length), ()


def _are_images(*parts: np.ndarray) -> bool:
    return all(part.ndim == 4 and part.dtype == np.uint8 for part in parts)


def told_of(held_out: np.ndarray, rest: np.ndarray, what: str) -> str:
    """The line on samples that are held out."""
    return (
        f"{what}: no test part is given; {counted(len(held_out), 'sample')} of "
        f"{len(rest) + len(held_out):,}, drawn once for all seeds, are held out for it"
    )


def held_out_of(
    num_samples: int, share: float, columns: Iterable[Column], what: str
) -> tuple[np.ndarray, np.ndarray]:
    """Positions of the rest and of what is held out, in order."""
    order = rng(0, "held-out").permutation(num_samples)
    count = round(share * num_samples)
    held_out, rest = order[:count], order[count:]
    for column in columns:  # whoever it belongs to keeps something to learn from
        emptied = np.setdiff1d(column.codes[held_out], column.codes[rest])
        back = [held_out[column.codes[held_out] == code][0] for code in emptied]
        held_out, rest = np.setdiff1d(held_out, back), np.union1d(rest, back).astype(np.int64)
    if not (len(held_out) and len(rest)):
        raise DataError(
            f"{what}: {counted(num_samples, 'sample')} are too few to hold {share:g} of them out "
            "for a test; give a test part"
        )
    return np.sort(rest), np.sort(held_out)
