"""Settling of witnesses: nobody's adversarial input is believed before it held on its own.

A point that was bisected in a batch sits within rounding of the decision boundary and often falls back when
it is evaluated alone. So the core walks it outwards until it holds in every way it will be replayed, and
measures its distance there.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from falsefloor.errors import DomainError
from falsefloor.numerics.balls import vector_norm, wide
from falsefloor.subjects.copies import copied
from falsefloor.subjects.guarded import Guarded
from falsefloor.subjects.subject import ModelSubject

FIRST, LAST = 1e-6, 1e-3
"""Relative walks along the ray from the input through its witness: none, then doubling between these."""
FARTHER = (0.0, 1e-9, 1e-3, 0.1, 0.3, 1.0)
"""The walks on a grid: to its nearest points, then to those beyond."""
MARGIN = 64.0
"""Units of eps * max|logit| by which another class must win, unless float64 shows that less is enough."""
LEAST = 4.0
"""The same at least, and units of the largest difference to float64: then another class leads in exact
arithmetic too, and by twice the rounding. On linear models the lead is a distance of its own: 1e-4 of the
whole by 64 roundings alone, 6e-6 so."""
OUTSIDE = 1e-6
"""Relative to the domain's width: less is rounding and is clamped, more is a witness outside the domain."""
REPEATS = 2
"""How often a witness must hold alone: a stochastic subject's lucky draw is no witness."""


@dataclass(frozen=True)
class Settled:
    """What became of N witnesses.

    points: (N, *input), inside the domain; the input itself where nothing settled. radius: (N,) float64, the
    distance measured at the settled point, inf where nothing settled. predicted: (N,) class at the point.
    ok: (N,) whether it settled. moved: (N,) by how much it was walked outwards, relative. queries: (N,)
    forwards spent. batch_only: (N,) whether another class led in a batch and never alone.
    """

    points: Tensor
    radius: Tensor
    predicted: Tensor
    ok: Tensor
    moved: Tensor
    queries: Tensor
    batch_only: Tensor


def settle(
    subject: ModelSubject, inputs: Tensor, labels: Tensor, witness: Tensor, *, norm: str, rows: int = 4096
) -> Settled:
    """Walk each witness (N, *input) outwards until another class wins, alone and in its batch.

    The class must win by 64 * eps * max|logit| in the subject's own precision, or by 4 times what its logits
    there differ from float64's if that is less, and never by less than 4 * eps * max|logit|. A witness that
    is not finite, lies outside the domain, does not change the class within a relative 1e-3 (in half
    precision 64 * eps), or on which the subject raises is not ok. Its finder's radius plays no part. A bad
    witness never raises.
    """
    guard = Guarded(subject, rows=rows)
    count = len(inputs)
    lo, hi = subject.bounds
    given = witness.detach().to(device=inputs.device, dtype=inputs.dtype)
    slack = OUTSIDE * (hi - lo)
    inside = ((given >= lo - slack) & (given <= hi + slack)).reshape(count, -1).all(1)
    differs = (given != inputs).reshape(count, -1).any(1)
    offset = torch.where(wide(inside, given), given, inputs) - inputs

    points = inputs.clone()
    ok = torch.zeros(count, dtype=torch.bool, device=inputs.device)
    led = torch.zeros_like(ok)
    predicted = labels.clone()
    moved = torch.zeros(count, dtype=torch.float64, device=inputs.device)
    queries = torch.zeros(count, dtype=torch.int64, device=inputs.device)
    pending = inside & differs
    exact = _Exact(subject, rows=rows)
    for step in _steps(subject.answers) if subject.grid is None else FARTHER:
        active = pending.nonzero().squeeze(1)
        if not len(active):
            break
        if subject.grid is not None:
            trial = on_grid(inputs[active], offset[active], subject.grid, lo, hi, farther=step)
        elif step == 0.0:
            # x + (w - x) may differ from w in the last bit: the given point itself comes first
            trial = torch.minimum(torch.maximum(given[active], lo), hi)
        else:
            trial = torch.minimum(torch.maximum(inputs[active] + (1.0 + step) * offset[active], lo), hi)
        logits = guard.first(trial)[0]
        needed = exact.needed(trial, logits)
        wins, winner = _wins(logits, labels[active], needed)
        queries[active] += 1
        led[active] |= wins
        for _ in range(REPEATS):
            standing = wins.nonzero().squeeze(1)
            if not len(standing):
                break
            again, same = _wins(guard.regrouped(trial[standing]), labels[active][standing], needed[standing])
            queries[active[standing]] += 1
            wins[standing] = again & (same == winner[standing])
        done = active[wins]
        points[done], predicted[done], moved[done] = trial[wins], winner[wins], step
        ok[done], pending[done] = True, False
    distance = vector_norm(points.double() - inputs.double(), norm)
    radius = torch.where(ok, distance, torch.inf)
    return Settled(
        points=points,
        radius=radius,
        predicted=predicted,
        ok=ok,
        moved=moved,
        queries=queries,
        batch_only=led & ~ok,
    )


def on_grid(
    inputs: Tensor, offset: Tensor, grid: Tensor, lo: Tensor, hi: Tensor, *, farther: float
) -> Tensor:
    """Inputs (N, *input) moved by ``offset``, in whole steps of ``grid`` where that is not 0: to the nearest
    ones, or away from the input, by a share ``farther`` of the way; never past a step inside the domain."""
    size = torch.where(grid > 0, grid, 1.0)
    steps = offset * (1.0 + farther) / size
    whole = steps.round() if farther == 0.0 else steps.sign() * steps.abs().ceil()
    room = torch.where(whole > 0, (hi - inputs) / size, (inputs - lo) / size) + OUTSIDE
    whole = whole.sign() * torch.minimum(whole.abs(), room.floor().clamp_min(0.0))
    free = torch.minimum(torch.maximum(inputs + (1.0 + farther) * offset, lo), hi)
    return torch.where(grid > 0, (inputs + whole * size).to(inputs.dtype), free)


def _steps(dtype: torch.dtype) -> list[float]:
    """Half precision needs a margin of 6 % of the logits (bfloat16: 50 %), so it may walk as far for it."""
    last = max(LAST, MARGIN * torch.finfo(dtype).eps)
    doubling = [FIRST * 2**k for k in range(int(math.log2(last / FIRST)) + 1)]
    return [0.0, *doubling, last]


def in_double(subject: ModelSubject) -> ModelSubject:
    """A copy of the subject that works in float64, to show how much of an answer is rounding.

    The subject is left as it is. Raises whatever copying raises; a model that holds on to another type raises
    when it is called.
    """
    module = copied(subject.module).double()
    low, high = (bound.to(torch.float64) for bound in subject.bounds)
    return ModelSubject(
        module, classes=subject.classes, bounds=(low, high), dtype=torch.float64, grid=subject.grid
    )


class _Exact:
    """How much of a lead may be rounding, from the same subject in float64 where it runs there."""

    def __init__(self, subject: ModelSubject, *, rows: int) -> None:
        self.guard: Guarded | None = None
        if not subject.exact:
            try:
                self.guard = Guarded(in_double(subject), rows=rows)
            except torch.OutOfMemoryError:
                raise
            except Exception:
                return  # it cannot be copied, or the device has no float64

    def needed(self, points: Tensor, logits: Tensor) -> Tensor:
        """The lead (N,) that points (N, *input) with these logits (N, K) need."""
        unit = torch.finfo(logits.dtype).eps * logits.double().abs().amax(1)
        if self.guard is None:
            return MARGIN * unit
        try:
            answers, _ = self.guard.first(points.double())
        except DomainError:
            return MARGIN * unit
        # NaN where float64 has no answer: the whole margin
        rounding = (answers.double() - logits.double()).abs().amax(1).nan_to_num(torch.inf, torch.inf)
        return torch.clamp(LEAST * rounding, min=LEAST * unit, max=MARGIN * unit)


def _wins(logits: Tensor, labels: Tensor, needed: Tensor) -> tuple[Tensor, Tensor]:
    """Whether another class than the label wins by ``needed`` (N,), and which (N,)."""
    exact = logits.double()
    own = exact.gather(1, labels[:, None]).squeeze(1)
    rest = exact.scatter(1, labels[:, None], -torch.inf)
    best, winner = rest.max(1)
    finite = exact.isfinite().all(1)
    return finite & (best - own >= needed) & (best > own), winner
