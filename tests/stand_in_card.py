"""A GPU where there is none: tensors in main memory that behave as if they lay on one.

What is on the card is wrapped, `OnCard`, and says that its device is cuda:0; the values are real, so
a whole run goes as it would, with the numbers of a CPU. As on a card,
- operations that mix tensors of both places fail, but for single numbers and for indices;
- the host waits where it looks at a value, or copies from memory that the system may move, or back:
  each such wait is noted with the line that caused it.

Device strings, `.to` and the like are caught as calls of functions (`_Calls`), all else where torch
dispatches operations. For C++ the wrappers are on a CPU, so that it needs no driver.
"""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from unittest import mock

import torch
from torch import nn
from torch._C import _functorch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map_only, tree_unflatten

import p2pqg

CARD, HOST = torch.device("cuda", 0), torch.device("cpu")
OURS = str(Path(p2pqg.__file__).parent)

VALUES = ("_local_scalar_dense", "nonzero", "is_nonzero", "equal", "masked_select", "_unique2")
VALUES = (*VALUES, "unique_dim", "unique_consecutive", "_assert_async", "bincount", "allclose")
"""Operations whose result, or the shape of it, is not known before the values are."""

INDEXED = ("index", "index_put", "index_put_", "_index_put_impl_", "_unsafe_index")


class OnCard(torch.Tensor):
    """A tensor on the card; `inner` has its values."""

    inner: torch.Tensor
    device = property(lambda self: CARD)  # type: ignore[assignment]
    is_cuda = property(lambda self: True)  # type: ignore[assignment]
    is_cpu = property(lambda self: False)  # type: ignore[assignment]
    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls, inner):
        t = torch.Tensor._make_wrapper_subclass(
            cls,
            inner.shape,
            strides=inner.stride(),
            storage_offset=inner.storage_offset(),
            dtype=inner.dtype,
            layout=inner.layout,
            device=HOST,
        )
        t.inner = inner
        return t

    def __repr__(self):
        return f"OnCard({self.inner!r})"

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        return _running().dispatched(func, args, kwargs or {})


def is_on_card(t) -> bool:
    """Also if vmap or grad have wrapped it."""
    if not isinstance(t, torch.Tensor):
        return False
    while not isinstance(t, OnCard) and _functorch.is_functorch_wrapped_tensor(t):
        t = _functorch.get_unwrapped(t)
    return isinstance(t, OnCard)


def _device(t) -> torch.device:
    return CARD if is_on_card(t) else HOST


def _is_card(device) -> bool:
    return isinstance(device, (str, torch.device)) and str(device).partition(":")[0] == "cuda"


_cards: list[Card] = []


def _running() -> Card:
    return _cards[-1]


class Card:
    """The card; see `stand_in`.

    Attributes:
        waits: what the host waited for, (operation, line of p2pqg).
        on_wait: called at each, with both.
    """

    def __init__(self) -> None:
        self.waits: list[tuple[str, str]] = []
        self.on_wait = lambda what, where: None
        self.inside = 0  # calls of functions that were given something on the card

    def wait(self, what: str) -> None:
        """The host waits for the card."""
        lines = [f for f in traceback.extract_stack() if f.filename.startswith(OURS)]
        last = lines[-1] if lines else None
        where = f"{Path(last.filename).relative_to(OURS)}:{last.lineno} {last.line}" if last else ""
        self.waits.append((what, where))
        self.on_wait(what, where)

    def copied(self, what: str, pinned: bool = False) -> None:
        """Something goes to the card, or back."""
        if not pinned:
            self.wait(what)

    def dispatched(self, func, args, kwargs):
        """One operation of torch's."""
        leaves, spec = tree_flatten((args, kwargs))
        on_card = [isinstance(leaf, OnCard) for leaf in leaves]
        if not any(on_card):
            found = func(*args, **kwargs)
            if self.inside and not any(isinstance(leaf, torch.Tensor) for leaf in leaves):
                return tree_map_only(torch.Tensor, OnCard, found)  # made by C++ for what is there
            return found
        name = func._schema.name.removeprefix("aten::")
        self._check(name, args, leaves)
        inner = [leaf.inner if here else leaf for leaf, here in zip(leaves, on_card, strict=True)]
        inner_args, inner_kwargs = tree_unflatten(inner, spec)
        found = func(*inner_args, **inner_kwargs)
        return self._wrapped(func, found, args, kwargs)

    def _check(self, name, args, leaves) -> None:
        others = [t for t in leaves if isinstance(t, torch.Tensor) and not isinstance(t, OnCard)]
        if name in INDEXED:
            indices = [at for at in args[1] if at is not None]
            if any(at.dtype in (torch.bool, torch.uint8) for at in indices):
                self.wait(f"{name} by a mask")
            elif any(not isinstance(at, OnCard) for at in indices):
                self.wait(f"{name} by indices of the host")
            others = [t for t in others if all(t is not at for at in indices)]
            if not isinstance(args[0], OnCard):
                raise RuntimeError("indices are on cuda:0, what is indexed is on the cpu")
        if name in VALUES:
            self.wait(name)
        if name == "repeat_interleave" and not any(isinstance(a, int) for a in args):
            self.wait(name)
        if name == "copy_":
            source = args[1]
            if isinstance(args[0], OnCard) != isinstance(source, OnCard) and not (
                source.dim() == 0 and not isinstance(source, OnCard)
            ):
                self.copied("copy_", getattr(source, "pinned", False) and args[-1] is True)
            return
        if wrong := [t for t in others if t.dim()]:
            shapes = [list(t.shape) for t in wrong]
            raise RuntimeError(
                f"Expected all tensors to be on the same device: {name} has some on cuda:0, and "
                f"{shapes} on cpu"
            )

    @staticmethod
    def _wrapped(func, found, args, kwargs):
        """What comes out; of what was written in place the tensor that was given."""
        given = {}
        for position, argument in enumerate(func._schema.arguments):
            if argument.alias_info is not None and argument.alias_info.is_write:
                value = kwargs.get(argument.name)
                if value is None and position < len(args):
                    value = args[position]
                for name in argument.alias_info.after_set:
                    given[name] = value
        results = found if isinstance(found, (tuple, list)) else [found]
        named = [
            next(iter(r.alias_info.after_set), None)
            if r.alias_info is not None and r.alias_info.is_write
            else None
            for r in func._schema.returns
        ]
        if len(named) != len(results):
            named = [None] * len(results)
        wrapped = [
            given[name] if name in given else tree_map_only(torch.Tensor, OnCard, one)
            for name, one in zip(named, results, strict=True)
        ]
        return type(found)(wrapped) if isinstance(found, (tuple, list)) else wrapped[0]


class _Operations(TorchDispatchMode):
    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        return _running().dispatched(func, args, kwargs or {})


class _Calls(TorchFunctionMode):
    """Functions that a device is given to, or that ask for one."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs, card = dict(kwargs or {}), _running()
        name = getattr(func, "__name__", "")
        first = args[0] if args else None
        if name == "__get__":
            if func.__self__ is torch.Tensor.device:
                return _device(first)
            if func.__self__ is torch.Tensor.is_cuda:
                return is_on_card(first)
            if func.__self__ is torch.Tensor.is_cpu:
                return not is_on_card(first)
        elif isinstance(first, torch.Tensor) and (own := getattr(self, f"_{name}", None)):
            return own(card, func, *args, **kwargs)
        elif _is_card(kwargs.get("device")):
            if any(isinstance(a, torch.Tensor) for a in args):  # zeros_like and so on
                if not is_on_card(first):
                    raise AssertionError(f"{name} of a tensor of the host on the card")
                del kwargs["device"]
            else:
                kwargs["device"] = HOST
                if name in ("tensor", "as_tensor"):
                    card.copied(name)
                return tree_map_only(torch.Tensor, OnCard, func(*args, **kwargs))
        elif kwargs.get("device") is not None and is_on_card(first):
            raise AssertionError(f"{name} of a tensor on the card on the host")
        elif name in ("tensor", "as_tensor") and is_on_card(first):
            return first.clone() if name == "tensor" else first
        leaves, _ = tree_flatten((args, kwargs))
        here = any(map(is_on_card, leaves))
        card.inside += here
        try:
            return func(*args, **kwargs)
        finally:
            card.inside -= here

    def _to(self, card, func, t, *args, **kwargs):
        copy = kwargs.pop("copy", False)
        if args and isinstance(args[0], torch.Tensor):
            other, *rest = args
            device, dtype, non_blocking = _device(other), other.dtype, bool(rest and rest[0])
            memory_format = None
        else:
            args = [HOST if _is_card(a) else a for a in args] if (
                there := any(map(_is_card, args))
            ) else args
            if _is_card(kwargs.get("device")):
                there, kwargs["device"] = True, HOST
            device, dtype, non_blocking, memory_format = torch._C._nn._parse_to(*args, **kwargs)
            device = CARD if there else device or _device(t)
        return self._moved(card, t, device, dtype or t.dtype, non_blocking, copy, memory_format)

    def _moved(self, card, t, device, dtype, non_blocking=False, copy=False, memory_format=None):
        more = {} if memory_format is None else {"memory_format": memory_format}
        here = is_on_card(t)
        if here == _is_card(device):
            with _inside(card, here):
                return torch.Tensor.to(t, dtype, copy=copy, **more)
        if here:
            card.copied("a copy to the host")
            return self._inner(t).detach().to(dtype, copy=True, **more)
        card.copied("a copy to the card", non_blocking and getattr(t, "pinned", False))
        return OnCard(t.detach().to(dtype, copy=True, **more))

    @staticmethod
    def _inner(t):
        assert isinstance(t, OnCard), "a look at a value inside of vmap"
        return t.inner

    def _cpu(self, card, func, t, *args, **kwargs):
        return self._moved(card, t, HOST, t.dtype)

    def _cuda(self, card, func, t, *args, **kwargs):
        return self._moved(card, t, CARD, t.dtype)

    def _pin_memory(self, card, func, t):
        if is_on_card(t):
            raise RuntimeError("cannot pin a tensor of the card")
        pinned = t.clone()
        pinned.pinned = True
        return pinned

    def _numpy(self, card, func, t, *args, **kwargs):
        if is_on_card(t):
            raise TypeError("can't convert cuda:0 device type tensor to numpy")
        return func(t, *args, **kwargs)

    ___array__ = _numpy

    def _tolist(self, card, func, t):
        if is_on_card(t):
            card.wait("tolist")
            t = self._inner(t)
        return func(t)

    def _new_tensor(self, card, func, t, *args, **kwargs):
        if not is_on_card(t):
            return func(t, *args, **kwargs)
        card.copied("new_tensor")
        return OnCard(torch.Tensor.new_tensor(self._inner(t), *args, **kwargs))

    def _data_ptr(self, card, func, t):
        return func(self._inner(t) if is_on_card(t) else t)

    _untyped_storage = _data_ptr

    def ___deepcopy__(self, card, func, t, memo):
        if not is_on_card(t):
            return func(t, memo)
        if id(t) not in memo:
            twin = OnCard(self._inner(t).detach().clone())
            if isinstance(t, nn.Parameter):
                twin = nn.Parameter(twin, requires_grad=t.requires_grad)
            memo[id(t)] = twin
        return memo[id(t)]


@contextmanager
def _inside(card: Card, here: bool) -> Iterator[None]:
    card.inside += here
    try:
        yield
    finally:
        card.inside -= here


class _Autocast(torch.autocast):
    def __init__(self, device_type, *args, **kwargs) -> None:
        super().__init__("cpu", *args, **kwargs)


@contextmanager
def stand_in() -> Iterator[Card]:
    """A machine with such a card."""
    card = Card()
    _cards.append(card)
    properties = mock.Mock(total_memory=8 * 2**30, major=9)
    with ExitStack() as stack:
        for target, there in (
            ("p2pqg.engine.on_ray.cluster.NVIDIA_DRIVER", ("/",)),
            ("p2pqg.engine.on_ray.cluster.cards", lambda: CARDS),
            ("p2pqg.simulation.hosting.cards", lambda: CARDS),
            ("p2pqg.simulation.hosting.torch_knows_cuda", lambda: True),
            ("torch.__future__.get_overwrite_module_params_on_conversion", lambda: True),
            ("torch.autocast", _Autocast),
            ("torch.inference_mode", torch.no_grad),  # wrappers have no version counters there
            ("torch.cuda.is_available", lambda: True),
            ("torch.cuda.get_device_name", lambda *_: "stand-in"),
            ("torch.cuda.get_device_properties", lambda *_: properties),
            ("torch.cuda.device_count", lambda: 1),
            ("torch.cuda.synchronize", lambda *_: card.wait("synchronize")),
            ("torch.cuda.mem_get_info", lambda *_: (8 * 2**30, 8 * 2**30)),
            ("torch.cuda.memory_reserved", lambda *_: 0),
            ("torch.cuda.memory_allocated", lambda *_: 0),
            ("torch.cuda.max_memory_allocated", lambda *_: 0),
            ("torch.cuda.reset_peak_memory_stats", lambda *_: None),
            ("torch.cuda.empty_cache", lambda: None),
        ):
            stack.enter_context(mock.patch(target, there))
        stack.enter_context(_Calls())
        stack.enter_context(_Operations())
        try:
            yield card
        finally:
            _cards.pop()


from p2pqg.engine.cards import Cards  # noqa: E402

CARDS = Cards(1, 8 * 2**30, 9)
