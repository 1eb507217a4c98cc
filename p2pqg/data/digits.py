"""1,797 handwritten digits of 8 x 8 pixels, embedded: the data set that is always there.

The test part of UCI's "Optical Recognition of Handwritten Digits" (E. Alpaydin, C. Kaynak, 1998,
doi:10.24432/C50P49, CC BY 4.0), in the order in which scikit-learn's load_digits has it. Stored as
.npz and not as Parquet: it is read in 10 ms, where importing pyarrow.parquet alone takes longer.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from p2pqg.base.registry import NoParams
from p2pqg.base.seeding import rng
from p2pqg.data._arrays import Arrays, dataset

NUM_TRAIN = 1437
FILE = Path(__file__).with_name("digits.npz")


@dataset(
    "digits",
    model="mlp",
    source="UCI optical digits (CC BY 4.0), via scikit-learn",
    files=False,
)
def digits(params: NoParams, data_dir: Path | None) -> Arrays:
    """8 x 8 handwritten digits, 64 features in [0, 1]; embedded, no download.

    The pixels 0 .. 16 are divided by 16. The split is fixed: of the permutation that
    rng(0, "digits") gives, the first 1,437 samples are for training, the other 360 for the test.
    """
    with np.load(FILE) as stored:
        images, labels = stored["images"], stored["labels"]  # uint8 [1797, 64] and [1797]
    order = rng(0, "digits").permutation(len(labels))
    x = images[order].astype(np.float32) / 16
    y = labels[order].astype(np.int64)
    return Arrays(x[:NUM_TRAIN], y[:NUM_TRAIN], x[NUM_TRAIN:], y[NUM_TRAIN:], num_classes=10)
