"""The attack that may ask so many questions and no more: what is worth its queries is decided before.

One input at a time and no rows to fill a batch up with, so that every row the model sees is of the budget. A
few steps tell which gradients lead anywhere; those get what is left, in walks towards few classes with as
many steps as there is room for. Where no gradient leads anywhere, the search by class alone gets it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from falsefloor.errors import DomainError
from falsefloor.estimators.attack.boundary import search, searching
from falsefloor.estimators.attack.campaign import Effort, Found, begin
from falsefloor.estimators.attack.ledger import Ledger
from falsefloor.estimators.attack.oracle import Oracle
from falsefloor.estimators.attack.refine import REPEATS, confirm, tighten

Function = Callable[[Tensor], Tensor]

LEAST = 10
"""Queries of three steps whose last point is asked again."""

SHAPES = (Effort(40, 4, 4, 1, 0, 1), Effort(8, 3, 3, 1, 0, 1), Effort(8, 2, 1, 1, 1))
"""Campaigns, each with its least steps: the first that there is room for gets more steps until it fills it.
Keeping fewer targets than are tried drops the right one (a ResNet's point 11 % farther), and chases of less
than 30 steps settle early (up to 29 %); starting again around the best point gains nothing after chases."""

STAGED = 200
"""Below this there is one walk from the input and nothing else: no campaign has room."""

LOOKED = 7
"""Queries at the input: a forward and a backward of both gradients, and what it takes to hold the repaired
one's bits against the subject's, three forwards at most."""

SCOUTED = 10
"""Steps from the input by which a gradient shows that it leads somewhere."""

HALVINGS, NEAR = 12, 0.98
"""At the end, towards the input: to 5e-6, between the found distance and this share of it. Exact projections
leave no more."""

SAMPLES = 16
"""Queries a step of the search."""


def spend(ledger: Ledger, functions: Mapping[str, Function], *, budget: int) -> None:
    """Enter into the ledger of one input what ``budget`` queries find, forwards and backwards together.

    functions: the subject by its gradient sources' names, autograd's first. Raises `DomainError` where three
    steps and asking again cost more.
    """
    if budget < LEAST:
        raise DomainError(
            f"attack: queries={budget} is too few; three steps, each a forward and a backward, and asking the"
            f" point again take {LEAST}. Give {LEAST} or more; from {STAGED} on there are several walks."
        )
    oracle, who, tick = ledger.oracle, ledger.who, ledger.pace.tick
    everyone = torch.zeros_like(who)
    halvings = min(HALVINGS, budget // 10)
    left = budget - halvings - REPEATS

    def enter(name: str, found: Found, steps: int) -> None:
        ledger.record(name, everyone, found, planned=steps, tightened=True)

    def walk(name: str, steps: int) -> int:
        start = oracle.centre[who][:, None]
        enter(name, begin(ledger.walker(functions[name]), start, who, steps=steps), steps)
        return 2 * steps

    if budget < STAGED:
        ledger.covered = 1
        left -= walk("autograd", left // 2)
    else:
        leading = _leading(oracle, functions, who)
        left -= LOOKED
        for name in leading or ["autograd"]:
            left -= walk(name, SCOUTED)
        if bool(ledger.radius.isinf()):
            first = searching(SAMPLES, steps=0)
            room = left // 2 if leading else left
            steps = (room - first) // (searching(SAMPLES, steps=1) - first)
            if steps > 0:
                left -= searching(SAMPLES, steps=steps)
                found = search(oracle, who, ledger.generators, samples=SAMPLES, steps=steps, tick=tick)
                enter("search", found, steps)
        for done, name in enumerate(leading):
            effort = _filling(left // (len(leading) - done), oracle.subject.classes)
            if effort:
                ledger.covered = effort.targets
                found = ledger.campaign(functions[name], everyone, effort).explore()
                enter(name, found, effort.total)
                left -= effort.queries(oracle.subject.classes)
    ledger.best.setdefault("straight-through", ledger.best.get("autograd", ledger.radius))
    above = NEAR if budget >= STAGED else 0.0
    point = tighten(oracle, ledger.point, who, rounds=halvings, sections=2, above=above)
    lengths = 1 + left // REPEATS
    ledger.point, ledger.radius = confirm(oracle, point, who, known=ledger.radius, most=lengths)


def _filling(room: int, classes: int) -> Effort | None:
    """The largest campaign of at most ``room`` queries, if there is one."""
    for shape in SHAPES:
        targets = min(shape.targets, classes - 1)
        effort = dataclasses.replace(shape, targets=targets, kept=min(shape.kept, targets))
        if effort.queries(classes) <= room:
            low, high = effort.steps, room
            while low < high:
                steps = (low + high + 1) // 2
                fits = dataclasses.replace(effort, steps=steps).queries(classes) <= room
                low, high = (steps, high) if fits else (low, steps - 1)
            return dataclasses.replace(effort, steps=low)
    return None


def _leading(oracle: Oracle, functions: Mapping[str, Function], who: Tensor) -> list[str]:
    """Those whose gradient at the input is not zero and not another's."""
    names: list[str] = []
    known: list[Tensor] = []
    for name, function in functions.items():
        _, gradient, _ = oracle.slope(function, oracle.centre[who], who, torch.full_like(who, -1))
        if bool(gradient.any()) and not any(torch.allclose(gradient, other, rtol=1e-5) for other in known):
            names.append(name)
            known.append(gradient)
    return names
