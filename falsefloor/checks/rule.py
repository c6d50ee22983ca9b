"""What a rule is: one code, one question to the facts, and three possible answers.

The third answer matters: None says that the facts the rule needs are not there, so that "held" can count the
checks that ran and not the checks that exist.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import ClassVar, TypeAlias

from falsefloor.api import Check, CodeInfo, Facts, Finding, Severity
from falsefloor.checks.catalogue import CATALOGUE

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
    **evidence: float | str,
) -> Finding:
    """A finding of the catalogue's severity, unless the facts make it a lesser or a graver one."""
    return Finding(
        code=code,
        severity=CATALOGUE[code].info.severity if severity is None else severity,
        message=message,
        evidence=evidence,
        witness=witness,
    )
