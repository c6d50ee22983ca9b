"""A planted trap: a class change at a known distance behind the same maskers (Zimmermann et al. 2022).

An estimator that reports a larger distance than the planted one on this subject is blind behind these
maskers, whatever it says of the real one. The test is of the estimator; the radius in question stays open.

While the model's own input moves along one direction, the runner-up's logit rises linearly, until at the
chosen reach another class wins by half of what separated them. So the change lies behind maskers at the
input, at the logits and over the model, and whoever sees gradients at all sees a constant slope. Behind a
masker at a submodule a change of the logits would lie in front: there the model's input is carried towards a
place of another class instead, u -> u + s·offset, which is harder to judge even without a masker.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Generator, Tensor, nn

from falsefloor.api import Masker
from falsefloor.numerics.balls import wide
from falsefloor.subjects.compose import compose
from falsefloor.subjects.observe.counterexample import nearest_by_secants
from falsefloor.subjects.observe.site import Site
from falsefloor.subjects.settle import settle
from falsefloor.subjects.subject import ModelSubject

REACHES = (0.25, 0.35, 0.5)
"""Where the way ends, as shares of the nearest class change of its own: the trap must be the nearer one, and
so steep that the model's own slope hardly matters along it."""
RISE = 1.5
"""How much of the margin the runner-up gains on the way."""
CARRY = (1.5, 2.0, 3.0)
"""How far beyond its own class change the model's input is carried, where it has to be."""
NEARER = 0.9
"""A trap farther than this share of the subject's own nearest class change would test nothing."""
STEEPEST = 0.5
"""A trap nearer than this share of where it should be is the maskers' own step and no slope."""
BISECTIONS = 14
PLACES = frozenset(("input", "logits", "model"))
ROOM = 0.45
"""Share of the domain's width that a coordinate may always move, away from its nearer face."""


class Planted(nn.Module):
    """``body`` with its class change. toward: of dual norm 1, so that s = 1 is at ``reach`` in the norm."""

    toward: Tensor
    offset: Tensor
    origin: Tensor
    gain: Tensor

    def __init__(
        self, body: nn.Module, toward: Tensor, reach: float, *, classes: int, offset: Tensor | None
    ) -> None:
        super().__init__()
        self.body = body
        self.reach = reach
        self.carries = offset is not None
        self.recording = False
        self.register_buffer("toward", toward)
        self.register_buffer("offset", torch.zeros_like(toward) if offset is None else offset)
        self.register_buffer("origin", torch.zeros_like(toward))
        self.register_buffer("gain", toward.new_zeros(classes))

    def forward(self, inputs: Tensor) -> Tensor:
        if self.recording:
            self._begin(inputs[:1])
        progress = ((inputs - self.origin) * self.toward).flatten(1).sum(1) / self.reach
        # not cut off beyond the reach: who samples a wider ball must meet the same slope there
        moved = inputs + wide(progress, inputs) * self.offset
        logits: Tensor = self.body(moved)
        return logits + progress[:, None] * self.gain

    def _begin(self, inputs: Tensor) -> None:
        """The way begins at what the maskers in front make of the input, with the margin they leave there."""
        self.origin.copy_(inputs[0])
        if not self.carries:
            top = self.body(inputs)[0].topk(2)
            self.gain.zero_()
            self.gain[top.indices[1]] = RISE * (top.values[0] - top.values[1])


@dataclass(frozen=True)
class Trap:
    """subject: the planted one. point (*input): of another class there, settled, at ``distance`` from the
    input. natural: the distance of the subject's own nearest class change that was found."""

    subject: ModelSubject
    point: Tensor
    distance: float
    predicted: int
    natural: float


def plant(
    model: nn.Module,
    stack: Sequence[tuple[Masker, str]],
    subject: ModelSubject,
    inputs: Tensor,
    labels: Tensor,
    *,
    norm: str,
    generator: Generator,
    rows: int = 4096,
) -> Trap | None:
    """A trap for one input (1, *input) that ``subject``, which is ``model`` under ``stack``, classifies.

    None where no class change was found to plant from, or none that was planted held when verified.
    """
    found = nearest_by_secants(Site.of(subject, inputs, labels, norm, generator, rows))
    if not bool(found.ok[0]):
        return None
    natural = float(found.radius[0])
    carried = any(at not in PLACES for _, at in stack)
    offsets = [over * (found.points[0] - inputs[0]) for over in CARRY] if carried else [None]
    for share in REACHES:
        toward, step = _way(subject, inputs[0], share * natural, norm)
        for offset in offsets:
            core = Planted(model, toward, share * natural, classes=subject.classes, offset=offset)
            planted = _compose(core, stack, subject, inputs)
            trap = _verified(planted, inputs, labels, step, share * natural, norm=norm, rows=rows)
            if trap is not None and trap[1] <= NEARER * natural:
                return Trap(planted, *trap, natural)
    return None


def _compose(
    core: Planted, stack: Sequence[tuple[Masker, str]], subject: ModelSubject, inputs: Tensor
) -> ModelSubject:
    inner = [(masker, at if at in PLACES else f"body.{at}") for masker, at in stack]
    module = compose(core, inner).to(subject.device)
    planted = ModelSubject(
        module,
        classes=subject.classes,
        bounds=subject.bounds,
        dtype=subject.dtype,
        resolution=subject.resolution,
        grid=subject.grid,
    )
    copied = next(part for part in module.modules() if isinstance(part, Planted))
    copied.recording = True
    with torch.no_grad():
        planted(inputs)
    copied.recording = False
    return planted


def _way(subject: ModelSubject, x: Tensor, reach: float, norm: str) -> tuple[Tensor, Tensor]:
    """The direction of dual norm 1, and a step of norm ``reach`` along it, away from the nearer faces."""
    lo, hi = (torch.broadcast_to(bound, x.shape) for bound in subject.bounds)
    sign = torch.where(x <= (lo + hi) / 2, 1.0, -1.0).to(x)
    count = x.numel()
    if norm == "linf":
        return sign / count, reach * sign
    if norm == "l2":
        return sign / math.sqrt(count), reach * sign / math.sqrt(count)
    # ℓ1: the whole step on as few coordinates as have the room for it, so that no quantiser swallows it
    room = torch.where(sign > 0, hi - x, x - lo).flatten()
    order = room.argsort(descending=True, stable=True)
    needed = min(count, max(1, math.ceil(reach / (ROOM * float((hi - lo).max())))))
    step = torch.zeros_like(room)
    step[order[:needed]] = reach / needed
    return sign, step.reshape(x.shape) * sign


def _verified(
    planted: ModelSubject, inputs: Tensor, labels: Tensor, step: Tensor, reach: float, *, norm: str, rows: int
) -> tuple[Tensor, float, int] | None:
    """The nearest point along the step that changes class, settled, with its distance and its class.

    None where none does, or where it is so near that one step of a masker is all there is.
    """
    lo, hi = planted.bounds

    def at(share: float) -> Tensor:
        return torch.minimum(torch.maximum(inputs + share * step, lo), hi)

    label = int(labels[0])
    with torch.no_grad():
        if int(planted(inputs).argmax()) != label or int(planted(at(1.0)).argmax()) == label:
            return None
        low, high = 0.0, 1.0
        for _ in range(BISECTIONS):
            middle = (low + high) / 2
            changed = int(planted(at(middle)).argmax()) != label
            low, high = (low, middle) if changed else (middle, high)
    settled = settle(planted, inputs, labels, at(high), norm=norm, rows=rows)
    if not bool(settled.ok[0]):
        settled = settle(planted, inputs, labels, at(1.0), norm=norm, rows=rows)
    distance = float(settled.radius[0])
    if not bool(settled.ok[0]) or distance < STEEPEST * reach / RISE:
        return None
    return settled.points[0], distance, int(settled.predicted[0])
