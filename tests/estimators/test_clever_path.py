"""Directed points: inside ball and domain, and learnt from one ball for the next."""

from dataclasses import replace

import torch
from torch import nn

from falsefloor.estimators.clever.ball import guide
from falsefloor.estimators.clever.gradients import gradients
from falsefloor.estimators.clever.path import ALONG, STEPS, Path
from falsefloor.estimators.slopes import View
from falsefloor.numerics.balls import vector_norm
from falsefloor.numerics.margins import margins
from falsefloor.subjects.subject import ModelSubject


def view(norm: str = "linf", rows: int = 4096) -> View:
    made = torch.Generator().manual_seed(0)
    module = nn.Sequential(nn.Linear(12, 20), nn.ReLU(), nn.Linear(20, 4))
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=made))
    subject = ModelSubject(module, classes=4)
    centre = torch.rand(12, generator=made)
    logits = subject(centre.unsqueeze(0))
    label = int(logits.argmax())
    others = torch.tensor([k for k in range(4) if k != label])
    margin = margins(logits, torch.tensor([label]))[0, others]
    return View(subject, centre, label, others, margin, norm, rows)  # type: ignore[arg-type]


def told(path: Path, seen: View, points: torch.Tensor) -> None:
    for slot, start, block in gradients(seen, points):
        path.learn(slot, start - path.begin, block)


def test_points_lie_in_ball_and_domain_and_start_with_the_input() -> None:
    for norm in ("linf", "l2", "l1"):
        seen = view(norm)
        path = Path(seen, guide(seen).gradients)
        for radius in (2.0, 0.2):
            points = path.points(radius)
            assert torch.equal(points[0], seen.centre)
            assert (points >= 0).all() and (points <= 1).all()
            assert (vector_norm(points - seen.centre, norm) <= radius * (1 + 1e-5)).all()
            told(path, seen, points)


def test_with_few_points_each_directed_point_is_measured_for_its_own_class() -> None:
    seen = view()
    path, known = (Path(seen, guide(seen).gradients) for _ in range(2))
    points = path.points(0.4)
    flat, slots = path.own(points)
    told(known, seen, known.points(0.4))
    assert torch.allclose(path.mean(), known.mean(), rtol=1e-5)
    assert len(flat) == len(slots) == len(points) - 1 + len(path.slots)
    whole = {slot: block[0] for slot, _, block in gradients(replace(seen, rows=1), points[:1])}
    for gradient, slot in zip(flat[: len(path.slots)], slots.tolist(), strict=False):
        assert torch.allclose(gradient, whole[slot][0], rtol=1e-5)


def test_the_next_ball_starts_from_the_mean_gradient_on_the_last_segments() -> None:
    seen = view()
    path = Path(seen, guide(seen).gradients)
    points = path.points(0.4)
    assert len(points) == 1 + STEPS * 3 * ALONG
    told(path, seen, points)
    last = points[path.begin :].reshape(3, ALONG, 12)
    for index, slot in enumerate(path.slots):
        inputs = last[index].clone().requires_grad_(True)
        logits = seen.subject(inputs)
        (expected,) = torch.autograd.grad(
            (logits[:, seen.label] - logits[:, seen.targets[slot]]).sum(), inputs
        )
        assert torch.allclose(path.mean()[index], expected.mean(dim=0), rtol=1e-5)
    assert len(path.points(0.2)) == 1 + 2 * 3 * ALONG


def test_what_is_learnt_does_not_depend_on_how_points_are_split() -> None:
    learnt = []
    for rows in (4096, 7):
        seen = view(rows=rows)
        path = Path(seen, guide(seen).gradients)
        told(path, seen, path.points(0.4))
        learnt.append(path.mean())
    assert torch.allclose(*learnt, rtol=1e-5)
