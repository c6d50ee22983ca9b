"""What keeps CLEVER near the cost of its gradients, and that nothing of it changes an answer."""

import pytest
import torch
from torch import Tensor

from falsefloor.engine.context import RunContext, generators
from falsefloor.estimators.clever import Clever
from falsefloor.estimators.clever.ball import LARGE, filled
from falsefloor.estimators.clever.gradients import Ruler
from falsefloor.estimators.slopes import View
from falsefloor.models.digits import DigitsModel, load_split
from falsefloor.subjects.subject import ModelSubject


def mlp() -> ModelSubject:
    loaded = DigitsModel()("mlp")
    return ModelSubject(loaded.module, classes=loaded.classes, bounds=loaded.bounds)


def looked(subject: ModelSubject, count: int = 3) -> tuple[Tensor, dict[str, Tensor], int]:
    images, labels = (part[:count] for part in load_split(held_out=True))
    context = RunContext(generators(images, seed=0, norm="linf"))
    found = Clever()(subject, images, labels, norm="linf", context=context)
    balls = int(found.curves["ball_radius"].isfinite().sum())
    return found.radius, found.evidence, balls  # type: ignore[return-value]


def test_the_slope_that_decides_has_been_fitted() -> None:
    radius, evidence, _ = looked(mlp(), 8)
    assert (evidence["slope"] >= evidence["fit_location"] * (1 - 1e-9)).all()
    assert (radius <= evidence["margin"] / evidence["slope"] * (1 + 1e-6)).all()


def test_large_forwards_are_whole_and_small_ones_are_left_to_the_subject() -> None:
    points, more = torch.rand(1000, 3), torch.rand(163, 3)
    both = filled(points, more)
    assert len(both) == 1168 and torch.equal(both[:1163], torch.cat([points, more]))
    assert (both[1163:] == more[-1]).all()
    assert len(filled(points[:40], more[:0])) == 40 < LARGE


def test_no_large_forward_is_filled_inside_the_graph() -> None:
    subject = mlp()
    sizes: list[int] = []
    subject.register_forward_pre_hook(lambda _module, given: sizes.append(len(given[0])))
    looked(subject, 1)
    large = [size for size in sizes if size > LARGE]
    assert large and all(size % 16 == 0 for size in large)


@pytest.mark.parametrize("norm", ["linf", "l2", "l1"])
def test_slopes_written_in_place_are_those_returned(norm: str) -> None:
    made = torch.Generator().manual_seed(0)
    subject, centre = mlp(), torch.rand(1, 8, 8, generator=made)
    view = View(subject, centre, 0, torch.arange(1, 10), torch.ones(9), norm, 4096)  # type: ignore[arg-type]
    ruler = Ruler(view, torch.tensor([0.3, 0.1]))
    block = torch.randn(1, 50, 64, generator=made)
    table = torch.full((3, 50), torch.nan)
    ruler.into(table, block, 0)
    assert torch.equal(table, ruler(block, 0)[0])
    assert torch.allclose(table[-1], block[0].abs().sum(1)) or norm != "linf"
