"""The judge of a run: our own checks in this process, third-party ones in a child: facts in, findings out.

The supervisor judges in its own process and must not load a stranger's code, so each foreign check stands
there as a `ForeignCheck`, which the judge asks as it asks ours.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, ClassVar, cast

from falsefloor.api import API_VERSION, Check, CodeInfo, Facts, Finding, NotApplicable, Record
from falsefloor.checks.judge import Judgement, judge
from falsefloor.checks.verdicts import SEVERITIES
from falsefloor.errors import FalsefloorError, PluginError
from falsefloor.plugins.catalogue import catalogue
from falsefloor.plugins.describe import time_limit
from falsefloor.plugins.described import Described, printable, qualified
from falsefloor.plugins.loading import load
from falsefloor.plugins.names import Plugin, discover
from falsefloor.plugins.process import Child, GoneError, SilentError

LIMIT = 5.0
"""Seconds a check may take for one estimate; ours take 5 µs."""
MOST_FINDINGS = 50
"""A check that finds more about one estimate is not telling anybody anything."""


class JudgingChild:
    """One child for all foreign checks of a run, started when the first is asked, closed with it."""

    def __init__(self, *, limit: float = LIMIT) -> None:
        self.limit = limit
        self._child: Child | None = None
        self._loaded: set[str] = set()

    def close(self) -> None:
        """End the child; asking again starts another."""
        if self._child is not None:
            self._child.end()
        self._child = None
        self._loaded.clear()

    def ask(self, spec: str, facts: Facts) -> list[Any]:
        """What the check ``DIST/NAME`` finds, as JSON.

        Raises `NotApplicable` where it declines, `PluginError` if it raises, hangs or dies.
        """
        if self._child is None:
            self._child = Child("falsefloor.plugins.judging")
        seconds = self.limit if spec in self._loaded else max(self.limit, time_limit())
        answers = self._child.answers({"check": spec, "facts": facts_plain(facts)}, limit=seconds)
        try:
            found = list(answers)
            if len(found) != 1 or not isinstance(found[0].get("findings"), list):
                raise GoneError  # the check wrote into the pipe
        except SilentError as error:
            self.close()
            raise PluginError(f"The check {spec} did not answer within {seconds:g} s.") from error
        except GoneError as error:
            died = self._child.death()
            self.close()
            raise PluginError(f"The check {spec} {died}.") from error
        except FalsefloorError as error:
            self._loaded.add(spec)
            raise PluginError(f"The check {spec} failed: {printable(str(error), longest=300)}") from error
        self._loaded.add(spec)
        if "declined" in found[0]:
            raise NotApplicable(str(found[0]["declined"]))
        listed: list[Any] = found[0]["findings"]
        return listed


class ForeignCheck:
    """A third-party check as the judge sees one: `falsefloor.api.Check`, its code running elsewhere.

    A check that hung or took its process down is not asked again: every later call raises the same error.
    """

    api_version: ClassVar[int] = API_VERSION

    def __init__(self, row: Described, child: JudgingChild) -> None:
        self.spec, self.dist = row.spec, row.dist
        self.codes: Mapping[str, CodeInfo] = row.codes
        self._child = child
        self._lost: PluginError | None = None

    def __call__(self, facts: Facts, /) -> list[Finding]:
        """Its findings, under ``DIST:NAME``. Raises `PluginError` for anything that is no sound finding."""
        if self._lost is not None:
            raise self._lost
        running = self._child
        try:
            answers = running.ask(self.spec, facts)
        except PluginError as error:
            if isinstance(error.__cause__, SilentError | GoneError):
                self._lost = error
            raise
        if len(answers) > MOST_FINDINGS:
            raise PluginError(f"The check {self.spec} found {len(answers)} things about one estimate.")
        return [self._finding(answer) for answer in answers]

    def _finding(self, data: Any) -> Finding:
        try:
            code = qualified(self.dist, str(data["code"]))
            if code not in self.codes or data["severity"] not in SEVERITIES:
                raise ValueError(f"code {code!r}, severity {data['severity']!r}")
            return Finding(
                code=code,
                severity=data["severity"],
                message=printable(str(data["message"]), longest=600),
                evidence={
                    printable(str(name), longest=60): value
                    if isinstance(value, int | float)
                    else printable(str(value), longest=200)
                    for name, value in data["evidence"].items()
                },
                witness=None if data["witness"] is None else str(data["witness"]),
            )
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise PluginError(f"The check {self.spec} gives something that is no finding: {error}") from error


def foreign_checks(rows: Sequence[Described], child: JudgingChild) -> list[ForeignCheck]:
    """The usable third-party checks among described plugins, all running in ``child``."""
    return [
        ForeignCheck(row, child) for row in rows if row.kind == "check" and row.usable and not row.plugin.own
    ]


class RunJudge:
    """All checks, ours and others', for as long as a run is judged.

    Nothing of a stranger's is started before the first estimate is judged, and no child at all where nobody
    else's check is installed. Close it, or use it as a context manager. plugins: all that are installed,
    where that is known.
    """

    def __init__(self, plugins: Iterable[Plugin] | None = None) -> None:
        found = [plugin for plugin in plugins or discover() if plugin.kind == "check"]
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

    @property
    def codes(self) -> dict[str, dict[str, str]]:
        """Others' codes as a run keeps them, so that it can be read where their packages are gone."""
        foreign = (check for check in self._checks or () if isinstance(check, ForeignCheck))
        return {code: dataclasses.asdict(info) for check in foreign for code, info in check.codes.items()}

    def __call__(self, facts: Facts, notes: Sequence[Finding]) -> Judgement:
        """What `falsefloor.checks.judge.judge` says with every usable check."""
        if self._checks is None:
            # Describing costs a look at the cache: not where there is nothing to describe.
            rows = catalogue(self._others).plugins if self._others else ()
            # Theirs declare codes an instance and not a class: the judge reads them alike.
            self._checks = [*self._own, *cast("list[Check]", foreign_checks(rows, self._child))]
        return judge(facts, self._checks, notes=notes)


def main(request: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """In the child: what a check finds."""
    check = load("check", request["check"])
    try:
        yield {"findings": [dataclasses.asdict(finding) for finding in check(facts_from(request["facts"]))]}
    except NotApplicable as error:
        yield {"findings": [], "declined": str(error)[:600]}


def facts_plain(facts: Facts) -> dict[str, Any]:
    """Facts as JSON. Not by `dataclasses.asdict`: curves may be a view of the database, not to be copied."""
    judged, *others = (
        {
            **{field.name: getattr(record, field.name) for field in dataclasses.fields(record)},
            "evidence": dict(record.evidence),
            "curves": {name: [float(value) for value in curve] for name, curve in record.curves.items()},
        }
        for record in (facts.judged, *facts.others)
    )
    return {"norm": facts.norm, "judged": judged, "others": others, "observed": dict(facts.observed)}


def facts_from(data: Mapping[str, Any]) -> Facts:
    """The facts that `facts_plain` made JSON of."""
    return Facts(
        norm=data["norm"],
        judged=Record(**data["judged"]),
        others=tuple(Record(**record) for record in data["others"]),
        observed=data["observed"],
    )
