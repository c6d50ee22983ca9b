"""Margins and predictions, ties included."""

import math

import pytest
import torch

from falsefloor.numerics.margins import margins, predicted, runner_up

LOGITS = torch.tensor([[3.0, 1.0, 2.0], [0.0, 0.0, -1.0], [1.0, 2.0, 5.0]])


def test_margins_are_differences_with_infinity_at_the_label() -> None:
    assert margins(LOGITS, torch.tensor([0, 1, 0])).tolist() == [
        [math.inf, 2.0, 1.0], [0.0, math.inf, 1.0], [math.inf, -1.0, -4.0],
    ]  # fmt: skip


def test_the_runner_up_is_the_strongest_other_class() -> None:
    assert runner_up(LOGITS, torch.tensor([0, 0, 2])).tolist() == [2, 1, 1]


@pytest.mark.parametrize("label", [0, 1])
def test_a_tie_counts_as_misclassified_for_either_label(label: int) -> None:
    assert predicted(LOGITS[1:2], torch.tensor([label])).item() != label


def test_a_win_is_the_label_and_a_loss_the_winner() -> None:
    assert predicted(LOGITS, torch.tensor([0, 2, 0])).tolist() == [0, 0, 2]
    assert predicted(LOGITS).tolist() == [0, 0, 2]


def test_a_nan_logit_is_never_a_win() -> None:
    assert predicted(torch.tensor([[5.0, math.nan, 1.0]]), torch.tensor([0])).item() != 0
