"""Points around a claim asked in several ways, and answers that a subject gave and does not give any more."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from falsefloor.numerics.balls import vector_norm
from falsefloor.subjects.observe.around import INNER, MOST, Moves, around, forgotten
from falsefloor.subjects.observe.counterexample import met
from falsefloor.subjects.sightings import Sightings
from falsefloor.subjects.subject import ModelSubject

X = torch.full((2, 6), 0.5)
LABELS = torch.tensor([0, 0])
RADIUS = torch.tensor([0.2, 0.1])


class Plane(nn.Module):
    """Class 1 above 0.9 in the first coordinate."""

    def lead(self, x: Tensor) -> Tensor:
        return 0.9 - x[:, 0]

    def forward(self, x: Tensor) -> Tensor:
        lead = self.lead(x)
        return torch.stack([lead, torch.zeros_like(lead)], 1)


class Company(Plane):
    """What is asked alone answers otherwise beyond 0.15 in the largest coordinate."""

    def lead(self, x: Tensor) -> Tensor:
        far = (x - 0.5).abs().amax(1) > 0.15
        return super().lead(x) + 0.1 * (far & (len(x) == 1))


class Rounds(Plane):
    """Alone the sums are taken in another order."""

    def lead(self, x: Tensor) -> Tensor:
        return super().lead(x) + 6e-8 * (len(x) == 1)


class Steep(Rounds):
    """Magnifies it, as a softmax after a large temperature does."""

    def lead(self, x: Tensor) -> Tensor:
        return (3000 * super().lead(x)).tanh()


class Forgetful(Plane):
    """Answered another class at first."""

    early = True

    def lead(self, x: Tensor) -> Tensor:
        return super().lead(x) - 2.0 * (self.early and len(x) > 1)


def moves(module: nn.Module, norm: str = "linf", witness: Tensor | None = None) -> Moves:
    drawn = [torch.Generator().manual_seed(seed) for seed in (1, 2)]
    subject = ModelSubject(module, classes=2)
    return around(subject, X, radius=RADIUS, witness=witness, norm=norm, generators=drawn, rows=512)


@pytest.mark.parametrize("norm", ["l1", "l2", "linf"])
def test_shells_lie_inside_the_claim_and_a_faithful_subject_does_not_move(norm: str) -> None:
    asked: list[Tensor] = []

    class Seen(Plane):
        def lead(self, x: Tensor) -> Tensor:
            asked.append(x)
            return super().lead(x)

    found = moves(Seen(), norm)
    assert found.repeats.tolist() == found.batch.tolist() == [0.0, 0.0]
    away = vector_norm(torch.cat(asked) - X[0], norm)
    inside = away[: len(X) * MOST].reshape(len(X), MOST) / RADIUS[:, None]
    assert float(inside.max()) == pytest.approx(1.0, rel=1e-4)
    assert float(inside.min()) == pytest.approx(INNER, rel=1e-3)
    gaps = inside.sort(1).values.diff(dim=1)
    assert float(gaps.max()) < 1e-3, "no shell so thin that all points jump over it"
    assert float(away[len(X) * MOST :].max()) > 0.3, "some are asked twice far out, and inside the box"
    assert bool(((torch.cat(asked) >= 0) & (torch.cat(asked) <= 1)).all())


def test_what_answers_otherwise_alone_moves_wherever_it_does_so() -> None:
    found = moves(Company())
    assert bool((found.batch > 0.01).all()), "the second claim stays below"
    assert found.repeats.tolist() == [0.0, 0.0]


@pytest.mark.parametrize("norm", ["l1", "l2", "linf"])
def test_half_a_box_that_answers_otherwise_alone_is_met_from_any_claim(norm: str) -> None:
    """No random point of a claim in l2 or l1 comes near it."""

    class Half(Plane):
        def lead(self, x: Tensor) -> Tensor:
            return super().lead(x) + 0.1 * ((x.flatten(1).mean(1) > 0.52) & (len(x) == 1))

    middle = torch.full((2, 300), 0.5)
    drawn = [torch.Generator().manual_seed(seed) for seed in (1, 2)]
    subject = ModelSubject(Half(), classes=2)
    found = around(
        subject, middle, radius=torch.full((2,), 0.1), witness=None, norm=norm, generators=drawn, rows=512
    )
    assert bool((found.batch > 0.01).all())


@pytest.mark.parametrize("module", [Rounds(), Steep()])
def test_rounding_where_the_logits_vanish_or_rise_steeply_is_no_other_answer(module: nn.Module) -> None:
    edge = X + torch.tensor([0.4, 0, 0, 0, 0, 0])
    assert moves(module, witness=edge).batch.tolist() == [0.0, 0.0]


def test_an_answer_that_is_not_given_any_more_is_told() -> None:
    module = Forgetful()
    subject = ModelSubject(module, classes=2)
    seen = Sightings(X[:1], LABELS[:1], norm="linf", bounds=subject.bounds)
    with subject.shown_to(seen):
        subject(X[:1] + torch.tensor([[0.1], [0.2]]))
        subject.module.early = False
        assert met(subject, seen, rows=64) == [{}], "none of them stands"
        found = forgotten(subject, seen, of=[0], rows=64)
    assert found.repeats[0] > 0.1 and found.batch[0] == 0


def test_an_answer_that_is_still_given_is_none_of_these() -> None:
    subject = ModelSubject(Plane(), classes=2)
    seen = Sightings(X[:1], LABELS[:1], norm="linf", bounds=subject.bounds)
    with subject.shown_to(seen):
        subject(X[:1] + 0.45)
        found = forgotten(subject, seen, of=[0], rows=64)
    assert found.repeats.tolist() == found.batch.tolist() == [0.0]
