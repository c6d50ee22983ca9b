"""Claims about a set: held by proofs, refuted by points, else not decided; never wrong."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
from test_accuracy import SET, record

from falsefloor.errors import UsageError
from falsefloor.report.accuracy import input_sets
from falsefloor.report.claims import check_claims, parse_claim, read_claims, tabular

FACTS = {"net": {"bounds": [0.0, 1.0], "shape": [8, 8], "classes": 10}}


def outcome(text: str, records: list[dict[str, Any]]) -> Any:
    (one,), _ = check_claims([parse_claim(text)], input_sets(records), FACTS)
    return one


@pytest.mark.parametrize(
    ("text", "word"),
    [
        # of four: one certified at 0.03, two not attacked, one misclassified
        ("linf 0.03 accuracy >= 0.25", "held"),
        ("linf 0.03 accuracy >= 25%", "held"),
        ("linf 0.03 accuracy > 0.25", "not decided"),
        ("linf 0.03 accuracy >= 0.5", "not decided"),
        ("linf 0.03 accuracy >= 0.51", "refuted"),
        ("linf 0.03 accuracy <= 0.5", "held"),
        ("linf 0.03 accuracy < 0.25", "refuted"),
        ("linf 3/100 accuracy>=0.25 class 3", "held"),
        ("linf median >= 0.02", "held"),
        ("linf median > 0.05", "refuted"),
        ("linf minimum >= 0.01", "not decided"),
        ("linf minimum > 0.02", "refuted"),
    ],
)
def test_a_claim_is_held_refuted_or_not_decided(text: str, word: str) -> None:
    assert outcome(text, SET).word == word


def test_an_estimate_decides_nothing() -> None:
    alone = [record(0, "lower_estimate", 0.3)]
    assert outcome("linf 0.1 accuracy >= 1", alone).word == "not decided"
    assert outcome("linf 0.1 accuracy < 1", alone).word == "not decided"


def test_a_refuted_claim_names_its_witnesses_nearest_first() -> None:
    one = outcome("linf 0.06 accuracy >= 0.5", SET)
    assert one.word == "refuted" and list(one.witnesses) == [2, 1] and one.misclassified == (3,)
    assert "input 2 at 0.0200" in one.why and "1 misclassified" in one.why
    told = one.to_json()
    assert told["witnesses"][0] == {"input": 2, "distance": 0.02, "predicted": None, "array": "w"}
    assert tabular([one]).rows[0][2:6] == ("refuted", "0/4", "0/4", "2/4")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("linf 8 accuracy >= 0.6", "8/255 is 0.0314"),
        ("l2 0.1 accuracy >= 0.6", "'l2', which was not run. There are: linf"),
        ("linf 0.1 accuracy >= 0.6 class 12", "the classes 0 to 9"),
        ("linf 0.1 accuracy >= 0.6 class 4", "no inputs of class 4"),
        ("linf 0.1 accuracy >= 61", "61%"),
        ("linf accuracy >= 0.6", "accuracy is at a radius"),
        ("linf 0.1 median >= 0.6", "takes none"),
        ("linf 0.1 accurracy >= 0.6", "Did you mean 'accuracy'"),
        ("max 0.1 accuracy >= 0.6", "linf"),
        ("robust", "is no claim"),
    ],
)
def test_what_cannot_be_checked_says_what_can(text: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        outcome(text, SET)


def test_a_file_holds_claims_as_text_or_with_the_subject_they_speak_of(tmp_path: Path) -> None:
    file = tmp_path / "claims.toml"
    file.write_text('[[claims]]\nclaim = "linf 0.03 accuracy >= 0.1"\nmasker = "none"\n', encoding="utf-8")
    (one,) = read_claims(file)
    assert one.masker == "none"
    both = input_sets([*SET, *({**each, "masker": "ramp"} for each in SET)])
    outcomes, _ = check_claims([one], both, FACTS)
    assert [each.inputs.place.masker for each in outcomes] == ["none"]
    outcomes, _ = check_claims([parse_claim(one.text)], both, FACTS)
    assert len(outcomes) == 2, "without a subject it speaks of each"
    for bad in ("claims = []", "claims = [3]", '[[claims]]\ntext = "x"', "claims = [", "x = 1"):
        file.write_text(bad, encoding="utf-8")
        with pytest.raises(UsageError, match=r"claims\.toml"):
            read_claims(file)


@pytest.mark.parametrize("seed", range(20))
def test_no_false_claim_is_held_and_no_true_one_refuted(seed: int) -> None:
    """Exact distances with proofs below and points above, weak attacks, missing proofs, wrong labels, floors
    that mask and were not yet refuted."""
    draw, records, robust = random.Random(seed), [], []
    for at in range(40):
        exact, wrong = 0.1 * draw.random(), draw.random() < 0.1
        robust.append(0.0 if wrong else exact)
        predicted = 8 if wrong else 3
        records.append(record(at, "lower_estimate", 0.3, "held", predicted=predicted))
        if not wrong and draw.random() < 0.7:
            records.append(record(at, "lower_bound", exact * draw.uniform(0.5, 1)))
        if not wrong and draw.random() < 0.7:
            records.append(record(at, "upper_bound", exact * draw.uniform(1, 3)))
    radius = draw.choice((0.01, 0.03, 0.06))
    right = sum(exact > radius for exact in robust)
    words = {count: outcome(f"linf {radius} accuracy >= {count}/40", records).word for count in range(41)}
    assert all(words[count] != "refuted" for count in range(right + 1))
    assert all(words[count] != "held" for count in range(right + 1, 41))
    assert {"held", "not decided", "refuted"} == set(words.values())
