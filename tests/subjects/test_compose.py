from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn

from falsefloor.errors import UsageError
from falsefloor.subjects.compose import compose


@dataclass(frozen=True)
class Affine:
    """t -> scale * t + shift on the part's output: does not commute, so order shows."""

    scale: float = 1.0
    shift: float = 0.0
    api_version = 1

    def __call__(self, part: nn.Module, /) -> nn.Module:
        return Mapped(part, self.scale, self.shift)


class Mapped(nn.Module):
    def __init__(self, part: nn.Module, scale: float, shift: float) -> None:
        super().__init__()
        self.part, self.scale, self.shift = part, scale, shift

    def forward(self, inputs: Tensor) -> Tensor:
        out: Tensor = self.part(inputs) * self.scale + self.shift
        return out


DOUBLE, PLUS = Affine(2.0, 0.0), Affine(1.0, 1.0)
X = torch.tensor([[1.0, -3.0]])


def model() -> nn.Module:
    return nn.Sequential(OrderedDict(first=nn.ReLU(), second=nn.Identity()))


def test_each_place_is_where_it_says() -> None:
    assert compose(model(), [(PLUS, "input")])(X).tolist() == [[2.0, 0.0]]
    assert compose(model(), [(PLUS, "first")])(X).tolist() == [[2.0, 1.0]]
    assert compose(model(), [(PLUS, "model")])(X).tolist() == [[2.0, 1.0]]
    assert compose(model(), [(PLUS, "logits")])(X).tolist() == [[2.0, 1.0]]


@pytest.mark.parametrize("place", ["input", "first", "model", "logits"])
def test_a_stack_applies_left_to_right_in_the_direction_of_the_data(place: str) -> None:
    x = torch.tensor([[3.0]])
    assert compose(model(), [(DOUBLE, place), (PLUS, place)])(x).item() == 7.0
    assert compose(model(), [(PLUS, place), (DOUBLE, place)])(x).item() == 8.0


def test_every_masker_at_an_end_gets_an_identity() -> None:
    seen: list[type] = []

    class Spy:
        api_version = 1

        def __call__(self, part: nn.Module, /) -> nn.Module:
            seen.append(type(part))
            return Mapped(part, 2.0, 0.0)

    compose(model(), [(Spy(), "input"), (Spy(), "input"), (Spy(), "logits")])
    assert seen == [nn.Identity] * 3


def test_a_submodule_with_several_names_is_masked_under_all_of_them() -> None:
    shared = nn.Identity()
    twice = nn.Sequential(shared, nn.Sequential(shared))
    assert compose(twice, [(PLUS, "0")])(torch.zeros(1, 1)).item() == 2.0
    assert compose(twice, [(PLUS, "1.0")])(torch.zeros(1, 1)).item() == 2.0


def test_the_model_is_never_changed() -> None:
    original = model()
    compose(original, [(PLUS, "first"), (PLUS, "model")])
    assert original(X).tolist() == [[1.0, 0.0]]


def test_an_unknown_place_names_the_nearest() -> None:
    with pytest.raises(UsageError, match="Did you mean 'first'"):
        compose(model(), [(PLUS, "firts")])
