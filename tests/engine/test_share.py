"""What `held` is worth: uniform points of the claimed ball, told with every floor, that may refute it."""

from __future__ import annotations

import torch
from torch import Tensor, nn

import falsefloor as ff


class Flat(nn.Module):
    """Class 0 everywhere but where the first coordinate is above 0.55: no gradient says so."""

    def forward(self, x: Tensor) -> Tensor:
        other = (x[:, 0] > 0.55).to(x.dtype)
        return torch.stack([1 - other, 2 * other], 1) + 0 * x.sum(1, keepdim=True)


def _clever(module: nn.Module, point: Tensor, radius: float) -> dict[str, object]:
    found = ff.evaluate(
        module,
        point.unsqueeze(0),
        torch.tensor([0]),
        bounds=(0, 1),
        norm="linf",
        estimators=[f"clever:radius={radius},batches=4,samples=4"],
        ceiling=False,
        recover="off",
    )
    return next(one for one in found.estimates if one["estimator"] == "clever")


def test_a_floor_says_how_many_uniform_points_kept_the_class() -> None:
    told = _clever(Flat(), torch.tensor([0.3, 0.5]), 0.2)
    evidence = told["evidence"]
    assert isinstance(evidence, dict)
    assert (evidence["share_points"], evidence["share_other"]) == (1000.0, 0.0)
    assert 0.0029 < evidence["share_bound"] < 0.003


def test_points_of_another_class_in_the_ball_refute_it() -> None:
    told = _clever(Flat(), torch.tensor([0.3, 0.5]), 0.3)
    evidence = told["evidence"]
    assert isinstance(evidence, dict)
    # the slab above 0.55 is a twelfth of the ball from 0 to 0.6
    assert 50 < evidence["share_other"] < 120
    assert told["verdict"] == "refuted"
