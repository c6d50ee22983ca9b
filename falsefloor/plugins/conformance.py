"""`falsefloor plugins check`, the parent's side: the kit runs in a child, never in the process that asks.

A check that hangs or crashes the interpreter fails with that reason, and another child goes on behind it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from falsefloor.api import Scalar
from falsefloor.errors import FalsefloorError, PluginError, UsageError
from falsefloor.plugins.describe import TIME_LIMIT, time_limit
from falsefloor.plugins.described import Described, printable
from falsefloor.plugins.process import Child, GoneError, SilentError

LIMIT = 120.0
"""Seconds one check may take; the longest of our own takes 20."""
DIGITS = "digits:mlp"


@dataclass(frozen=True)
class Checked:
    """What became of one conformance check, as `falsefloor.testing.Result` says it."""

    name: str
    outcome: str
    message: str = ""

    @property
    def ok(self) -> bool:
        return self.outcome in ("passed", "skipped")


@dataclass(frozen=True)
class Trial:
    """An installed plugin to be checked: its parameters, and for sources a reference that exists.

    ref is what follows the scheme ("mlp" in "digits:mlp"); model is the model that inputs are for.
    """

    row: Described
    params: Mapping[str, Scalar]
    ref: str | None = None
    model: str = DIGITS

    def request(self, first: int) -> dict[str, Any]:
        """What the child is asked. Raises `UsageError` where a reference is wanted and none was given."""
        if self.row.kind in ("model", "input") and not self.ref:
            raise UsageError(
                f"{self.row.spec} is checked with a reference that exists: --ref, what follows"
                f" {self.row.name + ':'!r} in a study."
            )
        return {
            "kind": self.row.kind,
            "spec": self.row.spec,
            "params": dict(self.params),
            "ref": self.ref,
            "model": self.model,
            "first": first,
        }


def conformance(trial: Trial, *, limit: float = LIMIT) -> Iterator[Checked]:
    """Each check's result as it ends; ``limit`` is in seconds a check.

    Raises `UsageError` for wrong parameters or a missing reference, `PluginError` where the plugin cannot be
    made or its child does not even start.
    """
    names: list[str] = []
    first = 0
    while not names or first < len(names):
        child = Child("falsefloor.testing.kits")
        try:
            answers = child.answers(trial.request(first), first=max(TIME_LIMIT, time_limit()), limit=limit)
            names = _names(child, answers, trial)
            for answer in answers:
                if "start" in answer:
                    first += 1
                elif "outcome" in answer:
                    message = printable(str(answer.get("message", "")), longest=1200)
                    yield Checked(names[first - 1], str(answer["outcome"]), message)
        except SilentError:
            yield Checked(names[first - 1], "failed", f"did not end within {limit:g} s and was stopped")
        except GoneError:
            yield Checked(names[first - 1], "failed", f"{child.death()}; {_last(child.stderr)}".rstrip("; "))
        finally:
            child.end()


def _names(child: Child, answers: Iterator[Mapping[str, Any]], trial: Trial) -> list[str]:
    try:
        names = [str(name) for name in next(answers)["names"]]
    except SilentError as error:
        seconds = max(TIME_LIMIT, time_limit())
        raise PluginError(f"{trial.row.spec} was not ready to be checked within {seconds:g} s.") from error
    except (GoneError, KeyError) as error:
        raise PluginError(f"{trial.row.spec} {child.death()} before it was checked.") from error
    except FalsefloorError as error:
        reason = printable(str(error), longest=600)
        raise (UsageError if error.exit_code == UsageError.exit_code else PluginError)(reason) from error
    if not names:
        raise PluginError(f"There is nothing to check about {trial.row.spec}.")
    return names


def _last(stderr: str) -> str:
    """The innermost line of what a crash left behind, where it left anything."""
    lines = [line.strip() for line in stderr.splitlines() if line.strip().startswith("File ")]
    return printable(lines[0], longest=200) if lines else ""
