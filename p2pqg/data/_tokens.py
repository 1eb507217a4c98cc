"""Texts -> rows of token numbers. How a text is cut is the model's to say: see `models`.

words:8192      words and punctuation marks, lower case, hashed into 1 .. 8191; 0 fills up.
                Nothing is learnt from the texts, so nothing has to be agreed on or fetched.
anything else   a folder, or a name on the Hugging Face hub: the tokenizer of a pretrained model
"""

from __future__ import annotations

import math
import re
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from p2pqg.base.hub import contents_of, fetch
from p2pqg.base.memory import check_room

WORD = re.compile(r"\w+|[^\w\s]")
TOKENIZER_FILES = ("tokenizer*", "special_tokens*", "added_tokens*", "vocab*", "merges*", "*.model")


def tokenise(texts: Sequence[str], tokenizer: str, length: int) -> np.ndarray:
    """Numbers of the first `length` tokens of each text; shorter texts are filled up at the end.

    Args:
        texts: in any language the tokenizer knows.
        tokenizer: see the top of this file.
        length: tokens kept of a text.

    Returns:
        int32 [texts, length].

    Raises:
        ConfigError: no such tokenizer, or the package that reads it is not installed.
        DataError: more than fits into memory.
    """
    check_room(4 * len(texts) * length, f"{len(texts):,} texts", "set a smaller dataset.length")
    kind, _, number = tokenizer.partition(":")
    if kind == "words":
        return _words(texts, int(number), length)
    return _pretrained(texts, tokenizer, length)


def known_tokens(tokenizer: str) -> float:
    """Token numbers are below this; infinity where only the model can tell."""
    kind, _, number = tokenizer.partition(":")
    return int(number) if kind == "words" else math.inf


def fingerprint(tokenizer: str) -> str:
    """Changes when the tokenizer does: a folder is known by what is in its files."""
    folder = Path(tokenizer)
    if not folder.is_dir():
        return tokenizer
    return contents_of(folder, TOKENIZER_FILES)


def _words(texts: Sequence[str], vocabulary: int, length: int) -> np.ndarray:
    tokens = np.zeros((len(texts), length), dtype=np.int32)
    for row, text in zip(tokens, texts, strict=True):
        words = WORD.findall(text.lower())[:length]
        # A checksum spreads words well enough, and is the same in every process and version.
        row[: len(words)] = [1 + zlib.crc32(word.encode()) % (vocabulary - 1) for word in words]
    return tokens


def _pretrained(texts: Sequence[str], path: str, length: int) -> np.ndarray:
    cut = fetch("AutoTokenizer", path)
    if cut.pad_token is None:
        cut.pad_token = cut.eos_token
    cut.padding_side = "right"
    encoded = cut(list(texts), padding="max_length", truncation=True, max_length=length)
    return np.asarray(encoded["input_ids"], dtype=np.int32)
