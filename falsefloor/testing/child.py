"""The child of `falsefloor plugins check`: runs one installed plugin's kit and reports each check as it ends.

Each check is announced before it runs, so that the parent knows which one hung or took the process down.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from falsefloor.plugins.loading import make
from falsefloor.study.grammar import split_ref
from falsefloor.testing.parametrize import KITS
from falsefloor.testing.results import Case, run_cases


def main(request: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The names of a plugin's checks, then each of them from the one asked for on."""
    cases = _cases(request)
    yield {"names": [case.name for case in cases]}
    for at in range(int(request["first"]), len(cases)):
        yield {"start": at}
        yield {"at": at, **_result(cases[at])}


def _cases(request: Mapping[str, Any]) -> list[Case]:
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
