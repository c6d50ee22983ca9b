"""One estimate with everything that was stored around it, read once for the app, the page and the figures."""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from falsefloor.checks.verdicts import Place
from falsefloor.errors import StoreError
from falsefloor.jsonable import revive
from falsefloor.store.reader import RunReader
from falsefloor.store.records import Array

_CODES = {
    "float64": "d",
    "float32": "f",
    "float16": "e",
    "int64": "q",
    "int32": "i",
    "uint8": "B",
    "bool": "B",
}

DRAWN = 40
"""Estimates of a run that are shown with pictures."""


@dataclass(frozen=True)
class Detail:
    """An estimate, its siblings on the same subject, norm and input, its curves and its pictures.

    record and siblings (the record among them) are as in the JSON of a run, infinities revived; observed are
    the facts of the subject there. input and witness are flat numbers as stored.
    """

    record: Mapping[str, Any]
    siblings: Sequence[Mapping[str, Any]]
    observed: Mapping[str, Any]
    curves: Mapping[str, Sequence[float]]
    """the record's own"""
    scales: tuple[Mapping[str, Any], Sequence[float], Sequence[float]] | None = None
    """the estimate that looked at the scales of this subject, the scales and the slopes over them"""
    shape: tuple[int, ...] = ()
    input: Sequence[float] = ()
    witness: Sequence[float] = ()
    seen: Mapping[str, Any] = field(default_factory=dict)
    """what was measured at the witness: distance, predicted"""
    bounds: tuple[float, float] = (0.0, 1.0)
    name: str = ""
    shown: Mapping[str, Any] = field(default_factory=dict)
    """how its package says that its numbers are to be shown: headings of evidence, axes of curves"""
    inputs: tuple[int, ...] = ()
    """all inputs that the record's series has an estimate for, where they were asked for"""

    def curve(self, name: str) -> list[float]:
        """A curve without what was filled up with NaN."""
        return [value for value in self.curves.get(name, ()) if not math.isnan(value)]


def worst_record(reader: RunReader, series: int, number: int | None) -> Mapping[str, Any] | None:
    """The estimate that speaks for a cell: of one input, or the first with the cell's worst verdict."""
    if number is None:
        number = next((place[2] for place in reader.ranked(series=series)), -1)
    return next(map(_revived, reader.estimates(series=series, input=number)), None)


def first_records(reader: RunReader, *, most: int) -> dict[int, list[dict[str, Any]]]:
    """Records by series: all of them, or of a large run the same number of inputs of every series."""
    series = reader.series()
    each = max(1, most // max(1, len(series)))
    return {one.id: list(islice(reader.estimates(series=one.id), each)) for one in series}


def worst_details(reader: RunReader) -> Iterator[Detail]:
    """What has something to show, the gravest verdicts of the whole run first, by input among equals."""
    models, left = reader.models(), DRAWN
    subjects = {one.id: Place(one.model, one.masker, one.norm) for one in reader.series()}
    known: dict[Place, Surroundings] = {}
    for number, series, at in islice(reader.ranked(), 20 * DRAWN):
        if series not in subjects or not left:
            continue
        if len(known) > DRAWN:  # neighbours in this order share their surroundings, others need not stay
            known.clear()
        place = subjects[series]._replace(input=at)
        around = known[place] = known.get(place) or _surroundings(reader, place)
        # a run that goes on may have replaced it since it was ranked
        record = next((one for one in around.siblings if one["id"] == number), None)
        if record is not None and (record["curves"] or record["witness"] or record["warnings"]):
            yield _detail(reader, record, around, models.get(place.model, {}))
            left -= 1


def read_detail(reader: RunReader, series: int, number: int | None) -> Detail:
    """Everything about one estimate of a series, the worst where no input is named. Raises `StoreError`."""
    ranked = list(reader.ranked(series=series))
    if not ranked:
        raise StoreError("this estimate is not there yet; it appears when its unit is finished.")
    inputs = [place[2] for place in ranked]
    asked = number if number in inputs else inputs[0]
    record = next(iter(reader.estimates(series=series, input=asked)))
    return detail_of(reader, record, inputs=tuple(sorted(inputs)))


def detail_of(reader: RunReader, record: Mapping[str, Any], *, inputs: tuple[int, ...] = ()) -> Detail:
    """What lies around a record of this run."""
    place = Place(record["model"], record["masker"], record["norm"], input=int(record["input"]))
    around = _surroundings(reader, place)
    return _detail(reader, _revived(record), around, reader.models().get(place.model, {}), inputs)


@dataclass(frozen=True)
class Surroundings:
    """What all estimates of a subject's input share."""

    siblings: Sequence[Mapping[str, Any]]
    observed: Mapping[str, Any]
    point: Array | None


def _surroundings(reader: RunReader, place: Place) -> Surroundings:
    where: dict[str, Any] = {name: getattr(place, name) for name in ("model", "masker", "norm", "input")}
    observed: Mapping[str, Any] = {}
    for one in reader.observations(**where):
        observed = revive(one["facts"]) | {"agreement": one["agreement"]}
    point = reader.array(str((observed.get("arrays") or {}).get("input", "")))
    return Surroundings([_revived(one) for one in reader.estimates(**where)], observed, point)


def _detail(
    reader: RunReader,
    record: Mapping[str, Any],
    around: Surroundings,
    facts: Mapping[str, Any],
    inputs: tuple[int, ...] = (),
) -> Detail:
    at, point = int(record["input"]), around.point
    witness = _witness(reader, record, around.siblings, point)
    names, bounds = facts.get("names") or (), facts.get("bounds") or (0.0, 1.0)
    return Detail(
        record=record,
        siblings=around.siblings,
        observed=around.observed,
        curves={name: _curve(reader, record, name) for name in record["curves"]},
        scales=_scales(reader, record, around.siblings),
        shape=point.shape if point else tuple(facts.get("shape", ())),
        input=numbers(point),
        witness=numbers(witness),
        seen=dict(witness.facts) if witness else {},
        bounds=(float(bounds[0]), float(bounds[1])),
        name=str(names[at]) if at < len(names) else str(at),
        shown=reader.shown(str(record["estimator"])),
        inputs=inputs,
    )


def _revived(record: Mapping[str, Any]) -> dict[str, Any]:
    known = {key: revive(record[key]) for key in ("radius", "interval", "evidence")}
    warnings = [{**one, "evidence": revive(one["evidence"])} for one in record["warnings"]]
    return {**record, **known, "warnings": warnings}


def _witness(
    reader: RunReader, record: Mapping[str, Any], siblings: Sequence[Mapping[str, Any]], point: Array | None
) -> Array | None:
    """The estimate's own point, else one that a warning attached, else the nearest that a sibling found.

    Some warnings attach a pair of points: that is no other input.
    """
    bounds = [s for s in siblings if s["claim"] == "upper_bound" and s["witness"] and s["radius"] is not None]
    nearest = min(bounds, key=lambda s: s["radius"], default=None)
    attached = [w["witness"]["array"] for w in record["warnings"] if w["witness"]]
    for name in (record["witness"], *attached, nearest["witness"] if nearest else None):
        found = reader.array(name) if name else None
        if found and (point is None or math.prod(found.shape) == math.prod(point.shape)):
            return found
    return None


def _scales(
    reader: RunReader, record: Mapping[str, Any], siblings: Sequence[Mapping[str, Any]]
) -> tuple[Mapping[str, Any], Sequence[float], Sequence[float]] | None:
    """The record's own scale spectrum, or a sibling's: it is the subject's."""
    for one in (record, *siblings):
        if {"scales", "spectrum"} <= set(one["curves"]):
            return one, _curve(reader, one, "scales"), _curve(reader, one, "spectrum")
    return None


def _curve(reader: RunReader, record: Mapping[str, Any], name: str) -> Sequence[float]:
    return numbers(reader.array(f"{record['arrays']}/curve-{name}"))


def numbers(stored: Array | None) -> Sequence[float]:
    """A stored tensor's values, flat; none for none, and for a type that is not drawn."""
    code = _CODES.get(stored.dtype) if stored else None
    if stored is None or code is None:
        return ()
    count = len(stored.data) // struct.calcsize(code)
    return [float(v) for v in struct.unpack_from(f"<{count}{code}", stored.data)]
