"""How different the clients are: label counts, the usual summaries of them, and their picture."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from p2pqg.base.wording import percent

DOTS = " ·•●"
MOST_CLIENTS, MOST_CLASSES = 64, 20
"""Larger label pictures would not fit 80 columns or a page; a summary stands in."""


BINS = 10
"""Numbers are told apart by as many equally large bins."""


def kind_of(targets: np.ndarray) -> str:
    """What targets are: "classes", "labels" or "numbers".

    >>> kind_of(np.array([0, 2])), kind_of(np.array([[0, 1]])), kind_of(np.array([0.5]))
    ('classes', 'labels', 'numbers')
    """
    if targets.dtype.kind == "f":
        return "numbers"
    return "labels" if targets.ndim > 1 else "classes"


def labels_of(targets: np.ndarray) -> np.ndarray:
    """What a partition goes by.

    Classes stay as they are; each combination of several labels is one; and of numbers (the first
    of several) the values count where they are few, else ten equally large bins of them. Whole
    numbers of several dimensions, a loss's of the user's own, are all alike.

    >>> labels_of(np.array([0.5, 2.5, 0.5])).tolist()
    [0, 1, 0]
    >>> labels_of(np.arange(20.0)).tolist()[:5]
    [0, 0, 1, 1, 2]
    """
    kind = kind_of(targets)
    if kind == "classes" and targets.min(initial=0) < 0:
        return np.unique(targets, return_inverse=True)[1].reshape(-1)
    if kind == "classes":
        return targets
    if kind == "labels" and targets.dtype != np.uint8:
        return np.zeros(len(targets), dtype=np.int64)
    if kind == "labels":
        return np.unique(targets, axis=0, return_inverse=True)[1].reshape(-1)
    first = targets.reshape(len(targets), -1)[:, 0]
    values, place = np.unique(first, return_inverse=True)
    if len(values) <= BINS:
        return place.reshape(-1)
    ranks = np.argsort(np.argsort(first, kind="stable"), kind="stable")
    return ranks * BINS // len(first)


def label_counts(parts: Sequence[np.ndarray], labels: np.ndarray, num_classes: int) -> np.ndarray:
    """Samples per client and class.

    Args:
        parts: one array of indices into `labels` per client.
        labels: [samples], 0 .. num_classes - 1; or numbers, or several labels each: see
            `labels_of`.
        num_classes: the number of columns, of classes.

    Returns:
        [clients, classes], int64.
    """
    labels = np.asarray(labels)
    if kind_of(labels) != "classes" or labels.min(initial=0) < 0:
        labels = labels_of(labels)
        num_classes = int(labels.max()) + 1
    return np.stack([np.bincount(labels[part], minlength=num_classes) for part in parts])


def label_skew(counts: np.ndarray) -> dict[str, float]:
    """Summaries of `label_counts`; means over the clients that have samples.

    Args:
        counts: [clients, classes], with at least one sample.

    Returns:
        total_variation: distance of a client's label distribution to that of all clients together,
            in [0, 1). 0: all alike. (Zhao et al., 2018, report twice this, as EMD.)
        classes_above_1_percent: classes with more than 1 % of a client's samples.
        largest_class_share: the share of a client's most frequent class.
        effective_classes: exp(entropy) of a client's label distribution, from 1 to classes.
        size_variation: std / mean of the clients' sizes, all clients. 0: equal sizes.
    """
    counts = np.asarray(counts)
    sizes = counts.sum(axis=1)
    share = counts[sizes > 0] / sizes[sizes > 0, None]
    overall = counts.sum(axis=0) / counts.sum()
    entropy = -(share * np.log(np.where(share > 0, share, 1))).sum(axis=1)
    return {
        "total_variation": float(np.abs(share - overall).sum(axis=1).mean() / 2),
        "classes_above_1_percent": float((share > 0.01).sum(axis=1).mean()),
        "largest_class_share": float(share.max(axis=1).mean()),
        "effective_classes": float(np.exp(entropy).mean()),
        "size_variation": float(sizes.std() / sizes.mean()),
    }


def describe_skew(counts: np.ndarray) -> str:
    """How unlike the clients are, in one line; counts are [clients, classes]."""
    found = label_skew(counts)
    return (
        f"{found['classes_above_1_percent']:.1f} of {counts.shape[1]} classes per client, "
        f"the largest {percent(found['largest_class_share'], 0)}; "
        f"total variation {found['total_variation']:.2f}"
    )


def label_picture(counts: np.ndarray) -> list[str]:
    """The paper's Figure 1: classes down, clients across, bigger dots for more samples.

    Args:
        counts: [clients, classes], training samples.

    Returns:
        Lines of at most 80 characters; none for more than 64 clients or 20 classes.
    """
    clients, classes = counts.shape
    if clients > MOST_CLIENTS or classes > MOST_CLASSES:
        return []
    # Area, not width, is what the eye compares: a dot's width goes with the root of its count.
    levels = np.ceil(np.sqrt(counts / counts.max()) * (len(DOTS) - 1)).astype(int)
    gap = " " if clients <= MOST_CLIENTS // 2 else ""
    lines = [
        f"  class {label:<2} " + gap.join(DOTS[level] for level in row)
        for label, row in enumerate(levels.T)
    ]
    return ["", *lines, f"           client 0 to {clients - 1}"]
