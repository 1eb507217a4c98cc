"""One data set, one file; importing this package registers all of them, and the partitions.

What a data set is: `_arrays.py`. What a recipe names is found by `_paths.py` and `_files.py`.

Reading those that are known: `_images.py`, `_text.py`, and below them `_parquet.py`, `_folders.py`,
`_pixels.py`, `_labels.py`, `_tokens.py`, `_npz.py`.

Reading a user's own: `given.py` (objects), `table.py`, `npz.py`, `hub.py`, `user_code.py`
(functions); below them `_reading.py`, the one way from samples as they come to arrays, with
`_inputs.py`, `_targets.py`, `_columns.py`, `_tables.py`, `_image_columns.py`, `_csv.py`,
`_objects.py`, `_map_style.py`, `_leak.py`, `_scales.py`.

Kept by a run: `_stored.py`; kept in the cache: `_cache.py`, `_encoded.py` (texts as a frozen model
sees them). Splitting: `partition.py`, `qg_dirichlet.py`, `skew.py`, and a user's own:
`own_split.py`. What needs torch, and so is not imported here, is in `feeding/`: each client's
batches, drawn by `_stream.py`.
"""

from p2pqg.base.registry import import_parts
from p2pqg.data._arrays import DATASETS, Arrays, load
from p2pqg.data._paths import by_path, named
from p2pqg.data.given import is_object, read, usual_model
from p2pqg.data.own_split import parts_of
from p2pqg.data.partition import PARTITIONS, columns_of, partition, split
from p2pqg.data.skew import kind_of, label_counts, label_skew
from p2pqg.data.user_code import dataset

import_parts(__name__, __path__)

__all__ = [
    "DATASETS",
    "PARTITIONS",
    "Arrays",
    "by_path",
    "columns_of",
    "dataset",
    "is_object",
    "kind_of",
    "label_counts",
    "label_skew",
    "load",
    "named",
    "partition",
    "parts_of",
    "read",
    "split",
    "usual_model",
]
