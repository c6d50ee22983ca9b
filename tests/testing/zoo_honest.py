"""Plugins that keep the contract, of the kinds that people write: all of them must pass their kit."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from falsefloor.api import (
    CodeInfo,
    Context,
    Estimate,
    Facts,
    Finding,
    LabelledInputs,
    LoadedModel,
    Masker,
    NotApplicable,
    Subject,
    option,
)  # fmt: skip

DUAL = {"l1": torch.inf, "l2": 2.0, "linf": 1.0}
ORDER = {"l1": 1.0, "l2": 2.0, "linf": torch.inf}
ALL = frozenset({"l1", "l2", "linf"})


def targets(subject: Subject, inputs: Tensor, labels: Tensor, norm: str) -> Tensor:
    """(N, K) the margin to each class over the dual norm of its gradient at the input; inf for the label."""
    found = inputs.new_full((len(inputs), subject.classes), torch.inf)
    for target in range(subject.classes):
        at = inputs.clone().requires_grad_()
        logits = subject(at)
        margin = logits.gather(1, labels[:, None]).squeeze(1) - logits[:, target]
        (slope,) = torch.autograd.grad(margin.sum(), at)
        length = torch.linalg.vector_norm(slope.flatten(1), DUAL[norm], dim=1).clamp_min(1e-12)
        found[:, target] = torch.where(labels == target, torch.inf, margin.detach() / length)
    return found


@dataclass(frozen=True)
class Local:
    """The margin over the gradient at the input: exact on linear models."""

    api_version: ClassVar[int] = 1
    claim: ClassVar[Any] = "lower_estimate"
    norms: ClassVar[Any] = ALL

    def __call__(
        self, subject: Subject, inputs: Tensor, labels: Tensor, /, *, norm: Any, context: Context
    ) -> Estimate:
        found = []
        for some, own in zip(inputs.split(context.rows), labels.split(context.rows), strict=True):
            found.append(targets(subject, some, own, norm).amin(1).clamp(max=0.3 if norm == "linf" else 3.0))
            context.progress(sum(map(len, found)), len(inputs))
        return Estimate(torch.cat(found))


@dataclass(frozen=True)
class DeepFool:
    """Linearise, step over the plane, walk back along the ray: an upper bound."""

    api_version: ClassVar[int] = 1
    claim: ClassVar[Any] = "upper_bound"
    norms: ClassVar[Any] = frozenset({"l2", "linf"})

    def __call__(
        self, subject: Subject, inputs: Tensor, labels: Tensor, /, *, norm: Any, context: Context
    ) -> Estimate:
        low, high = subject.bounds
        radii, points = [], []
        for at in range(len(inputs)):
            x, own = inputs[at : at + 1], labels[at : at + 1]
            y = x.clone()
            for _ in range(12):
                with torch.no_grad():
                    if int(subject(y).argmax()) != int(own):
                        break
                place = y.clone().requires_grad_()
                logits = subject(place)[0]
                best = None
                for target in range(subject.classes):
                    if target == int(own):
                        continue
                    margin = logits[int(own)] - logits[target]
                    (slope,) = torch.autograd.grad(margin, place, retain_graph=True)
                    length = float(torch.linalg.vector_norm(slope, DUAL[norm]).clamp_min(1e-12))
                    lead = float(margin.detach())
                    if best is None or lead / length < best[0]:
                        step = slope.sign() if norm == "linf" else slope / slope.norm().clamp_min(1e-12)
                        best = lead / length, step
                assert best is not None
                y = torch.minimum(torch.maximum(y - (1.02 * best[0] + 1e-6) * best[1], low), high)
            with torch.no_grad():
                flipped = int(subject(y).argmax()) != int(own)
                low_share, share = 0.0, 1.0
                for _ in range(25 if flipped else 0):
                    half = (low_share + share) / 2
                    if int(subject(x + half * (y - x)).argmax()) != int(own):
                        share = half
                    else:
                        low_share = half
            point = x + min(1.0, share * 1.0001) * (y - x) if flipped else x
            points.append(point)
            away = torch.linalg.vector_norm((point - x).double().flatten(), ORDER[norm])
            radii.append(float(away) if flipped else math.inf)
            context.progress(at + 1, len(inputs))
        return Estimate(torch.tensor(radii, dtype=torch.float64).to(inputs), witness=torch.cat(points))


@dataclass(frozen=True)
class Ibp:
    """Interval bounds through linear layers and ReLUs, by bisection of the radius: a certificate."""

    api_version: ClassVar[int] = 1
    claim: ClassVar[Any] = "lower_bound"
    norms: ClassVar[Any] = frozenset({"linf"})

    def __call__(
        self, subject: Subject, inputs: Tensor, labels: Tensor, /, *, norm: Any, context: Context
    ) -> Estimate:
        parts = [part for part in subject.module.modules() if not [*part.children()]]
        if not all(isinstance(part, nn.Linear | nn.ReLU | nn.Flatten | nn.Identity) for part in parts):
            raise NotApplicable("interval bounds know linear layers and ReLUs")
        with torch.no_grad():
            walked = inputs.flatten(1)
            for part in parts:
                walked = part(walked)
            if not torch.allclose(walked, subject(inputs), rtol=1e-4, atol=1e-4):
                raise NotApplicable("the layers in order are not the model")
        low, high = (b.expand(inputs.shape[1:]).flatten().double() for b in subject.bounds)
        radii = []
        for at in range(len(inputs)):
            x = inputs[at].flatten().double()
            sure, top = 0.0, 1.0
            for _ in range(40):
                half = (sure + top) / 2
                if self._holds(parts, (x - half).clamp(min=low), (x + half).clamp(max=high), int(labels[at])):
                    sure = half
                else:
                    top = half
            radii.append(sure * (1 - 1e-5))
            context.progress(at + 1, len(inputs))
        return Estimate(torch.tensor(radii, dtype=torch.float64).to(inputs))

    def _holds(self, parts: list[nn.Module], lower: Tensor, upper: Tensor, label: int) -> bool:
        for part in parts:
            if isinstance(part, nn.Linear):
                weight, bias = part.weight.detach().double(), part.bias.detach().double()
                middle, room = (lower + upper) / 2, (upper - lower) / 2
                centre, spread = weight @ middle + bias, weight.abs() @ room
                lower, upper = centre - spread, centre + spread
            elif isinstance(part, nn.ReLU):
                lower, upper = lower.clamp(min=0), upper.clamp(min=0)
        rest = torch.cat([upper[:label], upper[label + 1 :]])
        return bool(lower[label] - 1e-6 * (1 + upper.abs().max()) > rest.max())


@dataclass(frozen=True)
class Lipschitz:
    """The product of the layers' norms: a certificate, and a loose one."""

    api_version: ClassVar[int] = 1
    claim: ClassVar[Any] = "lower_bound"
    norms: ClassVar[Any] = frozenset({"l2"})

    def __call__(
        self, subject: Subject, inputs: Tensor, labels: Tensor, /, *, norm: Any, context: Context
    ) -> Estimate:
        size = 1.0
        for part in subject.module.modules():
            if isinstance(part, nn.Linear):
                size *= float(torch.linalg.matrix_norm(part.weight.double(), 2))
            elif not [*part.children()] and not isinstance(part, nn.ReLU | nn.Flatten | nn.Identity):
                raise NotApplicable(f"a {type(part).__name__} has no constant here")
            elif [*part.children()] and not isinstance(part, nn.Sequential):
                raise NotApplicable(f"a {type(part).__name__} is not known to chain its parts")
        with torch.no_grad():
            logits = torch.cat([subject(some) for some in inputs.split(context.rows)]).double()
        own = logits.gather(1, labels[:, None])
        rest = logits.scatter(1, labels[:, None], -torch.inf)
        context.progress(1, 1)
        return Estimate(((own.squeeze(1) - rest.amax(1)) / (math.sqrt(2) * size)).clamp(min=0) * (1 - 1e-5))


@dataclass(frozen=True)
class HopSkipJump:
    """A decision-based attack (Chen, Jordan & Wainwright 2020), much shortened."""

    api_version: ClassVar[int] = 1
    claim: ClassVar[Any] = "upper_bound"
    norms: ClassVar[Any] = frozenset({"l2"})
    steps: int = option(6, help="steps", ge=1)
    samples: int = option(60, help="directions a step", ge=2)

    def __call__(
        self, subject: Subject, inputs: Tensor, labels: Tensor, /, *, norm: Any, context: Context
    ) -> Estimate:
        low, high = subject.bounds
        witness, radius = inputs.clone(), []
        for at in range(len(inputs)):
            x, own, drawn = inputs[at], int(labels[at]), context.generators[at]

            def other(points: Tensor, own: int = own) -> Tensor:
                with torch.no_grad():
                    parts = [subject(some).argmax(1) != own for some in points.split(context.rows)]
                return torch.cat(parts)

            starts = torch.rand((64, *x.shape), generator=drawn).to(x) * (high - low) + low
            hit = other(starts).nonzero().flatten()
            if not len(hit):
                radius.append(math.inf)
                continue
            y = self._edge(x, starts[int(hit[0])], other)
            for step in range(self.steps):
                noise = torch.randn((self.samples, *x.shape), generator=drawn).to(x)
                scale = 0.1 * float((y - x).norm()) / math.sqrt(x.numel()) + 1e-4
                sides = other((y + scale * noise).clamp(low, high)).to(x) * 2 - 1
                sides = sides - sides.mean() * (sides.mean().abs() < 1)
                push = (sides.reshape(-1, *([1] * x.ndim)) * noise).mean(0)
                reach = float((y - x).norm()) / math.sqrt(step + 1)
                moved = (y + reach * push / push.norm().clamp_min(1e-12)).clamp(low, high)
                if bool(other(moved[None])[0]):
                    new = self._edge(x, moved, other)
                    y = new if float((new - x).norm()) < float((y - x).norm()) else y
            witness[at] = y
            radius.append(float((y - x).double().norm()))
            context.progress(at + 1, len(inputs))
        context.progress(len(inputs), len(inputs))
        return Estimate(torch.tensor(radius, dtype=torch.float64).to(inputs), witness=witness)

    def _edge(self, x: Tensor, y: Tensor, other: Callable[[Tensor], Tensor]) -> Tensor:
        low, high = 0.0, 1.0
        for _ in range(22):
            half = (low + high) / 2
            if bool(other((x + half * (y - x))[None])[0]):
                high = half
            else:
                low = half
        return x + min(1.0, high * 1.0002) * (y - x)


@dataclass(frozen=True)
class Spsa:
    """Simultaneous perturbations in place of gradients (Uesato et al. 2018): an estimate of the slope."""

    api_version: ClassVar[int] = 1
    claim: ClassVar[Any] = "lower_estimate"
    norms: ClassVar[Any] = frozenset({"l2"})
    samples: int = option(128, help="pairs", ge=1)

    def __call__(
        self, subject: Subject, inputs: Tensor, labels: Tensor, /, *, norm: Any, context: Context
    ) -> Estimate:
        radii = []
        for at in range(len(inputs)):
            x, own, drawn = inputs[at], int(labels[at]), context.generators[at]
            signs = torch.randint(0, 2, (self.samples, x.numel()), generator=drawn).to(x) * 2 - 1
            step = 0.01 * signs.reshape(-1, *x.shape)
            with torch.no_grad():
                ahead = torch.cat([subject(some) for some in (x + step).split(context.rows)])
                behind = torch.cat([subject(some) for some in (x - step).split(context.rows)])
                logits = subject(x[None])[0]
            best = 3.0
            for target in range(subject.classes):
                if target != own:
                    change = (ahead[:, own] - ahead[:, target]) - (behind[:, own] - behind[:, target])
                    rise = (change / 0.02).double()
                    # the mean square of a slope along random signs is the slope's own square
                    slope = float(rise.square().mean().sqrt()) * 1.5
                    best = min(best, float(logits[own] - logits[target]) / max(slope, 1e-9))
            radii.append(best)
            context.progress(at + 1, len(inputs))
        return Estimate(torch.tensor(radii).to(inputs))


@dataclass(frozen=True)
class Smoothing:
    """Randomised smoothing (Cohen et al. 2019), with a normal approximation's margin."""

    api_version: ClassVar[int] = 1
    claim: ClassVar[Any] = "lower_bound"
    norms: ClassVar[Any] = frozenset({"l2"})
    memory: ClassVar[float] = 1.0
    sigma: float = option(0.05, help="of the noise", gt=0)
    samples: int = option(400, help="noisy copies", ge=10)

    def describe_subject(self) -> str:
        return f"the subject under Gaussian noise, sigma {self.sigma:g}"

    def __call__(
        self, subject: Subject, inputs: Tensor, labels: Tensor, /, *, norm: Any, context: Context
    ) -> Estimate:
        radii = []
        for at in range(len(inputs)):
            noise = torch.randn((self.samples, *inputs.shape[1:]), generator=context.generators[at]).to(
                inputs
            )
            noisy = inputs[at] + self.sigma * noise
            with torch.no_grad():
                answers = torch.cat([subject(some).argmax(1) for some in noisy.split(context.rows)])
            share = float((answers == labels[at]).double().mean())
            low = share - 3.3 * math.sqrt(max(share * (1 - share), 0.25 / self.samples) / self.samples)
            low = min(low, 0.001 ** (1 / self.samples))
            quantile = float(torch.special.ndtri(torch.tensor(max(low, 0.5), dtype=torch.float64)))
            radii.append(self.sigma * quantile)
            context.progress(at + 1, len(inputs))
        return Estimate(torch.tensor(radii).to(inputs), confidence=0.999)


@dataclass(frozen=True)
class Picky(Local):
    """Takes models of at most 40 coordinates, and says so."""

    def __call__(
        self, subject: Subject, inputs: Tensor, labels: Tensor, /, *, norm: Any, context: Context
    ) -> Estimate:
        if inputs[0].numel() > 40:
            raise NotApplicable(f"{inputs[0].numel()} coordinates are more than 40")
        return super().__call__(subject, inputs, labels, norm=norm, context=context)


class Nearest(nn.Module):
    """Every value's nearest code, passed straight through in the backward."""

    codes: Tensor

    def __init__(self, part: nn.Module, codes: Tensor) -> None:
        super().__init__()
        self.part = part
        self.register_buffer("codes", codes)

    def forward(self, *given: Any) -> Tensor:
        out: Tensor = self.part(*given)
        codes = self.codes.to(out.dtype)
        return out + (codes[(out.detach()[..., None] - codes).abs().argmin(-1)] - out).detach()


@dataclass(frozen=True)
class _Learnt:
    codes: tuple[float, ...]
    api_version: ClassVar[int] = 1

    def __call__(self, part: nn.Module, /) -> nn.Module:
        return Nearest(part, torch.tensor(self.codes))


@dataclass(frozen=True)
class LearnedCodes:
    """A quantiser whose codes are quantiles of the study's inputs."""

    api_version: ClassVar[int] = 1
    count: int = option(16, help="codes", ge=2, le=256)

    def calibrate(self, inputs: Tensor, context: Context) -> Masker:
        shares = torch.linspace(0, 1, self.count, dtype=torch.float64)
        return _Learnt(tuple(torch.quantile(inputs.flatten().double(), shares).tolist()))

    def __call__(self, part: nn.Module, /) -> nn.Module:
        return Nearest(part, torch.linspace(0, 1, self.count))


@dataclass(frozen=True)
class Gamma:
    """A smooth mask that states how far it moves a value."""

    api_version: ClassVar[int] = 1

    def displacement(self) -> float | None:
        return 0.25

    def __call__(self, part: nn.Module, /) -> nn.Module:
        class Square(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.part = part

            def forward(self, *given: Any) -> Tensor:
                out: Tensor = self.part(*given)
                return torch.where(out.abs() <= 1, out * out.abs(), out)

        return Square()


@dataclass(frozen=True)
class Differences:
    """Central differences, coordinate by coordinate, as a gradient."""

    api_version: ClassVar[int] = 1
    h: float = option(1e-2, help="half step", gt=0)

    def __call__(self, subject: Subject, /) -> Callable[[Tensor], Tensor]:
        h = self.h

        class Coarse(torch.autograd.Function):
            @staticmethod
            def forward(ctx: Any, inputs: Tensor) -> Tensor:
                ctx.save_for_backward(inputs)
                return subject(inputs).detach()

            @staticmethod
            def backward(ctx: Any, *grads: Tensor) -> Tensor:
                (inputs,) = ctx.saved_tensors
                flat = inputs.flatten(1)
                out = torch.zeros_like(flat)
                with torch.no_grad():
                    for at in range(flat.shape[1]):
                        step = torch.zeros_like(flat)
                        step[:, at] = h
                        step = step.reshape(inputs.shape)
                        change = (subject(inputs + step) - subject(inputs - step)) / (2 * h)
                        out[:, at] = (change * grads[0]).sum(1)
                return out.reshape(inputs.shape)

        def through(inputs: Tensor) -> Tensor:
            found: Tensor = Coarse.apply(inputs)  # type: ignore[no-untyped-call]
            return found

        return through


@dataclass(frozen=True)
class FileModel:
    """Reads a model's numbers from a text file."""

    api_version: ClassVar[int] = 1

    def files(self) -> Iterable[str]:
        return [__file__]

    def __call__(self, ref: str, /) -> LoadedModel:
        if not Path(ref).is_file():
            raise ValueError(f"no file {ref!r}; write one number a weight")
        numbers = torch.tensor([float(n) for n in Path(ref).read_text().split()])
        layer = nn.Linear(3, 2)
        with torch.no_grad():
            layer.weight.copy_(numbers[:6].reshape(2, 3))
            layer.bias.copy_(numbers[6:8])
        return LoadedModel(nn.Sequential(nn.Flatten(), layer), 2, (3,), files=(ref,))


@dataclass(frozen=True)
class FileInputs:
    """Reads points from a text file, three numbers a line."""

    api_version: ClassVar[int] = 1

    def __call__(self, ref: str, model: LoadedModel, /) -> LabelledInputs:
        if not Path(ref).is_file():
            raise ValueError(f"no file {ref!r}; write three numbers a line")
        rows = [[float(n) for n in line.split()[:3]] for line in Path(ref).read_text().splitlines() if line]
        return LabelledInputs(torch.tensor(rows), names=[f"line {n}" for n in range(len(rows))])


@dataclass(frozen=True)
class CappedCheck:
    """Notes an estimate that says it is at its cap."""

    api_version: ClassVar[int] = 1
    codes: ClassVar[dict[str, CodeInfo]] = {
        "capped": CodeInfo("capped", "suspect", "s", "c", "w", page="A page.\n\nOf two paragraphs.")
    }

    def __call__(self, facts: Facts, /) -> Iterator[Finding]:
        if facts.judged.evidence.get("zero_share") == 1.0:
            yield Finding("capped", "suspect", "every gradient vanished", {"share": 1.0})


@dataclass(frozen=True)
class NearerCheck:
    """Refutes a floor with a nearer witness, as FF201 does; says nothing of upper bounds."""

    api_version: ClassVar[int] = 1
    codes: ClassVar[dict[str, CodeInfo]] = {"nearer": CodeInfo("nearer", "refuted", "s", "c", "w")}

    def __call__(self, facts: Facts, /) -> list[Finding]:
        if facts.judged.claim == "upper_bound":
            raise NotApplicable("floors only")
        for other in sorted(facts.others, key=lambda record: record.radius):
            if other.witness and other.claim == "upper_bound" and other.radius < facts.judged.radius:
                return [Finding("nearer", "refuted", "a point lies nearer", witness=other.witness)]
        return []


ESTIMATORS: list[Any] = [
    Local(), DeepFool(), Ibp(), Lipschitz(), HopSkipJump(), Spsa(), Smoothing(), Picky(),
]  # fmt: skip
OTHERS: list[tuple[str, Any]] = [
    ("masker", LearnedCodes()),
    ("masker", Gamma()),
    ("gradient", Differences()),
    ("check", CappedCheck()),
    ("check", NearerCheck()),
]
