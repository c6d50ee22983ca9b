"""CLEVER with many classes and forwards of few rows: the same answers, without sixteen times the work."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from falsefloor.engine.context import RunContext, generators
from falsefloor.estimators.clever import Clever, ball
from falsefloor.estimators.clever.gradients import gradients
from falsefloor.estimators.slopes import View
from falsefloor.numerics.margins import margins
from falsefloor.subjects.subject import ModelSubject

CLASSES = 200


class Counted(nn.Module):
    """A module that counts the rows of every forward, fillers included."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net, self.rows = net, 0

    def forward(self, x: Tensor) -> Tensor:
        self.rows += len(x)
        logits: Tensor = self.net(x)
        return logits


def subject_and_input() -> tuple[ModelSubject, Counted, Tensor, Tensor]:
    torch.manual_seed(3)
    net = nn.Sequential(nn.Linear(12, 32), nn.ReLU(), nn.Linear(32, CLASSES))
    with torch.no_grad():
        net[2].bias.copy_(torch.randn(CLASSES))
    counted = Counted(net)
    subject = ModelSubject(counted, classes=CLASSES)
    x = torch.rand(1, 12)
    return subject, counted, x, net(x).argmax(1)


def estimate(rows: int, **options: Any) -> tuple[float, float, int]:
    """Radius, targets covered and backward queries."""
    subject, _, x, label = subject_and_input()
    found = Clever(batches=4, samples=5, **options)(
        subject, x, label, norm="linf", context=RunContext(generators(x, seed=0, norm="linf"), rows=rows)
    )
    radius, covered = float(found.radius[0]), float(found.evidence["targets_covered"][0])
    return radius, covered, subject.backward_queries


def test_few_rows_a_forward_change_no_radius() -> None:
    assert estimate(16)[0] == pytest.approx(estimate(4096)[0], rel=1e-5)


def test_a_race_finds_the_radius_of_all_targets_for_less() -> None:
    radius, covered, backward = estimate(4096, targets="race")
    whole, every, effort = estimate(4096)
    assert radius == pytest.approx(whole, rel=0.02)
    assert every == CLASSES - 1 and covered < every and backward < effort


def test_a_point_with_many_targets_costs_one_backward_row_a_target() -> None:
    subject, counted, x, label = subject_and_input()
    others = torch.tensor([k for k in range(CLASSES) if k != int(label)])
    margin = margins(subject(x).detach(), label)[0][others]
    before = counted.rows
    view = View(subject, x[0], int(label), others, margin, "linf", 16)
    blocks = [block for _, _, block in gradients(view, x)]
    assert sum(block.shape[0] for block in blocks) == CLASSES - 1
    # alone, each of the 199 backwards would go through a graph of 16 rows, 15 of them fillers
    assert max(block.shape[0] for block in blocks) == 16
    assert counted.rows - before <= CLASSES + 16


def test_of_many_classes_only_those_that_can_be_among_the_nearest_are_looked_at(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    whole = estimate(4096, targets=3)
    monkeypatch.setattr(ball, "UNIT_ELEMENTS", 1024)  # as if the input were a photograph
    monkeypatch.setattr(ball, "AT_A_TIME", 16)
    radius, covered, backward = estimate(4096, targets=3)
    assert radius == pytest.approx(whole[0], rel=0.02) and covered == 3
    assert backward < whole[2] - CLASSES / 2
