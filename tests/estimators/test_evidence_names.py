"""What our own estimators say stands under a shared name, or is declared as an estimator's own."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from falsefloor.api import Estimator
from falsefloor.engine.context import RunContext, generators
from falsefloor.engine.contract import ACCOUNT
from falsefloor.estimators import attack, clever, crown, finite_difference, milp, splitting
from falsefloor.evidence import NAMES, WORDS
from falsefloor.subjects.subject import ModelSubject

QUICK: list[tuple[Estimator, tuple[str, ...]]] = [
    (clever.Clever(batches=2, samples=2), clever.OWN),
    (finite_difference.FiniteDifference(batches=1, samples=2), finite_difference.OWN),
    (attack.Attack(steps=2, restarts=1, rounds=1), attack.OWN),
    (milp.Milp(), milp.OWN),
    (crown.Crown(), crown.OWN),
    (splitting.Splitting(particles=20, moves=1, levels=2), splitting.OWN),
]


@pytest.mark.parametrize(("estimator", "own"), QUICK, ids=lambda value: type(value).__name__)
def test_every_fact_has_a_known_name_and_kind(estimator: Estimator, own: tuple[str, ...]) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3))
    inputs = torch.rand(2, 4)
    context = RunContext(generators(inputs, seed=0, norm="linf"))
    found = estimator(
        ModelSubject(net, classes=3), inputs, net(inputs).argmax(1), norm="linf", context=context
    )
    assert set(found.evidence) >= set(own)
    assert not set(own) & set(NAMES)
    assert set(found.evidence) - {*NAMES, *own, *ACCOUNT} == set()
    for name in set(found.evidence) & set(NAMES):
        assert isinstance(found.evidence[name], torch.Tensor) == (name not in WORDS), name
