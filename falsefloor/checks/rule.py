"""What a rule is: one code, one question to the facts, and three possible answers.

The third answer matters: None says that the facts the rule needs are not there, so that "held" can count the
checks that ran and not the checks that exist.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TypeAlias

from falsefloor.api import CodeInfo, Facts, Finding, Severity
from falsefloor.checks.catalogue import CATALOGUE

Rule: TypeAlias = Callable[[Facts], Sequence[Finding] | None]
"""Findings, none (an empty sequence), or None: not applicable or not measured."""
Rules: TypeAlias = Mapping[str, Rule]


def codes_of(rules: Rules) -> Mapping[str, CodeInfo]:
    """The catalogue's rows of a family's rules."""
    return {code: CATALOGUE[code].info for code in rules}


def run(rules: Rules, facts: Facts) -> Iterator[Finding]:
    """All that the rules find."""
    for rule in rules.values():
        yield from rule(facts) or ()


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


__all__ = ["Rule", "Rules", "codes_of", "found", "run"]
