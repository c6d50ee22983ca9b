"""What a unit brings back, as plain values that any process can hold: the one form sent and stored."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any, TypeVar

Number = int | float | str
MOST = 2**63
"""Beyond every number that the store can hold."""


@dataclass(frozen=True)
class Array:
    """A tensor's bytes (little-endian, C order), with what was measured of it."""

    dtype: str
    shape: tuple[int, ...]
    data: bytes
    facts: Mapping[str, Any] = field(default_factory=dict)


def shaped(shape: Sequence[Any], data: bytes) -> bool:
    """Whether bytes may be an array of this shape."""
    natural = all(type(side) is int and side >= 0 for side in shape)
    return natural and len(data) % max(prod(shape), 1) == 0


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
    text = json.dumps(head, default=plain, ensure_ascii=False).encode("utf-8", "replace")
    return b"".join([struct.pack("<I", len(text)), text, *blobs])


Result = TypeVar("Result", EstimateResult, ObservationResult, UnitResult)
_NONE = type(None)
_KINDS: Mapping[str, Any] = {
    "input": int, "label": (int, _NONE), "predicted": (int, _NONE), "error": (str, _NONE), "key": str,
    "radius": (int, float, _NONE), "capped": bool, "agreement": (bool, _NONE), "forward": int,
    "backward": int, "seconds": (int, float), "evidence": dict, "facts": dict, "fingerprint": str,
}  # fmt: skip
STATUSES = ("ok", "failed", "cancelled", "skipped")


def _of_its_kinds(result: Result) -> Result:
    """The same. Raises `ValueError` where a field is of no kind that can be stored."""
    given = vars(result)
    fits = all(isinstance(given[name], kind) for name, kind in _KINDS.items() if name in given)
    fits = fits and given.get("status", "ok") in STATUSES
    fits = fits and all(-MOST <= one < MOST for one in given.values() if isinstance(one, int))
    texts = [text for text in given.values() if isinstance(text, str)]
    if isinstance(result, EstimateResult):
        fits = fits and all(isinstance(end, int | float) for end in result.interval or ())
        texts += [text for note in result.notes for text in note]
    for array in given.get("arrays", {}).values():
        fits = fits and isinstance(array.dtype, str) and isinstance(array.facts, dict)
        fits = fits and shaped(array.shape, array.data)
    if not fits:
        raise ValueError("what came is no result of a unit")
    "".join(texts).encode()  # half a character, as \\ud800 in JSON, can be read and not stored
    return result


def _shallow(value: Any) -> dict[str, Any]:
    return dict(vars(value))


def unpack(data: bytes) -> UnitResult:
    """What was packed. Raises `ValueError`, `LookupError`, `TypeError` or `struct.error` for anything else:
    a model may have replaced whatever made it."""
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
        estimates.append(_of_its_kinds(EstimateResult(**e)))
    for o in head.pop("observations"):
        o["arrays"] = arrays(o["arrays"])
        observations.append(_of_its_kinds(ObservationResult(**o)))
    return _of_its_kinds(UnitResult(**head, estimates=estimates, observations=observations))
