"""The published numbers (paper.csv), and which of our runs stands beside which.

Lin, Karimireddy, Stich, Jaggi, Quasi-Global Momentum, ICML 2021, arXiv:2102.04761, Tables 1 to 6.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from p2pqg.base.errors import ConfigError, did_you_mean

SOURCE = "Lin et al., ICML 2021"

MODELS = {
    "ResNet-BN-20": ("resnet20-bn",),
    "ResNet-GN-20": ("resnet20-gn",),
    "ResNet-EvoNorm-20": ("resnet20-evonorm", "resnet20-evonorm-official"),
    "VGG-11 (no norm, width 1/2)": ("vgg11-half",),
    "ResNet-EvoNorm-20-x2": ("resnet20-evonorm-x2", "resnet20-evonorm-official-x2"),
    "ResNet-GN-20-x2": ("resnet20-gn-x2",),
    "ResNet-EvoNorm-18": ("resnet18-evonorm", "resnet18-evonorm-official"),
    "ResNet-GN-18": ("resnet18-gn",),
    "DistilBERT-base-uncased (fine-tune)": ("distilbert",),
}
"""The paper's architectures -> our models of them."""

DATASETS = {
    "CIFAR-10": ("cifar10", 300),
    "ImageNet-32": ("imagenet32", 90),
    "ImageNet": ("imagenet", 90),
    "AG News": ("ag-news", 10),
}
"""The paper's data sets -> ours, and the epochs trained."""

CENTRALIZED = "SGDm-N (centralized)"

METHODS: dict[str, dict[str, Any]] = {
    CENTRALIZED: {"algorithm": "sgdm-n"},
    "DSGD": {"algorithm": "dsgd"},
    "DSGDm": {"algorithm": "dsgdm"},
    "DSGDm-N": {"algorithm": "dsgdm-n"},
    "QG-DSGDm": {"algorithm": "qg-dsgdm"},
    "QG-DSGDm-N": {"algorithm": "qg-dsgdm-n"},
    "DSGD (w/ GT)": {"algorithm": "dsgd-gt"},
    "DSGDm-N (w/ GT)": {"algorithm": "dsgdm-n-gt"},
    "D2": {"algorithm": "d2"},
    "D2+": {"algorithm": "d2-plus"},
    "SlowMo + model parameters (complete)": {"algorithm": "slowmo", "algorithm.average": True},
    "DMSGD (option I)": {"algorithm": "dmsgd", "algorithm.option": 1},
    "DAdam": {"algorithm": "dadam"},
    "QG-DAdam": {"algorithm": "qg-dadam"},
    **{
        f"{method} + {exchanged}": {
            "algorithm": "dsgdm-sync",
            "algorithm.nesterov": method == "DSGDm-N",
            "algorithm.what": exchanged.split()[1].removesuffix("s").replace("buffer", "momentum"),
            "algorithm.over": "allreduce" if "complete" in exchanged else "gossip",
        }
        for method in ("DSGDm", "DSGDm-N")
        for exchanged in (
            "momentum buffer (complete)",
            "momentum buffer (ring)",
            "local gradients (ring)",
        )
    },
}
"""The paper's methods -> settings of ours."""


def method_of(settings: Mapping[str, Any]) -> str | None:
    """The paper's name of what a run did, from its flat settings; None: not in the paper."""
    for method, wanted in METHODS.items():
        if all(settings.get(key) == value for key, value in wanted.items()):
            return method
    return None


@dataclass(frozen=True)
class Published:
    """A table of the paper.

    Attributes:
        table: its number.
        rows: dataset, arch (the paper's names), method, row, network, alpha, mean, std (percent),
            doubt: why a number may be a slip of the copy it was read from, or NaN. `row` and
            `network` are where the table has it, see `place`.
        arch: stands beside models that the table does not have.
    """

    table: int
    rows: pd.DataFrame
    arch: str

    def beside(self, dataset: str, model: str) -> pd.DataFrame:
        """The rows for a model of ours: of its architecture, or of `arch` where there is none."""
        arch = next((arch for arch, ours in MODELS.items() if model in ours), None)
        name = next((name for name, (ours, _) in DATASETS.items() if ours == dataset), None)
        rows = self.rows[(self.rows["arch"] == arch) & (self.rows["dataset"] == name)]
        if rows.empty:
            rows = self.rows[self.rows["arch"] == self.arch]
        return rows

    def place(self, method: str, topology: str) -> tuple[str, str]:
        """(row, network over the column) of a method on a topology such as `ring16`.

        Tables 4 and 5 have the network in the row. The centralized method, which has none, stands
        beside those with as many clients.
        """
        size = re.search(r"\d+", topology)
        clients = size.group() if size else ""
        if self.table in (4, 5):
            row = method if method == CENTRALIZED else f"{method}, {topology}"
            return row, f"{clients} clients"
        if method == CENTRALIZED:
            return method, {"32": "social32"}.get(clients, f"ring{clients}")
        return method, topology


def same_scale(rows: pd.DataFrame, dataset: str, model: str, epochs: float) -> bool:
    """Whether runs of ours are at the scale of the paper's rows: data, model and epochs."""
    arch, name = rows.iloc[0][["arch", "dataset"]]
    return model in MODELS[arch] and (dataset, epochs) == DATASETS[name]


def published(name: str) -> Published:
    """A table of the paper.

    Args:
        name: `table1` ... `table6`, perhaps with the architecture to stand beside models that the
            paper does not have: `table1:ResNet-GN-20`; default ResNet-EvoNorm-20, or the first.

    Raises:
        ConfigError: no such table or architecture.
    """
    table, _, arch = name.partition(":")
    frame = pd.read_csv(Path(__file__).with_name("published.csv"), comment="#")
    names = [f"table{number}" for number in sorted(frame["table"].unique())]
    if table not in names:
        raise ConfigError(f"unknown table {table!r} of the paper{did_you_mean(table, names)}")
    number = int(table.removeprefix("table"))
    frame = frame[frame["table"] == number]
    known = list(frame["arch"].unique())
    if arch and arch not in known:
        raise ConfigError(f"{table} has no architecture {arch!r}{did_you_mean(arch, known)}")
    usual = "ResNet-EvoNorm-20"
    arch = arch or (usual if usual in known else known[0])
    method = frame["method"].replace("SGDm-N", CENTRALIZED)
    topology = [_topology(*pair) for pair in frame[["topology", "n"]].itertuples(index=False)]
    empty = Published(number, frame, arch)
    places = [empty.place(*pair) for pair in zip(method, topology, strict=True)]
    frame = frame.assign(
        method=method,
        row=[row for row, _ in places],
        network=[network for _, network in places],
        alpha=pd.to_numeric(frame["alpha"], errors="coerce"),
        doubt=frame["note"].str.extract(r"([^;]*): check against the PDF$", expand=False),
    )
    columns = ["dataset", "arch", "method", "row", "network", "alpha", "mean", "std", "doubt"]
    return Published(number, _with_all_alphas(frame[columns]), arch)


def _topology(name: str, clients: int) -> str:
    """Our name of a topology of the paper."""
    if name.startswith("1-peer"):
        return f"onepeer-exponential{clients}"
    first = name.partition(" ")[0]
    return f"{'complete' if 'reduce' in name else first}{clients}"


def _with_all_alphas(frame: pd.DataFrame) -> pd.DataFrame:
    """What does not depend on alpha, once for every alpha of its architecture and network."""
    place = ["dataset", "arch", "network"]
    alphas = frame.loc[frame["alpha"].notna(), [*place, "alpha"]].drop_duplicates()
    shared = frame[frame["alpha"].isna()].drop(columns="alpha").merge(alphas, on=place)
    order = {row: at for at, row in enumerate(frame["row"].unique())}
    both = pd.concat([frame[frame["alpha"].notna()], shared], ignore_index=True)
    return both.sort_values("row", key=lambda row: row.map(order), kind="stable")
