"""The catalogue of warnings, one source for `explain`, the documentation and the checks; and what a rule is.

The words live in catalogue.toml beside this file, where prose can be read and edited as prose. A rule is one
code, one question to the facts, and three possible answers. The third matters: None says that the facts the
rule needs are not there, so that "held" counts the checks that ran and not the checks that exist.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from types import MappingProxyType
from typing import ClassVar, TypeAlias

from falsefloor.api import Check, CodeInfo, Facts, Finding, Severity


@dataclass(frozen=True)
class Entry:
    """A code's row and its page: what was measured, the usual cause, and what the check cannot see."""

    info: CodeInfo
    measured: str
    cause: str
    blind_spot: str


def _read() -> dict[str, Entry]:
    table = tomllib.loads((files(__package__) / "catalogue.toml").read_text(encoding="utf-8"))
    row, page = ("name", "severity", "summary", "cure", "source"), ("measured", "cause", "blind_spot")
    return {
        code: Entry(CodeInfo(**{key: words[key] for key in row}), *(words[key] for key in page))
        for code, words in table.items()
    }


CATALOGUE: Mapping[str, Entry] = MappingProxyType(_read())
"""Code to entry, in the order of the documentation."""


def explain(code: str) -> Entry | None:
    """The entry of one of our codes, in any case of letters; None for codes that are not ours."""
    return CATALOGUE.get(code.upper())


Rule: TypeAlias = Callable[[Facts], Sequence[Finding] | None]
"""Findings, none (an empty sequence), or None: not applicable or not measured."""
Rules: TypeAlias = Mapping[str, Rule]


def family(rules: Rules, *, asks: str) -> Check:
    """Rules that belong together, as one check: what an entry point names. asks: what they ask, in words.

    An instance of a class of its own without parameters, as anybody's check is.
    """
    infos = {code: CATALOGUE[code].info for code in rules}

    class Family:
        __doc__ = asks
        api_version: ClassVar[int] = 1
        codes: ClassVar[Mapping[str, CodeInfo]] = infos

        def __init__(self) -> None:
            self.rules = rules

        def __call__(self, facts: Facts, /) -> Iterator[Finding]:
            for rule in rules.values():
                yield from rule(facts) or ()

    return Family()


def found(
    code: str,
    message: str,
    *,
    severity: Severity | None = None,
    witness: str | None = None,
    besides: Mapping[str, float] | None = None,
    **evidence: float | str,
) -> Finding:
    """A finding of the catalogue's severity, unless the facts make it a lesser or a graver one; besides:
    further evidence."""
    return Finding(
        code=code,
        severity=CATALOGUE[code].info.severity if severity is None else severity,
        message=message,
        evidence={**evidence, **(besides or {})},
        witness=witness,
    )
