"""A point of another class that any call met, whoever asked, never lies inside a claim that stays held.

Asked from outside, by a module that remembers every row: on the detection benchmark's own subjects.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch import Tensor, nn

from falsefloor.models.digits import load_split

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
IMAGES, LABELS = load_split(held_out=True)


@pytest.fixture(scope="module")
def met() -> Iterator[ModuleType]:
    sys.path.insert(0, str(BENCHMARKS))
    try:
        import detection_met

        yield detection_met
    finally:
        sys.path.remove(str(BENCHMARKS))


class Notched(nn.Module):
    """One coordinate: class 0, but 1 between 0.6 and 0.65, where x0 is 0.5."""

    def forward(self, x: Tensor) -> Tensor:
        t = x.flatten(1)[:, :1]
        return torch.where((t > 0.6) & (t < 0.65), -1.0, 1.0) * torch.tensor([1.0, -1.0])


def test_what_is_remembered_is_the_nearest_row_that_stands(met: ModuleType) -> None:
    x, y = torch.tensor([[0.5]]), torch.tensor([0])
    met.Watched.begin(x, y, "linf")
    watched = met.Watched(Notched())
    assert watched.standing(0) == float("inf")
    watched(torch.tensor([[0.7], [0.64], [0.61], [1.61]]))
    assert watched.standing(0) == pytest.approx(0.11)
    watched(torch.tensor([[0.605]]).double())  # another format's copy
    assert watched.standing(0) == pytest.approx(0.11)


def test_a_region_that_samples_meet_is_in_no_claim_that_is_held(met: ModuleType) -> None:
    (family,) = (family for family in met.FAMILIES if family.name == "sparse")
    name, module = next(met.subjects_of(family))
    _, found = met.breaches(name, module, IMAGES[:1], LABELS[:1], "linf", recover="off")
    assert found == []
    assert met.Watched.nearest[0], "the sampler did meet it"


@pytest.mark.slow
@pytest.mark.parametrize("norm", ["linf", "l2", "l1"])
def test_no_benchmark_study_holds_a_claim_around_a_point_that_was_met(met: ModuleType, norm: str) -> None:
    for family in met.FAMILIES:
        _, found = met.report([family], [norm], inputs=1)
        assert found == []
