"""The catalogue of warnings: one source for `explain`, the documentation and the checks themselves.

The words live in catalogue.toml beside this file, where prose can be read and edited as prose.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from types import MappingProxyType

from falsefloor.api import CodeInfo


@dataclass(frozen=True)
class Entry:
    """A code's row and its page: what was measured, the usual cause, and what the check cannot see."""

    info: CodeInfo
    measured: str
    cause: str
    blind_spot: str


def _read() -> dict[str, Entry]:
    table = tomllib.loads((files(__package__) / "catalogue.toml").read_text(encoding="utf-8"))
    row = ("name", "severity", "summary", "cure", "source")
    return {
        code: Entry(
            info=CodeInfo(**{key: words[key] for key in row}),
            measured=words["measured"],
            cause=words["cause"],
            blind_spot=words["blind_spot"],
        )
        for code, words in table.items()
    }


CATALOGUE: Mapping[str, Entry] = MappingProxyType(_read())
"""Code to entry, in the order of the documentation."""


def explain(code: str) -> Entry | None:
    """The entry of one of our codes, in any case of letters; None for codes that are not ours."""
    return CATALOGUE.get(code.upper())
