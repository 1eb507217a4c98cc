"""ImageNet, ILSVRC 2012: 1,281,167 + 50,000 photos in 1,000 classes: Deng et al., CVPR 2009.

It stays on disk: the arrays hold paths, and every actor decodes its own clients' images, see
`file_feed.py`. With other photos in folders it works as well.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from p2pqg.base.errors import DataError
from p2pqg.data import _folders
from p2pqg.data._arrays import Arrays, dataset
from p2pqg.data._images import places

TEST = ("val", "validation", "valid", "test")
"""Labels of what it calls its test are known to nobody."""


@dataclass(frozen=True, kw_only=True)
class Params:
    """What may be set."""

    side: Annotated[int, ">= 1"] = 224
    """Pixels of what a model sees, >= 1."""


@dataset("imagenet", model="resnet18-gn", params=Params, source="Deng et al., CVPR 2009")
def imagenet(params: Params, data_dir: Path | None) -> Arrays:
    """1.3 million photos in 1,000 classes, read from data_dir/train and data_dir/val as needed."""
    given = places("imagenet", data_dir)
    for folder in given:
        if parts := _folders.find_both(folder, TEST):
            found = _folders.read_both(*parts)
            return Arrays(
                *found.train,
                *found.test,
                num_classes=len(found.classes),
                mean=(0.485, 0.456, 0.406),
                std=(0.229, 0.224, 0.225),
                augmentation="resized-crop",
                side=params.side,
                classes=found.classes,
                notes=found.notes,
            )
    where = " and ".join(str(place) for place in given)
    raise DataError(
        f"imagenet is not in {where or 'the cache'} and cannot be downloaded without an account; "
        "point data_dir to a folder with train/ and val/, a folder per class in each"
    )
