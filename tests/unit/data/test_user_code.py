"""A user's own function that makes data: decorated, or of a file."""

import dataclasses

import numpy as np
import pytest

import p2pqg
from p2pqg.base.errors import ConfigError, DataError
from p2pqg.data import DATASETS, Arrays, load

X = np.arange(20.0).reshape(10, 2)
Y = np.arange(10) % 2


def test_a_decorated_function_is_a_data_set_with_settings_of_its_own():
    @p2pqg.dataset("mine", model="logistic")
    def my_data(scale=1.0, names=(), data_dir=None):
        """Numbers, scaled."""
        return scale * X, Y, scale * X, Y

    assert my_data(2.0)[0][1, 0] == 4.0  # it stays a function
    np.testing.assert_array_equal(load("mine").train_x, X)
    np.testing.assert_array_equal(load("mine", scale=3.0).train_x, 3 * X)
    entry = DATASETS["mine"]
    assert entry.traits["model"] == "logistic"
    assert entry.summary == "Numbers, scaled."
    assert load("mine", task="regression").task == "regression"
    with pytest.raises(ConfigError, match=r"unknown key dataset.scal; did you mean scale\?"):
        load("mine", scal=1)


def test_a_bare_decorator_takes_the_name_of_the_function_and_a_cell_may_run_twice():
    for factor in (1, 2):

        @p2pqg.dataset
        def my_data():
            return factor * X, Y, X, Y  # noqa: B023 it is called in the same turn

        np.testing.assert_array_equal(load("my-data").train_x, factor * X)


def test_our_names_cannot_be_taken():
    with pytest.raises(ConfigError, match="dataset 'digits' is there already; choose another name"):

        @p2pqg.dataset("digits")
        def digits():
            return X, Y


def test_a_function_in_the_manner_of_ours_is_taken_too():
    @dataclasses.dataclass(frozen=True, kw_only=True)
    class Params:
        size: int = 3

    @p2pqg.dataset("as-ours", model="mlp", params=Params)
    def as_ours(params, data_dir):
        return Arrays(X[: params.size], Y[: params.size], X, Y, num_classes=2)

    assert len(load("as-ours", size=4).train_x) == 4


def test_a_function_may_ask_for_the_folder_and_for_settings_of_ours(tmp_path):
    seen = {}

    @p2pqg.dataset("asks")
    def asks(data_dir, task="auto"):
        seen.update(folder=data_dir, task=task)
        return [(X, Y), (X, Y)]

    arrays = load("asks", tmp_path, task="regression")
    assert seen == {"folder": tmp_path, "task": "regression"}
    assert arrays.task == "classes"  # the function took the setting
    assert arrays.columns["client"].names == ("0", "1")


@pytest.mark.parametrize(
    ("made", "complaint"),
    [
        (lambda: None, "returned nothing; return"),
        (lambda: (X, Y[1:]), "X has 10 rows and dataset broken: y 9"),
        (lambda: 1 / 0, r"dataset broken \(test_user_code.py line \d+\): ZeroDivision"),
        (lambda: 7, "is of type int; what is taken"),
    ],
)
def test_a_function_that_fails_or_returns_something_else_is_told_with_its_line(made, complaint):
    @p2pqg.dataset("broken")
    def broken():
        return made()

    with pytest.raises(DataError, match=complaint) as error:
        load("broken")
    assert "\n" not in str(error.value)


def test_an_argument_without_a_default_must_be_set():
    @p2pqg.dataset("sized")
    def sized(size: int):
        return X[:size], Y[:size], X, Y

    assert len(load("sized", size=4).train_x) == 4
    with pytest.raises(ConfigError, match="sized: dataset.size is missing; set it"):
        load("sized")


FILE = """
import numpy as np
import p2pqg
from near import SIZE

def load(factor: float = 1.0):
    "Ten samples."
    x = factor * np.arange(2.0 * SIZE).reshape(SIZE, 2)
    return x, np.arange(SIZE) % 2, x, np.arange(SIZE) % 2

@p2pqg.dataset("filed", model="logistic")
def decorated():
    return load()

not_a_function = 3
"""


@pytest.fixture
def file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my_data.py").write_text(FILE)
    (tmp_path / "near.py").write_text("SIZE = 10\n")
    return tmp_path / "my_data.py"


def test_a_plain_function_of_a_file_is_a_data_set(file):
    np.testing.assert_array_equal(load("my_data.py:load").train_x, X)
    np.testing.assert_array_equal(load("my_data.py:load", factor=2.0).train_x, 2 * X)
    np.testing.assert_array_equal(load(f"{file}:load").train_x, X)


def test_a_decorated_function_of_a_file_is_found_by_both_names(file):
    for name in ("my_data.py:decorated", "my_data.py:filed"):
        assert DATASETS[name].traits["model"] == "logistic"
        np.testing.assert_array_equal(load(name).train_x, X)


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("nowhere.py:load", "dataset nowhere.py: no such file"),
        ("my_data.py:laod", r"my_data.py has no dataset 'laod'; did you mean load\?"),
        ("my_data.py:not_a_function", "my_data.py: not_a_function is of type int, no function"),
        ("my_data.py", "dataset my_data.py must say which: my_data.py:decorated"),
    ],
)
def test_a_name_that_leads_nowhere_is_refused(file, name, complaint):
    with pytest.raises(ConfigError, match=complaint):
        load(name)


def test_a_mistake_in_the_file_is_told_with_its_line(file):
    file.write_text(FILE.replace("SIZE = 10", "").replace("return x, np", "return z, np"))
    with pytest.raises(DataError, match=r"load \(my_data.py line 9\): NameError: name 'z' is"):
        load("my_data.py:load")
