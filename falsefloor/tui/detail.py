"""One estimate with all that was stored of it: read when its page opens, again when the run changes."""

from __future__ import annotations

import math
import sys
from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from falsefloor.checks.verdicts import rank
from falsefloor.errors import StoreError
from falsefloor.jsonable import revive
from falsefloor.store.paths import RunDir
from falsefloor.store.reader import RunReader
from falsefloor.store.records import Array
from falsefloor.tui.snapshot import reading

_CODES = {"float32": "f", "float64": "d", "int64": "q", "int32": "i", "uint8": "B", "bool": "B"}


@dataclass(frozen=True)
class Picture:
    """An input as channels of rows: (C, H, W) numbers."""

    channels: tuple[tuple[tuple[float, ...], ...], ...]

    @property
    def size(self) -> tuple[int, int]:
        """(height, width)"""
        return len(self.channels[0]), len(self.channels[0][0])


@dataclass(frozen=True)
class Detail:
    """An estimate, its siblings on the same subject, norm and input, its curves and its pictures.

    record and siblings are as in the JSON of a run, infinities revived; inputs are the numbers that this
    series has estimates for; input and witness are flat numbers as stored.
    """

    record: Mapping[str, Any]
    siblings: Sequence[Mapping[str, Any]]
    inputs: tuple[int, ...]
    observed: Mapping[str, Any]
    curves: Mapping[str, Sequence[float]]
    shape: tuple[int, ...] = ()
    input: Sequence[float] = ()
    witness: Sequence[float] = ()
    seen: Mapping[str, Any] = field(default_factory=dict)
    """what was measured at the witness: distance, predicted"""
    bounds: tuple[float, float] = (0.0, 1.0)
    name: str = ""

    def curve(self, name: str) -> list[float]:
        """A curve without what was filled up with NaN."""
        return [value for value in self.curves.get(name, ()) if not math.isnan(value)]


def worst_record(
    run: RunDir, series: int, number: int | None, verdict: str | None
) -> Mapping[str, Any] | None:
    """The estimate that speaks for a cell: of one input, or the first with the cell's worst verdict."""
    with reading(run) as reader:
        if number is not None:
            return next(_records(reader, series=series, input=number), None)
        first = None
        for record in _records(reader, series=series):
            if verdict is None or record["verdict"] == verdict:
                return record
            first = first or record
        return first


def read_detail(run: RunDir, series: int, number: int | None) -> Detail:
    """Everything about one estimate; the worst one where no input is named. Raises `StoreError`."""
    with reading(run) as reader:
        records = list(_records(reader, series=series))
        if not records:
            raise StoreError("this estimate is not there yet; it appears when its unit is finished.")
        record = next((r for r in records if r["input"] == number), None)
        if record is None:
            record = min(records, key=lambda r: rank(r["verdict"]))
        at = int(record["input"])
        alike = {
            s.id
            for s in reader.series()
            if (s.model, s.masker, s.norm) == (record["model"], record["masker"], record["norm"])
        }
        siblings = [r for s in sorted(alike) for r in _records(reader, series=s, input=at)]
        seen = list(
            reader.observations(model=record["model"], masker=record["masker"], norm=record["norm"], input=at)
        )
        facts = reader.models().get(record["model"], {})
        names = facts.get("names") or []
        facts_seen = seen[0]["facts"] if seen else {}
        point, shape = _input(reader, facts_seen)
        witness = _witness(reader, record, siblings)
        return Detail(
            record=record,
            siblings=siblings,
            inputs=tuple(int(r["input"]) for r in records),
            observed=revive(facts_seen) | {"agreement": seen[0]["agreement"]} if seen else {},
            curves=_curves(reader, record, siblings),
            shape=shape or tuple(facts.get("shape", ())),
            input=point,
            witness=numbers(witness) if witness else (),
            seen=dict(witness.facts) if witness else {},
            bounds=_bounds(facts),
            name=str(names[at]) if at < len(names) else str(at),
        )


def _records(reader: RunReader, **where: Any) -> Iterator[dict[str, Any]]:
    for record in reader.estimates(**where):
        yield {**record, **{k: revive(record[k]) for k in ("radius", "interval", "evidence")}}


def _witness(
    reader: RunReader, record: Mapping[str, Any], siblings: Sequence[Mapping[str, Any]]
) -> Array | None:
    """The estimate's own point, else one that a warning attached, else the nearest that a sibling found."""
    bounds = [s for s in siblings if s["claim"] == "upper_bound" and s["witness"] and s["radius"] is not None]
    nearest = min(bounds, key=lambda s: s["radius"], default=None)
    attached = [w["witness"]["array"] for w in record["warnings"] if w["witness"]]
    for name in (record["witness"], *attached, nearest["witness"] if nearest else None):
        if name and (found := reader.array(name)):
            return found
    return None


def _input(reader: RunReader, facts: Mapping[str, Any]) -> tuple[Sequence[float], tuple[int, ...]]:
    found = reader.array(str(facts.get("arrays", {}).get("input", "")))
    return (numbers(found), found.shape) if found else ((), ())


def _curves(
    reader: RunReader, record: Mapping[str, Any], siblings: Sequence[Mapping[str, Any]]
) -> dict[str, Sequence[float]]:
    """The record's own curves, and the scale spectrum of whichever sibling has one: it is the subject's."""

    def curve(of: Mapping[str, Any], name: str) -> Sequence[float]:
        found = reader.array(f"{of['arrays']}/curve-{name}")
        return numbers(found) if found else ()

    made = {name: curve(record, name) for name in record["curves"]}
    if "spectrum" not in made:
        other = next((s for s in siblings if "spectrum" in s["curves"]), None)
        if other is not None:
            made |= {name: curve(other, name) for name in ("scales", "spectrum")}
    return made


def _bounds(facts: Mapping[str, Any]) -> tuple[float, float]:
    given = facts.get("bounds") or (0.0, 1.0)
    return float(given[0]), float(given[1])


def numbers(stored: Array) -> Sequence[float]:
    """A stored tensor's values, flat; nothing for a type that is not drawn."""
    code = _CODES.get(stored.dtype)
    if code is None:
        return ()
    values = array(code)
    values.frombytes(stored.data[: len(stored.data) // values.itemsize * values.itemsize])
    if sys.byteorder == "big":
        values.byteswap()
    return [float(value) for value in values]


def picture(values: Sequence[float], shape: Sequence[int]) -> Picture | None:
    """Values as an image: (H, W), (C, H, W) with 1, 3 or 4 channels, or a flat square; None for others."""
    sides = tuple(int(side) for side in shape if side != 1) or (1,)
    if len(sides) == 1:
        side = math.isqrt(sides[0])
        sides = (side, side) if side * side == sides[0] and side > 1 else ()
    if len(sides) == 2:
        sides = (1, *sides)
    if len(sides) != 3 or sides[0] not in (1, 3, 4) or math.prod(sides) != len(values):
        return None
    channels, height, width = sides
    return Picture(
        tuple(
            tuple(
                tuple(values[(c * height + y) * width : (c * height + y + 1) * width]) for y in range(height)
            )
            for c in range(min(channels, 3))
        )
    )


__all__ = ["Detail", "Picture", "numbers", "picture", "read_detail", "worst_record"]
