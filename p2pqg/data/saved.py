"""What Hugging Face's `save_to_disk` wrote: a folder with one table, or with a folder per split."""

from __future__ import annotations

import dataclasses
import os
from dataclasses import dataclass
from pathlib import Path

from p2pqg.base.errors import DataError
from p2pqg.base.text import user_path
from p2pqg.data._arrays import Arrays, dataset
from p2pqg.data._files import check_content, file_digest
from p2pqg.data._objects import raw_of
from p2pqg.data._reading import arrays_from
from p2pqg.data._tables import Columns
from p2pqg.data.hub import chosen_splits, quiet

MARKS = ("dataset_dict.json", "state.json")
"""Files by which such a folder is known: of several splits, of one table."""
OF_A_TABLE = "dataset_info.json"
"""Beside the latter; without it Hugging Face puts this into other folders, too."""
CACHES = "cache-"
"""How files begin that `datasets` leaves beside samples that were mapped or filtered."""


def is_saved(folder: Path) -> bool:
    """Whether that is such a folder."""
    splits, table = (os.path.isfile(folder / mark) for mark in MARKS)  # which bears any text
    return splits or (table and os.path.isfile(folder / OF_A_TABLE))


@dataclass(frozen=True, kw_only=True)
class Params(Columns):
    """What may be set."""

    path: str = ""
    """The folder."""
    train: str = "train"
    """The split to learn from, where there are several."""
    test: str = ""
    """The split to test with. Default: test, validation, valid or val; else a share is held out."""
    content: str = ""
    """Digest of the files when the run began: others are refused. A run fills it in."""

    def files(self) -> list[Path]:
        """The files that hold the samples."""
        found = user_path(self.path).rglob("*.arrow")
        return sorted(path for path in found if not path.name.startswith(CACHES))

    def fixed(self, data_dir: Path | None) -> Params:
        """These settings, tied to the files as they are now."""
        return dataclasses.replace(self, content=file_digest(*self.files()))


@dataset("saved", params=Params, source="yours: save_to_disk of Hugging Face", own=True)
def saved(
    params: Params, data_dir: Path | None, tokenizer: str | None, columns: tuple[str, ...]
) -> Arrays:
    """A folder that `save_to_disk` of a Dataset or DatasetDict wrote."""
    folder = user_path(params.path)
    what = folder.name
    if not is_saved(folder):
        raise DataError(f"{params.path} is no folder that save_to_disk of Hugging Face wrote")
    try:
        import datasets
    except ImportError:
        raise DataError(f"{what} needs the package datasets: pip install 'p2pqg[data]'") from None
    check_content(params.content, *params.files())
    try:
        with quiet(datasets):
            found = datasets.load_from_disk(str(folder))
    except Exception as error:  # files that are missing, cut short or of another version
        reason = str(error).strip().partition("\n")[0]
        raise DataError(f"{what} cannot be read ({reason:.300})") from error
    if isinstance(found, dict):
        found = chosen_splits(found, params.train, params.test, what)
    return arrays_from(raw_of(found, None, params, columns, what), params, tokenizer)
