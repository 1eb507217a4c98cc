"""Anybody's texts: Parquet files in Hugging Face's layout, with a column of texts and of labels."""

from __future__ import annotations

from pathlib import Path

from p2pqg.base.errors import DataError
from p2pqg.data._arrays import Arrays, dataset
from p2pqg.data._text import TextParams, TextSet, load_texts

TEXTS = TextSet(
    name="texts",
    num_classes=None,
    hub=None,
    text_columns=("text", "sentence", "content"),
    label_columns=("label", "labels"),
)


@dataset("texts", model="transformer", params=TextParams, source="yours: data_dir", text=True)
def texts(params: TextParams, data_dir: Path | None, tokenizer: str) -> Arrays:
    """Your own: data_dir with train.parquet and test.parquet, columns text and label."""
    if data_dir is None:
        raise DataError("dataset texts needs data_dir, an existing folder")
    return load_texts(TEXTS, params, data_dir, tokenizer)
