"""The SPEC grammar of the command line and of study files.

    stack = spec {"+" spec}                      a "+" before a letter, so that 1e+4 is a number
    spec  = [dist "/"] name [":" key "=" value {"," key "=" value}]

A value is a TOML scalar or a bare word; '…' quotes anything.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from falsefloor.api import Scalar
from falsefloor.errors import UsageError
from falsefloor.models.refs import refusal
from falsefloor.options import Option

_NAME = re.compile(r"(?:[A-Za-z0-9][A-Za-z0-9._-]*/)?[A-Za-z][A-Za-z0-9_-]*\Z")
_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
_BARE = re.compile(r"[^\s',+=][^',=]*\Z")
EXAMPLE = "staircase:c=255+dtype:to=float16,at=logits"


@dataclass(frozen=True)
class Spec:
    """A plugin's name with parameters as they were given: no defaults filled, nothing validated."""

    name: str
    params: Mapping[str, Scalar] = field(default_factory=dict)

    def __str__(self) -> str:
        given = ",".join(f"{key}={show_value(value)}" for key, value in self.params.items())
        return f"{self.name}:{given}" if given else self.name

    def without(self, *keys: str) -> Spec:
        return Spec(self.name, {k: v for k, v in self.params.items() if k not in keys})


def parse_stack(text: str) -> tuple[Spec, ...]:
    """Specs joined by "+". Raises `UsageError`, which quotes the part that cannot be read."""
    return tuple(parse_spec(part) for part in _split(text, "+"))


def parse_spec(text: str) -> Spec:
    """One spec. Raises `UsageError`."""
    name, colon, rest = text.strip().partition(":")
    if not _NAME.match(name):
        first = re.split(r"[=,\s]", name, maxsplit=1)[0]
        cure = f" After the name stands a colon: {first}:KEY=VALUE." if "=" in name else ""
        if re.fullmatch(r"[\w-]+(,[\w-]+)+", name):
            stack = f"maskers at work together are joined by +, as {name.replace(',', '+')}"
            cure = f" Give each by itself: {name.replace(',', ' and ')}; {stack}."
        if called := re.fullmatch(r"([\w-]+)\((.*)\)", text.strip()):
            cure = f" Parameters follow a colon: {called[1]}:{called[2].replace(' ', '')}."
        raise UsageError(f"{text!r} does not start with a name.{cure} A spec looks like {EXAMPLE!r}.")
    params: dict[str, Scalar] = {}
    for pair in _split(rest, ",") if colon else ():
        key, equals, value = (piece.strip() for piece in pair.partition("="))
        if not equals or not _KEY.match(key) or not value:
            listed = f"`falsefloor plugins show {name}` lists the keys."
            raise UsageError(
                f"{pair!r} in {text!r} is not KEY=VALUE, as in {name}:KEY={pair.strip() or 'VALUE'}. {listed}"
            )
        if key in params:
            raise UsageError(f"{key!r} is given twice in {text!r}; two maskers are joined by +.")
        params[key] = parse_value(value)
    return Spec(name, params)


def parse_value(text: str) -> Scalar:
    """A TOML scalar, a quoted word, or a bare word."""
    if len(text) >= 2 and text[0] == text[-1] == "'":
        return text[1:-1]
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = None
    if isinstance(value, bool | int | float | str):
        return value
    if not _BARE.match(text):
        raise UsageError(
            f"{text!r} is neither a number, true, false nor a word; keys are separated by commas, and"
            " anything else is quoted like '…'."
        )
    return text


def show_value(value: Scalar) -> str:
    """The shortest text that `parse_value` reads back as the same value."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        plain = _BARE.match(value) and value == value.strip() and parse_value(value) == value
        return value if plain and len([*_split(value, "+")]) == 1 else f"'{value}'"
    return repr(value)


def read_option(option: Option, text: str, *, owner: str) -> Scalar:
    """The checked value that somebody typed for an option; a plain text is taken as it stands.

    Raises `UsageError`.
    """
    text = text.strip()
    if not text and option.default != "":
        raise UsageError(f"{owner}: {option.name} is empty; expected {option.expects()}.", key=option.name)
    return option.check(text if _is_plain(option) else parse_value(text), owner=owner)


def show_option(option: Option, value: Scalar) -> str:
    """The text that `read_option` reads back as the same value."""
    return str(value) if _is_plain(option) else show_value(value)


def _is_plain(option: Option) -> bool:
    return option.kinds in (("str",), ("numbers",)) and not option.words


def _split(text: str, separator: str) -> Iterator[str]:
    """Parts between separators outside quotes; a "+" separates only before a letter."""
    start, quoted = 0, False
    for at, char in enumerate(text):
        if char == "'":
            quoted = not quoted
        elif char == separator and not quoted:
            follows = text[at + 1 :].lstrip()
            if separator == "+" and not follows[:1].isalpha():
                continue
            yield text[start:at]
            start = at + 1
    if quoted:
        raise UsageError(f"a quote is not closed in {text!r}.")
    yield text[start:]


def split_ref(ref: str) -> tuple[str, str]:
    """("digits", "mlp") for "digits:mlp". Raises `UsageError` where there is no scheme."""
    scheme, colon, rest = ref.partition(":")
    if not colon or not scheme or not rest:
        raise refusal(
            f"{ref!r} is not SCHEME:REF. As a model: digits:mlp, python:net.py:build, export:net.pt2; as"
            " inputs: npz:batch.npz, images:FOLDER.",
            ref,
        )
    return scheme, rest
