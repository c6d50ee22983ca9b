"""Tensors as stored values: small, plain, and readable without torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from falsefloor.store.records import Array

CURVE = 1024
"""Floats a curve keeps: 4 kB an estimate."""
_STORED = {torch.float32, torch.float64, torch.int64, torch.uint8}


def pack_tensor(tensor: Tensor, facts: Mapping[str, Any] | None = None) -> Array:
    """The tensor's bytes; half precisions are stored as the float32 of the same value."""
    plain = tensor.detach().cpu()
    plain = (plain if plain.dtype in _STORED else plain.float()).contiguous()
    data = bytes(plain.reshape(-1).view(torch.uint8).numpy()) if plain.numel() else b""
    return Array(str(plain.dtype).removeprefix("torch."), tuple(plain.shape), data, dict(facts or {}))


def unpack_tensor(array: Array) -> Tensor:
    """The tensor again."""
    dtype = getattr(torch, array.dtype)
    flat = torch.frombuffer(bytearray(array.data), dtype=dtype) if array.data else torch.zeros(0, dtype=dtype)
    return flat.reshape(array.shape)


def curve(values: Tensor) -> Array:
    """A curve thinned evenly to what is kept, in float32."""
    flat = values.detach().float().cpu().reshape(-1)
    if len(flat) > CURVE:
        flat = flat[torch.linspace(0, len(flat) - 1, CURVE).round().long()]
    return pack_tensor(flat)


def scalar(value: Any) -> float | str:
    """One input's evidence as a number or a word."""
    if isinstance(value, str):
        return value
    return float(value)


def column(values: Tensor | Sequence[str], count: int) -> bool:
    """Whether evidence is one value for each of ``count`` inputs."""
    if isinstance(values, Tensor):
        return tuple(values.shape) == (count,)
    return len(values) == count and all(isinstance(word, str) for word in values)
