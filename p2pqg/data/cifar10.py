"""CIFAR-10: Krizhevsky, 2009. Normalisation and augmentation are those of the paper's code."""

from __future__ import annotations

from pathlib import Path

from p2pqg.base.registry import NoParams
from p2pqg.data._arrays import Arrays, dataset
from p2pqg.data._images import ImageSet, load_images

CIFAR10 = ImageSet(
    name="cifar10",
    shape=(3, 32, 32),
    num_classes=10,
    torchvision="CIFAR10",
    layout="cifar-10-batches-py",
    mean=(0.4914, 0.4822, 0.4465),
    std=(0.2023, 0.1994, 0.2010),
    augmentation="crop-flip",
)


@dataset("cifar10", model="resnet20-gn", source="Krizhevsky, 2009")
def cifar10(params: NoParams, data_dir: Path | None) -> Arrays:
    """60,000 color images of 32 x 32 pixels in 10 classes."""
    return load_images(CIFAR10, data_dir)
