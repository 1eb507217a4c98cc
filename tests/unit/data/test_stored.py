"""What a run was given is kept as safetensors, named after its content, and read as it was."""

import dataclasses
import json

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from p2pqg.base.errors import ConfigError, DataError
from p2pqg.data import load, partition, read
from p2pqg.data._stored import copy_of, copy_of_parts, digest

X = np.random.default_rng(0).standard_normal((10, 3))
Y = np.arange(10) % 2
BYTES = np.random.default_rng(1).integers(0, 256, (10, 4, 4, 3), dtype=np.uint8)
KINDS = {
    "classes": read((X, ["ill", "well"] * 5, X[:4], ["ill"] * 4)),
    "images": read({"data": (BYTES, Y), "augmentation": "crop-flip"}),
    "regression": read((X, X[:, :2], X[:4], X[:4, 1:])),
    "multilabel": read((X, np.stack([Y, Y], 1), X[:4], np.ones((4, 2)))),
    "clients": read([(X[:3], Y[:3]), (X[3:], Y[3:])], test=(X, Y)),
    "synthetic": load("synthetic", samples=20),
}


def keep(given, folder, copied=copy_of):
    """Write the files of a copy, as a run does; returns the recipe."""
    recipe, files = copied(given, folder)
    folder.mkdir(exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return recipe


def assert_same(one, other):
    for field in dataclasses.fields(one):
        if field.name == "drawn":  # they are kept with their test samples
            continue
        a, b = getattr(one, field.name), getattr(other, field.name)
        if field.name == "columns":
            assert a.keys() == b.keys()
            for name in a:
                assert a[name].names == b[name].names
                np.testing.assert_array_equal(a[name].codes, b[name].codes)
        elif isinstance(a, np.ndarray):
            np.testing.assert_array_equal(a, b)
            assert a.dtype == b.dtype
        else:
            assert a == b


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_kept_is_read_bit_for_bit(tmp_path, kind):
    recipe = keep(KINDS[kind], tmp_path / "files")
    assert recipe["name"] == "given"
    assert_same(load(**recipe), KINDS[kind])
    assert [path.name for path in (tmp_path / "files").iterdir()] == [
        f"data-{recipe['content']}.safetensors"
    ]


def test_equal_data_have_one_name_and_others_another(tmp_path):
    again = read((X.copy(), ["ill", "well"] * 5, X[:4].copy(), ["ill"] * 4))
    assert digest(again) == digest(KINDS["classes"])
    assert keep(again, tmp_path)["path"] == keep(KINDS["classes"], tmp_path)["path"]
    assert len({digest(arrays) for arrays in KINDS.values()}) == len(KINDS)
    assert digest(read((X, ["sick", "well"] * 5, X[:4], ["sick"] * 4))) != digest(again)
    assert digest(read((X.astype(np.float32), Y, X, Y))) != digest(read((X, Y, X, Y)))


def test_a_path_may_be_below_the_folder_of_the_run(tmp_path):
    recipe = keep(KINDS["classes"], tmp_path / "files")
    below = f"files/data-{recipe['content']}.safetensors"
    assert_same(load("given", tmp_path, path=below), KINDS["classes"])


def test_tokens_are_for_the_model_they_were_cut_for(tmp_path):
    texts = ["good", "bad"] * 5
    recipe = keep(read((texts, Y), tokenizer="words:50"), tmp_path)
    assert load(**recipe, tokenizer="words:50").tokenizer == "words:50"
    for tokenizer, reads in ((None, "numbers"), ("words:60", "tokens of words:60")):
        with pytest.raises(ConfigError, match=f"holds tokens of words:50, .* reads {reads}; give"):
            load(**recipe, tokenizer=tokenizer)


def test_a_column_that_was_not_kept_is_refused(tmp_path):
    recipe = keep(KINDS["clients"], tmp_path)
    assert load(**recipe, columns=("client",)).columns["client"].names == ("0", "1")
    with pytest.raises(DataError, match=r"has no column 'clients'; did you mean client\?"):
        load(**recipe, columns=("clients",))


def spoiled(path, change):
    """The file with other arrays or another header."""
    from safetensors import safe_open

    with safe_open(path, "numpy") as stored:
        about = json.loads(stored.metadata()["p2pqg"])
    tensors = load_file(path)
    change(tensors, about)
    save_file(tensors, path, {"p2pqg": json.dumps(about)})


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda t, a: t.pop("train_y"), "not a file of kept data"),
        (lambda t, a: a.pop("task"), "not a file of kept data"),
        (lambda t, a: a.update(columns={"x": ["1"]}), "not a file of kept data"),
        (lambda t, a: a.update(version=2), "is of version 2; this p2pqg reads 1"),
        (lambda t, a: a.update(num_classes=1), "train_y must be 0 .. 0, found 0 .. 1"),
        (lambda t, a: a.update(task="regression"), "does not go with task 'regression'"),
        (lambda t, a: t.update(train_y=t["train_y"][1:]), "train_x has 10 rows and train_y 9"),
        (lambda t, a: t["train_x"].__setitem__((0, 0), 9), "does not hold what it held when"),
        (lambda t, a: t["train_x"].__setitem__((0, 0), np.nan), "train_x has NaN in row 0"),
    ],
)
def test_a_file_that_is_not_what_it_was_is_refused(tmp_path, change, complaint):
    recipe = keep(KINDS["classes"], tmp_path)
    spoiled(recipe["path"], change)
    with pytest.raises(DataError, match=complaint) as error:
        load(**recipe)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("content", [b"", b"no safetensors", b"\xff" * 100])
def test_a_damaged_file_is_refused(tmp_path, content):
    recipe = keep(KINDS["classes"], tmp_path)
    (tmp_path / f"data-{recipe['content']}.safetensors").write_bytes(content)
    with pytest.raises(DataError, match="damaged, or no file of kept data"):
        load(**recipe)
    with pytest.raises(DataError, match="gone.safetensors: no such file"):
        load("given", path="gone.safetensors")


def test_a_partition_is_kept_too(tmp_path):
    parts = [np.array([3, 1]), np.array([0]), np.array([2, 4, 5])]
    recipe = keep(parts, tmp_path / "files", copy_of_parts)
    assert recipe == keep([part.copy() for part in parts], tmp_path / "files", copy_of_parts)
    kept = partition(recipe.pop("name"), np.zeros(6, int), clients=3, **recipe)
    assert [part.tolist() for part in kept] == [[3, 1], [0], [2, 4, 5]]
    for labels, clients, complaint in (
        (np.zeros(6, int), 4, "has parts for 3 clients, the network has 4"),
        (np.zeros(5, int), 3, "client 2: indices must be 0 .. 4, found 2 .. 5"),
    ):
        with pytest.raises(DataError, match=complaint):
            partition("given", labels, clients=clients, **recipe)
    other = keep(parts[::-1], tmp_path, copy_of_parts)
    with pytest.raises(DataError, match="does not hold what it held when the run began"):
        partition("given", np.zeros(6, int), 3, path=recipe["path"], content=other["content"])


def test_nothing_is_ever_pickled(tmp_path):
    keep(KINDS["classes"], tmp_path)
    keep([np.array([1])], tmp_path, copy_of_parts)
    for path in tmp_path.iterdir():
        assert path.suffix == ".safetensors"
        load_file(path)  # which would refuse anything else
