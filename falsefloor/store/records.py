"""What a unit brings back, as plain values that any process can hold: the one form sent and stored."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Number = int | float | str


@dataclass(frozen=True)
class Array:
    """A tensor's bytes (little-endian, C order), with what was measured of it."""

    dtype: str
    shape: tuple[int, ...]
    data: bytes
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class EstimateResult:
    """One input's estimate. radius is None unless status is ok; witness is set where the core settled it.

    notes: (code, message) that the estimator attached. curves: names of the arrays ``curve-NAME``.
    """

    input: int
    label: int | None = None
    predicted: int | None = None
    status: str = "ok"
    error: str | None = None
    radius: float | None = None
    capped: bool = False
    interval: tuple[float, float] | None = None
    evidence: Mapping[str, Number] = field(default_factory=dict)
    notes: Sequence[tuple[str, str]] = ()
    forward: int = 0
    backward: int = 0
    seconds: float = 0.0
    arrays: Mapping[str, Array] = field(default_factory=dict)


@dataclass(frozen=True)
class ObservationResult:
    """One input's observation: facts, and arrays by role."""

    input: int
    agreement: bool | None
    facts: Mapping[str, Any]
    arrays: Mapping[str, Array] = field(default_factory=dict)


@dataclass(frozen=True)
class UnitResult:
    """What one unit brings back. status: ok, failed, cancelled or skipped (error says why)."""

    key: str
    status: str = "ok"
    error: str | None = None
    fingerprint: str = ""
    forward: int = 0
    backward: int = 0
    seconds: float = 0.0
    estimates: Sequence[EstimateResult] = ()
    observations: Sequence[ObservationResult] = ()


def pack(result: UnitResult) -> bytes:
    """Length-prefixed JSON, then the arrays' bytes: nothing in it can execute."""
    blobs: list[bytes] = []

    def plain(value: Any) -> Any:
        if isinstance(value, Array):
            blobs.append(value.data)
            return {"dtype": value.dtype, "shape": value.shape, "size": len(value.data), "facts": value.facts}
        raise TypeError(type(value).__name__)

    head = {**_shallow(result), "estimates": [], "observations": []}
    head["estimates"] = [_shallow(e) for e in result.estimates]
    head["observations"] = [_shallow(o) for o in result.observations]
    text = json.dumps(head, default=plain).encode()
    return b"".join([struct.pack("<I", len(text)), text, *blobs])


def _shallow(value: Any) -> dict[str, Any]:
    return dict(vars(value))


def unpack(data: bytes) -> UnitResult:
    (size,) = struct.unpack_from("<I", data)
    head = json.loads(data[4 : 4 + size])
    at = 4 + size

    def arrays(given: Mapping[str, Any]) -> dict[str, Array]:
        nonlocal at
        made = {}
        for name, a in given.items():
            made[name] = Array(a["dtype"], tuple(a["shape"]), data[at : at + a["size"]], a["facts"])
            at += a["size"]
        return made

    estimates, observations = [], []
    for e in head.pop("estimates"):
        e["arrays"] = arrays(e["arrays"])
        e["interval"] = tuple(e["interval"]) if e["interval"] else None
        e["notes"] = [(code, message) for code, message in e["notes"]]
        estimates.append(EstimateResult(**e))
    for o in head.pop("observations"):
        o["arrays"] = arrays(o["arrays"])
        observations.append(ObservationResult(**o))
    return UnitResult(**head, estimates=estimates, observations=observations)
