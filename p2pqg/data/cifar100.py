"""CIFAR-100: Krizhevsky, 2009. Normalisation and augmentation are those of the paper's code."""

from __future__ import annotations

from pathlib import Path

from p2pqg.base.registry import NoParams
from p2pqg.data._arrays import Arrays, dataset
from p2pqg.data._images import ImageSet, load_images

CIFAR100 = ImageSet(
    name="cifar100",
    shape=(3, 32, 32),
    num_classes=100,
    torchvision="CIFAR100",
    layout="cifar-100-python",
    label_columns=("fine_label", "label"),
    mean=(0.5071, 0.4867, 0.4408),
    std=(0.2675, 0.2565, 0.2761),
    augmentation="crop-flip",
)


@dataset("cifar100", model="resnet20-gn", source="Krizhevsky, 2009")
def cifar100(params: NoParams, data_dir: Path | None) -> Arrays:
    """60,000 color images of 32 x 32 pixels in 100 classes."""
    return load_images(CIFAR100, data_dir)
