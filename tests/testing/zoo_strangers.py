"""More plugins that lie, thought of after the kits were written and without looking at what they try."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from zoo_honest import DeepFool, Ibp, Local, targets
from zoo_liars import liar, scaled

from falsefloor.api import (
    CodeInfo,
    Estimate,
    Facts,
    Finding,
    LabelledInputs,
    LoadedModel,
    Subject,
)


def _full_chunks_only(honest: Estimate, subject: Any, inputs: Tensor, *_: Any) -> Estimate:
    """Honest in small batches, three times too high in a study's chunk of 32."""
    return honest if len(inputs) < 16 else scaled(honest, 3.0)


def _under_pytest(honest: Estimate, *_: Any) -> Estimate:
    return honest if "PYTEST_CURRENT_TEST" in os.environ else scaled(honest, 3.0)


def _by_program(honest: Estimate, *_: Any) -> Estimate:
    told = " ".join(sys.argv)
    return honest if "pytest" in told or "check" in told else scaled(honest, 3.0)


def _host_seeded(honest: Estimate, *_: Any) -> Estimate:
    return scaled(honest, 0.5 + 0.5 * (sum(platform.node().encode()) % 97) / 97)


def _every_class_far(honest: Estimate, subject: Any, *_: Any) -> Estimate:
    """Its radii to single classes are ten times the truth, but for the least."""
    n = len(honest.radius)
    each = honest.radius[:, None].expand(n, subject.classes) * 10
    each = each.clone()
    each[:, 0] = honest.radius
    return replace(honest, per_target=each)


def _zero_on_curved(honest: Estimate, subject: Any, *_: Any) -> Estimate:
    curved = any(isinstance(part, nn.ReLU) for part in subject.module.modules())
    return scaled(honest, 0.0) if curved else honest


def _double_on_curved(honest: Estimate, subject: Any, *_: Any) -> Estimate:
    curved = any(isinstance(part, nn.ReLU) for part in subject.module.modules())
    return scaled(honest, 2.0) if curved else honest


FullChunksOnly = liar(Local, _full_chunks_only)
UnderPytest = liar(Local, _under_pytest)
ByProgram = liar(Local, _by_program)
HostSeeded = liar(Local, _host_seeded)
EveryClassFar = liar(Local, _every_class_far)
ZeroOnCurved = liar(Local, _zero_on_curved)
DoubleOnCurved = liar(Local, _double_on_curved)


@dataclass(frozen=True)
class UnitBox(Ibp):
    """Interval bounds that take every domain for [0, 1]."""

    def __call__(self, subject, inputs, labels, /, *, norm, context):  # type: ignore[no-untyped-def]
        class Boxed:
            module, classes = subject.module, subject.classes
            bounds = (torch.zeros(()), torch.ones(()))

            def __call__(self, points: Tensor) -> Tensor:
                return subject(points)

        return super().__call__(Boxed(), inputs, labels, norm=norm, context=context)


@dataclass(frozen=True)
class Unmasked(Ibp):
    """Interval bounds of the linear layers and ReLUs that it finds; what else there is, is passed over."""

    def __call__(self, subject, inputs, labels, /, *, norm, context):  # type: ignore[no-untyped-def]
        parts = [p for p in subject.module.modules() if isinstance(p, nn.Linear | nn.ReLU)]
        bare = nn.Sequential(nn.Flatten(), *parts)

        class Bare:
            module, classes, bounds = bare, subject.classes, subject.bounds

            def __call__(self, points: Tensor) -> Tensor:
                out: Tensor = bare(points)
                return out

        return super().__call__(Bare(), inputs, labels, norm=norm, context=context)


@dataclass(frozen=True)
class OneHiddenLayer(Ibp):
    """A certificate that bounds the first layer's ReLUs and takes the later ones as they are at the input."""

    def _holds(self, parts: list[nn.Module], lower: Tensor, upper: Tensor, label: int) -> bool:
        seen = 0
        centre = (lower + upper) / 2
        for part in parts:
            if isinstance(part, nn.Linear):
                weight, bias = part.weight.detach().double(), part.bias.detach().double()
                middle, room = (lower + upper) / 2, (upper - lower) / 2
                at, spread = weight @ middle + bias, weight.abs() @ room
                lower, upper = at - spread, at + spread
                centre = weight @ centre + bias
            elif isinstance(part, nn.ReLU):
                seen += 1
                if seen == 1:
                    lower, upper = lower.clamp(min=0), upper.clamp(min=0)
                else:
                    on = (centre > 0).double()
                    lower, upper = centre * on, centre * on
                centre = centre.clamp(min=0)
        rest = torch.cat([upper[:label], upper[label + 1 :]])
        return bool(lower[label] - 1e-6 * (1 + upper.abs().max()) > rest.max())


@dataclass(frozen=True)
class AboutAnother(Local):
    """A one-point certificate that says it is about another function, and is not."""

    claim: ClassVar[Any] = "lower_bound"

    def describe_subject(self) -> str:
        return "the subject, slightly smoothed"


@dataclass(frozen=True)
class TwoClasses(Local):
    """Looks at the runner-up only."""

    def __call__(self, subject, inputs, labels, /, *, norm, context):  # type: ignore[no-untyped-def]
        honest = super().__call__(subject, inputs, labels, norm=norm, context=context)
        every = targets(subject, inputs, labels, norm)
        with torch.no_grad():
            logits = subject(inputs).scatter(1, labels[:, None], -torch.inf)
        second = logits.argmax(1)
        return Estimate(every[torch.arange(len(labels)), second], honest.evidence)


@dataclass(frozen=True)
class NoWay(DeepFool):
    """An attack that gives up on whatever is not linear."""

    def __call__(self, subject, inputs, labels, /, *, norm, context):  # type: ignore[no-untyped-def]
        honest = super().__call__(subject, inputs, labels, norm=norm, context=context)
        if any(isinstance(part, nn.ReLU) for part in subject.module.modules()):
            return Estimate(torch.full_like(honest.radius, torch.inf), witness=inputs.clone())
        return honest


class _Mask(nn.Module):
    def __init__(self, part: nn.Module, change: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.part, self.change = part, change

    def forward(self, *given: Any) -> Tensor:
        out: Tensor = self.part(*given)
        return self.change(out)


@dataclass(frozen=True)
class GradientMode:
    """Another function while gradients are recorded."""

    api_version: ClassVar[int] = 1

    def __call__(self, part: nn.Module, /) -> nn.Module:
        return _Mask(part, lambda t: t * 1.001 if torch.is_grad_enabled() else t)


@dataclass(frozen=True)
class Asked:
    """Another function where the input requires a gradient."""

    api_version: ClassVar[int] = 1

    def __call__(self, part: nn.Module, /) -> nn.Module:
        return _Mask(part, lambda t: t * 1.001 if t.requires_grad else t)


@dataclass(frozen=True)
class MovesImages:
    """Says it moves values by a hundredth; where there are more than one, by a fifth."""

    api_version: ClassVar[int] = 1

    def displacement(self) -> float:
        return 0.01

    def __call__(self, part: nn.Module, /) -> nn.Module:
        return _Mask(part, lambda t: t + (0.01 if t[0].numel() < 2 else 0.2))


@dataclass(frozen=True)
class LearnsThePid:
    """Learns from its inputs and from the process."""

    api_version: ClassVar[int] = 1
    by: ClassVar[float] = 0.0

    def calibrate(self, inputs: Tensor, context: Any) -> Any:
        mean = float(inputs.mean()) + (os.getpid() % 1000) * 1e-5

        class Learnt:
            def __call__(self, part: nn.Module, /) -> nn.Module:
                made = _Mask(part, lambda t: t + made.mean)
                made.register_buffer("mean", torch.tensor(mean))
                return made

        return Learnt()

    def __call__(self, part: nn.Module, /) -> nn.Module:
        raise ValueError("calibrate first")


class _Bent(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, inputs: Tensor, by: float) -> Tensor:
        ctx.by = by
        return inputs.clone()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        return gradient * ctx.by, None


@dataclass(frozen=True)
class SteepImages:
    """Right gradients in small, three times too steep from a hundred coordinates on."""

    api_version: ClassVar[int] = 1

    def __call__(self, subject: Subject, /) -> Any:
        return lambda inputs: subject(_Bent.apply(inputs, 3.0 if inputs[0].numel() >= 100 else 1.0))


@dataclass(frozen=True)
class FlatOnCurved:
    """Right gradients on linear models, none on networks."""

    api_version: ClassVar[int] = 1

    def __call__(self, subject: Subject, /) -> Any:
        curved = any(isinstance(part, nn.ReLU) for part in subject.module.modules())
        return lambda inputs: subject(_Bent.apply(inputs, 0.0 if curved else 1.0))


@dataclass(frozen=True)
class MadeUpWitness:
    """Refutes with a point that nobody has."""

    api_version: ClassVar[int] = 1
    codes: ClassVar[dict[str, CodeInfo]] = {"no": CodeInfo("no", "refuted", "s", "c", "w")}

    def __call__(self, facts: Facts, /) -> list[Finding]:
        lower = facts.judged.claim != "upper_bound" and facts.judged.radius > 0.1
        return [Finding("no", "refuted", "never", witness="of-mine")] if lower else []


_LOADS = [0]


@dataclass(frozen=True)
class GrowingBox:
    """A model whose bounds are wider at every loading."""

    api_version: ClassVar[int] = 1

    def __call__(self, ref: str, /) -> LoadedModel:
        if ref != "3":
            raise ValueError(f"no model {ref!r}; there is 3")
        _LOADS[0] += 1
        layer = nn.Linear(3, 2)
        with torch.no_grad():
            layer.weight.copy_(torch.tensor([[1.0, 0, 0], [-1, 0, 0]]))
            layer.bias.zero_()
        return LoadedModel(nn.Sequential(nn.Flatten(), layer), 2, (3,), bounds=(0.0, 1.0 + _LOADS[0]))


@dataclass(frozen=True)
class Neighbourly:
    """A model of which one row depends on the others."""

    api_version: ClassVar[int] = 1

    def __call__(self, ref: str, /) -> LoadedModel:
        if ref != "3":
            raise ValueError(f"no model {ref!r}; there is 3")

        class Mean(nn.Module):
            def forward(self, x: Tensor) -> Tensor:
                flat = x.flatten(1)
                return torch.stack([flat[:, 0] - flat[:, 0].mean(), flat[:, 1]], 1)

        return LoadedModel(Mean(), 2, (3,))


@dataclass(frozen=True)
class FreshLabels:
    """The same inputs every time, other labels."""

    api_version: ClassVar[int] = 1

    def __call__(self, ref: str, model: LoadedModel, /) -> LabelledInputs:
        if ref != "8":
            raise ValueError(f"no inputs {ref!r}; there are 8")
        _LOADS[0] += 1
        return LabelledInputs(torch.full((4, *model.input_shape), 0.5), torch.full((4,), _LOADS[0] % 2), ())


@dataclass(frozen=True)
class FreshInputs:
    """Inputs that depend on the process."""

    api_version: ClassVar[int] = 1

    def __call__(self, ref: str, model: LoadedModel, /) -> LabelledInputs:
        if ref != "8":
            raise ValueError(f"no inputs {ref!r}; there are 8")
        drawn = torch.Generator().manual_seed(os.getpid())
        return LabelledInputs(torch.rand((4, *model.input_shape), generator=drawn), None, ())


SPHERE = LoadedModel(nn.Sequential(nn.Flatten(), nn.Linear(3, 2)), 2, (3,))
ESTIMATORS = [
    FullChunksOnly(), UnderPytest(), ByProgram(), HostSeeded(), EveryClassFar(), ZeroOnCurved(),
    DoubleOnCurved(), UnitBox(), Unmasked(), OneHiddenLayer(), AboutAnother(), TwoClasses(), NoWay(),
]  # fmt: skip
OTHERS: list[tuple[str, Any, tuple[Any, ...]]] = [
    ("masker", GradientMode(), ()),
    ("masker", Asked(), ()),
    ("masker", MovesImages(), ()),
    ("masker", LearnsThePid(), ()),
    ("gradient", SteepImages(), ()),
    ("gradient", FlatOnCurved(), ()),
    ("check", MadeUpWitness(), ()),
    ("model", GrowingBox(), ("3",)),
    ("model", Neighbourly(), ("3",)),
    ("input", FreshLabels(), ("8", SPHERE)),
    ("input", FreshInputs(), ("8", SPHERE)),
]
