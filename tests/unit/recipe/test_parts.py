"""Data of a user's own that a recipe names: files, columns and functions reach the run."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from torch.optim import SGD

import p2pqg
from p2pqg.algorithms import ALGORITHMS
from p2pqg.base.errors import ConfigError
from p2pqg.recipe.learning import shards
from p2pqg.recipe.settings import read_config, read_settings, with_changes
from p2pqg.simulation.build import build

CSV = "age,dose,hospital,ill\n" + "".join(
    f"{30 + i},{i / 2},{'NSW'[i % 3]},{i % 2}\n" for i in range(30)
)
CODE = """
import numpy as np

def load(size=20):
    x = np.arange(2.0 * size).reshape(size, 2)
    return x, np.arange(size) % 2, x, np.arange(size) % 2

def clients():
    x, y, *test = load(30)
    return {"data": [(x[:4], y[:4]), (x[4:], y[4:])], "test": tuple(test)}

def first_come(labels, clients, rng):
    return np.array_split(np.arange(len(labels)), clients)
"""
SMALL = {"topology": "ring3", "rounds": 2, "engine": "local", "batch_size": 4}


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "patients.csv").write_text(CSV)
    (tmp_path / "mine.py").write_text(CODE)
    np.savez(tmp_path / "mine.npz", X=np.ones((20, 3, 8, 8), np.uint8), y=np.arange(20) % 2)


def built(**settings):
    return build(read_config(SMALL | settings))


def test_a_file_is_a_data_set_and_its_column_a_partition(tmp_path):
    dataset = {"name": "patients.csv", "label": "ill"}
    experiment = built(dataset=dataset, partition="column:hospital")
    arrays = experiment.arrays
    assert arrays.input_shape == (2,)
    hospital = arrays.columns["hospital"]
    for name, part in zip("NSW", experiment.parts, strict=True):
        assert {hospital.names[code] for code in hospital.codes[part]} == {name}
    resolved = experiment.config
    assert resolved.dataset["name"] == "table"
    assert resolved.dataset["path"] == str(tmp_path / "patients.csv")
    assert resolved.model["name"] == "mlp"
    assert resolved.partition == {"name": "column:hospital"}
    assert any("no test part is given; 6 samples of 30" in line for line in experiment.warnings)
    again, parts = shards(resolved)
    np.testing.assert_array_equal(again.train_x, arrays.train_x)
    assert [part.tolist() for part in parts] == [part.tolist() for part in experiment.parts]
    (tmp_path / "patients.csv").write_text(CSV.replace("30,0.0", "31,0.0"))
    with pytest.raises(ConfigError, match="the content has changed since the run began"):
        shards(resolved)


def images(folder, shade):
    for name in "ab":
        (folder / name).mkdir(parents=True, exist_ok=True)
        for each in range(6):
            pixels = np.full((4, 4, 3), 20 * each + ord(name), np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{each}.png")
    Image.new("RGB", (4, 4), (shade, 0, 0)).save(folder / "b" / "5.png")


def test_images_that_are_not_what_they_were_are_refused_and_moved_ones_are_not(tmp_path):
    images(tmp_path / "images", 5)
    settings = {"dataset": str(tmp_path / "images"), "model": "logistic"}
    resolved = built(**settings).config
    images(tmp_path / "elsewhere", 5)
    moved = with_changes(resolved, {"data_dir": str(tmp_path / "elsewhere")})
    assert build(moved).config.dataset == resolved.dataset
    images(tmp_path / "images", 6)
    assert built(**settings).config.dataset["content"] != resolved.dataset["content"]
    for part, shade in (("train", 5), ("test", 5), ("test", 6)):  # with parts both of them count
        images(tmp_path / "parts" / part, shade)
    parts = settings | {"dataset": str(tmp_path / "parts")}
    contents = [built(**parts).config.dataset["content"]]
    images(tmp_path / "parts" / "test", 7)
    contents.append(built(**parts).config.dataset["content"])
    (tmp_path / "parts" / "train" / "a" / "5.png").rename(tmp_path / "parts/train/b/-1.png")
    contents.append(built(**parts).config.dataset["content"])  # in the order of before
    assert len({*contents}) == len(contents)
    for read in (build, shards):
        with pytest.raises(ConfigError, match="images: the content has changed since the run beg"):
            read(resolved)


def test_a_function_that_makes_other_data_is_told_and_goes_on_with_those_of_now(tmp_path):
    Path("shift.txt").write_text("0")
    Path("mine.py").write_text(
        CODE.replace("np.arange(2.0", "np.loadtxt('shift.txt') + np.arange(2.0")
    )
    settings = SMALL | {"dataset": "mine.py:load", "partition": "iid", "out": str(tmp_path)}
    before = p2pqg.run(**settings)
    other = p2pqg.run(**settings | {"seed": 1, "model": "logistic"})
    assert before.config["dataset"] == other.config["dataset"]
    p2pqg.resume(before.path, rounds=3)
    Path("shift.txt").write_text("1")
    line = "dataset mine.py:load gives other values than those that its recipe was written with"
    with pytest.raises(ConfigError, match=line):
        shards(read_config(before.config))
    with pytest.warns(p2pqg.errors.Notice, match=line):
        p2pqg.resume(before.path, rounds=4)
    p2pqg.resume(before.path, rounds=5)  # it is of those of now, and no Notice comes, or an error
    told = "dataset mine.py:load gave some of these runs other values than others"
    compared = p2pqg.compare(p2pqg.load(before.path), other)
    assert told in compared.notes
    assert not {"dataset.content"} & {*compared.settings}


def test_what_a_sample_looks_like_decides_on_the_model():
    assert built(dataset="mine.npz").config.model["name"] == "resnet20-gn"
    assert built(dataset="mine.py:load").config.model["name"] == "mlp"
    assert built(dataset="mine.npz", model="logistic").config.model["name"] == "logistic"


def test_functions_of_a_file_make_data_and_parts_and_their_code_is_kept():
    dataset = {"name": "mine.py:load", "size": 30}
    experiment = built(dataset=dataset, partition="mine.py:first_come")
    assert [part.tolist() for part in experiment.parts] == np.arange(30).reshape(3, 10).tolist()
    assert experiment.own_files == {"mine.py": CODE.encode()}
    assert experiment.config.dataset["size"] == 30


def test_data_that_come_client_by_client_are_split_already():
    experiment = built(dataset="mine.py:clients", topology="complete2")
    assert [len(part) for part in experiment.parts] == [4, 26]
    assert experiment.config.partition == {"name": "column:client"}
    mixed = built(dataset="mine.py:clients", topology="complete2", alpha=1.0)
    assert mixed.config.partition["name"] == "qg-dirichlet"
    with pytest.raises(ConfigError, match="the column has 2 values, and the network 3 clients"):
        built(dataset="mine.py:clients")


def test_a_run_from_a_file_is_repeated_from_its_recipe():
    one = p2pqg.run(
        **SMALL, dataset={"name": "patients.csv", "label": "ill"}, partition="column:hospital"
    )
    again = p2pqg.run(**one.config | {"name": "again"})
    for key in ("test_accuracy", "consensus_distance"):
        assert one.summary[key] == again.summary[key]


@pytest.mark.parametrize("partition", ["shards", "iid", "column:hospital"])
def test_an_alpha_that_means_nothing_is_said_to_be_ignored(partition):
    dataset = {"name": "patients.csv", "label": "ill", "features": ["age"]}
    said = built(dataset=dataset, partition=partition, alpha=0.1).warnings
    assert f"alpha 0.1 is ignored: partition {partition} makes no use of it" in said
    said = built(dataset=dataset, partition="dirichlet", alpha=10.0).warnings
    assert not any("ignored" in line for line in said)


def test_files_and_folders_may_be_paths(tmp_path):
    config = read_config({"out": tmp_path, "data_dir": tmp_path / "d", "topology": Path("a.csv")})
    assert (config.out, config.topology) == (str(tmp_path), "a.csv")
    assert config.data_dir == str(tmp_path / "d")


def test_a_path_is_a_text_wherever_a_recipe_has_one():
    model = {"name": "transformers", "path": Path("models/bert")}
    given = {"dataset": Path("patients.csv"), "model": model, "metrics": [Path("my.py:auc")]}
    config, own = read_settings({**given, "network": {"links": {"edges": {"0-1": Path("a.csv")}}}})
    assert not own.objects
    assert (config.dataset, config.model["path"]) == ("patients.csv", "models/bert")
    assert config.metrics == {"auc": "my.py:auc"}
    assert config.network["links"]["edges"] == {"0-1": "a.csv"}


def test_a_value_of_the_wrong_type_has_one_line():
    with pytest.raises(ConfigError) as error:
        built(dataset="patients.csv", model={"name": "transformers", "path": 5})
    assert error.value.lines == ["model.path must be a text, got 5"]


def test_several_problems_are_told_at_once():
    with pytest.raises(ConfigError) as error:
        built(dataset="patients.csv", model="mpl", partition="iidd")
    assert "did you mean mlp" in str(error.value)
    assert "did you mean iid" in str(error.value)


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"dataset": {"name": {"train": [1]}}}, "got an object .dict.; what holds samples is data"),
        ({"partition": {"name": len}}, "partition.name must be a text, got a function; give it it"),
        ({"rule": {"name": len}}, "rule len is a Python function; write it to a file and say"),
        ({"algorithm": SGD}, "^algorithm must be a name, got a class; .* 'my_method.py:SGD'$"),
        ({"algorithm": len}, "^algorithm must be a name, got a function; .* 'my_method.py:len'$"),
        ({"algorithm": ALGORITHMS["gut"].build}, "got a function; this one's is 'gut'$"),
        ({"rounds": len}, "^rounds must be an integer.*, got a function$"),
        ({"lr_schedule": len}, "lr_schedule must be keys and values, got a function; .* is lr="),
        (
            {"lr": [0.1, 0.01]},
            r"^lr must be a number, or a function: lr=lambda round: values\[round",
        ),
        (
            {"partition": {0: [1, 2], 1: [3]}},
            "^partition must be a list of index arrays, one for e",
        ),
        ({"optimizer": "adam"}, "^unknown key optimizer; how clients step is the algorithm: adam"),
        ({"learning_rate": 1, "num-nodes": 4}, "(?s)learning_rate; .* lr?.*num-nodes; .* clients?"),
        (
            {"rounds": np.zeros((99, 99))},
            r"^rounds must be an integer.*, got array\(\[\[0\., .{60,}…$",
        ),
    ],
)
def test_an_object_in_the_place_of_a_name_is_told_where_it_belongs(settings, told):
    with pytest.raises(ConfigError, match=told):
        read_settings(settings)


@pytest.mark.parametrize("partition", ["iid", [range(10), range(10, 20), range(20, 30)]])
def test_a_seed_that_no_run_could_go_on_with_does_not_begin_one(partition):
    with pytest.raises(ConfigError, match=r"seed must be in \[0, 4294967295\], got 4294967296"):
        read_settings({**SMALL, "partition": partition, "seed": 2**32})
