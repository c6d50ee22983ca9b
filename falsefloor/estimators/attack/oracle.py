"""All that the attack asks of a subject: is this point misclassified, how far is it, which way is down.

Points are rows of a matrix here, (R, d), in float32 at least; ``who`` (R,) says which input each belongs to. No
answer about one row depends on the others.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from falsefloor.numerics.balls import vector_norm, working

if TYPE_CHECKING:
    from falsefloor.api import Norm, Subject

SURE = 64
"""Roundings of the largest logit by which another class must lead: a thinner lead may not replay alone."""


@dataclasses.dataclass(frozen=True)
class Oracle:
    """A subject, the inputs under attack, and the norm that distances are taken in.

    centre (N, d), low and high (d,), labels (N,).
    """

    subject: Subject
    norm: Norm
    labels: Tensor
    centre: Tensor
    low: Tensor
    high: Tensor
    shape: torch.Size
    dtype: torch.dtype
    rows: int

    @classmethod
    def of(cls, subject: Subject, inputs: Tensor, labels: Tensor, *, norm: Norm, rows: int) -> Oracle:
        shape, kind = inputs.shape[1:], working(inputs.dtype)
        low, high = (bound.to(inputs).expand(shape).reshape(-1).to(kind) for bound in subject.bounds)
        centre = inputs.detach().reshape(len(inputs), -1).to(kind)
        return cls(subject, norm, labels, centre, low, high, shape, inputs.dtype, max(rows, 1))

    def snap(self, points: Tensor) -> Tensor:
        """The nearest points inside the box that the subject's input type can hold."""
        inside = torch.minimum(torch.maximum(points, self.low), self.high)
        return inside if inside.dtype == self.dtype else inside.to(self.dtype).to(inside.dtype)

    def distance(self, points: Tensor, who: Tensor) -> Tensor:
        return vector_norm(points - self.centre[who], self.norm)

    def logits(self, points: Tensor) -> Tensor:
        """(R, K), at most ``rows`` points a forward."""
        with torch.no_grad():
            parts = [self.subject(self._shaped(part)) for part in points.split(self.rows)]
        return torch.cat(parts)

    def lead(self, logits: Tensor, who: Tensor) -> Tensor:
        """(R,): by how much another class leads the label, less `SURE` roundings; positive: misclassified.

        A label's logit that is NaN leads to -inf: what cannot be compared is not called misclassified.
        """
        values = logits.detach().to(working(logits.dtype))
        label = self.labels[who][:, None]
        own = values.gather(1, label).squeeze(1)
        other = values.nan_to_num(-torch.inf, torch.inf, -torch.inf).scatter(1, label, -torch.inf).amax(1)
        scale = values.nan_to_num(0.0, 0.0, 0.0).abs().amax(1)
        return (other - own - SURE * torch.finfo(logits.dtype).eps * scale).nan_to_num(-torch.inf, torch.inf)

    def fooled(self, points: Tensor, who: Tensor) -> Tensor:
        """(R,) booleans: another class leads, surely."""
        return self.lead(self.logits(points), who) > 0

    def slope(
        self, function: Callable[[Tensor], Tensor], points: Tensor, who: Tensor, targets: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Margin towards ``targets`` (R,), its gradient (R, d) and the lead (R,) at the points.

        A target of -1 stands for the class that leads the label at the point itself.
        Non-finite numbers become zero: they say nothing about the way down.
        """
        margins, gradients, leads = [], [], []
        for part, part_who, part_targets in zip(
            points.split(self.rows), who.split(self.rows), targets.split(self.rows), strict=True
        ):
            leaf = self._shaped(part).detach().clone().requires_grad_()
            with torch.enable_grad():
                logits = function(leaf)
                label = self.labels[part_who]
                leading = (
                    logits.detach().nan_to_num(-torch.inf).scatter(1, label[:, None], -torch.inf).argmax(1)
                )
                pair = torch.stack([label, torch.where(part_targets < 0, leading, part_targets)], 1)
                own, other = logits.gather(1, pair).unbind(1)
                margin = own - other
            margins.append(margin.detach().to(part.dtype).nan_to_num(0.0, 0.0, 0.0))
            gradients.append(_gradient(margin, leaf, part))
            leads.append(self.lead(logits, part_who))
        return torch.cat(margins), torch.cat(gradients), torch.cat(leads)

    def slopes(
        self, function: Callable[[Tensor], Tensor], points: Tensor, who: Tensor, targets: Tensor
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Margin (R,) and gradient (R, d) for each column of targets (R, T), from one forward."""
        leaf = self._shaped(points).detach().clone().requires_grad_()
        with torch.enable_grad():
            logits = function(leaf)
            own = logits.gather(1, self.labels[who][:, None]).squeeze(1)
            for column in targets.unbind(1):
                margin = own - logits.gather(1, column[:, None]).squeeze(1)
                finite = margin.detach().to(points.dtype).nan_to_num(0.0, 0.0, 0.0)
                yield finite, _gradient(margin, leaf, points)

    def _shaped(self, points: Tensor) -> Tensor:
        return points.to(self.dtype).reshape(-1, *self.shape)


def _gradient(margin: Tensor, leaf: Tensor, like: Tensor) -> Tensor:
    """The finite gradient of every row's margin (R,), shaped like the rows (R, d); zero where there is none.

    torch raises instead of returning zero for operations without a derivative, such as floor division.
    """
    gradient = None
    if margin.requires_grad:
        try:
            (gradient,) = torch.autograd.grad(margin.sum(), leaf, retain_graph=True, allow_unused=True)
        except RuntimeError as error:
            if "is not implemented" not in str(error):
                raise
    if gradient is None:
        return torch.zeros_like(like)
    return gradient.reshape(like.shape).to(like.dtype).nan_to_num(0.0, 0.0, 0.0)


__all__ = ["SURE", "Oracle"]
