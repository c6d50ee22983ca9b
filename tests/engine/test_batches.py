"""A batch beside its model: one-hot labels are labels, and a model that is right on none is said so first."""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch
from torch import nn

import falsefloor as ff
from falsefloor.errors import UsageError

SEEDED = torch.Generator().manual_seed(5)
MODEL = nn.Linear(5, 3)
MODEL.weight.data = torch.randn(3, 5, generator=SEEDED)
MODEL.bias.data = -0.5 * MODEL.weight.data.sum(1)
POINTS = torch.rand(9, 5, generator=SEEDED)
ANSWERS = MODEL(POINTS).argmax(1)
CHEAP: dict[str, Any] = {"estimators": ["clever:batches=4,samples=16"], "ceiling": False, "progress": False}


def judged(labels: Any) -> ff.Results:
    return ff.evaluate(MODEL, POINTS, labels, recover="off", **CHEAP)


def test_one_hot_labels_are_read_and_said() -> None:
    assert len(ANSWERS.unique()) == 3
    results, plain = judged(nn.functional.one_hot(ANSWERS, 3)), judged(ANSWERS)
    assert [e["radius"] for e in results.estimates] == [e["radius"] for e in plain.estimates]
    assert results.document["run"]["said"] == ["labels are one-hot, read as the class of each row's 1"]
    assert plain.document["run"]["said"] == []


def test_a_model_that_is_right_on_no_input_is_said_first_of_all() -> None:
    results = judged((ANSWERS + 1) % 3)
    first = repr(results).splitlines()[0]
    assert first.startswith("! 0 of 9 inputs are classified as labelled")
    assert "shifted, subtract 1" in " ".join(repr(results).split())
    page = results._repr_html_()
    assert page.index("0 of 9 inputs") < page.index("<table")


def test_labels_from_1_are_told_where_one_is_out_of_range() -> None:
    with pytest.raises(UsageError, match=r"label 3 is not a class.*count from 1: subtract 1"):
        judged(ANSWERS + 1)


def test_labels_that_are_no_numbers_are_refused() -> None:
    with pytest.raises(UsageError, match="labels cannot be read as numbers"):
        judged(["cat"] * 9)


@pytest.mark.parametrize(
    "points,said",
    [
        ((POINTS * 255).to(torch.uint8), r"9 of 9 inputs lie outside the domain \[0, 1\].*--bounds 0,255"),
        (POINTS * 4 - 2, r"values run from -1\.\d+ to 1\.\d+; normalised\?.*--mean, --std.*bounds=\(-"),
        (
            POINTS * 900,
            r"to \d{3}.*; declare what they can be: bounds=\(LOW, HIGH\) in Python, --bounds",
        ),
        (POINTS.clone().fill_(torch.nan), "or are not finite"),
    ],
)
def test_inputs_outside_the_domain_are_said_with_their_range_and_the_cure(points: Any, said: str) -> None:
    results = ff.evaluate(MODEL, points, recover="off", **CHEAP)
    assert re.search(said, results.document["run"]["said"][0])


def test_nothing_is_said_of_inputs_inside_the_domain() -> None:
    results = ff.evaluate(MODEL, POINTS * 255, ANSWERS, bounds=(0, 255), **CHEAP)
    assert not any("domain" in one for one in results.document["run"]["said"])
