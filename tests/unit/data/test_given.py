"""Data that are given as objects: arrays, data sets of torch, frames, shards of clients."""

import io
import re
from threading import Event, Thread

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch
from PIL import Image
from torch.utils.data import (
    ConcatDataset,
    DataLoader,
    Dataset,
    IterableDataset,
    Subset,
    TensorDataset,
)

from p2pqg.base.errors import ConfigError, DataError
from p2pqg.data import Arrays, is_object, load, read, split, usual_model
from p2pqg.data._image_columns import with_files

X = np.random.default_rng(0).standard_normal((10, 3))
Y = np.arange(10) % 2
TEST = X[:4] + 1, Y[:4]
IMAGES = np.full((10, 1, 4, 4), 7, dtype=np.uint8)


class Pairs(Dataset):
    """Any map-style data set."""

    def __init__(self, x, y):
        self.x, self.y = x, y

    def __len__(self):
        return len(self.x)

    def __getitem__(self, i):
        return self.x[i], self.y[i]


def same(arrays, x=X, y=Y, test=TEST):
    np.testing.assert_array_equal(arrays.train_x, x)
    np.testing.assert_array_equal(arrays.train_y, y)
    np.testing.assert_array_equal(arrays.test_x, test[0])
    np.testing.assert_array_equal(arrays.test_y, test[1])
    assert arrays.task == "classes"
    assert arrays.num_classes == 2


TORCH = torch.from_numpy(X), torch.from_numpy(Y)
TORCH_TEST = torch.from_numpy(TEST[0]), torch.from_numpy(TEST[1])
FRAME = pd.DataFrame({"a": X[:, 0], "b": X[:, 1], "c": X[:, 2], "label": Y})
TEST_FRAME = pd.DataFrame({"a": TEST[0][:, 0], "b": TEST[0][:, 1], "c": TEST[0][:, 2]})
TEST_FRAME["label"] = TEST[1]


@pytest.mark.parametrize(
    "given",
    [
        (X, Y, *TEST),
        ((X, Y), TEST),
        (X.tolist(), Y.tolist(), TEST[0].tolist(), TEST[1].tolist()),
        (*TORCH, *TORCH_TEST),
        ([x.clone().requires_grad_() for x in TORCH[0]], [*TORCH[1]], *TORCH_TEST),
        (TensorDataset(*TORCH), TensorDataset(*TORCH_TEST)),
        (Pairs(*TORCH), Pairs(*TORCH_TEST)),
        (Pairs(X, Y), Pairs(*TEST)),
        (Subset(Pairs(X, Y), range(10)), ConcatDataset([Pairs(*TEST)])),
        (FRAME, TEST_FRAME),
        {"data": FRAME, "label": "label", "test": TEST_FRAME},
        {"data": (X, Y), "test": TEST},
        {"data": (FRAME, "label"), "test": TEST_FRAME},
        (FRAME[["a", "b", "c"]], FRAME["label"], TEST_FRAME[["a", "b", "c"]], TEST_FRAME["label"]),
        {"data": (FRAME[["a", "b", "c"]], FRAME[["label"]]), "test": TEST},
    ],
)
def test_what_holds_the_same_samples_gives_the_same_arrays(given):
    assert is_object(given)
    same(read(given))


def test_an_index_that_arrow_keeps_is_no_feature():
    order = np.random.default_rng(1).permutation(10)
    table, x = (pa.Table.from_pandas(f.iloc[order]) for f in (FRAME, FRAME[["a", "b", "c"]]))
    assert "__index_level_0__" in x.column_names
    for given in ({"data": table, "test": TEST_FRAME}, (x, Y[order], *TEST)):
        same(read(given), X[order], Y[order])


def test_a_test_part_may_be_given_beside():
    same(read((X, Y), test=TEST))
    same(read(Pairs(X, Y), test=Pairs(*TEST)))
    same(read((FRAME, "label"), test=TEST_FRAME))


def test_without_a_test_part_a_share_is_held_out_always_the_same_and_that_is_said():
    first = read((X, Y))
    again = read((X, Y))
    np.testing.assert_array_equal(first.test_x, again.test_x)
    assert len(first.test_x) == 2
    together = np.concatenate([first.train_x, first.test_x])
    assert sorted(together[:, 0]) == sorted(X[:, 0])
    assert first.notes == (
        "dataset: no test part is given; 2 samples of 10, drawn once for all seeds, are held out "
        "for it",
    )
    assert len(read({"data": (X, Y), "test_share": 0.5}).test_x) == 5
    with pytest.raises(DataError, match="2 samples are too few to hold 0.2 of them out"):
        read((X[:2], Y[:2]))


# ---- already split


def test_a_list_is_one_part_for_each_client():
    arrays = read([(X[:2], Y[:2]), (X[2:7], Y[2:7]), (X[7:], Y[7:])], test=TEST)
    same(arrays)
    parts = split("column:client", arrays, 3)
    assert [part.tolist() for part in parts] == [[0, 1], [2, 3, 4, 5, 6], [7, 8, 9]]


def test_clients_may_be_data_sets_of_torch():
    arrays = read([Pairs(X[:5], Y[:5]), Pairs(X[5:], Y[5:])], test=Pairs(*TEST))
    same(arrays)
    assert arrays.columns["client"].names == ("0", "1")


def test_every_client_keeps_a_sample_when_some_are_held_out():
    shards = [(X[i : i + 1], Y[i : i + 1]) for i in range(4)] + [(X[4:], Y[4:])]
    arrays = read({"data": shards, "test_share": 0.6})
    assert len(arrays.columns["client"].names) == 5
    assert len(arrays.train_x) + len(arrays.test_x) == 10
    parts = split("column:client", arrays, 5)
    assert [len(part) for part in parts][:4] == [1, 1, 1, 1]


# ---- samples


def test_numbers_keep_their_precision_and_whole_numbers_become_floats():
    for dtype, kept in (
        (np.float64, np.float64),
        (np.float32, np.float32),
        (np.float16, np.float32),
        (np.int64, np.float32),
        (bool, np.float32),
    ):
        assert (
            read((np.ones((10, 2), dtype), Y, np.ones((3, 2), dtype), Y[:3])).train_x.dtype == kept
        )
    large = np.full((10, 1), 2**24 + 1)
    assert read((large, Y, large, Y)).train_x[0, 0] == 2**24 + 1
    bf16 = torch.ones(10, 2, dtype=torch.bfloat16)
    assert read((bf16, Y, bf16, Y)).train_x.dtype == np.float32


def test_whole_numbers_are_tokens_for_a_model_that_embeds_them():
    tokens = np.arange(20).reshape(10, 2)
    arrays = read((tokens, Y, tokens, Y), tokenizer="")
    assert arrays.train_x.dtype == np.int32
    with pytest.raises(DataError, match="tokens must be >= 0, found -1"):
        read((tokens - 1, Y, tokens, Y), tokenizer="")


def test_bytes_are_images_wherever_their_channels_are():
    image = np.random.default_rng(1).integers(0, 256, (10, 6, 5, 3), dtype=np.uint8)
    last = read((image, Y, image, Y))
    first = read((image.transpose(0, 3, 1, 2), Y, image, Y))
    np.testing.assert_array_equal(last.train_x, first.train_x)
    assert last.input_shape == (3, 6, 5)
    assert last.mean is None  # bytes become 0 .. 1
    assert any("last of its dimensions is taken for the channels" in note for note in last.notes)
    deep = np.concatenate([image, image], 3)[..., :4] / 255  # RGBA, or maps of 4 channels
    (note,) = read((deep, Y, deep, Y)).notes
    assert re.search(r"\[6, 5, 4\] are taken for images of 6 channels; if the 4 are the cha", note)
    assert read((image[..., 0], Y, image[..., 0], Y)).input_shape == (1, 6, 5)
    assert usual_model(last) == "resnet20-gn"
    crops = read({"data": (image, Y, image, Y), "augmentation": "crop-flip"})
    assert crops.augmentation == "crop-flip"
    with pytest.raises(ConfigError, match="augmentation crop-flip is for images"):
        read({"data": (X, Y), "augmentation": "crop-flip"})


def test_images_of_pillow_are_seen_as_files_are():
    gray = [Image.fromarray(np.full((4, 5), i, np.uint8)) for i in range(10)]
    arrays = read((Pairs(gray, Y), Pairs([Image.new("RGB", (5, 4), (1, 2, 3))] * 4, Y[:4])))
    assert arrays.input_shape == (3, 4, 5)
    assert arrays.train_x[7, 2, 0, 0] == 7
    assert arrays.test_x[0, :, 0, 0].tolist() == [1, 2, 3]
    glass = Image.new("RGBA", (5, 4), (9, 9, 9, 100))
    arrays = read((Pairs([*gray[:9], glass], Y), Pairs(gray[:4], Y[:4])))
    assert [note for note in arrays.notes if "sample 9 is partly transparent" in note]


@pytest.mark.parametrize("kind", [np.int32, np.float32])
def test_images_of_pillow_that_hold_more_than_bytes_are_refused(kind):
    """Bytes of them would be black, or white."""
    deep = [Image.fromarray(np.full((4, 5), i, kind)) for i in range(10)]
    with pytest.raises(DataError, match=r"sample 0 holds .*; save it .* or give its numbers"):
        read((Pairs(deep, Y), Pairs(deep[:4], Y[:4])))


def test_what_is_no_image_among_images_is_named():
    some = [Image.new("L", (5, 4))] * 9 + [np.zeros((4, 5), np.uint8)]
    with pytest.raises(DataError, match="sample 9 is a ndarray, sample 0 an image"):
        read((Pairs(some, Y), Pairs(some[:4], Y[:4])))


def test_sparse_arrays_are_filled():
    sparse = pytest.importorskip("scipy.sparse")
    same(read((sparse.csr_matrix(X), Y, sparse.csr_matrix(TEST[0]), TEST[1])))


def test_texts_are_cut_into_tokens():
    texts = ["good", "bad"] * 5
    arrays = read((texts, Y, texts[:2], Y[:2]), tokenizer="words:50")
    assert arrays.train_x.dtype == np.int32
    assert arrays.tokenizer == "words:50"
    with pytest.raises(ConfigError, match="X holds texts; use model transformer"):
        read((texts, Y))
    with pytest.raises(ConfigError, match="holds no texts, and the model reads nothing else"):
        read((X, Y), tokenizer="words:50")


def test_regression_and_several_labels_at_once_are_kinds_of_their_own():
    arrays = read((X, X[:, 0] / 3, *TEST[:1], TEST[0][:, 0]))
    assert (arrays.task, arrays.num_classes, arrays.train_y.shape) == ("regression", 1, (10, 1))
    several = np.stack([Y, 1 - Y, np.ones(10, int)], axis=1)
    arrays = read((X, several))
    assert (arrays.task, arrays.num_classes) == ("multilabel", 3)


def test_arrays_of_ours_are_taken_and_checked():
    arrays = load("synthetic", samples=20)
    assert read(arrays) is arrays
    for wrong, complaint in (
        ({"train_y": arrays.train_y[:-1]}, "train_x has 20 rows and train_y 19"),
        ({"num_classes": 2}, r"train_y must be 0 .. 1, found 0 .. 9"),
        ({"train_x": arrays.train_x * np.nan}, "train_x has NaN in row 0, column 0"),
        ({"task": "regression"}, "train_y does not go with task 'regression'"),
    ):
        parts = {name: getattr(arrays, name) for name in ("train_x", "train_y", "test_x", "test_y")}
        with pytest.raises(DataError, match=complaint):
            read(Arrays(**{**parts, "num_classes": 10} | wrong))


# ---- what is refused


class Halves(TensorDataset):
    """Torch's own, with an item of the user's."""

    def __getitem__(self, i):
        x, y = super().__getitem__(i)
        return x / 2, y


class Held(Pairs):
    """What many write to add a transform to a TensorDataset."""

    def __init__(self, x, y):
        super().__init__(x, y)
        self.tensors = 2 * x, y


@pytest.mark.parametrize("kind", [lambda x, y: Halves(2 * x, y), Held])
def test_what_a_data_set_hands_out_counts_and_not_the_tensors_that_it_holds(kind):
    same(read((kind(*TORCH), kind(*TORCH_TEST))))


def test_lists_of_bytes_in_a_table_are_the_images_that_an_array_of_bytes_is():
    images = np.random.default_rng(2).integers(0, 256, (10, 6, 5), dtype=np.uint8)
    wanted = read((images, Y)).train_x
    rows = images.tolist()
    for column in (
        pa.array(rows, pa.list_(pa.list_(pa.uint8()))),
        pa.array(rows, pa.large_list(pa.list_(pa.uint8(), 5))),
        pa.array([None, *rows], pa.list_(pa.list_(pa.uint8(), 5), 6))[1:],
        pa.FixedShapeTensorArray.from_numpy_ndarray(images),
        pa.chunked_array([rows[:3], [], rows[3:]], pa.list_(pa.list_(pa.uint8()))),
    ):
        found = read({"data": pa.table({"image": column, "label": Y})})
        assert found.train_x.dtype == np.uint8
        np.testing.assert_array_equal(found.train_x, wanted)
    kind = pa.list_(pa.list_(pa.list_(pa.uint8())))
    colors = pa.array(images[..., None].repeat(3, 3).tolist(), kind)
    assert read({"data": pa.table({"image": colors, "label": Y})}).input_shape == (3, 6, 5)


def test_tensors_of_arrow_are_read_in_their_order_and_with_nothing_missing():
    logical = np.random.default_rng(3).standard_normal((10, 2, 3, 4))
    logical = logical.transpose(0, 3, 2, 1)  # in the memory of [10, 2, 3, 4]
    column = pa.FixedShapeTensorArray.from_numpy_ndarray(logical)
    assert column.type.permutation == [2, 1, 0]
    found = read({"data": pa.table({"x": pa.chunked_array([column[:4], column[4:]]), "label": Y})})
    np.testing.assert_array_equal(found.train_x, read((logical, Y)).train_x)
    turned = pa.FixedShapeTensorArray.from_numpy_ndarray(logical.transpose(0, 2, 1, 3))
    with pytest.raises(DataError, match="axes in an order .* that can be read in two ways"):
        read({"data": pa.table({"x": turned, "label": Y})})
    inside = pa.FixedSizeListArray.from_arrays(column, 1)
    assert read({"data": pa.table({"x": inside, "label": Y})}).train_x[0].size == 24
    kind = pa.fixed_shape_tensor(pa.float64(), [2, 2])
    hole = pa.ExtensionArray.from_storage(kind, pa.array([[1, 2, 3, None]] * 10, kind.storage_type))
    with pytest.raises(DataError, match="has empty entries in 10 of its lists"):
        read({"data": pa.table({"x": hole, "label": Y})})
    bits = pa.ExtensionArray.from_storage(
        pa.fixed_shape_tensor(pa.bool_(), [2]),
        pa.array([[True, False]] * 10, pa.list_(pa.bool_(), 2)),
    )
    assert read({"data": pa.table({"x": bits, "label": Y})}).train_x[0].tolist() == [1, 0]


@pytest.mark.parametrize(
    ("lists", "complaint"),
    [
        ([[0, 1]] * 4 + [[0, 1, 2]], "column x must hold lists of one length, they differ"),
        ([[[0], [1]], [[0], None]], "column x must hold lists of one length"),
        ([[0, 1], [2, None], [None, 3]], "has empty entries in 2 of its lists .*first in row 1,"),
        ([["a"], ["b"]], "holds lists of list<.*string.*>; lists of numbers are read"),
    ],
)
def test_lists_that_are_no_rows_of_numbers_are_told(lists, complaint):
    table = pa.table({"x": pa.chunked_array([lists[:1], lists[1:]]), "label": Y[: len(lists)]})
    with pytest.raises(DataError, match=complaint):
        read({"data": table})


def test_what_is_beside_an_image_is_told_and_of_two_one_has_to_be_chosen():
    content = io.BytesIO()
    Image.fromarray(IMAGES[0, 0]).save(content, "PNG")
    files, columns = [content.getvalue()] * 10, {"age": X[:, 0], "label": Y}
    with_age = read({"data": pa.table({"image": files, **columns})})
    assert "dataset: column age is not used: the images of image are read" in with_age.notes
    assert not any(
        "is not used" in note
        for note in read({"data": pa.table({"image": files, **columns}), "image": "image"}).notes
    )
    with pytest.raises(DataError, match="column image holds binary; if these are the images, set"):
        read({"data": pa.table({"image": files, "mask": files, **columns})})
    two = {"data": pa.table({"image": files, "mask": files, **columns}), "leave_out": ["mask"]}
    assert read(two).input_shape == with_age.input_shape
    held = pa.array([{"bytes": files[0], "path": None}, None, {"bytes": None, "path": None}])
    with pytest.raises(DataError, match="column image, row 1 is empty; fetch it again .1 more"):
        read({"data": with_files(pa.table({"image": held, "label": Y[:3]}))})


def test_frames_that_cannot_be_read_say_why():
    cells = FRAME.assign(a=list(np.ones((10, 2, 2))))
    with pytest.raises(DataError, match=r"column a holds arrays of several dimensions; give arr"):
        read(cells)
    with pytest.raises(DataError, match="dataset has two columns called 'a'; rename one"):
        read(FRAME.rename(columns={"b": "a"}))


def test_a_label_is_missing_also_where_it_is_a_kind_of_its_own():
    kinds = pa.DictionaryArray.from_arrays(pa.array(Y), pa.array(["ill", None]))
    with pytest.raises(DataError, match="column label has 5 empty cells .*the first in row 1"):
        read({"data": pa.table({"a": X[:, 0], "label": kinds})})


class Broken(Pairs):
    def __getitem__(self, i):
        if i == 3:
            raise KeyError("no such file")
        return super().__getitem__(i)


class Noisy(Pairs):
    def __getitem__(self, i):
        return np.random.default_rng().standard_normal(3), self.y[i]


class Mirrors(Pairs):
    """Mirrors a sample now and then, as augmentation does; two looks hardly show it."""

    def __getitem__(self, i):
        x, y = super().__getitem__(i)
        return (x[::-1].copy() if torch.rand(()) < 1e-6 else x), y


class MirrorsLater(Pairs):
    """Mirrors some samples, and not the first one."""

    def __getitem__(self, i):
        x, y = super().__getitem__(i)
        return (x[::-1].copy() if i > 4 and torch.rand(()) < 0.5 else x), y


class Stream(IterableDataset):
    def __iter__(self):
        return iter([(X[0], 0)])


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        ((X, Y[:-1]), "dataset: X has 10 rows and dataset: y 9; they must be equally many"),
        ((X, Y, X, Y[:-1]), "X of the test has 10 rows and .*y of the test 9"),
        ((X, Y, X[:, :2], Y), r"a training sample has shape \(3,\), a test sample \(2,\)"),
        ((X * [1, np.nan, 1], Y), r"X has NaN in row 0, column 1 \(counted from 0\)"),
        ((X, [{}] * 10), "y must hold numbers or texts, row by row; it holds dict"),
        (([[1, 2], [3]], Y), "X is no array: its rows are of different shapes"),
        ((X[:0], Y[:0]), "X has no rows"),
        ((pd.DataFrame({"a": ["x"]})[:0], Y[:0]), "X has no rows"),
        ((torch.ones(9, 3, device="meta"), Y), "X has no values, being on torch's device meta"),
        ((X[:, :0], Y), "X has no numbers in a row"),
        ((X, Y, X), "is a tuple of 3; what is taken:"),
        ([X, Y], "is of type list; what is taken:"),
        (7, "is of type int; what is taken:"),
        ({"data": (X, Y, *TEST), "test": TEST}, "has a test part, and test= is given, too"),
        ({"data": (X, Y), "test": 7}, "the test part is of type int; give"),
        ([(X, Y), (X[:0], Y[:0])], "X of client 1 has no rows"),
        (
            [(X, Y), (X[:, :2], Y)],
            r"X of client 1 has rows of shape \(2,\), that of client 0 \(3,\)",
        ),
        (Broken(X, Y), "sample 3: KeyError: 'no such file'"),
        (Noisy(X, Y), "sample 0 is another at each look; leave random transforms out"),
        (
            Mirrors(X, Y),
            r"reading a sample draws numbers \(torch\), and a run reads it once; leave",
        ),
        (
            Pairs(X, [np.int8(0)] * 9 + [np.int64(300)]),
            "target 9 does not fit into int8, of which target 0 is",
        ),
        ((IMAGES, Y, IMAGES / 255, Y), "training samples are uint8, test samples float64; images"),
        ([(IMAGES, Y), (IMAGES / 255, Y)], r"X holds bytes \(uint8\) of some clients and other"),
        (
            MirrorsLater(X, Y),
            r"reading a sample draws numbers \(torch\), and a run reads it once; leave",
        ),
        ((np.ma.masked_greater(X, X.mean()), Y), "X has [0-9]+ masked values, which a model would"),
        ((X, np.array([1, "a"] * 5, dtype=object)), "row by row; it holds int and str"),
        (
            [(x, y) for x, y in zip(X, Y, strict=True)],
            "of single samples make two arrays, dataset=",
        ),
        (Stream(), "without length or index .IterableDataset.; give a map-style one"),
        (
            DataLoader(TensorDataset(torch.tensor(X), torch.tensor(Y))),
            "is a DataLoader.*loader.dataset",
        ),
        (
            {"X": np.ones((3, 2)), "y": np.ones(3)},
            r"is a dict with X, y; what is taken: \(X, y\).* with test=\(X, y\)$",
        ),
        (
            pd.DataFrame({"a": [[1.0, 2.0], [3.0, None], [None, None]], "label": [0, 1, 0]}),
            r"column a has empty entries in 2 of its lists \(the first in row 1, counted from 0\)",
        ),
        (
            {"Ann": (X, Y), "Bob": (X, Y)},
            r"a dict with Ann, Bob; .* by name list\(data.values\(\)\)",
        ),
        (Pairs([X[0], X[1][:2]], Y[:2]), r"sample 1 has shape \(2,\), sample 0 has \(3,\)"),
        (Pairs(X[:0], Y), "dataset has no samples"),
        ((FRAME, "lable"), r"has no column 'lable'; did you mean label\?"),
        (FRAME.rename(columns={"label": "z"}), "which column is the label, of a, b, c, z. Set"),
    ],
)
def test_data_that_cannot_be_learned_from_are_refused_in_one_clear_line(given, complaint):
    with pytest.raises(DataError, match=complaint) as error:
        read(given)
    assert "\n" not in str(error.value)


def numbered_by_itself(*names):
    """As ImageFolder numbers the folders it finds: X, and of each sample the name's number."""
    data = Pairs(X[: 3 * len(names)], np.arange(3 * len(names)) % len(names))
    data.classes = list(names)
    return data


def test_parts_that_number_their_classes_each_by_itself_are_refused():
    """A test without ants had bees called ants, and of each client's folder it was the same."""
    whole, lacks = numbered_by_itself("ant", "bee", "cat"), numbered_by_itself("bee", "cat")
    told = "label 0 is 'bee', and 'ant' in the samples before; number the classes alike"
    for given in (
        (whole, lacks),
        (Subset(whole, range(6)), Subset(Subset(lacks, range(5)), range(4))),
        {"data": [whole, lacks], "test": TEST},
        {"data": [whole, whole], "test": lacks},
    ):
        with pytest.raises(DataError, match=told):
            read(given)
    last = numbered_by_itself("ant", "bee")  # a class that it lacks moves no other one
    assert read((whole, last)).test_y.tolist() == [0, 1] * 3
    assert read({"data": [last, whole], "test": last}).num_classes == 3


def test_texts_of_a_map_style_data_set_may_be_of_any_length():
    arrays = read({"data": Pairs(X, ["no", "yes, it is"] * 5), "test": Pairs(X[:2], ["no", "no"])})
    assert arrays.classes == ("no", "yes, it is")
    assert arrays.train_y.tolist() == [0, 1] * 5
    texts = read(
        (Pairs(["a", "a longer one"] * 5, Y), Pairs(["b", "c"], Y[:2])), tokenizer="words:9"
    )
    assert (texts.train_x[1, :3] > 0).all()


def test_bytes_with_transparency_may_have_their_channels_last():
    seen = read((np.zeros((10, 8, 8, 4), np.uint8), Y))
    assert seen.input_shape == (4, 8, 8)
    assert read((np.zeros((10, 8, 8, 4)), Y)).input_shape == (8, 8, 4)  # any numbers at all


def test_tokens_that_a_model_does_not_know_are_told():
    tokens = np.arange(30).reshape(10, 3)
    assert read((tokens, Y, tokens, Y), tokenizer="words:30").train_x.max() == 29
    with pytest.raises(ConfigError, match="X of the test has tokens up to 30, and the model knows"):
        read((tokens, Y, tokens + 1, Y), tokenizer="words:30")


def test_wrong_settings_are_refused_all_at_once():
    wrong = {"data": (X, Y), "task": "guess", "test_share": 2, "lengt": 3}
    with pytest.raises(ConfigError) as error:
        read(wrong)
    assert "task must be auto or classes or regression or multilabel" in str(error.value)
    assert "unknown key dataset.lengt; did you mean length?" in str(error.value)


@pytest.mark.parametrize(
    "name", ["digits", None, {"name": "digits"}, {}, {"name": "synthetic", "samples": np.int64(9)}]
)
def test_names_and_mappings_of_recipes_are_no_objects(name):
    assert not is_object(name)


def test_more_than_the_memory_is_refused_before_it_is_filled(monkeypatch):
    monkeypatch.setattr("p2pqg.base.memory.available_memory", lambda: 100)
    with pytest.raises(DataError, match="10 samples would take 320 B of memory, 100 B are free"):
        read(Pairs(X, Y))


def test_arrays_of_objects_are_numbers_where_all_are_and_empty_values_are_named():
    same(read((X.astype(object), Y.astype(object), *TEST)))
    holes = X.astype(object)
    holes[3, 2] = holes[7, 0] = None
    with pytest.raises(DataError, match=r"X has 2 empty values .None, the first in row 3, co"):
        read((holes, Y))
    labels = Y.astype(object)
    labels[5] = None
    with pytest.raises(DataError, match="y has 1 empty value .*row 5.*; fill them, or leave the"):
        read((X, labels))


def test_settings_that_say_nothing_of_such_data_are_told():
    """A column that was to be left out of arrays was learned from, without a word."""
    ours = {"leave_out": ["age"], "side": 4, "test_share": 0.5, "length": 7}
    clients = {"data": [(X, Y), (X, Y)], "test": TEST}
    for given in ({"data": (X, Y, *TEST)}, clients):
        notes = read(given | ours).notes
        told = [note for note in notes if "is ignored" in note]
        assert [note.partition(" is ignored")[0].partition(": ")[2] for note in told] == [
            "dataset.leave_out, dataset.side",
            "dataset.test_share",
            "dataset.length",
        ]
        assert not any("is ignored" in note for note in read(given).notes)


def test_a_test_sample_that_is_a_training_sample_is_told():
    """Given twice, or there twice before some were held out; of a hundred one alike is told."""
    x = np.arange(400.0).reshape(100, 4)
    y = np.arange(100) % 2
    told = "2 of 100 test samples are training samples, too"
    assert any(told in note for note in read((x, y, np.concatenate([x[:2], -x[2:]]), y)).notes)
    assert not any("training samples, too" in note for note in read((x, y, -x - 1, y)).notes)
    there = (np.concatenate([x[:2], -x[2:]]) / 3).astype(np.float32)  # of the other precision
    for parts in ((x / 3, y, there, y), (there, y, x / 3, y)):
        assert any(told in note for note in read(parts).notes)
    few = np.concatenate([x[:1], -x[1:], -x - 500])  # one of 200
    assert not any("too" in note for note in read((x, y, few, np.arange(200) % 2)).notes)
    twice = read((np.concatenate([x, x]), np.concatenate([y, y])))
    alike = sum((row == twice.train_x).all(1).any() for row in twice.test_x)
    assert alike > 20
    assert any(f"{alike} of 40 test samples are" in note for note in twice.notes)


@pytest.mark.parametrize(
    "give",
    [
        lambda: (pd.DataFrame({"a": X[:, 0]}), pd.Series(X[:, 1].copy())),
        lambda: (pd.DataFrame({"a": X[:, 0], "y": X[:, 1]}), "y"),
    ],
)
def test_what_is_written_into_a_frame_later_is_not_learned(give):
    """Pandas and Arrow hand out views that only look as if nobody could write."""
    given, test = give(), give()
    arrays = read(given, test=test if isinstance(test[1], pd.Series) else test[0], held=True)
    before = [a.copy() for a in (arrays.train_x, arrays.train_y, arrays.test_x, arrays.test_y)]
    for one in (given, test):
        for part in one:
            if isinstance(part, pd.DataFrame | pd.Series):
                part.iloc[...] = 7.0
    after = arrays.train_x, arrays.train_y, arrays.test_x, arrays.test_y
    assert all(map(np.array_equal, before, after))


def test_what_another_thread_draws_while_samples_are_read_is_not_taken_for_theirs():
    class Beside(Pairs):
        """As if another thread drew while one of the samples is read for the first time."""

        others = [np.random.random]  # noqa: NPY002  as users do

        def __getitem__(self, i):
            if i == 7 and self.others:
                self.others.pop()()
            return super().__getitem__(i)

    over = Event()
    waits = Thread(target=over.wait)
    waits.start()
    try:
        assert len(read(Beside(X, Y)).train_x) == 8
        with pytest.raises(DataError, match="reading a sample draws numbers"):
            read(MirrorsLater(X, Y))
    finally:
        over.set()
        waits.join()


def test_rows_of_pandas_go_together_by_their_place_and_another_order_is_told():
    x, y = FRAME[["a", "b"]], FRAME["c"]
    told = "X and y have the same index in another order; rows go together by their place"
    assert any(told in note for note in read((x.iloc[::-1], y)).notes)
    for fine in ((x, y), (x.iloc[::-1], y.iloc[::-1]), (x.iloc[::-1].to_numpy(), y)):
        assert not any("index" in note for note in read(fine).notes)
    texts_too = x.set_axis(["one", *x.index[1:]])  # an index that has no order
    assert any(told in note for note in read((texts_too, y.set_axis(texts_too.index[::-1]))).notes)
    for without in (y.astype("category").array, pd.Index(y), pd.array(y)):  # nor have these any
        assert read((x, without)).train_y.tolist() == read((x, y)).train_y.tolist()


def test_lazy_frames_are_collected():
    class LazyFrame:
        __module__ = "polars.lazyframe"
        columns = ("a", "y")

        def collect(self):
            return pd.DataFrame({"a": np.arange(10.0), "y": np.arange(10) % 2})

    lazy = LazyFrame()
    np.testing.assert_array_equal(read((lazy, "y")).train_x, read((lazy.collect(), "y")).train_x)


@pytest.mark.parametrize("name", ["collect", "to_arrow"])
def test_a_column_may_be_called_as_what_other_frames_do(name):
    frame = pd.DataFrame({name: np.arange(10.0), "y": np.arange(10) % 2})
    other = frame.rename(columns={name: "a"})
    np.testing.assert_array_equal(read((frame, "y")).train_x, read((other, "y")).train_x)


SHUFFLED = TEST_FRAME[["label", "c", "a", "b"]]
FEATURES = FRAME[["a", "b", "c"]], FRAME["label"]
OF_SHUFFLED = SHUFFLED[["c", "a", "b"]], SHUFFLED["label"]


@pytest.mark.parametrize(
    ("given", "test"),
    [
        ((FRAME, SHUFFLED), None),
        (FRAME, SHUFFLED),
        ({"data": FRAME, "leave_out": ["b"], "test": SHUFFLED}, None),
        ((*FEATURES, *OF_SHUFFLED), None),
        (FEATURES, OF_SHUFFLED),
        ([FEATURES, FEATURES], OF_SHUFFLED),
    ],
)
def test_columns_of_a_test_part_go_by_their_names(given, test):
    arrays = read(given, test=test)
    left = [0, 2] if type(given) is dict else [0, 1, 2]
    np.testing.assert_array_equal(arrays.test_x, TEST[0][:, left])
    np.testing.assert_array_equal(arrays.train_x[:10], X[:, left])


def test_columns_of_every_client_go_by_their_names():
    x, y = FEATURES
    arrays = read([(x, y), (x[["b", "c", "a"]], y), (X, Y)], test=TEST)
    np.testing.assert_array_equal(arrays.train_x, np.concatenate([X, X, X]))


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (
            {"data": FRAME, "test": TEST_FRAME.rename(columns={"b": "bb"})},
            "(test) has no column 'b'; did you mean bb?",
        ),
        ({"data": FRAME, "test": TEST_FRAME.drop(columns="c")}, "(test) has no column 'c'"),
        ((*FEATURES, OF_SHUFFLED[0].rename(columns={"b": "q"}), Y[:4]), "X of the test has no col"),
        ((*FEATURES, OF_SHUFFLED[0].assign(q=0), Y[:4]), "X of the test has a column 'q'"),
        ([FEATURES, (FEATURES[0].assign(q=0), Y)], "client 1: X has a column 'q'"),
    ],
)
def test_other_columns_than_training_samples_have_are_refused(given, told):
    with pytest.raises(DataError, match=re.escape(told)):
        read(given)


def test_columns_that_only_test_samples_have_are_told_and_frames_without_names_go_by_place():
    arrays = read(FRAME, test=SHUFFLED.assign(id="x"), what="mine")
    assert "mine (test): column id is not used: training samples have none" in arrays.notes
    np.testing.assert_array_equal(arrays.test_x, TEST[0])
    same(read((*FEATURES, pd.DataFrame(TEST[0]), TEST[1])))


def test_several_targets_go_by_their_names_too():
    both = pd.DataFrame({"a": X[:, 0], "b": X[:, 1]})
    test = pd.DataFrame({"b": TEST[0][:, 1], "a": TEST[0][:, 0]})
    arrows = [pa.Table.from_pandas(f.set_axis(list("abcdefghij")[: len(f)])) for f in (both, test)]
    assert "__index_level_0__" in arrows[0].column_names
    for given in (
        (X, both, TEST[0], test),
        (X, arrows[0], TEST[0], arrows[1]),
        [(X, both), (X, both[["b", "a"]])],
    ):
        arrays = read(given, test=(TEST[0], test) if isinstance(given, list) else None)
        np.testing.assert_array_equal(arrays.test_y, TEST[0][:, :2])
        for client in range(len(arrays.train_y) // 10):
            np.testing.assert_array_equal(arrays.train_y[10 * client :][:10], X[:, :2])
    with pytest.raises(DataError, match="y of the test has no column 'a'; did you mean aa"):
        read((X, both, TEST[0], test.rename(columns={"a": "aa"})))


def test_a_column_of_arrow_may_be_y():
    table = pa.Table.from_pandas(FRAME)
    given = table.drop_columns("label"), table["label"]
    same(read((*given, *TEST)))
    same(read(given, test=TEST))


def test_columns_that_are_numbered_go_by_their_numbers_too():
    x, test, order = pd.DataFrame(X), pd.DataFrame(TEST[0]), [2, 0, 1]
    same(read((x, Y, test[order], TEST[1])))
    arrays = read((x[order], Y, test, TEST[1]))
    np.testing.assert_array_equal(arrays.train_x, X[:, order])
    np.testing.assert_array_equal(arrays.test_x, TEST[0][:, order])
    with pytest.raises(DataError, match="X of the test has no column '0'"):
        read((x, Y, test.rename(columns={0: 3}), TEST[1]))
    same(read((x.add_prefix("column_"), Y, test, TEST[1])))


def test_two_different_indices_of_pandas_are_told():
    x, y = FEATURES
    dated = x.set_axis(pd.date_range("2020", periods=10))
    (told,) = read((dated.iloc[1:], y.set_axis(dated.index).iloc[:-1], *TEST)).notes[:1]
    assert "X and y have two different indices; rows go together by their place" in told
    several = read([(X, Y), (x, y.iloc[::-1])], test=TEST)
    assert any("the same index in another order" in note for note in several.notes)
    assert not read((dated, y, *TEST)).notes  # 0, 1, ... is no index of anybody's
