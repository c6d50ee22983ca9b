"""Values as JSON documents and databases hold them, and as we hold them: numbers that stand there as words,
mappings that become dataclasses.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache
from types import NoneType, UnionType
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

T = TypeVar("T")

WORDS: Mapping[str, float] = {"inf": math.inf, "-inf": -math.inf, "nan": math.nan}


def finite(value: Any) -> Any:
    """The value with infinities and NaN as words; tuples become lists."""
    if isinstance(value, float) and not math.isfinite(value):
        return "nan" if math.isnan(value) else ("inf" if value > 0 else "-inf")
    if isinstance(value, Mapping):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    return value


def written(document: Mapping[str, Any]) -> Iterator[str]:
    """A document as JSON text, indented, part by part: an iterator's elements one by one."""
    before = "{"
    for key, value in document.items():
        yield f"{before}\n {json.dumps(key)}: "
        before = ","
        if not isinstance(value, Iterator):
            yield _text(value, " ")
            continue
        mark = "["
        for element in value:
            yield f"{mark}\n  {_text(element, '  ')}"
            mark = ","
        yield "[]" if mark == "[" else "\n ]"
    yield "{}" if before == "{" else "\n}"


def _text(value: Any, inside: str) -> str:
    return json.dumps(finite(value), indent=1, allow_nan=False).replace("\n", f"\n{inside}")


def revive(value: Any) -> Any:
    """The inverse of `finite`: the words as numbers again."""
    if isinstance(value, str):
        return WORDS.get(value, value)
    if isinstance(value, Mapping):
        return {key: revive(item) for key, item in value.items()}
    if isinstance(value, list):
        return [revive(item) for item in value]
    return value


def as_number(value: object) -> float | None:
    """A stored value as a number, NaN included; None where it is none. True is no number."""
    if type(value) is float:  # nearly all are, and a judgement asks some sixty times
        return value
    if isinstance(value, str):
        return WORDS.get(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value)
    except OverflowError:  # an integer beyond the largest float
        return math.inf if value > 0 else -math.inf


def number(value: object) -> float | None:
    """As `as_number`, where NaN says nothing either: facts that a rule compares."""
    known = as_number(value)
    return None if known is None or math.isnan(known) else known


def read(kind: type[T], stored: object) -> T:
    """A dataclass of what is stored of it; anybody may have written that, so a value of the wrong kind says
    nothing: its field keeps the default.

    Fields are numbers, words, flags, dataclasses, tuples of these and mappings from words to these, or None.
    """
    key: Any = kind
    made, (defaults, parsers) = object.__new__(kind), _plan(key)
    # not by its constructor, which takes five times as long: an observation is some eighty of these
    vars(made).update(defaults)
    if isinstance(stored, Mapping):
        for name, parse in parsers:
            if name in stored and (value := parse(stored[name])) is not None:
                vars(made)[name] = value
    return made


@cache
def _plan(kind: Any) -> tuple[dict[str, Any], tuple[tuple[str, Callable[[Any], Any]], ...]]:
    """The defaults of a dataclass, and how each of its fields is read."""
    hints = get_type_hints(kind)
    parsers = tuple((field.name, _parser(hints[field.name])) for field in dataclasses.fields(kind))
    return dict(vars(kind())), parsers


def _parser(hint: Any) -> Callable[[Any], Any]:
    """From a stored value to one of this type, None where it is none."""
    if isinstance(hint, UnionType):
        (hint,) = (part for part in get_args(hint) if part is not NoneType)
    if hint is float:
        return number
    if get_origin(hint) is tuple:
        each = _parser(get_args(hint)[0])
        return lambda value: _known(map(each, value)) if isinstance(value, list | tuple) else None
    if get_origin(hint) is Mapping:
        one = _parser(get_args(hint)[1])
        return lambda value: _named(one, value) if isinstance(value, Mapping) else None
    if dataclasses.is_dataclass(hint):
        kind: Any = hint
        return lambda value: read(kind, value) if isinstance(value, Mapping) else None
    return lambda value: value if type(value) is hint else None


def _known(values: Iterable[Any]) -> tuple[Any, ...]:
    return tuple(value for value in values if value is not None)


def _named(parse: Callable[[Any], Any], value: Mapping[str, Any]) -> dict[str, Any]:
    return {name: known for name, item in value.items() if (known := parse(item)) is not None}
