"""Losses, and with them the task: classes, two classes, labels or numbers.

kind       targets                                outputs               right answers
classes    integers [samples]                     [samples, classes]    the largest output
binary     0 or 1 [samples]                       [samples], logits     output > 0 where 1
labels     0 or 1 [samples, labels]               [samples, labels]     the share of labels
numbers    floats [samples] or [samples, numbers] the same              (R2 and MSE instead)
own        any [samples, ...]                     any [samples, ...]    (a loss of the user's alone)

A loss is a function `(outputs, targets) -> [samples]`; clients minimise its mean over their batch.
A user's own may have a model that returns more than these outputs, see `answers.py`.
"""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from p2pqg.base.config import made
from p2pqg.base.digest import bare
from p2pqg.base.errors import ConfigError, P2pqgError, UserCodeError
from p2pqg.base.lazy import torch
from p2pqg.base.registry import Entry, NoParams, Registry
from p2pqg.base.signature import parameters, params_of, positional
from p2pqg.base.source import blamed, place_of
from p2pqg.base.user_code import find_in_file, names_a_file
from p2pqg.models.judging.answers import Answer

LOSSES = Registry("loss")
"""Entries are (outputs, targets, params) -> [samples]; trait `kinds`: of task, the first its own;
trait `own`: a user's."""

USUAL = {
    "classes": "cross-entropy",
    "labels": "binary-cross-entropy",
    "numbers": "mse",
    "own": "cross-entropy",  # which does not fit, and says what does
}
"""The loss of whoever names none."""

GIVEN = ("outputs", "targets")
TRUTHS = ("y_true", "true", "truth", "target", "targets", "label", "labels", "ground_truth", "gt")
"""What a parameter of targets is called."""
PREDICTED = re.compile(r"(y_?)?(p|pred\w*|hat|prob\w*|scores?|logits?|out|outs|outputs?)")
"""What one of outputs is called beside a y, which by itself may be either."""


@LOSSES.register("cross-entropy", kinds=("classes",), source="-log softmax(outputs)[target]")
def cross_entropy(outputs: Any, targets: Any, p: NoParams) -> Any:
    """One class of several."""
    return torch.nn.functional.cross_entropy(outputs, targets, reduction="none")


@LOSSES.register(
    "binary-cross-entropy", kinds=("binary", "labels"), source="-log sigmoid(+-outputs)"
)
def binary_cross_entropy(outputs: Any, targets: Any, p: NoParams) -> Any:
    """Two classes by one output, or several labels that may be true at once."""
    each = torch.nn.functional.binary_cross_entropy_with_logits(
        outputs, targets.to(outputs.dtype), reduction="none"
    )
    return per_sample(each)


@LOSSES.register("mse", kinds=("numbers",), source="(outputs - targets)^2")
def mse(outputs: Any, targets: Any, p: NoParams) -> Any:
    """Regression: the squared error, its mean over the numbers of a sample."""
    return per_sample((outputs - targets) ** 2)


@LOSSES.register("mae", kinds=("numbers",), source="|outputs - targets|")
def mae(outputs: Any, targets: Any, p: NoParams) -> Any:
    """Regression: the absolute error."""
    return per_sample((outputs - targets).abs())


@dataclass(frozen=True, kw_only=True)
class HuberParams:
    delta: float = 1.0
    """Where the square becomes a line, > 0."""

    def problems(self) -> list[str]:
        return [] if self.delta > 0 else [f"loss.delta must be > 0, got {self.delta}"]


@LOSSES.register("huber", params=HuberParams, kinds=("numbers",), source="Huber 1964")
def huber(outputs: Any, targets: Any, p: HuberParams) -> Any:
    """Regression: squared up to delta, linear beyond."""
    each = torch.nn.functional.huber_loss(outputs, targets, reduction="none", delta=p.delta)
    return per_sample(each)


def per_sample(each: Any) -> Any:
    """[samples, ...] -> [samples], the mean over the rest."""
    return each.flatten(1).mean(1) if each.dim() > 1 else each


def find_loss(own: Any, name: str) -> Entry:
    """The entry of a registered loss, FILE.py:NAME, or a user's function.

    Args:
        own: the function itself, or None: it goes by its name.
        name: what it is called in a recipe.

    Raises:
        ConfigError: there is none of that name.
    """
    if own is not None:
        return _entry_of(own, bare(name).rpartition(":")[2])
    if names_a_file(name) or ":" in name:
        return find_in_file(LOSSES, name, _entry_of)
    return LOSSES.named(name)


def _entry_of(own: Callable[..., Any], name: str) -> Entry:
    if not callable(own):
        raise ConfigError(
            "loss must be a name or a function (outputs, targets) -> [batch], got "
            f"{type(own).__name__}"
        )
    apart = 'reduction="none"' if "reduction" in parameters(own) else ""  # a value of each sample
    check_instance(own, f"loss {name}", apart)
    check_order(own, f"loss {name}")
    names = positional(own, GIVEN, f"loss {name}", every=True) if _has_signature(own) else {}

    @functools.wraps(own, updated=())
    def build(outputs: Any, targets: Any, params: Any) -> Any:
        if not names:
            return own(outputs, targets, **vars(params))
        return own(**{names["outputs"]: outputs, names["targets"]: targets}, **vars(params))

    params = params_of(own, names.values()) if names else NoParams
    summary = (inspect.getdoc(own) or "").partition("\n")[0]
    return Entry(name, build, params, summary, traits={"own": True, "kinds": ()})


def check_instance(own: Any, what: str, words: str = "") -> None:
    """Refuse a class where what it makes is meant.

    Raises:
        ConfigError: with how to make one, by these words.
    """
    if isinstance(own, type):
        raise ConfigError(f"{what} is a class; give one of it: {own.__name__}({words})")


def check_order(own: Any, what: str) -> None:
    """Refuse a function that takes targets first, as those of scikit-learn do.

    Args:
        own: the user's.
        what: it is, for messages.

    Raises:
        ConfigError: with how to swap them.
    """
    first, second, *_ = (*parameters(own), "", "")
    is_truth = first in TRUTHS and second not in ("", *TRUTHS, *GIVEN)
    if is_truth or (first == "y" and PREDICTED.fullmatch(second)):
        raise ConfigError(
            f"{what} takes ({first}, {second}), and is called with outputs first; swap them: "
            "lambda outputs, targets: f(targets, outputs)"
        )


def _has_signature(own: Any) -> bool:
    try:
        return bool(inspect.signature(own).parameters)
    except (TypeError, ValueError):
        return False


@dataclass(frozen=True, eq=False)
class Objective:
    """A loss with its parameters, and what it makes of the outputs.

    Attributes:
        kind: of task, see the module.
        outputs: numbers that a model returns for a sample, and is judged by.
        answers: how it returns more than these; () where it does not.
    """

    entry: Entry
    params: Any = field(default_factory=NoParams)
    kind: str = "classes"
    outputs: int = 2
    answers: tuple[Answer, ...] = ()

    @property
    def name(self) -> str:
        return self.entry.name

    @property
    def is_own(self) -> bool:
        return "own" in self.entry.traits

    @property
    def is_cross_entropy(self) -> bool:
        """The one that has short cuts."""
        return not self.is_own and self.entry.name == "cross-entropy"

    def each(self, outputs: Any, targets: Any) -> Any:
        """[samples, outputs], [samples, ...] -> [samples].

        Raises:
            UserCodeError: a user's loss failed, or returned something else.
        """
        if not self.is_own:
            return self.entry.build(self.shaped(outputs, targets), targets, self.params)
        outputs = outputs.clone()  # what it writes into is its own
        given, _ = self._answered(outputs)
        given = self.shaped(outputs, targets) if given is None else given
        try:
            losses = self.entry.build(given, targets.clone(), self.params)
        except P2pqgError:
            raise
        except Exception as error:
            told = blamed(error, f"loss {self.name}")
            if outputs.dtype == torch.float64 and "Float" in told:
                told += (
                    "; outputs are float64 here, and so must be what it takes beside them (weights "
                    "of classes, say); or say precision: float32"
                )
            if isinstance(error, AttributeError) and isinstance(given, dict | tuple):
                first = next(iter(given)) if isinstance(given, dict) else 0
                told += f"; what the model returned is a plain {type(given).__name__} here, so "
                told += f"write outputs[{first!r}]"
            raise UserCodeError(told) from error
        if not isinstance(losses, torch.Tensor) or losses.shape != (len(outputs),):
            got = list(losses.shape) if isinstance(losses, torch.Tensor) else type(losses).__name__
            mean = "; say reduction='none', the mean is taken here" if got == [] else ""
            if isinstance(got, list) and got[:1] == [len(outputs)]:
                mean = "; take the mean over the rest, .flatten(1).mean(1)"
            raise UserCodeError(
                f"loss {self.name} ({self.place}): must return one number per sample, a tensor "
                f"[{len(outputs)}], got {got}{mean}"
            )
        return losses

    def _answered(self, outputs: Any) -> tuple[Any, Any]:
        """What the model returned in these columns, and the first tensor of it; or None, as is."""
        width = outputs.shape[1] if outputs.dim() > 1 else 1
        answer = next((one for one in self.answers if one.width == width), None)
        if answer is None:
            return None, outputs
        given = answer.again(outputs)
        if isinstance(given, Mapping):
            return given, next(iter(given.values()))
        return given, given[0] if isinstance(given, tuple) else given

    def mean(self, outputs: Any, targets: Any) -> Any:
        """What a client minimises on its batch."""
        if self.is_cross_entropy:
            return torch.nn.functional.cross_entropy(outputs, targets)
        return self.each(outputs, targets).mean()

    def shaped(self, outputs: Any, targets: Any) -> Any:
        """What is judged; [samples, 1] -> [samples] where the targets are numbers of that shape."""
        if self.kind == "own":
            return self._answered(outputs)[1]
        if self.answers:
            outputs = outputs[:, : self.outputs]
        if self.kind in ("binary", "numbers") and targets.dim() == 1 and outputs.dim() == 2:
            return outputs.squeeze(1)
        return outputs

    def right(self, outputs: Any, targets: Any) -> Any:
        """[samples], shares of right answers; None for numbers."""
        if self.kind in ("numbers", "own"):
            return None
        outputs = self.shaped(outputs, targets)
        if self.kind == "classes":
            return outputs.max(1).indices == targets
        hit = (outputs > 0) == (targets > 0)
        return hit if hit.dim() == 1 else hit.to(outputs.dtype).mean(1)

    def targets(self, targets: np.ndarray, exact: bool = False) -> np.ndarray:
        """What models are judged by: classes stay numbers, all else is float32, or float64."""
        if self.kind == "classes" or (self.kind == "own" and targets.dtype.kind != "f"):
            return targets
        return targets.astype(np.float64 if exact else np.float32)

    def cast(self, targets: Any, dtype: Any) -> Any:
        """Targets as tensors: whole numbers, or of this type, that of the outputs."""
        whole = self.kind == "classes" or (self.kind == "own" and not targets.is_floating_point())
        return targets.to(torch.int64 if whole else dtype)

    @property
    def has_accuracy(self) -> bool:
        """Whether answers are right or wrong."""
        return self.kind not in ("numbers", "own")

    @property
    def place(self) -> str:
        """Where a user's loss is written."""
        return place_of(getattr(self.entry.build, "__wrapped__", self.entry.build))


def objective_of(
    entry: Entry, given: Mapping[str, Any], kind: str, train_y: np.ndarray, classes: int
) -> Objective:
    """A loss for such targets.

    Args:
        entry: of the loss.
        given: its parameters.
        kind: of the targets, see `p2pqg.data.kind_of`.
        train_y: [samples] or [samples, labels or numbers].
        classes: how many, where targets are classes.

    Raises:
        ConfigError: the targets are of the wrong type, or a parameter is wrong.
    """
    params: Any = made(entry.params, given, "loss.")
    kinds = entry.traits["kinds"]
    if kind == "classes" and "binary" in kinds:
        if classes != 2:
            raise ConfigError(
                f"loss {entry.name} needs 2 classes, got {classes}; use cross-entropy"
            )
        kind = "binary"
    elif kind == "classes" and "numbers" in kinds:
        kind = "numbers"  # counts, ratings: whole numbers are numbers too
    if kinds and kind not in kinds:
        suits = [e.name for e in LOSSES.values() if kind in e.traits["kinds"]]
        what = {
            "classes": "classes (integers)",
            "labels": "several labels each (0 or 1, two-dimensional)",
            "numbers": f"numbers ({train_y.dtype})",
            "own": f"of a task of your own ({train_y.dtype} {list(train_y.shape)})",
        }[kind]
        use = " or ".join(suits) or "a function of yours, loss=(outputs, targets) -> [batch]"
        raise ConfigError(f"loss {entry.name} does not fit targets that are {what}; use {use}")
    if kind == "own":
        return Objective(entry, params, kind, classes)
    outputs = 1 if kind == "binary" or train_y.ndim == 1 else train_y.shape[1]
    return Objective(entry, params, kind, classes if kind == "classes" else outputs)
