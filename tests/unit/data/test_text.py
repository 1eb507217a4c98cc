"""Texts: where they are found, how they become numbers, and when that is done again."""

import os
import shutil
import sys
import types
import zlib
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from p2pqg.base.errors import ConfigError, DataError
from p2pqg.base.hub import no_downloads
from p2pqg.data import _text, load
from p2pqg.data._tokens import fingerprint, tokenise

TEXTS = ["Oil falls.", "Cup final: 2-1!", "", "Über chips\nand chips"]
LABELS = [2, 1, 0, 3]
WORDS = "words:100"


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "ag_news"
    folder.mkdir()
    for name in ("train", "test"):
        write(folder / f"{name}.parquet")
    return folder


def write(path, texts=TEXTS, labels=LABELS, text_column="text", label_column="label"):
    pq.write_table(pa.table({text_column: texts, label_column: labels}), path)


def number(word, vocabulary=100):
    return 1 + zlib.crc32(word.encode()) % (vocabulary - 1)


def test_words_and_marks_are_hashed_and_short_texts_are_filled_up():
    tokens = tokenise(TEXTS, WORDS, length=6)
    assert tokens.dtype == np.int32
    expected = [
        ["oil", "falls", "."],
        ["cup", "final", ":", "2", "-", "1"],  # and "!" is cut off
        [],
        ["über", "chips", "and", "chips"],
    ]
    for row, words in zip(tokens, expected, strict=True):
        assert row.tolist() == [number(word) for word in words] + [0] * (6 - len(words))


@pytest.mark.parametrize("vocabulary", [2, 3, 50])
def test_every_word_has_a_number_below_the_vocabulary_and_above_the_filler(vocabulary):
    tokens = tokenise([" ".join(f"word{i}" for i in range(1000))], f"words:{vocabulary}", 1000)
    assert set(tokens[0]) == set(range(1, vocabulary))


def test_tokens_that_cannot_fit_into_memory_are_refused_before_any_is_cut():
    with pytest.raises(DataError, match="4 texts would take .* set a smaller dataset.length"):
        tokenise(TEXTS, WORDS, length=10**14)


@pytest.mark.parametrize("where", ["itself", "above"])
def test_files_are_found_in_the_folder_or_the_one_above(folder, where):
    arrays = load("ag-news", folder if where == "itself" else folder.parent, WORDS, length=6)
    assert arrays.input_shape == (6,)
    np.testing.assert_array_equal(arrays.train_x, tokenise(TEXTS, WORDS, 6))
    np.testing.assert_array_equal(arrays.test_y, LABELS)
    assert arrays.num_classes == 4
    assert arrays.mean is arrays.augmentation is None


def test_a_part_in_several_files_is_one_part(folder):
    (folder / "train.parquet").rename(folder / "train-00001-of-00002.parquet")
    write(folder / "train-00000-of-00002.parquet", ["first"], [3])
    arrays = load("ag-news", folder, WORDS)
    assert arrays.train_y.tolist() == [3, *LABELS]
    assert arrays.train_x[0, 0] == number("first")


def test_texts_are_cut_once(folder, monkeypatch):
    first = load("ag-news", folder, WORDS)
    monkeypatch.setattr(_text, "tokenise", None)
    np.testing.assert_array_equal(load("ag-news", folder, WORDS).train_x, first.train_x)
    elsewhere = shutil.move(folder, folder.with_name("elsewhere"))  # it is the content that counts
    np.testing.assert_array_equal(load("ag-news", elsewhere, WORDS).train_x, first.train_x)


@pytest.mark.parametrize(
    ("tokenizer", "options"), [("words:50", {}), (WORDS, {"length": 3}), (WORDS, {})]
)
def test_other_words_lengths_or_texts_are_cut_anew(folder, tokenizer, options):
    before = load("ag-news", folder, WORDS, length=8).train_x
    if (tokenizer, options) == (WORDS, {}):
        write(folder / "train.parquet", texts=TEXTS[::-1])
    after = load("ag-news", folder, tokenizer, **{"length": 8} | options).train_x
    assert before.shape != after.shape or (before != after).any()


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (lambda path: path.unlink(), "no such file; train.parquet and test.parquet belong"),
        (lambda path: path.write_bytes(b"PAR1 and no more"), "not a readable Parquet file"),
        (lambda path: write(path, text_column="x"), "needs a column text .* has x, label"),
        (lambda path: write(path, [1, 2, 3, 4]), "must hold a text in every row, it holds int64"),
        (lambda path: write(path, ["a", None, "b", "c"]), "1 of its rows null"),
        (lambda path: write(path, labels=[1, 2, 3, 4]), "must be 0 .. 3, found 1 .. 4"),
        (
            lambda path: write(path, labels=[-1] * 4),
            "-1 hides labels: test with the validation",
        ),
    ],
)
def test_a_broken_file_is_named_with_what_is_wrong(folder, broken, message):
    broken(folder / "test.parquet")
    with pytest.raises(DataError, match=message) as caught:
        load("ag-news", folder, WORDS)
    assert str(folder / "test.parquet") in str(caught.value)
    assert "\n" not in str(caught.value)


def test_texts_of_the_test_that_are_training_texts_are_told_of_a_folder_of_ones_own(folder):
    for part in ("train", "test"):
        write(folder / f"{part}.parquet", [f"{part} {i}" for i in range(19)] + ["both"], LABELS * 5)
    notes = load("texts", folder, WORDS).notes
    assert notes == (f"{folder}: 1 of 20 test samples are training samples, too",)


def test_models_and_data_sets_must_agree_on_texts(folder):
    with pytest.raises(ConfigError, match="ag-news holds texts; use model transformer"):
        load("ag-news", folder)
    with pytest.raises(ConfigError, match="digits holds no texts"):
        load("digits", tokenizer=WORDS)
    with pytest.raises(ConfigError, match="length must be >= 1, got 0"):
        load("ag-news", folder, WORDS, length=0)


def fake_datasets(monkeypatch, load_dataset):
    module = types.ModuleType("datasets")
    module.load_dataset = load_dataset
    monkeypatch.setattr("p2pqg.data._text.check_reachable", lambda: None)
    monkeypatch.setitem(sys.modules, "datasets", module)


def test_a_download_is_kept_and_found_again(tmp_path, cache, monkeypatch):
    fetched = []

    def load_dataset(name, split):
        fetched.append((name, split))
        return types.SimpleNamespace(to_parquet=lambda path: write(Path(path)))

    fake_datasets(monkeypatch, load_dataset)
    for _ in range(2):
        assert len(load("ag-news", tmp_path, WORDS).train_x) == 4
    assert fetched == [("fancyzhx/ag_news", "train"), ("fancyzhx/ag_news", "test")]
    assert (cache / "ag-news" / "train.parquet").is_file()


def test_without_network_nothing_is_left_behind(tmp_path, cache, monkeypatch):
    def load_dataset(name, split):
        raise ConnectionError("no route to host\nand a long explanation")

    fake_datasets(monkeypatch, load_dataset)
    with pytest.raises(DataError, match=r"not be downloaded \(no route to host\); point") as error:
        load("ag-news", tmp_path, WORDS)
    assert "\n" not in str(error.value)
    assert list(cache.iterdir()) == []


def test_where_downloads_are_forbidden_none_is_tried(tmp_path, monkeypatch):
    monkeypatch.setattr("p2pqg.base.hub.urlopen", None)
    with (
        no_downloads(),
        pytest.raises(DataError, match=r"downloaded \(downloads are not allowed here\); point"),
    ):
        load("ag-news", tmp_path, WORDS)


def test_without_the_package_datasets_the_error_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    monkeypatch.setattr("p2pqg.data._text.check_reachable", lambda: None)
    with pytest.raises(DataError, match=r"point data_dir to .* pip install 'p2pqg\[text\]'"):
        load("ag-news", tmp_path, WORDS)


@pytest.fixture
def pretrained(tmp_path):
    transformers = pytest.importorskip("transformers")
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "oil", "falls", "."]
    (tmp_path / "vocab.txt").write_text("\n".join(vocabulary))
    tokenizer = transformers.BertTokenizer.from_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path / "tokenizer")
    return tmp_path / "tokenizer"


def test_a_pretrained_model_brings_its_own_tokenizer(pretrained):
    tokens = tokenise(["Oil falls.", "", "oil oil oil oil oil"], str(pretrained), length=5)
    assert tokens.tolist() == [[2, 5, 6, 7, 3], [2, 3, 0, 0, 0], [2, 5, 5, 5, 3]]
    assert tokens.dtype == np.int32


def test_a_folder_is_known_by_its_content(pretrained, tmp_path):
    before = fingerprint(str(pretrained))
    copied = shutil.copytree(pretrained, tmp_path / "copy")
    assert fingerprint(str(copied)) == before
    (copied / "tokenizer.json").write_text("{}")
    assert fingerprint(str(copied)) != before
    assert fingerprint("words:100") == "words:100"


def test_a_tokenizer_that_is_not_there_is_named(tmp_path, monkeypatch):
    pytest.importorskip("transformers")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(ConfigError, match="nowhere.*no AutoTokenizer.*set model.path") as error:
        tokenise(["a"], str(tmp_path / "nowhere"), 4)
    assert "\n" not in str(error.value)
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(ConfigError, match=r"pip install 'p2pqg\[text\]'"):
        tokenise(["a"], str(tmp_path / "nowhere"), 4)


def test_the_real_ag_news_has_four_classes_of_news():
    where = os.environ.get("P2PQG_DATA")
    if not where or not (Path(where) / "ag_news").is_dir():
        pytest.skip("needs AG News; set P2PQG_DATA to the folder that holds ag_news/")
    arrays = load("ag-news", where, "words:8192")
    assert set(arrays.test_y) == {0, 1, 2, 3}
    # Articles of some forty words: most fit into 64 tokens, and none is empty.
    length = (arrays.train_x > 0).sum(axis=1)
    assert 30 < length.mean() < 60
    assert length.min() > 5
