"""One data set, one file; importing this package registers all of them, and the partitions.

Reading: `_arrays.py` (what a data set is), `_parquet.py`, `_folders.py`, `_images.py`, `_text.py`.
Splitting: `partition.py`, `qg_dirichlet.py`, `skew.py`. What needs torch, and so is not imported
here, is in `feeding/`: each client's batches.
"""

from p2pqg.base.registry import import_parts
from p2pqg.data._arrays import DATASETS, Arrays, dataset, load
from p2pqg.data._paths import by_path
from p2pqg.data.partition import PARTITIONS, partition
from p2pqg.data.skew import kind_of, label_counts, label_skew, labels_of

import_parts(__name__, __path__)

__all__ = [
    "DATASETS",
    "PARTITIONS",
    "Arrays",
    "by_path",
    "dataset",
    "kind_of",
    "label_counts",
    "label_skew",
    "labels_of",
    "load",
    "partition",
]
