"""What stands behind a number: proved, estimated, found and the share, said and drawn the same everywhere."""

from __future__ import annotations

from typing import Any

from falsefloor.report.paint_svg import svg
from falsefloor.report.standing import by_input, lines, percent, picture, rests, sentences, standing
from falsefloor.report.text import ASCII

SHARE = {"share_points": 1000.0, "share_other": 0.0, "share_bound": 0.00299}


def _record(number: int, claim: str, radius: float, verdict: str = "held", **more: Any) -> dict[str, Any]:
    place = {"model": "net", "masker": "none", "norm": "linf", "input": 0}
    known = {
        "id": number,
        "claim": claim,
        "radius": radius,
        "verdict": verdict,
        "status": "ok",
        "evidence": {},
    }
    return {**place, **known, "witness": "w" if claim == "upper_bound" else None, **more}


CLEVER = _record(1, "lower_estimate", 0.093, evidence=SHARE)
CROWN = _record(2, "lower_bound", 0.079)
ATTACK = _record(3, "upper_bound", 0.106)


def test_beside_an_estimate_it_says_how_much_is_proved() -> None:
    known = standing([CLEVER, CROWN, ATTACK], of=CLEVER)
    assert known.words() == "estimated 0.0930, proved 0.0790, another class found at 0.1060"
    said = list(sentences(CLEVER, known))
    assert said[0] == "It rests on an estimate; 0.0790 is proved. What may stay unseen: docs/limits.md."
    assert said[2] == (
        "none of 1,000 uniform points of the ball answers otherwise: at 95 %, less than 0.3 % of it"
    )


def test_a_bound_is_never_rounded_below_itself() -> None:
    assert [percent(bound) for bound in (0.00299, 0.004841, 0.00995, 0.0996, 1.0)] == [
        *("0.3 %", "0.49 %", "1 %", "10 %", "100 %"),
    ]


def test_a_sentence_names_the_kind_of_number_that_a_verdict_rests_on() -> None:
    false = _record(4, "lower_estimate", 0.3, "refuted")
    known = standing([CLEVER, CROWN, ATTACK, false], of=false)
    assert rests(CROWN, known).startswith("It rests on a proof")
    assert rests({**CROWN, "verdict": "suspect"}, known) == "It claims a proof, which is in doubt."
    assert rests(ATTACK, known).startswith("It rests on a point that was found")
    assert rests(false, known).startswith("It rests on a point that was found: the claim is false")
    assert (known.estimated, known.refuted) == (0.093, 0.3)


def test_without_a_certificate_nothing_is_said_to_be_proved() -> None:
    known = standing([CLEVER], of=CLEVER)
    assert known.words() == "estimated 0.0930, nothing proved"
    assert rests(CLEVER, known) == (
        "It rests on an estimate; nothing is proved here. What may stay unseen: docs/limits.md."
    )
    assert (
        rests({**CLEVER, "verdict": "suspect"}, known) == "It rests on an estimate; nothing is proved here."
    )


def test_a_corner_of_the_box_says_that_no_point_lay_in_it() -> None:
    empty = {**CLEVER, "evidence": {"share_points": 0.0, "share_other": 0.0, "share_bound": 1.0}}
    known = standing([empty], of=empty)
    assert known.share is not None
    assert known.share.words().startswith("no uniform point of the ball lies in the domain")


def test_the_picture_holds_all_inputs_on_one_axis() -> None:
    second = [{**one, "input": 1} for one in (CLEVER, ATTACK)]
    known = by_input([CLEVER, CROWN, ATTACK, *second])
    assert [one.name for one in known] == ["input 0", "input 1"]
    figure = picture(known)
    assert figure.rows == 2
    assert [one.name for one in figure.legend] == ["proved", "estimated", "another class found"]
    assert "less than 0.3 %" in figure.notes[0]
    assert "<svg" in svg(figure)


def test_the_row_in_letters_orders_proved_estimated_found() -> None:
    legend, row, words = lines(by_input([CLEVER, CROWN, ATTACK]), width=60, glyphs=ASCII)
    assert legend.startswith("# proved")
    drawn = row.removeprefix("input 0  ")
    assert 0 < drawn.rindex("#") < drawn.index("o") < drawn.index("^") == 50
    assert "proved 0.0790" in words
