"""SVHN, cropped digits without the "extra" part: Netzer et al., 2011."""

from __future__ import annotations

from pathlib import Path

from p2pqg.base.registry import NoParams
from p2pqg.data._arrays import Arrays, dataset
from p2pqg.data._images import ImageSet, load_images

SVHN = ImageSet(
    name="svhn",
    shape=(3, 32, 32),
    num_classes=10,
    torchvision="SVHN",
    layout="train_32x32.mat",
    train_keyword={True: {"split": "train"}, False: {"split": "test"}},
    mean=(0.5, 0.5, 0.5),
    std=(0.5, 0.5, 0.5),
)


@dataset("svhn", model="resnet20-gn", source="Netzer et al., 2011")
def svhn(params: NoParams, data_dir: Path | None) -> Arrays:
    """99,289 house number digits, color, 32 x 32 pixels."""
    return load_images(SVHN, data_dir)
