"""What holds on a GPU too: the same numbers when repeated, float32 where it is asked for."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from functools import partial
from threading import Lock
from typing import Any

import torch

_changing = Lock()
_inside: list[Callable[[], None]] = []
"""What sets the switches as they were, while anybody is inside: once more than there are."""
_spoken: list[bool] = []
"""Whether the older words of PyTorch's have been used in this process."""


@contextmanager
def promised() -> Iterator[None]:
    """Inside, torch's switches are set so; afterwards as they were before the first came in."""
    with _changing:
        if not _inside:
            _inside.append(keep_promises())
        _inside.append(_inside[0])
    try:
        yield
    finally:
        with _changing:
            _inside.pop()
            if len(_inside) == 1:
                _inside.pop()()


def keep_promises() -> Callable[[], None]:
    """Set torch's switches so.

    They are those of a whole process: in a user's own, they are borrowed, see `promised`.

    Returns:
        What sets them as they were.
    """
    back: list[Callable[[], None]] = []
    with _unwarned():
        above, below = _precisions()
        for place in above:
            back.append(partial(setattr, place, "fp32_precision", place.fp32_precision))
            place.fp32_precision = "none"  # now one reads below what is said there alone
        back += [partial(setattr, p, "fp32_precision", p.fp32_precision) for p in below]
        older: list[Callable[[], None]] = []
        for place, name, _ in SWITCHES:
            with suppress(RuntimeError):  # it was said in newer words, which are put back
                older.append(partial(setattr, place, name, getattr(place, name)))
        for place, name, wanted in SWITCHES:
            setattr(place, name, wanted)
        for place in below:
            place.fp32_precision = "none"
    return partial(_call, older + back)


class _Defaults:
    """The type of tensors of which none is said, as an attribute."""

    @property
    def dtype(self) -> torch.dtype:
        return torch.get_default_dtype()

    @dtype.setter
    def dtype(self, value: torch.dtype) -> None:
        torch.set_default_dtype(value)


class _Products:
    """How exact products of float32 are, as an attribute."""

    @property
    def precision(self) -> str:
        return torch.get_float32_matmul_precision()

    @precision.setter
    def precision(self, value: str) -> None:
        torch.set_float32_matmul_precision(value)


SWITCHES: list[tuple[Any, str, object]] = [
    (torch.backends.cudnn, "deterministic", True),
    (torch.backends.cudnn, "benchmark", False),  # chooses by what was fast this time
    (torch.backends.cudnn, "allow_tf32", False),
    (torch.backends.cuda.matmul, "allow_tf32", False),
    (_Products(), "precision", "highest"),
    (_Defaults(), "dtype", torch.float32),
]


@contextmanager
def _unwarned() -> Iterator[None]:
    """Some versions of PyTorch call the older ones of these words outdated, once in a process.

    Later nothing is caught: to catch warnings is no matter of one thread alone, and has all of them
    told again, those of a user's model in every round, that Python tells once.
    """
    if _spoken:
        yield
        return
    _spoken.append(True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _precisions() -> tuple[list[Any], list[Any]]:
    """Where PyTorch since 2.9 keeps how exact float32 is: for all that follows, and for one kind.

    A kind that says "none" is as exact as the former say, and float32 if they say "none".
    """
    b: Any = torch.backends
    if not hasattr(b.cudnn, "conv"):
        return [], []
    one = b.cudnn.conv, b.cudnn.rnn, b.cuda.matmul, b.mkldnn.conv, b.mkldnn.rnn, b.mkldnn.matmul
    return [b, b.cudnn], [*one]


def _call(every: list[Callable[[], None]]) -> None:
    for one in every:
        one()


def attention_repeats(device: torch.device) -> AbstractContextManager[object]:
    """Inside, the gradient of attention is the same when it is computed again.

    Of the kernels that a GPU has for it only the plain products are so without further switches
    (PyTorch's notes on randomness).
    """
    if device.type != "cuda":
        return nullcontext()
    from torch.nn.attention import SDPBackend, sdpa_kernel

    kernels: AbstractContextManager[object] = sdpa_kernel(SDPBackend.MATH)
    return kernels
