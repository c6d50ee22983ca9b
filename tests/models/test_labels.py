"""Labels in the forms that people keep them in; what is told where they and the answers do not meet."""

from __future__ import annotations

import re

import pytest
import torch

from falsefloor.errors import DomainError
from falsefloor.models.labels import as_classes, disagreement

CLASSES = torch.tensor([2, 0, 1, 2])
ONE_HOT = torch.nn.functional.one_hot(CLASSES, 3)


@pytest.mark.parametrize(
    "given,said",
    [
        (CLASSES, ""),
        (CLASSES.to(torch.uint8), ""),
        (CLASSES.double(), ""),
        (CLASSES[:, None], ""),
        (ONE_HOT, "one-hot"),
        (ONE_HOT.float(), "one-hot"),
        (ONE_HOT.bool(), "one-hot"),
    ],
)
def test_every_honest_form_is_the_same_classes(given: torch.Tensor, said: str) -> None:
    labels, how = as_classes(given, count=4, classes=3)
    assert labels.tolist() == CLASSES.tolist()
    assert said in how
    assert bool(said) == bool(how)


@pytest.mark.parametrize(
    "given,complaint",
    [
        (ONE_HOT * 0.9 + 0.03, r"argmax\(1\)"),
        (ONE_HOT + ONE_HOT.roll(1, 1), "not one-hot.*Several labels at once"),
        (torch.nn.functional.one_hot(CLASSES, 5), "over 5 classes; the model has 3"),
        (CLASSES + 0.5, "whole numbers"),
        (CLASSES * torch.nan, "whole numbers"),
        (CLASSES + 0j, "whole numbers"),
        (CLASSES[:3], r"4 inputs need as many labels; there are \(3,\)"),
        (torch.tensor(1), r"as many labels; there are \(\)"),
        (CLASSES + 1, r"label 3 is not a class.*from 1 to 3.*0 to 2.*subtract 1"),
        (CLASSES + 7, r"label 9 is not a class"),
        (CLASSES - 1, r"label -1 is not a class"),
    ],
)
def test_what_is_no_class_an_input_is_refused_with_the_cure(given: torch.Tensor, complaint: str) -> None:
    with pytest.raises(DomainError, match=complaint):
        as_classes(given, count=4, classes=3)


def test_signs_are_told_to_become_classes() -> None:
    with pytest.raises(DomainError, match=r"\(labels \+ 1\) // 2"):
        as_classes(torch.tensor([-1, 1, 1]), count=3, classes=2)


ANSWERS = [0, 1, 2, 3, 0, 1, 2, 2, 1, 0]


@pytest.mark.parametrize(
    "labels,classes,said",
    [
        ([a + 1 for a in ANSWERS], 5, "0 of 10 .*count from 1; subtract 1"),
        ([(a + 1) % 4 for a in ANSWERS], 4, "plus 1, modulo 4: the labels are shifted, subtract 1"),
        ([(a - 1) % 4 for a in ANSWERS], 4, "plus 3, modulo 4: the labels are shifted, add 1"),
        ([[2, 0, 3, 1][a] for a in ANSWERS], 4, "another order: the model's 0 is 2, 1 is 0, 2 is 3, 3 is 1"),
        ([3, 2, 0, 1, 1, 2, 3, 0, 3, 2], 4, "not this model's"),
    ],
)
def test_the_cause_of_labels_that_do_not_meet_is_told_where_the_data_tell(
    labels: list[int], classes: int, said: str
) -> None:
    assert re.search(said, disagreement(labels, ANSWERS, classes))


def test_two_classes_that_are_swapped_are_told() -> None:
    assert "swapped" in disagreement([1, 0, 1, 0], [0, 1, 0, 1], 2)


def test_one_answer_for_all_inputs_speaks_of_preprocessing() -> None:
    assert "it answers 3 on all; preprocessing" in disagreement([0, 1, 2, 1], [3, 3, 3, 3], 4)


def test_an_explanation_holds_though_the_model_errs_on_some() -> None:
    labels = [(a - 1) % 4 for a in ANSWERS]
    labels[3] = 0
    assert "shifted" in disagreement(labels, ANSWERS, 4)


@pytest.mark.parametrize("labels", [ANSWERS, [*ANSWERS[:5], 3, 3, 3, 3, 3]])
def test_nothing_is_said_of_a_model_that_is_right_on_half(labels: list[int]) -> None:
    assert disagreement(labels, ANSWERS, 4) == ""


def test_two_inputs_tell_no_cause_that_they_cannot_know() -> None:
    said = disagreement([1, 2], [0, 1], 4)
    assert said.startswith("0 of 2 inputs are classified as labelled")
    assert "shifted" not in said
    assert "order:" not in said
