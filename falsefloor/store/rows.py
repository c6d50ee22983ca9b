"""A row of each table as a value: INSERT and SELECT are made from its fields, what is read is checked.

One more stored field is one more here, with a default for older files, and a migration; `shared` fills it.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import MISSING, dataclass, fields
from functools import cache
from types import NoneType, UnionType
from typing import (
    Any,
    ClassVar,
    Literal,
    NamedTuple,
    Protocol,
    TypeVar,
    Union,
    cast,
    get_args,
    get_origin,
    get_type_hints,
)

from falsefloor.api import Claim, Norm, Severity
from falsefloor.checks.verdicts import Place, Verdict
from falsefloor.jsonable import finite
from falsefloor.store.records import shaped
from falsefloor.store.schema import odd, parsed

Status = Literal["ok", "failed", "skipped", "cancelled"]
Object = Mapping[str, Any]


@dataclass(frozen=True)
class MetaRow:
    table: ClassVar[str] = "meta"
    key: str
    value: str


@dataclass(frozen=True)
class ModelRow:
    table: ClassVar[str] = "model"
    name: str
    spec: Object
    facts: Object
    fingerprint: Object


@dataclass(frozen=True)
class SeriesRow:
    """One cell of the comparison, as planned. asked: False for the ceiling that a study gets unasked."""

    table: ClassVar[str] = "series"
    id: int
    model: str
    masker: str
    stack: Sequence[Object]
    norm: Norm
    estimator: str
    label: str
    params: Object
    gradient: str
    recovers: str | None
    claim: Claim
    plugin: Object
    asked: bool = True

    @property
    def place(self) -> Place:
        return Place(self.model, self.masker, self.norm, self.label)


@dataclass(frozen=True)
class UnitRow:
    table: ClassVar[str] = "unit"
    id: int
    key: str
    cell: str
    kind: str
    spec: Object
    model: str
    masker: str
    norm: Norm
    series: int | None
    first: int
    stop: int
    status: Literal["planned", "queued", "running"] | Status = "queued"
    fingerprint: str = ""
    error: str | None = None
    forward: int = 0
    backward: int = 0
    seconds: float = 0.0
    finished: float | None = None


@dataclass(frozen=True)
class EstimateRow:
    """low and high: its interval. curves: names of its arrays ``curve-NAME``. witness: an array's name."""

    table: ClassVar[str] = "estimate"
    id: int
    unit: int
    series: int
    input: int
    label: int | None
    predicted: int | None
    radius: float | None
    capped: bool
    low: float | None
    high: float | None
    evidence: Object
    curves: Sequence[str]
    notes: Sequence[tuple[str, str]]
    witness: str | None
    forward: int
    backward: int
    seconds: float
    status: Status
    error: str | None
    verdict: Verdict | None = None
    reason: str = ""


@dataclass(frozen=True)
class ObservationRow:
    table: ClassVar[str] = "observation"
    id: int
    unit: int
    model: str
    masker: str
    norm: Norm
    input: int
    agreement: bool | None
    facts: Object


@dataclass(frozen=True)
class FindingRow:
    table: ClassVar[str] = "finding"
    id: str
    estimate: int
    code: str
    severity: Severity
    message: str
    evidence: Object
    witness: str | None


@dataclass(frozen=True)
class ArrayRow:
    """name: CELL/INPUT/ROLE. facts: what was measured there (distance, predicted). dtype and data may be of a
    packed array, and data empty where it was left out (`store.points`)."""

    table: ClassVar[str] = "array"
    name: str
    unit: int
    dtype: str
    shape: Sequence[int]
    facts: Object
    data: bytes

    def __post_init__(self) -> None:
        if "/" not in self.dtype and not shaped(self.shape, self.data):
            raise odd("array.shape")


@dataclass(frozen=True)
class TallyRow:
    table: ClassVar[str] = "tally"
    series: int
    verdict: str
    count: int


@dataclass(frozen=True)
class ProgressRow:
    table: ClassVar[str] = "progress"
    unit: int
    done: int
    total: int
    radius: Sequence[float]
    at: float


@dataclass(frozen=True)
class EventRow:
    table: ClassVar[str] = "event"
    id: int
    at: float
    kind: str
    message: str


class Row(Protocol):
    table: ClassVar[str]
    __dataclass_fields__: ClassVar[dict[str, Any]]


ROWS: tuple[type[Row], ...] = (
    *(MetaRow, ModelRow, SeriesRow, UnitRow, EstimateRow, ObservationRow, FindingRow, ArrayRow),
    *(TallyRow, ProgressRow, EventRow),
)
R = TypeVar("R", bound=Row)
S = TypeVar("S")


_STORED: dict[Any, tuple[type, ...]] = {
    bool: (int,), int: (int,), float: (float, int), str: (str,), bytes: (bytes,), NoneType: (NoneType,),
}  # fmt: skip
_HOLDS: dict[Any, str] = {
    Mapping: "object", Sequence: "array", Literal: "text", str: "text", bool: "flag", int: "number",
    float: "number", bytes: "bytes",
}  # fmt: skip


class Column(NamedTuple):
    """holds: "object" or "array" of JSON, "flag", "number", "text" or "bytes". words: all that it may be.

    types: of what SQLite gives for it. elements: of what an array holds.
    """

    name: str
    holds: str
    words: tuple[str, ...] = ()
    default: Any = MISSING
    types: frozenset[type] = frozenset()
    elements: tuple[type, ...] = ()


@cache
def columns(kind: type[Row]) -> tuple[Column, ...]:
    """A table's columns, in the order of the row's fields."""
    hints, made = get_type_hints(kind), []
    for f in fields(kind):
        parts = _parts(hints[f.name])
        first = next(part for part in parts if part is not NoneType)
        words = tuple(word for part in parts if get_origin(part) is Literal for word in get_args(part))
        types = frozenset(one for part in parts for one in _STORED.get(part, (str,)))
        holds = _HOLDS[get_origin(first) or first]
        made.append(Column(f.name, holds, words, f.default, types, _elements(first)))
    return tuple(made)


def _parts(hint: Any) -> list[Any]:
    """The alternatives of a type."""
    if get_origin(hint) not in (Union, UnionType):
        return [hint]
    return [one for part in get_args(hint) for one in _parts(part)]


def _elements(hint: Any) -> tuple[type, ...]:
    if get_origin(hint) is not Sequence:
        return ()
    (element,) = get_args(hint)
    if element is float:
        return (float, int, str)  # `finite` has made words of some
    origin = get_origin(element) or element
    return ({Mapping: dict, tuple: list}.get(origin, origin),)


@cache
def _insert(kind: type[Row], replace: bool, conflict: str) -> str:
    names = [column.name for column in columns(kind)]
    verb = "INSERT OR REPLACE" if replace else "INSERT"
    marks = ", ".join("?" * len(names))
    return f"{verb} INTO {kind.table} ({', '.join(names)}) VALUES ({marks}) {conflict}"


def insert(db: sqlite3.Connection, row: Row, *, replace: bool = False, conflict: str = "") -> None:
    """Store a row. An id of 0 is chosen by SQLite. conflict: ``ON CONFLICT …``, as SQL."""
    values: list[Any] = []
    for name, holds, *_ in columns(type(row)):
        value = getattr(row, name)
        if holds in ("object", "array"):
            value = json.dumps(finite(value))
        elif name == "id" and value == 0:
            value = None
        values.append(value)
    db.execute(_insert(type(row), replace, conflict), values)


def names(kind: type[Row], alias: str, *, of: sqlite3.Connection | None = None) -> str:
    """What to SELECT for `read`. of: a file that may be of an older version; its rows get defaults."""
    have = {row[1] for row in of.execute(f"PRAGMA table_info({kind.table})")} if of else None
    return ", ".join(
        f"{alias}.{column.name}" if have is None or column.name in have else _literal(column.default)
        for column in columns(kind)
    )


def _literal(default: Any) -> str:
    return "NULL" if default in (None, MISSING) else repr(default if isinstance(default, str) else +default)


def read(kind: type[R], values: Sequence[Any]) -> R:
    """A row from what `names` selected, and perhaps more behind it. JSON stays as `finite` left it.

    Raises `StoreError` for what no falsefloor wrote.
    """
    made = []
    for (name, holds, _, _, types, elements), value in zip(columns(kind), values, strict=False):
        if holds in ("object", "array"):
            value = parsed(value, holds, where=f"{kind.table}.{name}")
            if holds == "array" and not all(isinstance(one, elements) for one in value):
                raise odd(f"{kind.table}.{name}")
        elif type(value) not in types:
            raise odd(f"{kind.table}.{name}")
        elif holds == "flag" and value is not None:
            value = bool(value)
        made.append(value)
    return kind(*made)


def select(db: sqlite3.Connection, kind: type[R], rest: str = "", *given: Any) -> list[R]:
    """All rows of a table. rest: ``WHERE … ORDER BY …``."""
    return [*each(db, kind, rest, *given)]


def each(db: sqlite3.Connection, kind: type[R], rest: str = "", *given: Any) -> Iterator[R]:
    """`select`, a row at a time."""
    found = db.execute(f"SELECT {names(kind, kind.table, of=db)} FROM {kind.table} {rest}", given)
    return (read(kind, values) for values in found)


def fingerprints(db: sqlite3.Connection) -> dict[str, Mapping[str, Any]]:
    """Model name to its fingerprint, for the models loaded so far."""
    return {row.name: row.fingerprint for row in select(db, ModelRow)}


def shared(kind: type[S], value: object, **more: Any) -> S:
    """A value of another kind made of the fields that both have, and of more."""
    given = {f.name: getattr(value, f.name) for f in fields(cast("Any", kind)) if hasattr(value, f.name)}
    return kind(**{**given, **more})
