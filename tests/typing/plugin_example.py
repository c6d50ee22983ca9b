"""One plugin of each kind, as a type checker sees them: the contract's types fit what an author writes.

Checked by strict mypy in test_typed_contract.py, and run by nobody.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal, assert_type

import torch
from torch import Tensor, nn

from falsefloor.api import (
    Check,
    Claim,
    CodeInfo,
    Context,
    Estimate,
    Estimator,
    Facts,
    Finding,
    GradientSource,
    InputSource,
    LabelledInputs,
    LoadedModel,
    Masker,
    ModelSource,
    Norm,
    Subject,
    option,
)


@dataclass(frozen=True)
class Constant:
    """The same radius for every input."""

    api_version: ClassVar[int] = 1
    claim: ClassVar[Claim] = "lower_estimate"
    norms: ClassVar[frozenset[Norm]] = frozenset(("l1", "l2", "linf"))

    value: float = option(0.0, help="the radius", ge=0)
    radius: float | Literal["auto"] = option("auto", help="a number or a word", gt=0)
    targets: Literal["all", "race"] = option("all", help="one of two words")

    def __call__(
        self, subject: Subject, inputs: Tensor, labels: Tensor, /, *, norm: Norm, context: Context
    ) -> Estimate:
        assert_type(subject(inputs), Tensor)
        assert_type(subject.bounds, tuple[Tensor, Tensor])
        assert_type(context.generators[0], torch.Generator)
        context.progress(1, 1, radius=inputs.new_zeros(len(inputs)))
        context.warn("FF301", "for some", inputs=labels == 0)
        return Estimate(
            radius=torch.full((len(inputs),), self.value), evidence={"fit": ["none"] * len(inputs)}
        )


@dataclass(frozen=True)
class Nothing:
    """Masks nothing."""

    api_version: ClassVar[int] = 1

    def __call__(self, part: nn.Module, /) -> nn.Module:
        return nn.Sequential(part)


@dataclass(frozen=True)
class Same:
    """The subject's own gradient."""

    api_version: ClassVar[int] = 1

    def __call__(self, subject: Subject, /) -> Callable[[Tensor], Tensor]:
        return subject


@dataclass(frozen=True)
class Flat:
    """One model for every reference."""

    api_version: ClassVar[int] = 1

    def __call__(self, ref: str, /) -> LoadedModel:
        return LoadedModel(
            nn.Flatten(), classes=4, input_shape=(2, 2), bounds=(0.0, torch.ones(2, 2)), units=ref
        )


@dataclass(frozen=True)
class Zeros:
    """The same inputs for every reference."""

    api_version: ClassVar[int] = 1

    def __call__(self, ref: str, model: LoadedModel, /) -> LabelledInputs:
        return LabelledInputs(torch.zeros(1, *model.input_shape), names=[ref])


class Silent:
    """Finds nothing."""

    api_version: ClassVar[int] = 1
    codes: ClassVar[Mapping[str, CodeInfo]] = {"NONE": CodeInfo("none", "note", "s", "c", "x")}

    def __call__(self, facts: Facts, /) -> Iterator[Finding]:
        assert_type(facts.judged.radius, float)
        if facts.judged.radius < 0:
            yield Finding("NONE", "note", f"under {facts.norm}")


estimator: Estimator = Constant(value=0.1)
masker: Masker = Nothing()
gradient: GradientSource = Same()
model: ModelSource = Flat()
inputs: InputSource = Zeros()
check: Check = Silent()
assert_type(Constant().value, float)
