"""What a subject keeps of its answers, and that whatever it met refutes every claim that reaches so far."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from falsefloor.gradients.straight_through import StraightThrough
from falsefloor.gradients.through import Through
from falsefloor.numerics.balls import vector_norm
from falsefloor.subjects.observe.counterexample import met
from falsefloor.subjects.sightings import Sightings
from falsefloor.subjects.subject import ModelSubject

CENTRE = torch.full((2, 6), 0.5)
LABELS = torch.tensor([0, 0])


def watched(
    module: nn.Module, inputs: Tensor, labels: Tensor, norm: str = "linf"
) -> tuple[ModelSubject, Sightings]:
    subject = ModelSubject(module, classes=2)
    return subject, Sightings(inputs, labels, norm=norm, bounds=subject.bounds)


class Half(nn.Module):
    """Class 1 where the first coordinate exceeds 0.75; no finite answer above 0.9."""

    def forward(self, x: Tensor) -> Tensor:
        first = x.flatten(1)[:, 0]
        lead = (0.75 - first).log1p() if x.requires_grad else 0.75 - first
        lead = torch.where(first > 0.9, torch.nan, lead)
        return torch.stack([lead, torch.zeros_like(lead)], 1)


def at(*firsts: float) -> Tensor:
    points = torch.full((len(firsts), 6), 0.5)
    points[:, 0] = torch.tensor(firsts)
    return points


@pytest.mark.parametrize("norm", ["l1", "l2", "linf"])
def test_the_nearest_row_of_another_class_is_bisected_towards_its_input(norm: str) -> None:
    subject, seen = watched(Half(), CENTRE[:1], LABELS[:1], norm)
    with subject.shown_to(seen):
        subject(at(0.6, 0.89, 0.82, 0.5))
    (found,) = met(subject, seen, rows=64)
    assert found["changed"].facts["distance"] == pytest.approx(0.25, rel=2e-3)
    assert found["changed"].facts["distance"] <= 0.32
    assert found["changed"].facts["predicted"] == 1
    assert "nonfinite" not in found


def test_rows_without_finite_logits_are_kept_apart() -> None:
    subject, seen = watched(Half(), CENTRE[:1], LABELS[:1])
    with subject.shown_to(seen):
        subject.unfilled(at(0.99, 0.95))
    (found,) = met(subject, seen, rows=64)
    assert found["nonfinite"].facts["distance"] == pytest.approx(0.4, rel=2e-3)
    assert not subject(found["nonfinite"].point.unsqueeze(0)).isfinite().all()


def test_what_lies_outside_the_domain_or_came_after_the_watch_does_not_count() -> None:
    subject, seen = watched(Half(), CENTRE[:1], LABELS[:1])
    low = at(0.8)
    low[:, 1] = -0.5
    with subject.shown_to(seen):
        subject(low)
    subject(at(0.8))
    assert met(subject, seen, rows=64) == [{}]


def test_an_input_that_is_misclassified_has_no_sightings() -> None:
    subject, seen = watched(Half(), torch.cat([at(0.8), at(0.3)]), torch.tensor([0, 0]))
    with subject.shown_to(seen):
        subject(at(0.81, 0.8, 0.76))
    first, _ = met(subject, seen, rows=64)
    assert first == {}


def test_inputs_count_for_each_other() -> None:
    subject, seen = watched(Half(), torch.cat([at(0.7), at(0.8)]), torch.tensor([0, 1]))
    low, high = met(subject, seen, rows=64)
    assert low["changed"].facts["distance"] == pytest.approx(0.05, rel=1e-2)
    assert high["changed"].facts["distance"] == pytest.approx(0.05, rel=1e-2)


def test_an_answer_that_holds_for_a_batch_of_one_only_is_no_sighting() -> None:
    class Alone(Half):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x if len(x) == 1 else x.clamp(max=0.7))

    subject, seen = watched(Alone(), CENTRE[:1], LABELS[:1])
    with subject.shown_to(seen):
        subject.unfilled(at(0.8))
    seen.look()
    assert bool(seen.changed.found.all()), "it was met"
    assert met(subject, seen, rows=64) == [{}]


def test_rows_seen_through_a_repaired_gradient_count_and_change_nothing() -> None:
    class Stairs(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return Half()((x * 20).ceil() / 20 + 0.01)

    points = at(0.6, 0.8).requires_grad_()
    subject, seen = watched(Stairs(), CENTRE[:1], LABELS[:1])
    plain = torch.autograd.grad(Through(subject, StraightThrough())(points)[:, 0].sum(), points)[0]
    with subject.shown_to(seen):
        again = torch.autograd.grad(Through(subject, StraightThrough())(points)[:, 0].sum(), points)[0]
    assert torch.equal(plain, again)
    assert met(subject, seen, rows=64)[0]["changed"].facts["distance"] == pytest.approx(0.2, rel=1e-2)


def test_the_nearest_of_many_rows_is_kept_whatever_the_order() -> None:
    generator = torch.Generator().manual_seed(0)
    rows = torch.rand(9000, 6, generator=generator)
    for norm in ("l1", "l2", "linf"):
        subject, seen = watched(Half(), CENTRE[:1], LABELS[:1], norm)
        with subject.shown_to(seen), torch.no_grad():
            answers = torch.cat([subject(part) for part in rows.split(700)])
        seen.look()
        other = answers.isfinite().all(1) & (answers[:, 1] > answers[:, 0])
        nearest = vector_norm(rows[other] - CENTRE[:1], norm).min()
        assert float(seen.changed.distance[0, 0]) == pytest.approx(float(nearest), rel=1e-6)
