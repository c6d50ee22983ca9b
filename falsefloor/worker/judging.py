"""The judge of a run: our own checks in this process, third-party ones in a child of their own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from falsefloor.api import Check, Facts, Finding
from falsefloor.checks.judge import Judgement, judge
from falsefloor.plugins import catalogue, discover
from falsefloor.plugins.judging import JudgingChild, foreign_checks
from falsefloor.plugins.loading import load


class RunJudge:
    """All checks, ours and others', for as long as a run is judged.

    Nothing of a stranger's is started before the first estimate is judged, and no child at all where nobody
    else's check is installed. Close it, or use it as a context manager.
    """

    def __init__(self) -> None:
        found = [plugin for plugin in discover() if plugin.kind == "check"]
        self._own: list[Check] = [load("check", plugin.name) for plugin in found if plugin.own]
        self._others = [(plugin.kind, plugin.spec) for plugin in found if not plugin.own]
        self._child = JudgingChild()
        self._checks: list[Check] | None = None

    def __enter__(self) -> RunJudge:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the child, if there is one. A later judgement starts another."""
        self._child.close()

    def __call__(self, facts: Facts, notes: Sequence[Finding]) -> Judgement:
        """What `falsefloor.checks.judge.judge` says with every usable check."""
        if self._checks is None:
            # Describing costs a look at the cache: not where there is nothing to describe.
            rows = catalogue(self._others).plugins if self._others else ()
            # Theirs declare codes an instance and not a class: the judge reads them alike.
            self._checks = [*self._own, *cast("list[Check]", foreign_checks(rows, self._child))]
        return judge(facts, self._checks, notes=notes)


def make_judge() -> RunJudge:
    """The judge that writers of runs are made with."""
    return RunJudge()


__all__ = ["RunJudge", "make_judge"]
