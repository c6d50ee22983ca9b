"""Two published sets of rules that say when a gradient-based evaluation cannot be trusted, for comparison.

Written from the papers and the authors' descriptions, on our subjects: AutoAttack's warnings (Croce & Hein
2020, version of 2021 with its checks) and the Indicators of Attack Failure (Pintor et al. 2022). Both judge a
model under an attack, not an estimate; indicators of single inputs are averaged and held against 0.1, as
their authors do. AutoAttack's check for dynamic defences watches for autograd calls inside the forward and
does not apply to any subject here.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Generator, Tensor
from torch.nn.functional import cross_entropy

from falsefloor.subjects.subject import ModelSubject

REPEATS = 5
RANDOM = 1e-4
RANGE = 1e-5
SQUARE = 0.002
SHARE = 0.1
STEPS = 50
LAST = 10
IMPROVES = 0.05
DIRECTIONS = 100
NOISE = 8 / 255


def autoattack(
    subject: ModelSubject, x: Tensor, y: Tensor, *, white: Sequence[float], black: Sequence[float], eps: float
) -> list[str]:
    """Names of the warnings. white, black: distances that attacks with and without gradients got to."""
    flags = []
    with torch.no_grad():
        answers = [subject(x) for _ in range(REPEATS)]
    unit = [a / (a.norm(dim=1, keepdim=True) + 1e-10) for a in answers]
    moved = max(float((a - b).norm(dim=1).max()) for a in unit for b in unit)
    right = {int((a.argmax(1) == y).sum()) for a in answers}
    if len(right) > 1 or moved > RANDOM:
        flags.append("randomised")
    first = answers[0]
    inside = bool(first.max() < 1 + RANGE) and bool(first.min() > -RANGE)
    if inside and bool(((first.sum(1) - 1).abs() < RANGE).all()):
        flags.append("probabilities")
    if bool((_gradient(subject, x, y).flatten(1).abs().sum(1) == 0).any()):
        flags.append("zero gradients")
    robust = [sum(d > eps for d in found) / max(len(found), 1) for found in (white, black)]
    if robust[1] < robust[0] - SQUARE:
        flags.append("square attack better")
    return flags


def indicators(
    subject: ModelSubject, plain: ModelSubject, x: Tensor, y: Tensor, *, norm: str, eps: float
) -> list[str]:
    """Names of the indicators that are up, for projected gradient descent within ``eps``."""
    flags = []
    leaf = x[:1].clone().requires_grad_(True)
    logits = subject.module(leaf)
    cut = not logits.requires_grad
    zero = (_gradient(subject, x, y).flatten(1).norm(dim=1) == 0).any()
    if cut or bool(zero):
        flags.append("I1 unavailable gradients")
    if _unstable(subject, x, y) > SHARE:
        flags.append("I2 unstable predictions")
    path, losses = _descend(subject, x, y, norm=norm, eps=eps)
    with torch.no_grad():
        classes = torch.stack([subject(points).argmax(1) for points in path])
        missed = classes[-1] == y
        silent = missed & (classes[:-1] != y).any(0)
        if float(silent.double().mean()) > SHARE:
            flags.append("I3 silent success")
        if float(_incomplete(losses).double().mean()) > SHARE:
            flags.append("I4 incomplete optimisation")
        if float((plain(path[-1]).argmax(1) != classes[-1]).double().mean()) > SHARE:
            flags.append("I5 transfer failure")
    far, _ = _descend(subject, x, y, norm=norm, eps=float("inf"), step=eps / 5)
    with torch.no_grad():
        reached = torch.stack([subject(points).argmax(1) != y for points in far]).any(0)
    if float((~reached).double().mean()) > SHARE:
        flags.append("I6 unconstrained attack fails")
    return flags


def _gradient(subject: ModelSubject, x: Tensor, y: Tensor) -> Tensor:
    leaf = x.clone().requires_grad_(True)
    (gradient,) = torch.autograd.grad(cross_entropy(subject(leaf), y, reduction="sum"), leaf)
    return gradient


def _loss(subject: ModelSubject, x: Tensor, y: Tensor) -> Tensor:
    """Difference of the true class's logit and the best other: what the attack lowers."""
    logits = subject(x)
    own = logits.gather(1, y[:, None]).squeeze(1)
    rest: Tensor = logits.scatter(1, y[:, None], -torch.inf)
    return own - rest.amax(1)


def _unstable(subject: ModelSubject, x: Tensor, y: Tensor) -> float:
    drawn = Generator().manual_seed(0)
    with torch.no_grad():
        reference = _loss(subject, x, y)
        scale = torch.where(reference == 0, torch.ones_like(reference), reference.abs())
        moves = []
        for _ in range(DIRECTIONS):
            noise = (torch.rand(x.shape, generator=drawn) - 0.5) * NOISE
            moves.append((reference - _loss(subject, x + noise.to(x), y)).abs() / scale)
    return min(1.0, float(torch.stack(moves).mean()))


def _descend(
    subject: ModelSubject, x: Tensor, y: Tensor, *, norm: str, eps: float, step: float | None = None
) -> tuple[list[Tensor], Tensor]:
    """Projected descent from the inputs: its path, and the losses (steps + 1, N)."""
    size = eps / 10 if step is None else step
    low, high = subject.bounds
    path, losses = [x], []
    for _ in range(STEPS):
        leaf = path[-1].clone().requires_grad_(True)
        loss = _loss(subject, leaf, y)
        losses.append(loss.detach())
        (gradient,) = torch.autograd.grad(loss.sum(), leaf)
        flat = gradient.nan_to_num(nan=0.0, posinf=0.0, neginf=0.0).flatten(1)
        unit = flat / flat.norm(dim=1, keepdim=True).clamp(min=1e-30)
        move = flat.sign() if norm == "linf" else unit
        offset = (path[-1] - x).flatten(1) - size * move
        if norm == "linf":
            offset = offset.clamp(-eps, eps)
        else:
            length = offset.norm(dim=1, keepdim=True).clamp(min=1e-30)
            offset = offset * (eps / length).clamp(max=1.0)
        path.append(torch.minimum(torch.maximum(x + offset.reshape(x.shape), low), high))
    with torch.no_grad():
        losses.append(_loss(subject, path[-1], y))
    return path, torch.stack(losses)


def _incomplete(losses: Tensor) -> Tensor:
    """Whether the best loss so far, scaled to [0, 1], still fell by more than 0.05 in the last ten steps."""
    lowest = losses.cummin(0).values
    span = (lowest[0] - lowest[-1]).clamp(min=1e-30)
    return (lowest[-LAST] - lowest[-1]) / span > IMPROVES


__all__ = ["autoattack", "indicators"]
