"""The child of `falsefloor plugins check`: runs one installed plugin's kit and reports each check as it ends.

Each check is announced before it runs, so that the parent knows which one hung or took the process down.
"""

from __future__ import annotations

import os
from typing import Any

from falsefloor.errors import FalsefloorError, UsageError
from falsefloor.plugins.inside import settle_in
from falsefloor.plugins.loading import make
from falsefloor.study.grammar import split_ref
from falsefloor.testing.parametrize import KITS
from falsefloor.testing.results import Case, run_cases


def main(out: int) -> None:
    """Answer one request and leave without running anything at exit."""
    requests, send = settle_in(out)
    request = next(requests)
    try:
        cases = _cases(request)
        send({"names": [case.name for case in cases]})
    except BaseException as error:
        # Everything, SystemExit too: a plugin's constructor or its model's module is a stranger's code.
        reason = str(error) if isinstance(error, FalsefloorError) else f"{type(error).__name__}: {error}"
        send({"error": reason, "usage": isinstance(error, UsageError)})
        os._exit(0)
    for at in range(int(request["first"]), len(cases)):
        send({"start": at})
        send({"at": at, **_result(cases[at])})
    send({"end": True})
    os._exit(0)


def _cases(request: dict[str, Any]) -> list[Case]:
    kind = request["kind"]
    plugin = make(kind, request["spec"], request["params"])
    extra: list[Any] = []
    if kind in ("model", "input"):
        extra.append(request["ref"])
    if kind == "input":
        scheme, ref = split_ref(request["model"])
        extra.append(make("model", scheme)(ref))
    return KITS[kind](plugin, *extra)


def _result(case: Case) -> dict[str, str]:
    try:
        (result,) = run_cases([case], expected_failures=None, raises=False, name=case.name)
    except BaseException as error:
        # What `run_cases` lets through: a check of ours is not stopped by a plugin's sys.exit.
        return {"outcome": "failed", "message": f"raised {type(error).__name__}: {error}"}
    return {"outcome": result.outcome, "message": result.message}


__all__ = ["main"]
