"""Fashion-MNIST: Xiao, Rasul, Vollgraf, 2017, arXiv:1708.07747."""

from __future__ import annotations

from pathlib import Path

from p2pqg.base.registry import NoParams
from p2pqg.data._arrays import Arrays, dataset
from p2pqg.data._images import ImageSet, load_images

FASHION_MNIST = ImageSet(
    name="fashion-mnist",
    shape=(1, 28, 28),
    num_classes=10,
    torchvision="FashionMNIST",
    layout="FashionMNIST/raw",
    mean=(0.2860,),
    std=(0.3530,),
)


@dataset("fashion-mnist", model="cnn", source="Xiao, Rasul, Vollgraf, arXiv:1708.07747")
def fashion_mnist(params: NoParams, data_dir: Path | None) -> Arrays:
    """70,000 pictures of clothing, 28 x 28 gray pixels, in 10 classes."""
    return load_images(FASHION_MNIST, data_dir)
