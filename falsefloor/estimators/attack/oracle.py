"""All that the attack asks of a subject: is this point misclassified, how far is it, which way is down.

Points are rows of a matrix here, (R, d), in float32 at least; ``who`` (R,) says which input each belongs to.
No answer about one row depends on the others.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from falsefloor.api import Norm, Subject
from falsefloor.estimators.account import Queries
from falsefloor.numerics.balls import vector_norm, working

SURE = 64
"""Roundings of the largest logit by which another class must lead: a thinner lead may not replay alone."""

SURE_IN_HALF = 8
"""The same in half precision, where 64 roundings are 6 % of the largest logit (bfloat16: 50 %)."""

BARE = 4
"""The same once a point was found: settling asks for no more where float64 shows so little rounding."""

_UNDIFFERENTIABLE = "is not implemented"
"""What torch says, instead of returning zero, of operations without a derivative, such as floor division."""


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
    queries: Queries
    sure: float = SURE

    @classmethod
    def of(cls, subject: Subject, inputs: Tensor, labels: Tensor, *, norm: Norm, rows: int) -> Oracle:
        shape, kind = inputs.shape[1:], working(inputs.dtype)
        low, high = (bound.to(inputs).expand(shape).reshape(-1).to(kind) for bound in subject.bounds)
        centre = inputs.detach().reshape(len(inputs), -1).to(kind)
        account = Queries(subject, len(inputs))
        return cls(subject, norm, labels, centre, low, high, shape, inputs.dtype, max(rows, 1), account)

    def inputs(self, who: Tensor) -> Tensor:
        """The inputs themselves (R, *input), as the subject takes them."""
        return self._shaped(self.centre[who])

    def snap(self, points: Tensor) -> Tensor:
        """The nearest points inside the box that the subject's input type can hold."""
        inside = torch.minimum(torch.maximum(points, self.low), self.high)
        return inside if inside.dtype == self.dtype else inside.to(self.dtype).to(inside.dtype)

    def distance(self, points: Tensor, who: Tensor) -> Tensor:
        return vector_norm(points - self.centre[who], self.norm)

    def logits(self, points: Tensor, who: Tensor) -> Tensor:
        """(R, K), at most ``rows`` points a forward."""
        with torch.no_grad(), self.queries.of(who):
            parts = [self.subject(self._shaped(part)) for part in torch.split(points, self.rows)]
        return torch.cat(parts)

    def lead(self, logits: Tensor, who: Tensor) -> Tensor:
        """(R,): by how much another class leads the label, less ``sure`` roundings; positive: misclassified.

        A label's logit that is NaN leads to -inf: what cannot be compared is not called misclassified.
        """
        return self._ahead(logits, self.labels[who], self._rounding(logits))

    def _ahead(self, logits: Tensor, label: Tensor, rounding: Tensor) -> Tensor:
        values = logits.detach().to(working(logits.dtype))
        label = label[:, None]
        own = values.gather(1, label).squeeze(1)
        other = values.nan_to_num(-torch.inf, torch.inf, -torch.inf).scatter(1, label, -torch.inf).amax(1)
        return (other - own - rounding).nan_to_num(-torch.inf, torch.inf)

    def fooled(self, points: Tensor, who: Tensor) -> Tensor:
        """(R,) booleans: another class leads, surely."""
        return self.lead(self.logits(points, who), who) > 0

    def slope(
        self, function: Callable[[Tensor], Tensor], points: Tensor, who: Tensor, targets: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Margin towards ``targets`` (R,), its gradient (R, d) and the lead (R,) at the points.

        The margin counts the roundings of `lead`, so that where it is zero the point just is misclassified. A
        target of -1 stands for the class that leads the label at the point itself. Non-finite numbers become
        zero: they say nothing about the way down.
        """
        if len(points) > self.rows:
            falls = [self.slope(function, *part) for part in self._parts(points, who, targets)]
            margin, gradient, lead = (torch.cat(piece) for piece in zip(*falls, strict=True))
            return margin, gradient, lead
        label = self.labels[who]
        with self.queries.of(who):
            leaf, logits = self._recorded(function, points)
            values = logits.detach().nan_to_num(-torch.inf)
            leading = values.scatter(1, label[:, None], -torch.inf).argmax(1)
            target = torch.where(targets < 0, leading, targets)
            rounding = self._rounding(logits)
            margin, gradient = self._falling(logits, leaf, label, target, points, rounding)
        return margin, gradient, self._ahead(logits, label, rounding)

    def apart(
        self,
        plain: Callable[[Tensor], Tensor],
        repaired: Callable[[Tensor], Tensor],
        points: Tensor,
        who: Tensor,
        targets: Tensor,
    ) -> Tensor:
        """(n,): whether gradients of the margins to targets (n,) differ at any of points (n, M, d)."""
        count, width, size = points.shape
        owner, target = (one.repeat_interleave(width) for one in (who, targets))
        first, second = (
            self.slope(function, points.reshape(-1, size), owner, target)[1] for function in (plain, repaired)
        )
        apart = (first - second).abs().amax(1) > 1e-5 * torch.maximum(first.abs(), second.abs()).amax(1)
        return apart.reshape(count, width).any(1)

    def slopes(
        self, function: Callable[[Tensor], Tensor], points: Tensor, who: Tensor, targets: Tensor
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Margin (R,) and gradient (R, d) for each column of targets (R, T), from one forward.

        One graph lives at a time: the graphs of a few dozen rows of a large net are gigabytes, the gradients
        are not.
        """
        if len(points) > self.rows:
            pieces = [list(self.slopes(function, *part)) for part in self._parts(points, who, targets)]
            for falls in zip(*pieces, strict=True):
                yield torch.cat([margin for margin, _ in falls]), torch.cat([slope for _, slope in falls])
            return
        with self.queries.of(who):
            leaf, logits = self._recorded(function, points)
        label, rounding = self.labels[who], self._rounding(logits)
        for column in targets.unbind(1):
            with self.queries.of(who):
                fall = self._falling(logits, leaf, label, column, points, rounding)
            yield fall

    def _parts(self, points: Tensor, who: Tensor, targets: Tensor) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """At most ``rows`` points a forward; one part of none where there is none."""
        return zip(*(torch.split(whole, self.rows) for whole in (points, who, targets)), strict=True)

    def _recorded(self, function: Callable[[Tensor], Tensor], points: Tensor) -> tuple[Tensor, Tensor]:
        """A leaf of the points and its logits, with the graph between them where there is one."""
        leaf = self._shaped(points).detach().clone().requires_grad_()
        try:
            with torch.enable_grad():
                return leaf, function(leaf)
        except RuntimeError as error:
            if _UNDIFFERENTIABLE not in str(error):
                raise
            with torch.no_grad():
                return leaf, function(leaf)

    def _falling(
        self, logits: Tensor, leaf: Tensor, label: Tensor, target: Tensor, like: Tensor, rounding: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Margins (R,) and their gradients, shaped like the rows (R, d); zero where there is none."""
        gradient = None
        with torch.enable_grad():
            own, other = logits.gather(1, torch.stack([label, target], 1)).unbind(1)
            margin = own - other
            if margin.requires_grad:
                try:
                    (gradient,) = torch.autograd.grad(
                        margin.sum(), leaf, retain_graph=True, allow_unused=True
                    )
                except RuntimeError as error:
                    if _UNDIFFERENTIABLE not in str(error):
                        raise
        value = (margin.detach().to(like.dtype) + rounding).nan_to_num(0.0, 0.0, 0.0)
        if gradient is None:
            return value, torch.zeros_like(like)
        return value, gradient.reshape(like.shape).to(like.dtype).nan_to_num(0.0, 0.0, 0.0)

    def _rounding(self, logits: Tensor) -> Tensor:
        """(R,): ``sure`` roundings of each row's largest finite logit."""
        values = logits.detach().to(working(logits.dtype))
        kind = torch.finfo(logits.dtype)
        sure = self.sure if kind.bits > 16 else min(self.sure, SURE_IN_HALF)
        return sure * kind.eps * values.nan_to_num(0.0, 0.0, 0.0).abs().amax(1)

    def _shaped(self, points: Tensor) -> Tensor:
        return points.to(self.dtype).reshape(-1, *self.shape)
