"""Option fields: what a dataclass's fields say about its parameters, as plain values.

One description serves every path by which a parameter arrives (file, command line, form, Python), so that
validation is written once and a plugin's class need not validate. Torch-free: forms show options of plugins
that are loaded in another process, from JSON.
"""

from __future__ import annotations

import dataclasses
import inspect
import math
import types
import typing
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from falsefloor.api import Scalar
from falsefloor.errors import PluginError, UsageError, did_you_mean

KINDS: dict[type, str] = {bool: "bool", int: "int", float: "float", str: "str"}
RESERVED = frozenset(("at", "gradient", "label", "use", "stack"))
"""Keys that a study gives to every masker or estimator; a field of that name could never be set."""

_NUMBERS: tuple[tuple[str, ...], tuple[Scalar, ...]] = (("numbers",), ())
_EXACT = 2**53
"""Up to here a float holds every integer, so `1e3` may be read as 1000."""
_NOUNS = {
    "bool": "true or false",
    "int": "an integer",
    "float": "a number",
    "str": "a text",
    "numbers": "numbers joined by commas, such as 0,1",
}


@dataclass(frozen=True)
class Option:
    """One parameter: its name, the values it takes, its default.

    kinds: the types it takes, of "bool", "int", "float", "str"; for our own settings also "numbers", which is
    the text "0,1". words: single values it takes besides (from `Literal`). ge, le, gt bound numbers;
    choices lists the only values allowed. quick, thorough: the default at that effort, None for the same.
    """

    name: str
    kinds: tuple[str, ...]
    default: Scalar
    help: str = ""
    ge: float | None = None
    le: float | None = None
    gt: float | None = None
    choices: tuple[Scalar, ...] | None = None
    words: tuple[Scalar, ...] = ()
    quick: Scalar | None = None
    thorough: Scalar | None = None

    def at(self, effort: str) -> Scalar:
        """The default where a study asks for this effort."""
        own = {"quick": self.quick, "thorough": self.thorough}.get(effort)
        return self.default if own is None else own

    def expects(self) -> str:
        """The values it takes, in words: "'auto' or a number above 0"."""
        if self.choices is not None:
            return "one of " + ", ".join(show(choice) for choice in self.choices)
        nouns = [show(word) for word in self.words]
        for kind in self.kinds:
            bounded = kind in ("int", "float") and self._range()
            nouns.append(_NOUNS[kind] + (f" {bounded}" if bounded else ""))
        return " or ".join(nouns) if len(nouns) < 3 else ", ".join(nouns[:-1]) + " or " + nouns[-1]

    def check(self, value: object, *, owner: str) -> Scalar:
        """The value in its canonical type (an int where a float is wanted becomes one).

        Raises `UsageError` that names the owner, the value and what is expected.
        """
        found = self._typed(value)
        if found is None or not self._within(found):
            shown = show(value) if isinstance(value, bool | int | float | str) else type(value).__name__
            default = f" (default {show(self.default)})" if self.default != "" else ""
            raise UsageError(
                f"{owner}: {self.name}={shown} is not possible; expected {self.expects()}{default}.",
                key=self.name,
            )
        return found

    def _typed(self, value: object) -> Scalar | None:
        if "numbers" in self.kinds:
            found = numbers(value)
            return None if found is None else ",".join(map(_written, found))
        for word in self.words:
            if type(word) is type(value) and word == value:
                return word
        if isinstance(value, bool):
            return value if "bool" in self.kinds else None
        if isinstance(value, int):
            if "int" in self.kinds:
                return value
            return float(value) if "float" in self.kinds and abs(value) <= _EXACT else None
        if isinstance(value, float):
            if not math.isfinite(value):
                return None
            if "float" in self.kinds:
                return value + 0.0  # -0.0 becomes 0.0: equal values must have equal JSON
            return int(value) if "int" in self.kinds and value.is_integer() and abs(value) <= _EXACT else None
        if isinstance(value, str):
            return value if "str" in self.kinds else None
        return None

    def _within(self, value: Scalar) -> bool:
        if self.choices is not None and not any(type(c) is type(value) and c == value for c in self.choices):
            return False
        if isinstance(value, bool | str) or value in self.words:
            return True
        return not (
            (self.ge is not None and value < self.ge)
            or (self.le is not None and value > self.le)
            or (self.gt is not None and value <= self.gt)
        )

    def _range(self) -> str:
        low = f"at least {_bound_shown(self.ge)}" if self.ge is not None else ""
        low = f"above {_bound_shown(self.gt)}" if self.gt is not None else low
        high = f"at most {_bound_shown(self.le)}" if self.le is not None else ""
        return " and ".join(part for part in (low, high) if part)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON; `from_json` reads it back to an equal option."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Option:
        """The inverse of `to_json`; raises `PluginError` where the data is not an option's."""
        try:
            values = {field.name: data[field.name] for field in dataclasses.fields(cls)}
            for name in ("kinds", "words", "choices"):
                values[name] = None if values[name] is None else tuple(values[name])
            return cls(**values)
        except (KeyError, TypeError) as error:
            raise PluginError(f"not the description of an option: {error!r}") from error


def _bound_shown(bound: float) -> str:
    return str(bound) if isinstance(bound, int) and abs(bound) >= 10**6 else f"{bound:g}"


def show(value: Scalar) -> str:
    """A scalar as it is written in a study file: true, 0.3, 'auto'."""
    return str(value).lower() if isinstance(value, bool) else repr(value)


def read_options(cls: object) -> tuple[Option, ...]:
    """The options of a dataclass, in the order of its fields; nothing for anything that is no dataclass.

    Every field needs a default and a type made of bool, int, float, str and `Literal`; fields made without
    `falsefloor.api.option` have no help and no range. Raises `PluginError` that names the field and the cure.
    """
    if not isinstance(cls, type) or not dataclasses.is_dataclass(cls):
        return ()
    options = tuple(_read(cls, field) for field in dataclasses.fields(cls) if field.init)
    names = {option.name for option in options}
    for parameter in inspect.signature(cls).parameters.values():
        if parameter.default is parameter.empty and parameter.name not in names:
            raise PluginError(
                f"{cls.__name__} cannot be made without {parameter.name!r}; make it a field with a default."
            )
    return options


def settings(cls: type) -> tuple[Option, ...]:
    """The options among the fields of one of this package's own dataclasses: those made with `option`.

    Unlike a plugin's, a field may hold several numbers or None: an option whose text is "0,1", or "".
    """
    made = (field for field in dataclasses.fields(cls) if "falsefloor" in field.metadata)
    return tuple(_read(cls, field, ours=True) for field in made)


Number = float | str | tuple[float, float]
"""A number, a pair, or the name of a NumPy file of them."""


def numbers(value: object) -> tuple[Number, ...] | None:
    """The numbers of "0,1", [0, 1] or 0.5, the pairs of "0:1,-5:5" or [[0, 1], [-5, 5]], the files of
    "lo.npy,hi.npy"; None where it is something else. Fractions are not read."""
    parts = [value] if isinstance(value, bool | int | float) else value
    if isinstance(value, str):
        parts = value.split(",") if value else []
    if not isinstance(parts, list | tuple):
        return None
    found = tuple(map(_part, parts))
    return None if None in found else found  # type: ignore[return-value]


def _part(value: object) -> Number | None:
    ends = value
    if isinstance(value, str):
        if value.strip().endswith(".npy"):
            return value.strip()
        ends = value.split(":") if ":" in value else value
    if isinstance(ends, list | tuple):
        pair = [_part(end) for end in ends if not isinstance(end, list | tuple)]
        both = len(ends) == len(pair) == 2 and all(isinstance(end, float) for end in pair)
        return (pair[0], pair[1]) if both else None  # type: ignore[return-value]
    try:
        found = math.nan if isinstance(ends, bool) else float(ends) + 0.0  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        return None
    return None if math.isnan(found) else found


def _written(part: Number) -> str:
    if isinstance(part, tuple):
        return ":".join(map(_written, part))
    return part if isinstance(part, str) else repr(part).removesuffix(".0")


def fill(
    options: Iterable[Option], given: Mapping[str, object], *, owner: str, effort: str = "standard"
) -> dict[str, Scalar]:
    """All parameters in the order of declaration: those given, checked, and defaults at an effort.

    Raises `UsageError` for an unknown name (the nearest valid one is named), a wrong type, a value out
    of range.
    """
    known = {option.name: option for option in options}
    for name in given:
        if name not in known:
            raise UsageError(f"{owner} has no parameter {name!r}. {did_you_mean(str(name), known)}")
    return {
        name: option.check(given[name], owner=owner) if name in given else option.at(effort)
        for name, option in known.items()
    }


def _read(cls: type, field: dataclasses.Field[Any], *, ours: bool = False) -> Option:
    where = f"{cls.__name__}.{field.name}"
    if field.name in RESERVED and not ours:
        raise PluginError(f"{where}: {field.name!r} is a key of every study; give the field another name.")
    default = field.default
    if default is dataclasses.MISSING and field.default_factory is not dataclasses.MISSING:
        default = field.default_factory()
    if default is dataclasses.MISSING:
        raise PluginError(f"{where} has no default; every parameter needs one.")
    hint = _resolve(cls, field, where=where)
    if ours and any(typing.get_origin(part) is tuple for part in typing.get_args(hint)):
        default = ""
        kinds, words = _NUMBERS
    else:
        kinds, words = _accepted(hint, where=where)
    given: Mapping[str, Any] = field.metadata.get("falsefloor", {})
    option = Option(
        name=field.name,
        kinds=kinds,
        words=words,
        default=default,
        help=str(given.get("help", "")),
        **{name: _bound(given, name, where=where) for name in ("ge", "le", "gt")},
        choices=_choices(given, where=where),
    )
    try:
        quick, thorough = (
            None if value is None else option.check(value, owner=cls.__name__)
            for value in (given.get("quick"), given.get("thorough"))
        )
        default = option.check(default, owner=cls.__name__)
        return dataclasses.replace(option, default=default, quick=quick, thorough=thorough)
    except UsageError as error:
        raise PluginError(f"{where}: the default breaks its own rule. {error}") from error


def _bound(given: Mapping[str, Any], name: str, *, where: str) -> float | None:
    value = given.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise PluginError(f"{where}: {name}={value!r} is no bound; give a finite number or leave it out.")
    return value


def _choices(given: Mapping[str, Any], *, where: str) -> tuple[Scalar, ...] | None:
    choices = given.get("choices")
    if choices is None:
        return None
    if not all(isinstance(choice, bool | int | float | str) for choice in choices):
        raise PluginError(f"{where}: choices must be numbers, texts, true or false.")
    return tuple(choices)


def _resolve(cls: type, field: dataclasses.Field[Any], *, where: str) -> object:
    """The field's type, in the namespace of the class that declares it.

    Each field alone: `get_type_hints` on the whole class fails on any annotation, a method's or a ClassVar's,
    whose name was imported for type checkers only.
    """
    owner = next((c for c in cls.__mro__ if field.name in inspect.get_annotations(c)), cls)
    alone = type(owner.__name__, (), {"__annotations__": {field.name: field.type}})
    alone.__module__ = owner.__module__
    try:
        return typing.get_type_hints(alone, localns=dict(vars(owner)))[field.name]
    except Exception as error:
        raise PluginError(
            f"{where}: its type {field.type!r} cannot be resolved at run time ({error});"
            " use bool, int, float, str or Literal, imported outside TYPE_CHECKING."
        ) from error


def _accepted(hint: object, *, where: str) -> tuple[tuple[str, ...], tuple[Scalar, ...]]:
    """(kinds, words) of a type made of bool, int, float, str, Literal and unions of these."""
    hint = getattr(hint, "__value__", hint)  # `type Name = ...` of Python 3.12
    if isinstance(hint, type) and hint in KINDS:
        return (KINDS[hint],), ()
    origin, parts = typing.get_origin(hint), typing.get_args(hint)
    if origin is Literal and all(isinstance(part, bool | int | float | str) for part in parts):
        return (), tuple(parts)
    if origin in (typing.Union, types.UnionType):
        pairs = [_accepted(part, where=where) for part in parts]
        kinds = dict.fromkeys(kind for found, _ in pairs for kind in found)
        return tuple(kinds), tuple(word for _, found in pairs for word in found)
    cure = "write Literal['none'] for a missing value" if hint is type(None) else "put it into a text"
    raise PluginError(
        f"{where}: type {hint!r} is not supported; there are bool, int, float, str, Literal and unions of"
        f" these ({cure})."
    )
