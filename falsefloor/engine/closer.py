"""A closer unit: the attack asked again where its ceiling is loose, or hardly above a floor that is held.

Starts lie at the nearest known point, around it, and on the shell of that floor, which they may prove wrong.
Nothing is estimated here: whatever nearer point its subject then answers otherwise at is settled, stored and
held against every claim there as all others are (`falsefloor.engine.met`).
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from falsefloor.api import Norm
from falsefloor.engine.arrays import unpack_tensor
from falsefloor.engine.context import RunContext, Sink, generators
from falsefloor.engine.session import Session, Task
from falsefloor.estimators.attack import again
from falsefloor.numerics.balls import directions, fold
from falsefloor.store.records import Array, ObservationResult, UnitResult

SHELL, NEAR = 16, 8
"""Starts of an input on the floor's shell, and at and around the known point."""
APART = 0.05
"""How far around it, as a share of its distance."""


def run(task: Task, session: Session, sink: Sink) -> UnitResult:
    """{"closer": {label: {"radius", "forward", "backward"}}} of each input."""
    asked, norm = task.estimator, task.spec["norm"]
    label, steps = asked["label"], asked["params"]["steps"]
    subject, inputs = task.subject, task.inputs
    while True:
        drawn = generators(inputs, seed=task.spec["seed"], norm=f"closer {norm}")
        before = subject.forward_queries, subject.backward_queries
        context = RunContext(drawn, rows=session.rows, sink=sink)
        starts, balls = _starts(task, drawn, norm)
        try:
            radius = again(
                subject, inputs, task.labels, starts, balls, steps=steps, norm=norm, context=context
            )
            break
        except Exception as error:
            if not session.less_room(error):
                raise
    spent = subject.forward_queries - before[0], subject.backward_queries - before[1]
    each = {name: total // len(inputs) for name, total in zip(("forward", "backward"), spent, strict=True)}
    found = [
        ObservationResult(number, None, {"closer": {label: {"radius": float(reached), **each}}})
        for number, reached in zip(task.numbers, radius, strict=True)
    ]
    return UnitResult(task.key, observations=found)


def _starts(task: Task, drawn: list[torch.Generator], norm: Norm) -> tuple[Tensor, Tensor]:
    """Starts (N, M, *input), and for each (N, M) the radius of the ball that it is to stay in."""
    lo, hi = task.subject.bounds
    first, asked = task.spec["chunk"][0], task.estimator
    starts, balls = [], []
    for number, x, generator in zip(task.numbers, task.inputs, drawn, strict=True):
        known, floor = asked["known"][number - first], asked["floor"][number - first]
        ways = directions(tuple(x.shape), norm=norm, count=SHELL + NEAR, generator=generator).to(x)
        ball = torch.tensor([floor] * SHELL + [known["distance"]] * NEAR, dtype=x.dtype, device=x.device)
        reach = ball.clone()
        reach[SHELL], reach[SHELL + 1 :] = 0.0, APART * known["distance"]
        centre = torch.cat([x.expand(SHELL, *x.shape), _point(task, known, x).expand(NEAR, *x.shape)])
        starts.append(fold(centre + reach.reshape(-1, *([1] * x.ndim)) * ways, lo, hi))
        balls.append(ball)
    return torch.stack(starts), torch.stack(balls)


def _point(task: Task, known: Mapping[str, Any], like: Tensor) -> Tensor:
    stored = Array(known["dtype"], tuple(like.shape), base64.b64decode(known["data"]))
    return task.prepared.judged(unpack_tensor(stored).to(like.device)).to(like)
