"""MNIST: LeCun, Cortes, Burges, 1998."""

from __future__ import annotations

from pathlib import Path

from p2pqg.base.registry import NoParams
from p2pqg.data._arrays import Arrays, dataset
from p2pqg.data._images import ImageSet, load_images

MNIST = ImageSet(
    name="mnist",
    shape=(1, 28, 28),
    num_classes=10,
    torchvision="MNIST",
    layout="MNIST/raw",
    mean=(0.1307,),
    std=(0.3081,),
)


@dataset("mnist", model="cnn", source="LeCun, Cortes, Burges, 1998")
def mnist(params: NoParams, data_dir: Path | None) -> Arrays:
    """70,000 handwritten digits of 28 x 28 gray pixels."""
    return load_images(MNIST, data_dir)
