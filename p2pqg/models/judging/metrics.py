"""Metrics beside accuracy and loss: a user's own, torchmetrics' by name, and those of regression.

A metric is a function `(outputs, targets) -> float` of all test samples at once. It is computed for
every client's model and for the averaged one, at every evaluation.
"""

from __future__ import annotations

import functools
import inspect
import math
import numbers
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from p2pqg.base.digest import bare
from p2pqg.base.errors import ConfigError, P2pqgError, UserCodeError, did_you_mean
from p2pqg.base.lazy import torch
from p2pqg.base.registry import Entry, Registry
from p2pqg.base.signature import check_takes, parameters
from p2pqg.base.source import blamed, place_of
from p2pqg.base.user_code import find_in_file, names_a_file
from p2pqg.models.judging.losses import GIVEN, Objective, check_instance, check_order

METRICS = Registry("metric")
"""Entries are (outputs, targets, objective) -> number; trait `kinds`: of the tasks it suits."""

SHORT = {"f1": "f1_score", "auc": "auroc", "kappa": "cohen_kappa", "mcc": "matthews_corrcoef"}
"""Short names of functions of torchmetrics."""

TASKS = {"classes": "multiclass", "binary": "binary", "labels": "multilabel"}


@METRICS.register("r2", kinds=("numbers",), source="1 - squared error / variance of the targets")
def r2(outputs: Any, targets: Any, objective: Objective) -> Any:
    """Coefficient of determination, mean over the numbers of a sample.

    A number that is the same in all targets counts 1 where it is met exactly and 0 elsewhere, as
    `sklearn.metrics.r2_score` has it; NaN where an output is.
    """
    error = ((outputs - targets) ** 2).sum(0)
    varies = (targets != targets[0]).any(0)
    spread = ((targets - targets.mean(0)) ** 2).sum(0)
    divided = varies | error.isnan()  # NaN is not more than 0, and would count as met exactly
    return (1 - (error / spread).where(divided, (error > 0).to(error.dtype))).mean()


@METRICS.register("mse", kinds=("numbers",), source="(outputs - targets)^2")
def mse(outputs: Any, targets: Any, objective: Objective) -> Any:
    """Mean squared error."""
    return ((outputs - targets) ** 2).mean()


@METRICS.register("mae", kinds=("numbers",), source="|outputs - targets|")
def mae(outputs: Any, targets: Any, objective: Objective) -> Any:
    """Mean absolute error."""
    return (outputs - targets).abs().mean()


@METRICS.register("top5", kinds=("classes",), source="the target is among the five largest outputs")
def top5(outputs: Any, targets: Any, objective: Objective) -> Any:
    """Right among the first five."""
    best = outputs.topk(min(5, outputs.shape[1]), 1).indices
    return (best == targets[:, None]).any(1).double().mean()


@dataclass(frozen=True, eq=False)
class Metric:
    """A metric by its column's name.

    Attributes:
        entry: how it is computed: (outputs, targets, objective) -> number.
        is_own: a user's: what fails is told with its line.
    """

    name: str
    entry: Entry
    is_own: bool = False

    def __call__(self, outputs: Any, targets: Any, objective: Objective) -> float:
        """Over all samples: [samples, outputs], [samples, ...]; NaN where it is not defined.

        Raises:
            UserCodeError: it failed, or returned something that is no number.
        """
        outputs = objective.shaped(outputs, targets)
        if self.is_own:  # it may write into what it is given
            outputs, targets = outputs.clone(), targets.clone()
        try:
            value = self.entry.build(outputs, targets, objective)
        except P2pqgError:
            raise
        except Exception as error:
            raise UserCodeError(blamed(error, f"metric {self.name}")) from error
        if isinstance(value, torch.Tensor) and value.numel() == 1:
            value = value.item()
        if not isinstance(value, numbers.Real):
            shape = getattr(value, "shape", None)
            got = type(value).__name__ if shape is None else f"a {type(value).__name__} {[*shape]}"
            raise UserCodeError(f"metric {self._told}: must return one number, got {got}")
        try:
            return float(value)
        except OverflowError:  # of a whole number of hundreds of digits
            raise UserCodeError(f"metric {self._told}: is beyond all floats") from None

    @property
    def _told(self) -> str:
        own = getattr(self.entry.build, "__wrapped__", None)
        return f"{self.name} ({place_of(own)})" if self.is_own and own else self.name

    def try_on(self, outputs: Any, targets: Any, objective: Objective) -> None:
        """See that it gives a number, before anything starts.

        Raises:
            ConfigError: it does not.
        """
        try:
            value = self(outputs, targets, objective)
            self(outputs.roll(1, 0), targets, objective)  # others in between, whom it may remember
            again = self(outputs, targets, objective)
        except UserCodeError as error:
            raise ConfigError(str(error)) from error
        if math.isnan(value):
            raise ConfigError(
                f"metric {self._told}: must return a number, got NaN on {len(targets)} test samples"
            )
        if not math.isclose(value, again, rel_tol=1e-6, abs_tol=1e-12):
            raise ConfigError(
                f"metric {self._told}: is {value:.6g}, and {again:.6g} when the same samples come "
                "again; it must depend on outputs and targets alone, and what it draws must come "
                "from a generator that it makes anew, such as np.random.default_rng(0)"
            )


def metrics_of(
    given: Mapping[str, str], own: Mapping[str, Any], objective: Objective
) -> tuple[Metric, ...]:
    """The metrics of a recipe, and those that its task always has.

    Args:
        given: column -> name of a metric.
        own: column -> a user's function.
        objective: what models are trained for.

    Raises:
        ConfigError: there is no such metric, or it does not suit the task.
    """
    named = {"r2": "r2", "mse": "mse"} if objective.kind == "numbers" else {}
    return tuple(
        _metric(column, name, own.get(column), objective)
        for column, name in {**named, **given}.items()
    )


def _metric(column: str, name: str, own: Any, objective: Objective) -> Metric:
    if own is not None:
        return Metric(column, _entry_of(own, bare(name).rpartition(":")[2]), is_own=True)
    if names_a_file(name) or ":" in name:
        return Metric(column, find_in_file(METRICS, name, _entry_of), is_own=True)
    if name in METRICS:
        entry = METRICS.named(name)
        if objective.kind not in entry.traits["kinds"]:
            suits = " or ".join(entry.traits["kinds"])
            raise ConfigError(f"metric {name} is for {suits}, and targets are {objective.kind}")
        return Metric(column, entry)
    if objective.kind == "own":
        raise ConfigError(
            f"metric {name}: targets are for a loss of your own (task: own), and metrics of yours "
            "alone know what they mean; give a function (outputs, targets) -> number"
        )
    return Metric(column, _of_torchmetrics(name, objective))


def _entry_of(own: Any, name: str) -> Entry:
    if not callable(own):
        raise ConfigError(
            f"metric {name} must be a function (outputs, targets) -> number, got "
            f"{type(own).__name__}"
        )
    check_instance(own, f"metric {name}")
    check_takes(own, GIVEN, f"metric {name}")
    check_order(own, f"metric {name}")

    swapped = tuple(parameters(own))[:2] == GIVEN[::-1]
    if inspect.isfunction(own):

        @functools.wraps(own, updated=())
        def build(outputs: Any, targets: Any, objective: Objective) -> Any:
            return own(targets, outputs) if swapped else own(outputs, targets)

        return Entry(name, build)
    return Entry(name, Called(own, swapped))


class Called:
    """A user's callable object as a metric's function; `swapped`: it takes targets first."""

    def __init__(self, own: Callable[..., Any], swapped: bool = False) -> None:
        self.own, self.swapped = own, swapped
        self.__name__, self.__module__ = type(own).__name__, type(own).__module__

    def __call__(self, outputs: Any, targets: Any, objective: Objective) -> Any:
        return self.own(targets, outputs) if self.swapped else self.own(outputs, targets)


def _of_torchmetrics(name: str, objective: Objective) -> Entry:
    """A function of torchmetrics for the task.

    Raises:
        ConfigError: it is not installed, or has none of that name.
    """
    function = SHORT.get(name, name).replace("-", "_")
    try:
        import torchmetrics.functional as functional
    except ImportError:
        known = [e.name for e in METRICS.values() if objective.kind in e.traits["kinds"]]
        raise ConfigError(
            f"unknown metric {name!r}{did_you_mean(name, known)}; more come with torchmetrics: "
            "pip install 'p2pqg[metrics]'"
        ) from None
    room = functional.regression if objective.kind == "numbers" else functional.classification
    if not callable(getattr(room, function, None)):
        known = [*METRICS, *SHORT, *(n for n in room.__all__ if "_" in n or n.islower())]
        raise ConfigError(f"unknown metric {name!r}{did_you_mean(name, known, show_known=False)}")
    return Entry(name, FromTorchmetrics(function))


@dataclass(frozen=True)
class FromTorchmetrics:
    """A function of torchmetrics by its name: it travels as that."""

    function: str

    def __call__(self, outputs: Any, targets: Any, objective: Objective) -> Any:
        """The metric of outputs [samples, outputs], as logits; averages over classes are macro."""
        import torchmetrics.functional as functional

        if objective.kind == "numbers":
            return getattr(functional.regression, self.function)(outputs, targets)
        call = getattr(functional.classification, self.function)
        options: dict[str, Any] = {"task": TASKS[objective.kind]}
        if objective.kind == "classes":
            options["num_classes"] = objective.outputs
        if objective.kind == "labels":
            options["num_labels"] = objective.outputs
        if "average" in inspect.signature(call).parameters and objective.kind != "binary":
            options["average"] = "macro"
        # Logits outside [0, 1] are passed through a sigmoid; near zero they would not be.
        kept = outputs.softmax(1) if objective.kind == "classes" else outputs.sigmoid()
        return call(kept, targets.long(), **options)
