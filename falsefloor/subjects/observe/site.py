"""The place of an observation: some inputs of a subject, with what every measurement there needs."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Generator, Tensor

from falsefloor.numerics.balls import diameter
from falsefloor.numerics.margins import margins, runner_up
from falsefloor.numerics.support import vertex
from falsefloor.observed import LARGE
from falsefloor.subjects.guarded import Guarded
from falsefloor.subjects.subject import ModelSubject

SCALES = (0.4, 0.1, 0.025, 0.00625, 0.0015625)
"""Radii of observation, as shares of the domain's diameter: a claim's radius is not known yet, and with a
factor of four between them every radius from 0.0008 to 0.8 has one within a factor of two."""
HALVES = 4.0
"""Roundings of the largest logit that a difference of half-precision logits may hold: trained bfloat16 nets'
margins are within 0.4 of float64's. 64 of them are half of that logit: nothing less would be compared."""
THIRD = 3
"""An observation of `LARGE` inputs asks for this part of its points: of EfficientNet's half a minute's
worth and not two. What it tells of them, an average over a hundred thousand coordinates, varies less."""
TARGETS = 9
"""Other classes looked at, nearest first: all of them for ten classes."""


@dataclass(frozen=True)
class Site:
    """inputs: (N, *input) with labels (N,), inside the domain; logits: (N, K) there. What is
    measured needs two classes and inputs that are classified as labelled."""

    subject: ModelSubject
    inputs: Tensor
    labels: Tensor
    logits: Tensor
    norm: str
    generators: Sequence[Generator]
    rows: int

    @classmethod
    def of(
        cls, subject: ModelSubject, inputs: Tensor, labels: Tensor, norm: str, drawn: Generator, rows: int
    ) -> Site:
        """Of one input (1, *input), asked for its logits."""
        with torch.no_grad():
            logits = subject(inputs)
        return cls(subject, inputs, labels, logits, norm, [drawn], rows)

    def at(self, numbers: Sequence[int]) -> Site:
        """Of these inputs alone."""
        index = torch.tensor(numbers, device=self.inputs.device)
        inputs, labels, logits = (all_[index] for all_ in (self.inputs, self.labels, self.logits))
        drawn = [self.generators[i] for i in numbers]
        return replace(self, inputs=inputs, labels=labels, logits=logits, generators=drawn)

    @cached_property
    def guard(self) -> Guarded:
        return Guarded(self.subject, rows=self.rows)

    def part(self, count: int) -> int:
        """Of ``count`` points, how many inputs of this size are asked for."""
        return count if self.inputs[0].numel() < LARGE else -(-count // THIRD)

    @cached_property
    def diameter(self) -> float:
        lo, hi = self.subject.bounds
        return diameter(lo, hi, tuple(self.inputs.shape[1:]), self.norm)

    @cached_property
    def margins(self) -> Tensor:
        """(N, K) float64, inf at the label."""
        return margins(self.logits.double(), self.labels)

    @cached_property
    def runner_up(self) -> Tensor:
        """(N,): the strongest other class at the input, whose margin the observations are about."""
        return runner_up(self.logits.double().nan_to_num(nan=-torch.inf), self.labels)

    @cached_property
    def targets(self) -> Tensor:
        """(N, T): the nearest other classes."""
        kept = min(self.subject.classes - 1, self.part(TARGETS))
        return self.margins.nan_to_num(nan=1e300).argsort(dim=1, stable=True)[:, :kept]

    @cached_property
    def rounding(self) -> Tensor:
        """(N,) float64: differences of logits below this are rounding."""
        kind = torch.finfo(self.subject.resolution)
        return (64.0 if kind.bits > 16 else HALVES) * kind.eps * self.logits.double().abs().amax(1)

    def of_all(self, logits: Tensor) -> Tensor:
        """Margins (N, M, K) float64 of logits (N, M, K)."""
        count, each, classes = logits.shape
        labels = self.labels[:, None].expand(count, each).reshape(-1)
        return margins(logits.double().reshape(-1, classes), labels).reshape(count, each, classes)

    def of_runner_up(self, logits: Tensor) -> Tensor:
        """The runner-up's margin (N, M) float64 of logits (N, M, K)."""
        each = logits.shape[1]
        index = self.runner_up[:, None, None].expand(-1, each, 1)
        return self.of_all(logits).gather(2, index).squeeze(2)

    def inside(self, points: Tensor) -> Tensor:
        """Moved into the box, in the inputs' type."""
        lo, hi = self.subject.bounds
        return torch.minimum(torch.maximum(points.to(self.inputs.dtype), lo), hi)

    def downhill(self, centre: Tensor, slopes: Tensor, rho: float | Tensor) -> Tensor:
        """Points (R, *input) at most ``rho`` from centre (R, *input) at which linear functions with these
        slopes are least."""
        lo, hi = self.subject.bounds
        step = vertex(slopes, centre, lo, hi, norm=self.norm, rho=rho)
        return self.inside(centre + step.to(centre.dtype))

    def away(self, points: Tensor) -> Tensor:
        """Distances (N, M) float64 of points (N, M, *input) from their inputs."""
        order = {"l1": 1.0, "l2": 2.0, "linf": math.inf}[self.norm]
        start = self.inputs.double().unsqueeze(1).flatten(2)
        # a few points at a time: in float64 all of them would be the largest tensor of the observation
        parts = [
            torch.linalg.vector_norm(part.flatten(2).double() - start, order, dim=2)
            for part in torch.split(points, 64, dim=1)
        ]
        return torch.cat(parts, 1)

    def slopes(
        self, points: Tensor, *, against: Tensor, function: Callable[[Tensor], Tensor] | None = None
    ) -> Tensor:
        """Gradients at points (N, M, *input) of the margins to classes ``against`` (N, M).

        By autograd through ``function``, the subject itself by default. NaN where it raises.
        """
        flat = points.flatten(0, 1)
        labels = self.labels.repeat_interleave(points.shape[1])
        rivals = against.reshape(-1)
        self.guard.forwards += len(flat)
        self.guard.backwards += len(flat)
        ask = self.subject if function is None else function
        blocks = zip(*(torch.split(whole, self.guard.rows) for whole in (flat, labels, rivals)), strict=True)
        return torch.cat([_slopes(ask, *block) for block in blocks]).reshape(points.shape)


def _slopes(ask: Callable[[Tensor], Tensor], points: Tensor, labels: Tensor, rivals: Tensor) -> Tensor:
    sign = torch.zeros(len(points), int(max(labels.max(), rivals.max())) + 1, device=points.device)
    sign = sign.scatter(1, rivals[:, None], -1.0).scatter(1, labels[:, None], 1.0)
    with torch.enable_grad():
        leaf = points.detach().requires_grad_(True)
        try:
            logits = ask(leaf)
            chosen = (logits[:, : sign.shape[1]] * sign).sum()
            (gradient,) = torch.autograd.grad(chosen, leaf)
            return gradient.detach()
        except torch.OutOfMemoryError:
            raise
        except Exception:
            if len(points) == 1:
                return torch.full_like(points, torch.nan)
    half = len(points) // 2
    halves = (slice(None, half), slice(half, None))
    return torch.cat([_slopes(ask, points[part], labels[part], rivals[part]) for part in halves])
