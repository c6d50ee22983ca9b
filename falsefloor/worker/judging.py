"""The judge of a run: our own checks in this process."""

from __future__ import annotations

from collections.abc import Sequence

from falsefloor.api import Check, Facts, Finding
from falsefloor.checks.judge import Judgement, judge
from falsefloor.plugins.loading import load
from falsefloor.plugins.names import discover
from falsefloor.store.verdicts import Judge


def make_judge() -> Judge:
    """All checks of our own distribution; they are pure and torch-free."""
    checks: list[Check] = [load("check", p.name) for p in discover() if p.kind == "check" and p.own]

    def judged(facts: Facts, notes: Sequence[Finding]) -> Judgement:
        return judge(facts, checks, notes=notes)

    return judged
