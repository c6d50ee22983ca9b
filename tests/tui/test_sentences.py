"""The claim of an estimate as a sentence: what it says of every kind of number, and of none."""

from __future__ import annotations

import math
from typing import Any

import pytest

from falsefloor.tui.words import says

RECORD: dict[str, Any] = {
    "name": "clever",
    "model": "digits:mlp",
    "masker": "staircase:c=255",
    "stack": [{"use": "staircase", "params": {"c": 255}, "at": "input"}],
    "norm": "linf",
    "input": 4,
    "label": 1,
    "predicted": 1,
    "radius": 0.25,
    "claim": "lower_estimate",
    "status": "ok",
    "error": None,
    "capped": False,
}
BARE = {"masker": "none", "stack": [{"use": "none", "params": {}, "at": "input"}]}
WHO = "clever on digits:mlp behind staircase:c=255"
BARE_MODEL = "the bare model digits:mlp"
HOW = "(no coordinate moved by more)"


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({}, f"{WHO} estimates that no change below about 0.2500 fools it at input 4 {HOW}."),
        (
            {"claim": "lower_bound"},
            f"{WHO} proves that no change below 0.2500 fools it at input 4 {HOW}.",
        ),
        (
            {"capped": True},
            f"{WHO} estimates that no change below 0.2500 fools it at input 4 {HOW}; its range ended there.",
        ),
        (
            {"claim": "upper_bound"},
            f"{WHO} found an input at 0.2500 that changes the answer at input 4 {HOW}.",
        ),
        (
            {"claim": "upper_bound", "radius": math.inf},
            f"{WHO}: no input found that changes the answer at input 4. That is no proof.",
        ),
        (
            {"radius": 0.0, "predicted": 7},
            f"{WHO}: input 4 is misclassified to begin with, so its distance is 0.",
        ),
        ({"status": "failed", "radius": None, "error": "it broke"}, f"{WHO}, input 4: failed. it broke"),
        (
            BARE,
            f"clever on {BARE_MODEL} estimates that no change below about 0.2500 fools it at input 4 {HOW}.",
        ),
    ],
    ids=["estimate", "certified", "capped", "found", "none found", "misclassified", "failed", "bare"],
)
def test_every_claim_is_one_sentence_that_says_what_it_is(changed: dict[str, Any], sentence: str) -> None:
    assert says(RECORD | changed) == sentence
