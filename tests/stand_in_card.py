"""A GPU where there is none: tensors in main memory that behave as if they lay on one.

What is on the card is wrapped, `OnCard`, and says that its device is cuda:0; the values are real,
so a whole run goes as it would, with the numbers of a CPU. As on a card,
- operations that mix tensors of both places fail, but for single numbers and for indices;
- the host waits where it looks at a value, or copies from memory that the system may move, or back:
  each such wait is noted with the line that caused it;
- what was asked for in one stream is done before what another one does only if that waits for it:
  who reads, writes or frees something too early is told so;
- a graph does what was asked for while it was captured once more, in the same memory, and nothing
  else; while it is captured, the host may not wait, and memory that it reads has to stay.

Device strings, `.to` and the like are caught as calls of functions (`_Calls`), all else where torch
dispatches operations. For C++ the wrappers are on a CPU, so that it needs no driver.
"""

from __future__ import annotations

import math
import traceback
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from unittest import mock

import torch
from torch import nn
from torch._C import _functorch
from torch.multiprocessing.reductions import StorageWeakRef
from torch.overrides import TorchFunctionMode
from torch.utils._mode_utils import no_dispatch
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes

import p2pqg
from p2pqg.engine.cards import Cards

CARDS = Cards(1, 8 * 2**30, 9)
CARD, HOST = torch.device("cuda", 0), torch.device("cpu")
OURS = str(Path(p2pqg.__file__).parent)

NOTHING_TO_DO = ("empty", "empty_like", "new_empty", "empty_strided", "new_empty_strided")
NOTHING_TO_DO = (*NOTHING_TO_DO, "_unsafe_view", "_reshape_alias", "set_", "resize_", "lift_fresh")
"""Operations for which a card starts no kernel; nor does it for views."""

VALUES = ("_local_scalar_dense", "nonzero", "is_nonzero", "equal", "masked_select", "_unique2")
VALUES = (*VALUES, "unique_dim", "unique_consecutive", "_assert_async", "bincount", "allclose")
"""Operations whose result, or the shape of it, is not known before the values are."""

STREAMS = 32
"""That PyTorch keeps for each card."""

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


def _is_pinned(t: torch.Tensor) -> bool:
    """And in one piece: else it is copied first, to where the system may move it."""
    return getattr(t, "pinned", False) and t.is_contiguous()


def _leaves(value) -> list:
    """What is in nested lists, tuples and dictionaries."""
    if isinstance(value, (list, tuple)):
        return [leaf for one in value for leaf in _leaves(one)]
    if isinstance(value, dict):
        return [leaf for one in value.values() for leaf in _leaves(one)]
    return [value]


def _mapped(function, value):
    """The same nested values, each leaf replaced."""
    if isinstance(value, (list, tuple)):
        new = [_mapped(function, one) for one in value]
        return new if isinstance(value, list) else tuple(new)
    if isinstance(value, dict):
        return {key: _mapped(function, one) for key, one in value.items()}
    return function(value)


def _inner(leaf):
    return leaf.inner if isinstance(leaf, OnCard) else leaf


def _on_card(leaf):
    return OnCard(leaf) if isinstance(leaf, torch.Tensor) else leaf


def _device(t) -> torch.device:
    return CARD if is_on_card(t) else HOST


def _is_card(device) -> bool:
    return isinstance(device, (str, torch.device)) and str(device).partition(":")[0] == "cuda"


class Stream:
    """Of the card. Its clock: stream -> how much of that one's work comes before its next."""

    def __init__(self, device=None) -> None:
        self.clock: dict[Stream, int] = {}

    def wait_stream(self, other: Stream) -> None:
        """What comes next here comes after all that was asked for there."""
        for stream, tick in other.clock.items():
            self.clock[stream] = max(tick, self.clock.get(stream, 0))
        card = _running()
        if card.capturing and card.capturing.origin in other.clock:
            card.capturing.streams.add(self)


class Graph:
    """What stands in for a CUDAGraph.

    Attributes:
        steps: (operation, what its arguments are, what comes out and where that stays).
        streams: that are captured; origin: where the capture began.
    """

    def __init__(self) -> None:
        self.steps = []
        self.kept: set[int] = set()  # storages of the graph's own memory
        self.memory: list[torch.Tensor] = []
        self.streams: set[Stream] = set()
        self.origin: Stream | None = None

    def note(self, func, args, kwargs, found) -> None:
        """An operation that was captured, on plain tensors."""
        if torch.Tag.inplace_view in func.tags:
            return  # there is nothing to do; what comes later has the new shape
        given = _leaves((args, kwargs))
        inputs = {_storage(t) for t in given if isinstance(t, torch.Tensor)}
        outputs = []
        for t in _leaves(found):
            if isinstance(t, torch.Tensor) and _storage(t) not in inputs:
                self.kept.add(_storage(t))
                _running().belongs[_storage(t)] = None
                with _disabled():
                    own = t.detach()  # with the shape of now
                self.memory.append(own)
                outputs.append(own)
            else:
                outputs.append(None)
        self.steps.append((func, _mapped(self._place, (args, kwargs)), outputs))

    def _place(self, leaf):
        """What does not belong to the graph it does not keep alive either."""
        if not isinstance(leaf, torch.Tensor) or not leaf.numel():
            return lambda: leaf
        if _storage(leaf) in self.kept:
            with _disabled():
                own = leaf.detach()
            return lambda: own
        shape, strides, offset = leaf.shape, leaf.stride(), leaf.storage_offset()
        dtype, weak = leaf.dtype, leaf.untyped_storage()._weak_ref()

        def again():
            storage = torch.UntypedStorage._new_with_weak_ptr(weak)
            if storage is None:
                raise RuntimeError("a graph reads memory that was freed")
            return torch.empty(0, dtype=dtype).set_(storage, offset, shape, strides)

        return again

    def replay(self) -> None:
        """The work itself."""
        card = _running()
        card.on_launch("graph")
        with _disabled():
            for func, places, outputs in self.steps:
                args, kwargs = _mapped(lambda place: place(), places)
                found = func(*args, **kwargs)
                for to, new in zip(outputs, _leaves(found), strict=True):
                    if to is not None:
                        to.copy_(new)
                card.ordered(func, args, kwargs, found)


@contextmanager
def _disabled() -> Iterator[None]:
    with torch._C.DisableTorchFunction(), _disable_current_modes(), torch.no_grad():
        yield


def _span(t: torch.Tensor) -> tuple[int, int]:
    """Where in its storage it begins and ends."""
    last = sum((n - 1) * stride for n, stride in zip(t.shape, t.stride(), strict=True))
    return t.storage_offset(), t.storage_offset() + (last + 1 if t.numel() else 0)


def _meet(one, other) -> bool:
    return one[0] < other[1] and other[0] < one[1]


def _storage(t: torch.Tensor) -> int:
    return t.untyped_storage()._cdata


def _starts_a_kernel(func, found, given) -> bool:
    """Whether a card has anything to do for an operation that came to `found`."""
    if func.is_view or func._schema.name.removeprefix("aten::") in NOTHING_TO_DO:
        return False
    tensors = [t for t in _leaves(found) if isinstance(t, torch.Tensor)] or given
    return any(isinstance(t, torch.Tensor) and t.numel() for t in tensors)


_cards: list[Card] = []


def _running() -> Card:
    return _cards[-1]


class Card:
    """The card; see `stand_in`.

    Attributes:
        waits: what the host waited for, (operation, line of p2pqg).
        operations: names of those that it has done.
        on_wait: called at each, with both.
        on_launch: called with the name of each operation that starts a kernel, of "upload", and of
            "graph" at each replay.
    """

    def __init__(self) -> None:
        self.waits: list[tuple[str, str]] = []
        self.on_wait = lambda what, where: None
        self.on_launch = lambda what: None
        self.operations: set[str] = set()
        self.inside = 0  # calls of functions that were given something on the card
        self._main = self.stream = Stream()
        self._main.clock[self._main] = 1
        self.capturing: Graph | None = None
        self.graphs = 0
        self._all, self._handed_out = [self.stream], 0
        self._host: dict[Stream, int] = {}  # what the host knows to be done
        # Storage -> (stream, first byte, end) -> when: it was written, and it was read.
        self._uses: dict[int, tuple[dict, dict]] = {}
        # Storage -> the stream that its memory belongs to; None: a graph, for good.
        self.belongs: dict[int, Stream | None] = {}
        self._lent: dict[int, tuple[StorageWeakRef, Stream]] = {}  # and another one uses it

    def wait(self, what: str) -> None:
        """The host waits for the card."""
        if self.capturing:
            raise RuntimeError(f"operation not permitted when stream is capturing ({what})")
        self._merge(self._host, self.stream.clock)
        lines = [f for f in traceback.extract_stack() if f.filename.startswith(OURS)]
        last = lines[-1] if lines else None
        where = f"{Path(last.filename).relative_to(OURS)}:{last.lineno} {last.line}" if last else ""
        self.waits.append((what, where))
        self.on_wait(what, where)

    def copied(self, what: str, pinned: bool = False) -> None:
        """Something goes to the card, or back."""
        if self.capturing:
            raise RuntimeError(f"{what} while a graph is captured: a replay would read it again")
        if not pinned:
            self.wait(what)

    @staticmethod
    def _merge(clock, other) -> None:
        for stream, tick in other.items():
            clock[stream] = max(tick, clock.get(stream, 0))

    def synchronize(self, *_) -> None:
        """The host waits for all streams."""
        for stream in self._all:
            self._merge(self._host, stream.clock)
        self.wait("synchronize")

    def new_stream(self, device=None) -> Stream:
        """One of the few that there are, in turns."""
        if self._handed_out < STREAMS:
            self._all.append(Stream())
        self._handed_out += 1
        return self._all[1 + (self._handed_out - 1) % STREAMS]

    @contextmanager
    def on(self, stream: Stream) -> Iterator[None]:
        """What is asked for inside is done in that stream."""
        before, self.stream = self.stream, stream
        try:
            yield
        finally:
            self.stream = before

    @contextmanager
    def capture(self, graph: Graph, pool=None, stream=None, capture_error_mode="global"):
        """What is asked for inside is not done, as far as anybody may count on it."""
        self.synchronize()
        with self.on(stream or self.new_stream()):
            graph.origin, self.capturing = self.stream, graph
            graph.streams = {self.stream}
            self.stream.clock.setdefault(self.stream, 0)
            try:
                yield
                done = self.stream.clock
                if any(s.clock.get(s, 0) > done.get(s, 0) for s in graph.streams):
                    raise RuntimeError("capture ended with a stream that nobody waited for")
                self.graphs += 1
            finally:
                self.capturing = None

    def ordered(self, func, args, kwargs, found) -> None:
        """One operation takes its place in the stream of now.

        Raises:
            RuntimeError: something that it needs may not have been done yet.
        """
        if len(self._all) == 1:  # what was done until there is another one counts as one operation
            return
        stream = self.stream
        if self.capturing and stream not in self.capturing.streams:
            raise RuntimeError("an operation in a stream that does not belong to the capture")
        clock = stream.clock
        self._merge(clock, self._host)
        for key, (weak, owner) in list(self._lent.items()):
            if weak.expired():
                del self._lent[key]
                written, read = self._uses.pop(key, ({}, {}))
                over = {**self._host}
                self._merge(over, owner.clock)
                uses = [*written.items(), *read.items()]
                if any(over.get(s, 0) < n for (s, *_), n in uses if s is not owner):
                    raise RuntimeError("memory was freed that another stream may still use")
        tick = clock[stream] = clock.get(stream, 0) + 1
        writes = {
            _storage(t)
            for argument, t in [*zip(func._schema.arguments, args, strict=False)]
            + [(a, kwargs.get(a.name)) for a in func._schema.arguments]
            if isinstance(t, torch.Tensor) and argument.alias_info and argument.alias_info.is_write
        }
        known = set()
        before = {(self._main, 0, math.inf): 1}
        for t in _leaves((args, kwargs)):
            if not isinstance(t, torch.Tensor):
                continue
            known.add(key := _storage(t))
            if func.is_view or not t.numel():
                continue
            span, (written, read) = _span(t), self._uses.setdefault(key, (before.copy(), {}))
            if any(clock.get(s, 0) < n for (s, *other), n in written.items() if _meet(span, other)):
                raise RuntimeError(f"{func}: read before another stream has written it")
            if key in writes:
                if any(
                    clock.get(s, 0) < n for (s, *other), n in read.items() if _meet(span, other)
                ):
                    raise RuntimeError(f"{func}: written before another stream has read it")
                for uses in written, read:
                    for use in [u for u in uses if span[0] <= u[1] and u[2] <= span[1]]:
                        del uses[use]
                written[(stream, *span)] = tick
            read[(stream, *span)] = tick
            owner = self.belongs.setdefault(key, self._main)
            if owner not in (stream, None) and key not in self._lent:
                self._lent[key] = StorageWeakRef(t.untyped_storage()), owner
        for t in _leaves(found):
            if isinstance(t, torch.Tensor) and (key := _storage(t)) not in known:
                self.belongs[key] = stream
                self._uses[key] = {(stream, *_span(t)): tick}, {}
                self._lent.pop(key, None)

    def dispatched(self, func, args, kwargs):
        """One operation of torch's."""
        leaves = _leaves((args, kwargs))
        if any(isinstance(leaf, OnCard) for leaf in leaves):
            name = func._schema.name.removeprefix("aten::")
            self.operations.add(name)
            self._check(name, args, kwargs, leaves)
            args_there, kwargs_there = _mapped(_inner, args), _mapped(_inner, kwargs)
        elif self.inside and not any(isinstance(leaf, torch.Tensor) for leaf in leaves):
            args_there, kwargs_there = args, kwargs  # made of nothing
        else:
            return func(*args, **kwargs)
        found = func(*args_there, **kwargs_there)
        if torch.Tag.inplace_view in func.tags:  # unsqueeze_ and the like: nor does the wrapper
            with no_dispatch():  # have its old shape any more
                func(*args, **kwargs)
        self.ordered(func, args_there, kwargs_there, found)
        if self.capturing:
            self.capturing.note(func, args_there, kwargs_there, found)
        elif _starts_a_kernel(func, found, leaves):
            self.on_launch(func._schema.name.removeprefix("aten::"))
        return self._wrapped(func, found, args, kwargs)

    def _check(self, name, args, kwargs, leaves) -> None:
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
        if name == "repeat_interleave" and kwargs.get("output_size") is None:
            self.wait(name)
        if name == "copy_":
            source = args[1]
            if isinstance(args[0], OnCard) != isinstance(source, OnCard) and not (
                source.dim() == 0 and not isinstance(source, OnCard)
            ):
                self.copied("copy_", _is_pinned(source) and args[-1] is True)
            return
        if wrong := [t for t in others if t.dim()]:
            shapes = [list(t.shape) for t in wrong]
            raise RuntimeError(
                f"Expected all tensors to be on the same device: {name} has some on cuda:0, and "
                f"{shapes} on cpu"
            )

    def arrived(self, inner: torch.Tensor) -> OnCard:
        """Something that came from the host, in the stream of now."""
        self.on_launch("upload")
        stream, key = self.stream, _storage(inner)
        if len(self._all) > 1:
            stream.clock[stream] = stream.clock.get(stream, 0) + 1
            self._uses[key] = {(stream, *_span(inner)): stream.clock[stream]}, {}
            self.belongs[key] = stream
        return OnCard(inner)

    @staticmethod
    def _wrapped(func, found, args, kwargs):
        """What comes out; of what was written in place the tensor that was given."""
        if not func._schema.is_mutable:
            return _mapped(_on_card, found)
        given = {}
        for position, argument in enumerate(func._schema.arguments):
            if argument.alias_info is not None and argument.alias_info.is_write:
                value = args[position] if position < len(args) else kwargs.get(argument.name)
                given |= dict.fromkeys(argument.alias_info.after_set, value)
        results = found if isinstance(found, tuple) else (found,)
        wrapped = [
            given[next(iter(told.alias_info.after_set))]
            if told.alias_info is not None and told.alias_info.is_write
            else _mapped(_on_card, one)
            for told, one in zip(func._schema.returns, results, strict=False)
        ]
        return tuple(wrapped) if isinstance(found, tuple) else (wrapped or [None])[0]


class _Operations(TorchDispatchMode):
    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        return _running().dispatched(func, args, kwargs or {})


class _Calls(TorchFunctionMode):
    """Functions that a device is given to, or that ask for one."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs, card = dict(kwargs or {}), _running()
        if kwargs.pop("pin_memory", False):
            return self._pin_memory(card, func, func(*args, **kwargs))
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
                    return card.arrived(func(*args, **kwargs).clone())
                with _inside(card, True):
                    made = func(*args, **kwargs)
                return made if isinstance(made, OnCard) else OnCard(made)
        elif kwargs.get("device") is not None and is_on_card(first):
            raise AssertionError(f"{name} of a tensor on the card on the host")
        elif name in ("tensor", "as_tensor") and is_on_card(first):
            return first.clone() if name == "tensor" else first
        with _inside(card, any(map(is_on_card, _leaves((args, kwargs))))):
            return func(*args, **kwargs)

    def _to(self, card, func, t, *args, **kwargs):
        copy = kwargs.pop("copy", False)
        if args and isinstance(args[0], torch.Tensor):
            other, *rest = args
            device, dtype, non_blocking = _device(other), other.dtype, bool(rest and rest[0])
            memory_format = None
        else:
            args = (
                [HOST if _is_card(a) else a for a in args]
                if (there := any(map(_is_card, args)))
                else args
            )
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
        card.copied("a copy to the card", non_blocking and _is_pinned(t))
        return card.arrived(t.detach().to(dtype, copy=True, **more))

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
        if getattr(t, "pinned", False):
            return t
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
        return card.arrived(torch.Tensor.new_tensor(self._inner(t), *args, **kwargs))

    def _data_ptr(self, card, func, t):
        return func(self._inner(t) if is_on_card(t) else t)

    _untyped_storage = _data_ptr

    def ___deepcopy__(self, card, func, t, memo):
        if not is_on_card(t):
            return func(t, memo)
        if id(t) not in memo:
            with _inside(card, True):
                twin = t.detach().clone()
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


_fork = torch.random.fork_rng


def _fork_rng(devices=None, **more):
    assert devices == [] or all(map(_is_card, devices))
    return _fork([], **more)


@contextmanager
def stand_in() -> Iterator[Card]:
    """A machine with such a card."""
    card = Card()
    _cards.append(card)
    properties = mock.Mock(total_memory=8 * 2**30, major=9)
    with ExitStack() as stack:
        for target, there in (
            ("p2pqg.engine.machine.NVIDIA_DRIVER", ("/",)),
            ("p2pqg.engine.machine.cards", lambda: CARDS),
            ("p2pqg.simulation.hosting.cards", lambda: CARDS),
            ("p2pqg.simulation.hosting.torch_knows_cuda", lambda: True),
            ("torch.__future__.get_overwrite_module_params_on_conversion", lambda: True),
            ("p2pqg.models.stacked.cuda_graphs.gc", mock.Mock()),  # all that tests have imported
            ("torch.autocast", _Autocast),
            ("torch.inference_mode", torch.no_grad),  # wrappers have no version counters there
            ("torch.cuda.is_available", lambda: True),
            ("torch.cuda.get_device_name", lambda *_: "stand-in"),
            ("torch.cuda.get_device_properties", lambda *_: properties),
            ("torch.cuda.device_count", lambda: 1),
            ("torch.cuda.synchronize", card.synchronize),
            ("torch.cuda.Stream", card.new_stream),
            ("torch.cuda.stream", card.on),
            ("torch.cuda.current_stream", lambda *_: card.stream),
            ("torch.cuda.graph_pool_handle", object),
            ("torch.cuda.CUDAGraph", Graph),
            ("torch.cuda.graph", card.capture),
            ("torch.random.fork_rng", _fork_rng),
            ("p2pqg.models.stacked.lanes._streams", {}),
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
