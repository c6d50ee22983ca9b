"""Plugins that lie, each in its own way: none of them may pass its kit."""

from __future__ import annotations

import datetime
import os
import random
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from zoo_honest import ALL, DUAL, DeepFool, Local, targets

from falsefloor.api import CodeInfo, Estimate, Facts, Finding, LoadedModel, NotApplicable, option


def liar(base: type, change: Callable[..., Estimate], **attributes: Any) -> Any:
    """A subclass that estimates ``change(honest, subject, inputs, labels, norm)``, in that one's module."""

    def call(self, subject, inputs, labels, /, *, norm, context):  # type: ignore[no-untyped-def]
        honest = base.__call__(self, subject, inputs, labels, norm=norm, context=context)
        return change(honest, subject, inputs, labels, norm)

    name = "".join(word.capitalize() for word in change.__name__.strip("_").split("_"))
    kind = type(
        name, (base,), {"__call__": call, "__module__": change.__module__, "__qualname__": name, **attributes}
    )
    made = dataclass(frozen=True)(kind)
    setattr(sys.modules[change.__module__], name, made)
    return made


def scaled(estimate: Estimate, by: Any) -> Estimate:
    return Estimate(estimate.radius * by, estimate.evidence, witness=estimate.witness)


def _rounds_up(honest: Estimate, *_: Any) -> Estimate:
    return scaled(honest, 1.01)


def _process_seeded(honest: Estimate, *_: Any) -> Estimate:
    return scaled(honest, 0.9 + 0.1 * random.Random(os.getpid()).random())


def _hash_seeded(honest: Estimate, *_: Any) -> Estimate:
    return scaled(honest, 0.9 + 0.1 * (hash("a word") % 1000) / 1000)


def _clock_seeded(honest: Estimate, *_: Any) -> Estimate:
    return scaled(honest, 0.5 + 0.4 * random.Random(int(time.time()) // 86_400).random())


def _knows_the_weekday(honest: Estimate, *_: Any) -> Estimate:
    return scaled(honest, 0.5 + datetime.datetime.now().toordinal() % 1000 / 2000)


def _kit_detector(honest: Estimate, *_: Any) -> Estimate:
    return honest if "falsefloor.testing" in sys.modules else scaled(honest, 3.0)


def _small_only(honest: Estimate, subject: Any, inputs: Tensor, *_: Any) -> Estimate:
    return honest if inputs[0].numel() <= 100 else Estimate(torch.full_like(honest.radius, 0.3))


def _reads_labels(honest: Estimate, subject: Any, inputs: Tensor, labels: Tensor, *_: Any) -> Estimate:
    return Estimate(1e-4 * (1.0 + labels.to(inputs)), honest.evidence)


def _nothing(honest: Estimate, *_: Any) -> Estimate:
    return scaled(honest, 0.0)


def _numpy_draws(honest: Estimate, *_: Any) -> Estimate:
    return scaled(honest, 0.9 + 0.1 * float(np.random.rand()))


_CALLS = [0]


def _late(honest: Estimate, *_: Any) -> Estimate:
    _CALLS[0] += 1
    return honest if _CALLS[0] % 60 < 40 else scaled(honest, 0.5)


_SEEN: dict[bytes, float] = {}


def _memorises(honest: Estimate, subject: Any, inputs: Tensor, *_: Any) -> Estimate:
    keys = [row.double().numpy().tobytes() for row in inputs]
    for key, radius in zip(keys, honest.radius.tolist(), strict=True):
        _SEEN.setdefault(key, radius)
    return Estimate(torch.tensor([_SEEN[key] for key in keys]).to(inputs), honest.evidence)


def _patches_the_forward(honest: Estimate, subject: Any, *_: Any) -> Estimate:
    kind = type(subject)
    if not hasattr(kind, "_patched"):
        kind._patched = True
        before = kind.forward
        kind.forward = lambda self, inputs: before(self, inputs)
    return honest


def _hooks(honest: Estimate, subject: Any, *_: Any) -> Estimate:
    subject.module.register_forward_hook(lambda *_: None)
    return honest


def _leaves_an_attribute(honest: Estimate, subject: Any, *_: Any) -> Estimate:
    subject.module.forward = subject.module.forward
    return honest


def _turns_gradients_off(honest: Estimate, *_: Any) -> Estimate:
    torch.set_grad_enabled(False)
    return honest


def _one_target(honest: Estimate, subject: Any, inputs: Tensor, labels: Tensor, norm: str) -> Estimate:
    every = targets(subject, inputs, labels, norm)
    return Estimate(every[torch.arange(len(labels)), (labels + 1) % subject.classes], honest.evidence)


def _other_norm(honest: Estimate, subject: Any, inputs: Tensor, labels: Tensor, norm: str) -> Estimate:
    return Estimate(targets(subject, inputs, labels, "l2").amin(1), honest.evidence)


def _linear_only(honest: Estimate, subject: Any, inputs: Tensor, *_: Any) -> Estimate:
    curved = any(isinstance(part, nn.ReLU) for part in subject.module.modules())
    return Estimate(torch.full_like(honest.radius, 0.9)) if curved else honest


def _outside(honest: Estimate, subject: Any, inputs: Tensor, labels: Tensor, norm: str) -> Estimate:
    """The nearest point of another class of the linear function, in the box or not."""
    best = torch.full((len(inputs),), torch.inf)
    witness = inputs.clone()
    for at in range(len(inputs)):
        x = inputs[at : at + 1].clone().requires_grad_()
        logits = subject(x)[0]
        for target in range(subject.classes):
            if target == int(labels[at]):
                continue
            margin = logits[labels[at]] - logits[target]
            (slope,) = torch.autograd.grad(margin, x, retain_graph=True)
            step = slope.sign() if norm == "linf" else slope / slope.norm()
            if norm == "l1":
                step = slope.sign() * (slope.abs() == slope.abs().max())
            point = x.detach() - 1.0005 * float(margin.detach()) * step / float((step * slope).sum())
            away = (point - x.detach()).flatten()
            distance = float(torch.linalg.vector_norm(away, {"l1": 1, "l2": 2, "linf": torch.inf}[norm]))
            if distance < best[at]:
                best[at], witness[at] = distance, point[0]
    return Estimate(best.to(inputs), witness=witness)


def _sold_as_proof(honest: Estimate, *_: Any) -> Estimate:
    return Estimate(honest.radius * 0.99)


def _understates(honest: Estimate, *_: Any) -> Estimate:
    return scaled(honest, 0.9)


RoundsUp = liar(Local, _rounds_up)
ProcessSeeded = liar(Local, _process_seeded)
HashSeeded = liar(Local, _hash_seeded)
ClockSeeded = liar(Local, _clock_seeded)
KnowsTheWeekday = liar(Local, _knows_the_weekday)
KitDetector = liar(Local, _kit_detector)
SmallOnly = liar(Local, _small_only)
ReadsLabels = liar(Local, _reads_labels)
Nothing = liar(Local, _nothing)
NumpyDraws = liar(Local, _numpy_draws)
Late = liar(Local, _late)
Memorises = liar(Local, _memorises)
PatchesTheForward = liar(Local, _patches_the_forward)
Hooks = liar(Local, _hooks)
LeavesAnAttribute = liar(Local, _leaves_an_attribute)
TurnsGradientsOff = liar(Local, _turns_gradients_off)
OneTarget = liar(Local, _one_target)
OtherNorm = liar(Local, _other_norm)
LinearOnly = liar(Local, _linear_only)
Outside = liar(DeepFool, _outside)
SoldAsProof = liar(DeepFool, _sold_as_proof, claim="lower_bound")
Understates = liar(DeepFool, _understates)


@dataclass(frozen=True)
class OnePoint(Local):
    """A certificate from the gradient at one point."""

    claim: ClassVar[Any] = "lower_bound"


@dataclass(frozen=True)
class Sampled:
    """A certificate because no sample in the ball changed class."""

    api_version: ClassVar[int] = 1
    claim: ClassVar[Any] = "lower_bound"
    norms: ClassVar[Any] = frozenset({"linf"})
    samples: int = option(400, help="points a radius", ge=1)

    def __call__(self, subject, inputs, labels, /, *, norm, context):  # type: ignore[no-untyped-def]
        found = []
        for at in range(len(inputs)):
            x, radius = inputs[at : at + 1], 0.3
            while radius > 1e-5:
                shape = (min(self.samples, context.rows), *inputs.shape[1:])
                noise = 2 * torch.rand(shape, generator=context.generators[at]).to(inputs) - 1
                with torch.no_grad():
                    if bool((subject((x + radius * noise.sign()).clamp(0, 1)).argmax(1) == labels[at]).all()):
                        break
                radius /= 1.3
            found.append(radius / 1.3)
            context.progress(at + 1, len(inputs))
        return Estimate(torch.tensor(found).to(inputs))


@dataclass(frozen=True)
class DeclinesEverything:
    """Says no to all that a kit has."""

    api_version: ClassVar[int] = 1
    claim: ClassVar[Any] = "lower_bound"
    norms: ClassVar[Any] = ALL

    def __call__(self, subject, inputs, labels, /, *, norm, context):  # type: ignore[no-untyped-def]
        raise NotApplicable("not today")


@dataclass(frozen=True)
class WeekdayMask:
    """A mask that depends on the day."""

    api_version: ClassVar[int] = 1

    def __call__(self, part: nn.Module, /) -> nn.Module:
        class Shift(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.part, self.by = part, 1e-3 * (int(time.time()) // 86_400 % 1000)

            def forward(self, inputs: Tensor) -> Tensor:
                out: Tensor = self.part(inputs)
                return out + self.by

        return Shift()


@dataclass(frozen=True)
class LargeMask:
    """Averages the rows of a batch where inputs are large."""

    api_version: ClassVar[int] = 1

    def __call__(self, part: nn.Module, /) -> nn.Module:
        class Mean(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.part = part

            def forward(self, inputs: Tensor) -> Tensor:
                out: Tensor = self.part(inputs)
                return out if out[0].numel() < 100 else out + 0.1 * out.mean(0)

        return Mean()


@dataclass(frozen=True)
class CountingMask:
    """Changes after the hundredth call."""

    api_version: ClassVar[int] = 1

    def __call__(self, part: nn.Module, /) -> nn.Module:
        class Counting(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.part = part
                self.register_buffer("calls", torch.zeros(()))

            def forward(self, inputs: Tensor) -> Tensor:
                self.calls += 1
                out: Tensor = self.part(inputs)
                return out if float(self.calls) < 2 else out * 0.999

        return Counting()


@dataclass(frozen=True)
class BentForward:
    """A gradient source that changes the forward of larger inputs."""

    api_version: ClassVar[int] = 1

    def __call__(self, subject: Any, /) -> Any:
        def bent(inputs: Tensor) -> Tensor:
            logits: Tensor = subject(inputs)
            return logits if inputs[0].numel() <= 6 else logits + 1e-3

        return bent


@dataclass(frozen=True)
class MomentaryCheck:
    """Finds something on odd days."""

    api_version: ClassVar[int] = 1
    codes: ClassVar[dict[str, CodeInfo]] = {"odd": CodeInfo("odd day", "note", "s", "c", "w")}

    def __call__(self, facts: Facts, /) -> list[Finding]:
        return [Finding("odd", "note", f"day {int(time.time()) // 86_400}")]


@dataclass(frozen=True)
class AccusingCheck:
    """Refutes whatever has an upper bound beside it."""

    api_version: ClassVar[int] = 1
    codes: ClassVar[dict[str, CodeInfo]] = {"no": CodeInfo("no", "refuted", "s", "c", "w")}

    def __call__(self, facts: Facts, /) -> list[Finding]:
        witness = next((record.witness for record in facts.others if record.witness), None)
        return [Finding("no", "refuted", "never", witness=witness)] if witness else []


@dataclass(frozen=True)
class FreshWeights:
    """A model whose weights depend on the process."""

    api_version: ClassVar[int] = 1

    def __call__(self, ref: str, /) -> LoadedModel:
        if ref != "3":
            raise ValueError(f"no model {ref!r}; there is 3")
        torch.manual_seed(os.getpid())
        return LoadedModel(nn.Sequential(nn.Flatten(), nn.Linear(3, 2)), 2, (3,))


ESTIMATORS = [
    RoundsUp(), ProcessSeeded(), HashSeeded(), ClockSeeded(), KnowsTheWeekday(), KitDetector(), SmallOnly(),
    ReadsLabels(), Nothing(), NumpyDraws(), Late(), Memorises(), PatchesTheForward(), Hooks(),
    LeavesAnAttribute(), TurnsGradientsOff(), OneTarget(), OtherNorm(), LinearOnly(), Outside(),
    SoldAsProof(), Understates(), OnePoint(), Sampled(), DeclinesEverything(),
]  # fmt: skip
OTHERS: list[tuple[str, Any, tuple[Any, ...]]] = [
    ("masker", WeekdayMask(), ()),
    ("masker", LargeMask(), ()),
    ("masker", CountingMask(), ()),
    ("gradient", BentForward(), ()),
    ("check", MomentaryCheck(), ()),
    ("check", AccusingCheck(), ()),
    ("model", FreshWeights(), ("3",)),
]
assert DUAL
