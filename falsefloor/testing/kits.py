"""Every kind's kit: as pytest's test cases, one id a check, and in the child of `falsefloor plugins check`.

The child announces each check before it runs, so that the parent knows which one hung or took it down.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from falsefloor.api import NotApplicable
from falsefloor.errors import UsageError, did_you_mean
from falsefloor.plugins.loading import make
from falsefloor.study.grammar import split_ref
from falsefloor.testing.checks import check_cases
from falsefloor.testing.common import Case, check_names, run_cases
from falsefloor.testing.estimators import estimator_cases
from falsefloor.testing.gradients import gradient_cases
from falsefloor.testing.maskers import masker_cases
from falsefloor.testing.sources import input_cases, model_cases

if TYPE_CHECKING:
    import pytest

KITS: Mapping[str, Callable[..., list[Case]]] = {
    "estimator": estimator_cases,
    "masker": masker_cases,
    "gradient": gradient_cases,
    "model": model_cases,
    "input": input_cases,
    "check": check_cases,
}


def parametrize_with_checks(
    kind: str, plugins: Iterable[Any], *args: Any, expected_failures: Mapping[str, str] | None = None
) -> pytest.MarkDecorator:
    """A decorator for a test with one argument, ``check``, that calls it.

    args are what the kind's kit takes besides: the reference for "model", reference and model for "input".
    Expected failures become strict xfails. Raises `UsageError` for an unknown kind or check.
    """
    import pytest

    if kind not in KITS:
        raise UsageError(f"There is no kind of plugin {kind!r}. {did_you_mean(kind, KITS)}")
    expected = expected_failures or {}
    params = []
    for number, plugin in enumerate(plugins):
        cases = KITS[kind](plugin, *args)
        check_names(cases, expected)
        for case in cases:
            marks = (
                [pytest.mark.xfail(reason=expected[case.name], strict=True)] if case.name in expected else []
            )
            label = f"{type(plugin).__name__}-{number}" if number else type(plugin).__name__
            params.append(pytest.param(_Skipping(case), id=f"{label}: {case.name}", marks=marks))
    return pytest.mark.parametrize("check", params)


class _Skipping:
    """A case that skips where it does not apply."""

    def __init__(self, case: Case) -> None:
        self.case = case

    def __call__(self) -> None:
        import pytest

        try:
            print(self.case())  # shown where a test is run with -rP
        except NotApplicable as reason:
            pytest.skip(str(reason))


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
