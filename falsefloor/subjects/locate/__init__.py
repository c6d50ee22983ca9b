"""Which operation, in which submodule, hides the gradient: in words that a user can act on.

Every function that masks does one of four things to a derivative: it makes it zero (rounding), cuts it
(integers, `detach`, `no_grad`, numpy), lets it underflow (saturation), or passes it and hides in the number
format (casts). Each leaves a trace: on the operation's name, on the graph, on the gradients that reach it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Generator, Tensor

from falsefloor.numerics.balls import sample
from falsefloor.subjects.locate.rules import Located, look
from falsefloor.subjects.locate.trace import trace
from falsefloor.subjects.subject import ModelSubject

POINTS = 16
"""Points of one look: the input and its neighbours, filled to what makes rows reproducible on a CPU."""
PASSES = 8
"""Looks at a stochastic model, averaged."""
_ORDER = ("cut", "custom", "flat", "saturation", "dead", "cast")
"""Gravest first."""


def locate(
    subject: ModelSubject, inputs: Tensor, label: int, *, norm: str, radius: float, generator: Generator
) -> list[Located]:
    """What hides the gradient around one input (*input), the gravest first; empty where nothing was found.

    Looks at the gradient of the label's margin over the runner-up at `POINTS` points within ``radius``. Costs
    three forwards and a backward of them, `PASSES` of both for a stochastic model. Raises what the model
    raises.
    """
    lo, hi = subject.bounds
    near = sample(
        inputs.unsqueeze(0), norm=norm, radius=radius, count=POINTS - 1, generators=[generator], lo=lo, hi=hi
    )
    points = torch.cat([inputs.unsqueeze(0), near[0]])
    with torch.no_grad():
        logits = subject(points)
        passes = 1 if torch.equal(logits, subject(points)) else PASSES
    rest = logits[0].clone()
    rest[label] = -torch.inf
    rival = int(rest.argmax())

    def margin(found: Tensor) -> Tensor:
        return found[:, label] - found[:, rival]

    looks = [look(trace(subject.module, points, weigh=margin)) for _ in range(passes)]
    return _averaged(looks)


def _averaged(looks: Sequence[list[Located]]) -> list[Located]:
    """One list of all looks: shares averaged over all of them, whether or not each saw the operation."""
    groups: dict[tuple[str, str, str, str], list[Located]] = {}
    for found_then in looks:
        for one in found_then:
            groups.setdefault((one.operation, one.submodule, one.line, one.kind), []).append(one)
    found = []
    for group in groups.values():
        moved = [one.displacement for one in group if one.displacement is not None]
        found.append(
            replace(
                group[0],
                lost=sum(one.lost for one in group) / len(looks),
                displacement=max(moved) if moved else None,
                certain=all(one.certain for one in group) and len(group) == len(looks),
                passes=len(looks),
            )
        )
    return sorted(found, key=lambda one: (not one.certain, _ORDER.index(one.kind), -one.lost))


__all__ = ["Located", "locate"]
