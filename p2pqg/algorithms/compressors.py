"""What CHOCO-SGD, BEER and EF21 send instead of a vector: q close to v, in fewer bytes.

Every compressor takes v [clients, params] and returns (q, bytes): q [clients, params], and what one
client's message costs. Each is a contraction, |v - q|^2 <= (1 - delta) |v|^2 (in the mean, where it
draws); delta = 1: nothing is lost. A vector is all of a model, as in the papers and in BEER's code;
CHOCO's code compresses the tensors of a model one by one, each with its own entries and length.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Literal

from p2pqg.algorithms.effects import Draw
from p2pqg.base.lazy import torch
from p2pqg.base.uploading import uploaded

INDEX_BYTES = 4
SEED_BYTES = 8


@dataclass(frozen=True, kw_only=True)
class Compression:
    """Parameters of every method that compresses."""

    compressor: Literal["top-k", "random-k", "sign", "qsgd", "identity"] = "top-k"
    """What becomes of a message; identity: it is sent whole."""
    ratio: Annotated[float, "(0, 1]"] = 0.1
    """Share of the entries that top-k and random-k send, rounded down but at least one, in (0, 1].
    1: all."""
    bits: Annotated[int, "[1, 16]"] = 4
    """qsgd rounds to 2^bits - 1 levels, 1 .. 16."""

    def ignored(self) -> Iterator[tuple[str, str]]:
        """Names of what the compressor has no use for, and why."""
        if self.compressor not in ("top-k", "random-k"):
            yield "ratio", f"compressor {self.compressor} makes no use of it"
        if self.compressor != "qsgd":
            yield "bits", f"compressor {self.compressor} makes no use of it"

    def compress(self, v: torch.Tensor, draw: Draw) -> tuple[torch.Tensor, float]:
        """(q, bytes) of v."""
        return COMPRESSORS[self.compressor](v, self, draw)


def kept(num_params: int, ratio: float) -> int:
    """How many entries a sparse message holds: the share `ratio`, rounded down, at least one."""
    whole = math.floor(ratio * num_params + 1e-9)  # 0.29 of 100 is 29, not 28.999...
    return max(1, whole)


def identity(v: torch.Tensor, p: Compression, draw: Draw) -> tuple[torch.Tensor, float]:
    """All of v."""
    return v, v.shape[1] * v.element_size()


def top_k(v: torch.Tensor, p: Compression, draw: Draw) -> tuple[torch.Tensor, float]:
    """The largest entries, each with its index."""
    k = kept(v.shape[1], p.ratio)
    index = v.abs().topk(k, dim=1).indices
    q = torch.zeros_like(v).scatter(1, index, v.gather(1, index))
    return q, k * (v.element_size() + INDEX_BYTES)


def random_k(v: torch.Tensor, p: Compression, draw: Draw) -> tuple[torch.Tensor, float]:
    """Random entries; the seed says which."""
    k = kept(v.shape[1], p.ratio)
    index = uploaded(draw("random-k", v.shape[1]).topk(k, dim=1).indices, v.device)
    q = torch.zeros_like(v).scatter(1, index, v.gather(1, index))
    return q, k * v.element_size() + SEED_BYTES


def sign(v: torch.Tensor, p: Compression, draw: Draw) -> tuple[torch.Tensor, float]:
    """The signs, a bit each, times the mean absolute entry; a bit of 0 is that of +."""
    scale = v.abs().mean(1, keepdim=True)
    return torch.where(v >= 0, scale, -scale), -(-v.shape[1] // 8) + v.element_size()


def qsgd(v: torch.Tensor, p: Compression, draw: Draw) -> tuple[torch.Tensor, float]:
    """Random rounding to 2^bits - 1 levels of |v| and a sign, shrunk to a contraction."""
    size, levels = v.shape[1], 2**p.bits - 1
    length = v.norm(dim=1, keepdim=True)
    noise = uploaded(draw("qsgd", size), v)
    # A vector of zeros has length 0 and stays 0.
    level = (v.abs() / length.where(length > 0, 1) * levels + noise).floor()
    shrink = 1 + min(size / levels**2, size**0.5 / levels)
    q = v.sign() * length * level / (levels * shrink)
    return q, -(-size * (p.bits + 1) // 8) + v.element_size()


COMPRESSORS = {
    "identity": identity,
    "top-k": top_k,
    "random-k": random_k,
    "sign": sign,
    "qsgd": qsgd,
}
