"""A diagnosis is read from stored records alone: medians, counts and the words of what was refused."""

from __future__ import annotations

from typing import Any

import pytest
from rich.console import Console

from falsefloor.report.diagnosis import Diagnosis, DiagnosisPage, _diagnosis

SUBJECT = ("digits:mlp", "staircase:c=255", "linf")


def record(name: str, number: int, radius: float | None, verdict: str, **changes: Any) -> dict[str, Any]:
    given = {
        "name": name,
        "input": number,
        "claim": "upper_bound" if name == "attack" else "lower_estimate",
        "recovers": None,
        "radius": radius,
        "capped": False,
        "verdict": verdict,
        "reason": "FF201 floor above ceiling" if verdict == "refuted" else "17 checks",
        "status": "ok",
        "error": None,
        "evidence": {},
    }
    return {**given, **changes}


def seen(number: int, **located: Any) -> dict[str, Any]:
    fact = {"operation": "ceil", "submodule": "q", "line": "", "kind": "flat", "certain": True}
    return {
        "input": number,
        "agreement": True,
        "facts": {"located": {**fact, "words": f"`q`: ceil on {number}", **located}},
    }


def told(levels: float | str, **changes: Any) -> dict[str, Any]:
    return {"levels": levels, "ramp_share": 0.2, "step_reason": "steps", **changes}


def masked() -> Diagnosis:
    again = {"gradient_source": "straight-through", "gradient_ratio": 0.98, "gradient_correlation": 0.99}
    records = [
        *(record("clever", n, 0.3, "refuted", capped=True) for n in range(3)),
        record("finite-difference", 0, 0.03, "held", evidence=told(240.0)),
        record("finite-difference", 1, 0.03, "held", evidence=told(260.0)),
        record("finite-difference", 2, 0.03, "held", evidence=told("nan", step_reason="refused: no line")),
        *(record("attack", n, 0.0379, "held") for n in range(3)),
        *(
            record("clever (recovered)", n, 0.032, "held", recovers="clever", evidence=again)
            for n in range(2)
        ),
        record(
            "clever (recovered)", 2, None, None, recovers="clever", status="skipped", error="no source agrees"
        ),
    ]
    return _diagnosis(SUBJECT, records, [seen(0), seen(1), seen(2, operation="floor", words="floor")])


def test_steps_are_the_median_of_the_inputs_that_told_and_the_others_are_named() -> None:
    steps = masked().steps
    assert (steps.levels, steps.width, steps.told) == (250.0, 1 / 250, 2)
    assert steps.reason == "refused: no line"


@pytest.mark.parametrize(
    ("levels", "reason"),
    [
        ([2000.0, None, None], "refused: no line"),
        ([100.0, 240.0, 250.0], "refused: the inputs disagree about the steps"),
    ],
)
def test_steps_that_few_inputs_told_or_that_they_disagree_about_are_refused(
    levels: list[float | None], reason: str
) -> None:
    refused = told("nan", step_reason="refused: no line")
    records = [
        record("finite-difference", n, 0.03, "held", evidence=refused if one is None else told(one))
        for n, one in enumerate(levels)
    ]
    steps = _diagnosis(SUBJECT, records, []).steps
    assert (steps.levels, steps.width, steps.reason) == (None, None, reason)


def test_places_are_counted_over_inputs_and_claims_over_verdicts() -> None:
    found = masked()
    assert [(one.words, one.inputs) for one in found.located] == [("`q`: ceil on 0", 2), ("floor", 1)]
    raw, again = found.raw()[0], found.repaired()[0]
    assert (raw.radius, raw.capped, raw.verdicts) == (0.3, True, {"refuted": 3})
    assert (again.verdicts, again.refused) == ({"held": 2, "skipped": 1}, "no source agrees")
    assert again.gradient is not None
    assert again.gradient.startswith("straight-through on 2; 0.98 to 0.98 times")


def test_a_median_is_over_the_inputs_that_are_classified_as_labelled() -> None:
    wrong = record("clever", 2, 0.0, "held") | {"label": 3, "predicted": 8}
    group = [record("clever", 0, 0.1, "held"), record("clever", 1, 0.2, "held"), wrong]
    assert _diagnosis(SUBJECT, group, []).raw()[0].radius == pytest.approx(0.15)


@pytest.mark.parametrize("width", [40, 80, 160])
def test_the_page_keeps_to_its_width_and_tells_the_ratio(width: int) -> None:
    console = Console(width=width, force_terminal=False, color_system=None)
    with console.capture() as captured:
        console.print(DiagnosisPage(masked(), "7f3a"))
    text = captured.get()
    assert all(len(line) <= width for line in text.splitlines())
    assert "9.38 times what the function beneath" in " ".join(text.split())


def test_words_of_others_cannot_move_the_cursor() -> None:
    found = _diagnosis(SUBJECT, [record("clever", 0, 0.3, "refuted")], [seen(0, words="\x1b[2Jgone")])
    console = Console(width=80, force_terminal=False, color_system=None)
    with console.capture() as captured:
        console.print(DiagnosisPage(found, "7f3a"))
    assert "\x1b[2J" not in captured.get()
