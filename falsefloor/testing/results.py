"""Named checks, what became of each, and the one error that reports those that failed."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from falsefloor.api import NotApplicable
from falsefloor.errors import PluginError, UsageError, did_you_mean

Outcome = Literal["passed", "failed", "expected failure", "unexpected pass", "skipped"]


class UnmetError(Exception):
    """A check's condition does not hold; the message says what was found and what is expected."""


class ConformanceError(PluginError):
    """Some checks failed; the message names each with its reason."""


@dataclass(frozen=True)
class Case:
    """One named check on one plugin; calling it raises where that fails, and else says what was tried."""

    name: str
    run: Callable[[], str | None]

    def __call__(self) -> str:
        return self.run() or ""


@dataclass(frozen=True)
class Result:
    """What became of one check; of one that passed the message says what was tried, where that differs from
    run to run."""

    name: str
    outcome: Outcome
    message: str = ""

    @property
    def ok(self) -> bool:
        return self.outcome in ("passed", "expected failure", "skipped")


def require(condition: object, message: str) -> None:
    """Raise `UnmetError` with the message unless the condition holds."""
    if not condition:
        raise UnmetError(message)


def check_names(cases: Sequence[Case], expected_failures: Mapping[str, str]) -> None:
    """Raises `UsageError` for an expected failure that names no check: it would excuse nothing."""
    known = [case.name for case in cases]
    for name in expected_failures:
        if name not in known:
            raise UsageError(f"There is no conformance check {name!r}. {did_you_mean(name, known)}")


def run_cases(
    cases: Sequence[Case], *, expected_failures: Mapping[str, str] | None, raises: bool, name: str
) -> list[Result]:
    """Run all, whatever some of them do. Raises `ConformanceError` at the end where ``raises`` is set."""
    expected = expected_failures or {}
    check_names(cases, expected)
    results = [_run(case, expected.get(case.name)) for case in cases]
    wrong = [result for result in results if not result.ok]
    if raises and wrong:
        lines = "".join(f"\n  {result.name}: {result.message}" for result in wrong)
        raise ConformanceError(f"{name} fails {len(wrong)} of {len(results)} conformance checks:{lines}")
    return results


def _run(case: Case, excuse: str | None) -> Result:
    try:
        tried = case()
    except NotApplicable as reason:
        return Result(case.name, "skipped", str(reason))
    except Exception as error:
        if excuse is not None:
            return Result(case.name, "expected failure", excuse)
        if isinstance(error, UnmetError | PluginError):
            return Result(case.name, "failed", str(error))
        last = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{last.filename}:{last.lineno}"
        return Result(case.name, "failed", f"raised {type(error).__name__}: {error} ({where})")
    if excuse is not None:
        return Result(case.name, "unexpected pass", f"passes, though expected to fail: {excuse}")
    return Result(case.name, "passed", tried)
